"""``csv``: a user's own studies, one row each, ``--dataset csv --root my.csv`` (see docs/own-data.md).

Columns, of which ``id``, ``patient``, ``split``, ``report`` and one with images must be there::

    id, patient, split, report       split is train, val or test; the option ``split`` stands in for it
    frontal, lateral, image          an image's path, relative to the table's folder
    image:NAME                       a further view, called NAME
    indication                       what the referring doctor wrote: the modality ``context``
    labels                           one class, or findings with a ``;`` between or behind them
    label:NAME                       a finding: 1, 0, -1 (uncertain) or nothing
    attribute:NAME                   age, sex, site ...: a number, or else text

An empty cell is something that the study does not have. Other columns are not read; ``harness data check``
names them. What a table cannot say by itself is asked: the message names the option that decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from harness.core.errors import HarnessError, UnavailableError
from harness.core.types import DatasetInfo, Task
from harness.datasets.readers.profiles import DEFAULT, Profile, profile_of, table
from harness.datasets.readers.records import Listing, ReportRecord
from harness.datasets.readers.report_dataset import ReportDataset
from harness.datasets.tabular.listing import REQUIRED, VIEWS, TableListing, list_table
from harness.datasets.tabular.options import TableOptions


class CSVTable(ReportDataset):
    """Your own studies: a CSV file with ids, patients, splits, paths of images and reports."""

    name: ClassVar[str] = "csv"
    expected: ClassVar[str] = f"a CSV file with columns {', '.join(REQUIRED)} and {', '.join(VIEWS)}"
    views: ClassVar[tuple[str, ...]] = ()
    licence: ClassVar[str] = "the user's own data; read from --root"
    profiles: ClassVar[Mapping[str, Profile]] = table(Profile(DEFAULT, "reports as they stand"))
    table: TableListing

    @classmethod
    def open(cls, root: Path | None = None, **options: Any) -> Self:
        """Read and check the table.

        Args:
            root: the CSV file.
            options: fields of ``TableOptions``.

        Raises:
            UnknownNameError: no such option.
            HarnessError: a value that an option does not take, or the first fatal problem; its message names
                file and line.
        """
        chosen = TableOptions.of(options)
        listing = cls.lister(root, options)()
        profile = profile_of(cls.name, cls.profiles, chosen.profile)
        kinds: dict[int, type[CSVTable]] = {1: CSVTable, 3: ColourTable}
        kind = kinds[chosen.channels]
        # A grey or a colour table, whichever of the two classes the option asks for.
        return kind(  # type: ignore[return-value]
            listing,
            profile,
            image_size=chosen.image_size,
            allow_leaks=chosen.allow_leaks,
            unreadable=chosen.unreadable,
        )

    @classmethod
    def find_root(cls, root: Path | None) -> Path:
        """The table that ``--root`` names."""
        if root is None:
            raise UnavailableError("csv reads a table of the user's", f"--root FILE, {cls.expected}")
        if root.is_dir():
            tables = sorted(path.name for path in root.glob("*.[ct]sv"))
            hint = f"name a table in it: {', '.join(tables[:5])}" if tables else f"csv needs {cls.expected}"
            raise HarnessError(f"--root {root}: a folder", hint)
        if not root.is_file():
            raise HarnessError(f"--root {root}: no such file", f"csv needs {cls.expected}")
        return root

    @classmethod
    def lister(cls, root: Path | None, options: Mapping[str, Any]) -> Callable[[], Listing]:
        """What reads the table, after options and root were checked."""
        chosen = TableOptions.of(options)
        profile = profile_of(cls.name, cls.profiles, chosen.profile)
        return partial(list_table, cls.find_root(root), profile, chosen)

    @classmethod
    def list_root(cls, root: Path, profile: Profile) -> TableListing:
        """Every row of the table; see ``ReportDataset.list_root``."""
        return list_table(root, profile, TableOptions())

    def __init__(self, listing: Listing, profile: Profile, **options: Any) -> None:
        assert isinstance(listing, TableListing)
        self.table = listing
        super().__init__(listing, profile, **options)

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
