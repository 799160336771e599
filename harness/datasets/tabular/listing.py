"""The studies of a user's table, and everything that is wrong with it or has to be asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.core.names import did_you_mean
from harness.core.null_words import is_null
from harness.core.types import CONTEXT, IMAGE
from harness.datasets.base import SPLITS
from harness.datasets.images.pixels import ImageFile
from harness.datasets.readers.contexts import holds_report, says_nothing
from harness.datasets.readers.profiles import Profile
from harness.datasets.readers.records import Listing, Problem, ReportRecord
from harness.datasets.readers.report_dataset import ImageTree
from harness.datasets.readers.rows import Row
from harness.datasets.readers.sections import before_report_text
from harness.datasets.readers.splits import by_patient, rarest
from harness.datasets.tabular.codes import is_code
from harness.datasets.tabular.forms import joined, plain_form, variants
from harness.datasets.tabular.labels import COLUMN, PREFIX, Labels, read_labels
from harness.datasets.tabular.options import TableOptions
from harness.datasets.tabular.paths import ImagePaths
from harness.datasets.tabular.remarks import Tally
from harness.datasets.tabular.sheet import read_sheet

REQUIRED = ("id", "patient", "split", "report")
VIEWS = ("frontal", "lateral", IMAGE)
INDICATION = "indication"
VIEW_PREFIX, ATTRIBUTE_PREFIX = "image:", "attribute:"
_VIEW = re.compile(r"[a-z][a-z0-9_]*")
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Plain form -> split; words such as ``dev``, ``eval`` or ``holdout`` mean different ones."""
_MEANT = {
    **dict.fromkeys(("context", "history", "clinical history", "clinical information"), INDICATION),
    **dict.fromkeys(("class", "classes", "diagnosis", "disease", "finding", "findings", "target"), COLUMN),
    **dict.fromkeys(("path", "image path", "filename", "file", "view", "images"), "frontal or image"),
}
"""Plain form of a column that is not read -> the one that it may be."""
_ATTRIBUTES = ("age", "sex", "gender", "race", "ethnicity", "site", "scanner", "view position")


@dataclass(frozen=True, slots=True)
class TableListing(Listing):
    """A listing with what the table itself says of views and labels.

    Attributes:
        views: view names in the order of their columns.
        label_names: names of the labels, sorted.
        language: of the reports.
        multilabel: labels are independent findings; otherwise they are exclusive classes.
        source: the file's name without its suffix.
    """

    views: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    multilabel: bool = False
    source: str = ""
    language: str = "en"


def list_table(root: Path, profile: Profile, options: TableOptions) -> TableListing:
    """Every row of the table, and everything that is wrong with it or has to be asked.

    Raises:
        HarnessError: the file is absent, not UTF-8 or not CSV, has no header, lacks a column or has it twice.
    """
    required = [name for name in REQUIRED if name != "split" or options.shares is None]
    rows, problems = read_sheet(root, options, required, [*VIEWS, INDICATION, COLUMN, "split"])
    labels = read_labels(rows, options)
    views, column_problems = _columns(root, rows, labels.columns)
    patients, patient_problems = _patients(rows, options)
    splits, split_problems = _splits(root, rows, patients, labels, options)
    problems += [*column_problems, *labels.problems, *patient_problems, *split_problems, *_alike_ids(rows)]
    reader = _RowReader(root, profile, views)
    records = []
    for row, own, patient, split in zip(rows, labels.of_row, patients, splits, strict=True):
        record = reader.record(_with(row, patient, split), own)
        if record is not None:
            records.append(record)
    reader.tree.keep()
    problems += [*reader.problems, *reader.tally.problems(), *_mixed_attributes(rows)]
    problems += _unlabelled(records) if labels.names else []
    problems += _reports_in_contexts(records, fatal=not options.allow_leaks)
    return TableListing(
        records,
        problems,
        views=tuple(views.values()),
        label_names=labels.names,
        multilabel=labels.multilabel,
        source=root.stem,
        language=str(options.language),
    )


def _with(row: Row, patient: str, split: str) -> Row:
    """The row with its patient in the spelling that the table keeps, and its split."""
    return Row(row.where, {**row.cells, "patient": patient, "split": split})


def _columns(
    root: Path, rows: Sequence[Row], label_columns: Sequence[str]
) -> tuple[dict[str, str], list[Problem]]:
    """Column -> view of the columns with images, and a problem for each column that is not read."""
    columns = tuple(rows[0].cells) if rows else ()
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
        elif column not in (*REQUIRED, INDICATION, COLUMN, *label_columns) and not column.startswith(
            (ATTRIBUTE_PREFIX, PREFIX)
        ):
            hint = _meant(column)
            if all(is_null(row.cells[column]) or is_code(row.cells[column]) for row in rows):
                hint = f"call it {PREFIX}{column} if it holds a label"
            problems.append(Problem("unknown-column", where, f"{column!r} is not read", hint, fatal=False))
    if columns and not views:
        hint = f"name one {', '.join(VIEWS)} or {VIEW_PREFIX}NAME"
        problems.append(Problem("no-image-column", where, "no column with images", hint))
    return views, problems


def _meant(column: str) -> str:
    """What a column that is not read may be."""
    plain = plain_form(column)
    if plain in _ATTRIBUTES:
        return f"call it {ATTRIBUTE_PREFIX}{plain.replace(' ', '_')} to group results by it"
    if plain in _MEANT:
        return f"call it {_MEANT[plain]} if it is that"
    return did_you_mean(column, [*VIEWS, INDICATION, COLUMN])


def _patients(rows: Sequence[Row], options: TableOptions) -> tuple[list[str], list[Problem]]:
    """The patient of each row; of spellings that differ in form alone, the one that is kept."""
    names = ["" if is_null(row.cells["patient"]) else row.cells["patient"] for row in rows]
    if options.variants == "join":
        spelling = joined(names)
        return [spelling[name] for name in names], []
    if options.variants == "keep":
        return names, []
    named = [(name, row) for name, row in zip(names, rows, strict=True) if name]
    return names, variants("patient-variants", "patients", named)


def _splits(
    root: Path, rows: Sequence[Row], patients: Sequence[str], labels: Labels, options: TableOptions
) -> tuple[list[str], list[Problem]]:
    """The split of each row: of its cell, or drawn by patient."""
    shares = options.shares
    if shares is None:
        return _written_splits(rows)
    splits = by_patient(
        patients, rarest(labels.of_row), dict(zip(SPLITS, shares, strict=True)), options.split_seed
    )
    counts = ", ".join(f"{split} {splits.count(split)}" for split in SPLITS)
    message = f"patients are split {options.split} with seed {options.split_seed}: {counts} rows"
    if rows and "split" in rows[0].cells:
        message += "; the column split is not read"
    return splits, [Problem("drawn-split", root.name, message, fatal=False)]


def _written_splits(rows: Sequence[Row]) -> tuple[list[str], list[Problem]]:
    """The split of each row's cell; other usual words for a split are read as it and counted."""
    tally = Tally()
    splits = []
    for row in rows:
        cell = row.cells["split"]
        split = "" if is_null(cell) else _SPLIT_WORDS.get(plain_form(cell), cell)
        if split != cell and split:
            tally.add("split-name", row.where, f"split {cell!r} is read as {split}", f"write {split}")
        splits.append(split)
    return splits, tally.problems()


class _RowReader:
    """Turns rows into studies.

    Attributes:
        tree: where images are found.
        tally: what is to be said of many rows.
        problems: what is wrong with single rows.
    """

    def __init__(self, root: Path, profile: Profile, views: Mapping[str, str]) -> None:
        self.tree = ImageTree(root.resolve().parent, "csv")
        self.tally = Tally()
        self.problems: list[Problem] = []
        self._profile, self._views = profile, views
        self._paths = ImagePaths(self.tree, self.tally)

    def record(self, row: Row, labels: NDArray[np.float32] | None) -> ReportRecord | None:
        """The study of a row, or None and one more of ``problems``."""
        cells = row.cells
        empty = [column for column in ("id", "patient", "split") if is_null(cells[column])]
        if empty:
            self.problems.append(Problem("no-id", row.where, f"{', '.join(empty)} is empty"))
            return None
        images = self._images(row)
        if images is None:
            return None
        report = cells["report"]
        if report and is_null(report):
            self.tally.add("null-word", row.where, "a null word for a report, such as nan, counts as empty")
            report = ""
        return ReportRecord(
            cells["id"],
            cells["patient"],
            cells["split"],
            images,
            self._profile.clean(report),
            row.where,
            context=self._context(row),
            labels=labels,
            attributes={
                column.removeprefix(ATTRIBUTE_PREFIX): _value(cell)
                for column, cell in cells.items()
                if column.startswith(ATTRIBUTE_PREFIX)
            },
        )

    def _images(self, row: Row) -> dict[str, ImageFile] | None:
        images: dict[str, ImageFile] = {}
        for column, view in self._views.items():
            image = self._paths.find(row.cells[column], row.where)
            if isinstance(image, Problem):
                self.problems.append(image)
                return None
            if image is not None:
                images[view] = image
        return images

    def _context(self, row: Row) -> str | None:
        """The indication; None where it says nothing, and without text of the report."""
        cell = row.cells.get(INDICATION, "")
        if not cell:
            return None
        context = before_report_text(cell)
        if context != cell:
            what = "FINDINGS or IMPRESSION in an indication is cut off with all that follows"
            self.tally.add("cut-context", row.where, what)
        if says_nothing(context):
            if context == cell:
                what = "an indication that says nothing, such as nan, counts as absent"
                self.tally.add("empty-context", row.where, what)
            return None
        return context


def _value(cell: str) -> str | float | None:
    if is_null(cell):
        return None
    try:
        number = float(cell)
    except ValueError:
        return cell
    return number if np.isfinite(number) else None


def _mixed_attributes(rows: Sequence[Row]) -> list[Problem]:
    """A remark on each attribute of which some cells are numbers and others text."""
    remarks = []
    for column in rows[0].cells if rows else ():
        if not column.startswith(ATTRIBUTE_PREFIX):
            continue
        texts = [row for row in rows if isinstance(_value(row.cells[column]), str)]
        numbers = sum(isinstance(_value(row.cells[column]), float) for row in rows)
        if texts and numbers:
            message = f"{column}: {len(texts)} cells are text, this one first, and {numbers} are numbers"
            remarks.append(Problem("mixed-attribute", texts[0].where, message, "write 62.5, not 62,5", False))
    return remarks


def _alike_ids(rows: Sequence[Row]) -> list[Problem]:
    """A remark on ids that differ in form alone; equal ids are refused elsewhere."""
    first: dict[str, Row] = {}
    pairs = []
    for row in rows:
        other = first.setdefault(plain_form(row.cells["id"]), row)
        if other.cells["id"] != row.cells["id"]:
            pairs.append((other, row))
    if not pairs:
        return []
    other, row = pairs[0]
    message = (
        f"{len(pairs)} ids differ from another in form alone, e.g. {other.cells['id']!r} ({other.where})"
    )
    message += f" and {row.cells['id']!r}; they are different studies"
    return [Problem("alike-ids", row.where, message, fatal=False)]


def _unlabelled(records: Sequence[ReportRecord]) -> list[Problem]:
    """One problem for all rows without labels: labels are a task only where every study has some."""
    bare = [record for record in records if record.labels is None]
    if not bare:
        return []
    message = f"{len(bare)} of {len(records)} rows have no labels, this one first; no labels are scored"
    hint = "write a name for studies without findings, e.g. No Finding"
    return [Problem("no-labels", bare[0].where, message, hint, fatal=False)]


def _reports_in_contexts(records: Sequence[ReportRecord], *, fatal: bool) -> list[Problem]:
    """One problem for all contexts that hold text of their study's report."""
    leaking = [each for each in records if each.context and holds_report(each.context, each.report)]
    if not leaking:
        return []
    message = f"{len(leaking)} indications hold text of their report; {leaking[0].id} is the first"
    hint = "methods would read the answer: cut it out; --set csv.allow_leaks=true opens the table as it is"
    return [Problem("report-in-context", leaking[0].where, message, hint, fatal)]
