"""``csv``: a user's own studies, one row each, ``--dataset csv --root my.csv`` (see docs/own-data.md).

Columns, of which ``id``, ``patient``, ``split``, ``report`` and one with images must be there::

    id, patient, split, report       split is train, val or test
    frontal, lateral, image          an image's path, relative to the table's folder
    image:NAME                       a further view, called NAME
    indication                       what the referring doctor wrote: the modality ``context``
    labels                           one class, or findings with a ``;`` between or behind them
    attribute:NAME                   age, sex, site ...: a number, or else text

An empty cell is something that the study does not have. Other columns are not read; ``harness data check``
names them.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from harness.core.errors import HarnessError, UnavailableError
from harness.core.names import did_you_mean
from harness.core.types import CONTEXT, IMAGE, DatasetInfo, Task
from harness.datasets.readers.profiles import DEFAULT, Profile, profile_of, table
from harness.datasets.readers.records import Listing, Problem, ReportRecord
from harness.datasets.readers.report_dataset import ImageTree, ReportDataset
from harness.datasets.readers.rows import Row, read_csv

REQUIRED = ("id", "patient", "split", "report")
VIEWS = ("frontal", "lateral", IMAGE)
OTHERS = ("indication", "labels")
VIEW_PREFIX, ATTRIBUTE_PREFIX = "image:", "attribute:"
_VIEW = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class TableListing(Listing):
    """A listing with what the table itself says of views and labels.

    Attributes:
        views: view names in the order of their columns.
        label_names: names of the labels, sorted.
        language: of the reports.
        multilabel: some cell is a list of findings; otherwise labels are exclusive classes.
        source: the file's name without its suffix.
    """

    views: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    multilabel: bool = False
    source: str = ""
    language: str = "en"


class CSVTable(ReportDataset):
    """Your own studies: a CSV file with ids, patients, splits, paths of images and reports."""

    name: ClassVar[str] = "csv"
    expected: ClassVar[str] = f"a CSV file with columns {', '.join(REQUIRED)} and {', '.join(VIEWS)}"
    views: ClassVar[tuple[str, ...]] = ()
    licence: ClassVar[str] = "the user's own data; read from --root"
    profiles: ClassVar[Mapping[str, Profile]] = table(Profile(DEFAULT, "reports as they stand"))
    table: TableListing

    @classmethod
    def open(
        cls,
        root: Path | None = None,
        *,
        image_size: int | None = None,
        profile: str = DEFAULT,
        allow_leaks: bool = False,
        channels: int = 1,
        language: str = "en",
    ) -> Self:
        """Read and check the table.

        Args:
            root: the CSV file.
            image_size: height and width of every view in pixels, 32-1024; 224 by default.
            channels: 1 shows images in grey, 3 in colour.
            language: of the reports; metrics for English ones are computed by default for ``en`` only.

        Raises:
            HarnessError: the first fatal problem; its message names file and line.
        """
        kinds: dict[int, type[CSVTable]] = {1: CSVTable, 3: ColourTable}
        if channels not in kinds:
            raise HarnessError(f"csv.channels: {channels!r} channels", "1 (grey) or 3 (colour)")
        chosen = profile_of(cls.name, cls.profiles, profile)
        listing = replace(cls.list_root(cls.find_root(root), chosen), language=str(language))
        # A grey or a colour table, whichever of the two classes was asked.
        return kinds[channels](listing, chosen, image_size=image_size, allow_leaks=allow_leaks)  # type: ignore[return-value]

    @classmethod
    def find_root(cls, root: Path | None) -> Path:
        """The table that ``--root`` names."""
        if root is None:
            raise UnavailableError("csv reads a table of the user's", f"--root FILE, {cls.expected}")
        if not root.is_file():
            raise HarnessError(f"--root {root}: no such file", f"csv needs {cls.expected}")
        return root

    @classmethod
    def list_root(cls, root: Path, profile: Profile) -> TableListing:
        """Every row of the table; see ``ReportDataset.list_root``."""
        rows, problems = read_csv(root, REQUIRED)
        columns = tuple(rows[0].cells) if rows else ()
        views, column_problems = _columns(root, columns)
        problems += column_problems
        names = sorted({name for row in rows for name in _names(row)})
        tree = ImageTree(root.resolve().parent, cls.name)
        records = [_record(row, views, names, tree, problems, profile) for row in rows]
        tree.keep()
        complete = [record for record in records if record is not None]
        problems += _unlabelled(complete) if names else []
        problems += _joined_by_commas(rows)
        multilabel = any(";" in row.cells.get("labels", "") for row in rows)
        return TableListing(
            complete,
            problems,
            views=tuple(views.values()),
            label_names=tuple(names),
            multilabel=multilabel,
            source=root.stem,
        )

    def __init__(
        self, listing: Listing, profile: Profile, *, image_size: int | None = None, allow_leaks: bool = False
    ) -> None:
        assert isinstance(listing, TableListing)
        self.table = listing
        super().__init__(listing, profile, image_size=image_size, allow_leaks=allow_leaks)

    def _describe(self, records: Sequence[ReportRecord], profile: Profile, size: int) -> DatasetInfo:
        info = super()._describe(records, profile, size)
        used_views = {view for record in records for view in record.images}
        labelled = bool(self.table.label_names) and all(record.labels is not None for record in records)
        names = self.table.label_names if labelled else ()
        digest = hashlib.sha256("\0".join([info.fingerprint, *names]).encode()).hexdigest()[:16]
        return replace(
            info,
            image_modalities=tuple(view for view in self.table.views if view in used_views),
            tasks=info.tasks | {Task.DIAGNOSE} if labelled else info.tasks,
            label_names=names,
            multilabel=self.table.multilabel,
            language=self.table.language,
            region="chest" if used_views & {"frontal", "lateral"} else "",
            fingerprint=f"{digest}-{size}px",
            source=self.table.source,
        )


class ColourTable(CSVTable):
    """A table whose images are shown in colour."""

    channels: ClassVar[int] = 3


def _columns(root: Path, columns: Sequence[str]) -> tuple[dict[str, str], list[Problem]]:
    """Column -> view of the columns with images, and a problem for each column that is not read."""
    views: dict[str, str] = {}
    problems: list[Problem] = []
    where = f"{root.name}, line 1"
    for column in columns:
        view = column.removeprefix(VIEW_PREFIX)
        if column in VIEWS or column.startswith(VIEW_PREFIX):
            if not _VIEW.fullmatch(view) or view == CONTEXT or view in views.values():
                hint = "a name of its own in small letters, digits and underscores"
                problems.append(Problem("bad-view", where, f"{column!r} cannot name a view", hint))
            else:
                views[column] = view
        elif column not in (*REQUIRED, *OTHERS) and not column.startswith(ATTRIBUTE_PREFIX):
            hint = did_you_mean(column, [*VIEWS, *OTHERS])
            problems.append(Problem("unknown-column", where, f"{column!r} is not read", hint, fatal=False))
    if columns and not views:
        hint = f"name one {', '.join(VIEWS)} or {VIEW_PREFIX}NAME"
        problems.append(Problem("no-image-column", where, "no column with images", hint))
    return views, problems


def _record(
    row: Row,
    views: Mapping[str, str],
    names: Sequence[str],
    tree: ImageTree,
    problems: list[Problem],
    profile: Profile,
) -> ReportRecord | None:
    """The study of a row, or None and one more of ``problems``."""
    cells = row.cells
    empty = [column for column in ("id", "patient", "split") if not cells[column]]
    if empty:
        problems.append(Problem("no-id", row.where, f"{', '.join(empty)} is empty"))
        return None
    images = {}
    for column, view in views.items():
        if not cells[column]:
            continue
        image = tree.find(cells[column], row.where)
        if isinstance(image, Problem):
            problems.append(image)
            return None
        images[view] = image
    own = set(_names(row))
    return ReportRecord(
        cells["id"],
        cells["patient"],
        cells["split"],
        images,
        profile.clean(cells["report"]),
        row.where,
        context=cells.get("indication") or None,
        labels=np.array([name in own for name in names], dtype=np.float32) if own else None,
        attributes={
            column.removeprefix(ATTRIBUTE_PREFIX): _value(cell)
            for column, cell in cells.items()
            if column.startswith(ATTRIBUTE_PREFIX)
        },
    )


def _names(row: Row) -> list[str]:
    return [name for part in row.cells.get("labels", "").split(";") if (name := part.strip())]


def _joined_by_commas(rows: Sequence[Row]) -> list[Problem]:
    """A problem for the first cell of labels that is a list with commas.

    A comma may be part of a name. It joins names where one of the parts also stands in another cell.
    """
    cells = dict.fromkeys(name for row in rows for name in _names(row))
    parts = {name: {part.strip() for part in name.split(",")} for name in cells}
    counts = Counter(part for each in parts.values() for part in each)
    for row in rows:
        for name in _names(row):
            if len(parts[name]) > 1 and any(counts[part] > 1 for part in parts[name]):
                hint = f"put ; between findings: {'; '.join(sorted(parts[name]))}"
                return [Problem("comma-labels", row.where, f"labels {name!r} are joined by commas", hint)]
    return []


def _value(cell: str) -> str | float | None:
    try:
        number = float(cell)
    except ValueError:
        return cell or None
    return number if np.isfinite(number) else None


def _unlabelled(records: Sequence[ReportRecord]) -> list[Problem]:
    """One problem for all rows without labels: labels are a task only where every study has some."""
    bare = [record for record in records if record.labels is None]
    if not bare:
        return []
    message = f"{len(bare)} of {len(records)} rows have no labels, this one first; no labels are scored"
    hint = "write a name for studies without findings, e.g. No Finding"
    return [Problem("no-labels", bare[0].where, message, hint, fatal=False)]
