"""``derm7pt``: 1,011 skin lesions, each with a clinical and a dermoscopic photograph (Kawahara et al. 2019).

The layout is that of ``release_v0`` as distributed::

    meta/meta.csv                               one row per case; clinic and derm are paths below images/
    meta/{train,valid,test}_indexes.csv         column ``indexes``: row numbers of meta.csv, from 0
    images/NEL/NEL025.JPG ...

The release names no patients: a case is one lesion, ``case_num`` is unique, and only 27 rows
have a ``case_id``. Here each case counts as a patient, so intervals treat lesions as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from harness.core.errors import HarnessError
from harness.core.names import did_you_mean
from harness.datasets.images.pixels import Digests, ImageFile
from harness.datasets.readers.folders import FolderDataset, Record, Release, inside, read_table, root_of
from harness.datasets.readers.unreadable import REFUSE

MODALITIES = ("clinical", "dermoscopic")
CLASSES = ("nevus", "basal cell carcinoma", "melanoma", "miscellaneous", "seborrheic keratosis")

GROUPS: dict[str, tuple[str, ...]] = {
    "nevus": (
        "blue nevus",
        "clark nevus",
        "combined nevus",
        "congenital nevus",
        "dermal nevus",
        "recurrent nevus",
        "reed or spitz nevus",
    ),
    "basal cell carcinoma": ("basal cell carcinoma",),
    "melanoma": (
        "melanoma",
        "melanoma (in situ)",
        "melanoma (less than 0.76 mm)",
        "melanoma (0.76 to 1.5 mm)",
        "melanoma (more than 1.5 mm)",
        "melanoma metastasis",
    ),
    "miscellaneous": ("dermatofibroma", "lentigo", "melanosis", "miscellaneous", "vascular lesion"),
    "seborrheic keratosis": ("seborrheic keratosis",),
}
"""Class -> values of the ``diagnosis`` column (Kawahara et al. 2019, and everyone since)."""

_CLASS_OF = {value: CLASSES.index(name) for name, values in GROUPS.items() for value in values}
_INDEX_FILES = {"train": "train", "val": "valid", "test": "test"}
_RELEASE_ROWS, _RELEASE_COUNTS = 1011, {"train": 413, "val": 203, "test": 395}
_COLUMNS = ("case_num", "diagnosis", "clinic", "derm", "sex", "location", "elevation")
_LICENCE = (
    "Derm7pt release_v0: academic research, no redistribution; images (c) G. Argenziano; read from --root"
)


class Derm7pt(FolderDataset):
    """Derm7pt: 413 / 203 / 395 lesions of the release's own split, five classes.

    In nine cases the release has no clinical photograph and repeats the dermoscopic one in its place, as its
    ``notes`` say: here such a case has no clinical view.
    """

    licence: ClassVar[str] = _LICENCE

    @classmethod
    def open(
        cls, root: Path | None = None, *, image_size: int | None = None, unreadable: str = REFUSE
    ) -> Self:
        """Read the tables and find every image.

        Args:
            root: the folder ``release_v0``, or the one that holds it.
            image_size: height and width of both views in pixels, 32-1024; 224 by default.
            unreadable: ``drop`` leaves views out whose file is no readable image, and studies that have no
                other; ``refuse`` stops at the first such file that is read.

        Raises:
            HarnessError: a file absent, a class unknown, an index outside the table, a case in two splits, a
                full table whose split is not the release's; the message names file and row.
        """
        folder = root_of(root, "derm7pt", "meta/ and images/ of release_v0")
        folder = folder / "release_v0" if (folder / "release_v0").is_dir() else folder
        records = _records(folder)
        release = Release(
            name="derm7pt",
            modalities=MODALITIES,
            classes=CLASSES,
            channels=3,
            licence=cls.licence,
        )
        return cls(release, records, image_size, unreadable)


def _records(folder: Path) -> list[Record]:
    table = read_table(folder, "meta/meta.csv", _COLUMNS)
    digests = Digests("derm7pt")
    records = []
    for split, file in _INDEX_FILES.items():
        for where, row in read_table(folder, f"meta/{file}_indexes.csv", ("indexes",)):
            number = row["indexes"]
            if not number.isdecimal() or int(number) >= len(table):
                raise HarnessError(
                    f"{where}: index {number!r} is outside the {len(table)} rows of meta/meta.csv"
                )
            records.append(_record(folder, split, *table[int(number)], listed=where, digests=digests))
    digests.keep()
    _check_counts(folder, len(table), records)
    return records


def _record(
    folder: Path, split: str, where: str, row: dict[str, str], *, listed: str, digests: Digests
) -> Record:
    diagnosis = row["diagnosis"].strip().lower()
    if diagnosis not in _CLASS_OF:
        raise HarnessError(f"{where}: unknown diagnosis {diagnosis!r}", did_you_mean(diagnosis, _CLASS_OF))
    paths = {"clinical": row["clinic"], "dermoscopic": row["derm"]}
    if paths["clinical"] == paths["dermoscopic"]:
        del paths["clinical"]
    images = {}
    for view, relative in paths.items():
        path = inside(folder / "images", relative, where)
        images[view] = ImageFile(path, where, digests.of(path))
    case = f"case{row['case_num']}"
    attributes = {name: row[name] or None for name in ("sex", "location", "elevation")}
    return Record(case, case, split, _CLASS_OF[diagnosis], images, f"{listed} ({where})", attributes)


def _check_counts(folder: Path, rows: int, records: Sequence[Record]) -> None:
    """Check the split of the whole release; a part of the release may have any split."""
    counts = {split: sum(record.split == split for record in records) for split in _INDEX_FILES}
    if rows == _RELEASE_ROWS and counts != _RELEASE_COUNTS:
        raise HarnessError(
            f"{folder}: {'/'.join(map(str, counts.values()))} studies, expected "
            f"{'/'.join(map(str, _RELEASE_COUNTS.values()))} (train/val/test)",
            "restore meta/*_indexes.csv of the release",
        )
