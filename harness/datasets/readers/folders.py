"""Datasets that are folders of images: studies with one class each, checked when the dataset opens."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from harness.core.errors import HarnessError, UnavailableError
from harness.core.names import did_you_mean
from harness.core.types import DatasetInfo, Study, Task
from harness.core.user_files import read_user_file
from harness.datasets.base import SPLITS
from harness.datasets.images.decode import ORDINARY_VERSION
from harness.datasets.images.pixels import (
    DEFAULT_IMAGE_SIZE,
    LARGEST_IMAGE,
    SMALLEST_IMAGE,
    ImageFile,
    LazyImages,
    PixelCache,
)
from harness.datasets.readers.unreadable import REFUSE, LeftOut, check_policy, left_out_of


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a dataset's tables, before it becomes a ``Study``.

    Attributes:
        label: index of the class.
        where: file and line of the row, for messages.
    """

    id: str
    patient_id: str
    split: str
    label: int
    images: Mapping[str, ImageFile]
    where: str
    attributes: Mapping[str, str | float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Release:
    """A published dataset: what holds for all of its studies.

    Attributes:
        modalities: names of the views.
        channels: of every image, 1 or 3.
        licence: one line for tables and ``harness list datasets``.
        complete: a study of which one view cannot be read is left out, with ``unreadable=drop``.
    """

    name: str
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    channels: int
    licence: str
    complete: bool = False


class FolderDataset:
    """Studies with one class each; their images stay in the user's files.

    Attributes:
        info: what methods may know of the dataset.
        left_out: what it is opened without, because images cannot be read.
    """

    info: DatasetInfo
    left_out: LeftOut

    def __init__(
        self,
        release: Release,
        records: Sequence[Record],
        image_size: int | None,
        unreadable: str = REFUSE,
    ) -> None:
        """Check the records against each other.

        Raises:
            HarnessError: an image size out of range, a split without studies, an id that occurs twice, a
                patient in two splits, no such value of ``unreadable``.
        """
        name, channels = release.name, release.channels
        size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
        if not SMALLEST_IMAGE <= size <= LARGEST_IMAGE:
            raise HarnessError(
                f"image_size {size} of {name} is out of range", f"choose {SMALLEST_IMAGE}-{LARGEST_IMAGE}"
            )
        check_policy(name, unreadable)
        _check(name, records)
        cache = PixelCache(name, size, channels)
        self.left_out = left_out_of(records, cache, unreadable, complete=release.complete)
        if self.left_out:
            rest = [(record, self.left_out.images(record)) for record in records]
            records = [replace(record, images=images) for record, images in rest if images is not None]
            _check(name, records)
        self.info = DatasetInfo(
            name=name,
            tasks=frozenset({Task.DIAGNOSE}),
            image_modalities=release.modalities,
            has_context=False,
            image_size=size,
            channels=channels,
            label_names=release.classes,
            multilabel=False,
            licence=release.licence,
            fingerprint=_fingerprint(records, size, channels),
        )
        one_hot = np.eye(len(release.classes), dtype=np.float32)
        self._studies: dict[str, list[Study]] = {split: [] for split in SPLITS}
        for record in records:
            study = Study(
                record.id,
                record.patient_id,
                record.split,
                LazyImages(record.images, cache),
                labels=one_hot[record.label],
                attributes=record.attributes,
            )
            self._studies[record.split].append(study)

    def studies(self, split: str) -> Sequence[Study]:
        """Studies of one split in the order of the dataset's files; an image is decoded when it is read."""
        if split not in self._studies:
            raise HarnessError(f"unknown split {split!r} of {self.info.name}", did_you_mean(split, SPLITS))
        return self._studies[split]


def root_of(root: Path | None, name: str, expected: str) -> Path:
    """The folder that ``--root`` names.

    Args:
        expected: what the folder must hold, for the message.

    Raises:
        UnavailableError: none is named.
        HarnessError: it is no folder.
    """
    if root is None:
        raise UnavailableError(f"{name} does not ship with a package", f"--root DIR, with {expected}")
    if not root.is_dir():
        raise HarnessError(f"--root {root}: no such folder", f"{name} needs the folder with {expected}")
    return root


def inside(root: Path, relative: str, where: str) -> Path:
    """The existing file ``relative`` to ``root``; ``where`` is the row that names it.

    Raises:
        HarnessError: an absolute path, one that leads out of ``root``, links included, or no such file.
    """
    pure = PurePosixPath(relative)
    if not relative or pure.is_absolute() or ".." in pure.parts or "\\" in relative or "\0" in relative:
        raise HarnessError(f"{where}: {relative!r} is not a path inside {root}")
    path = root / pure
    if not path.is_file():
        raise HarnessError(f"{where}: no file {path}", "the download is incomplete")
    if not path.resolve().is_relative_to(root.resolve()):
        raise HarnessError(
            f"{where}: {relative} is a link that leads out of {root}", "put the file itself there"
        )
    return path


def read_lines(root: Path, relative: str) -> list[tuple[str, str]]:
    """Lines of a text file that are not empty: (``FILE, line N``, text)."""
    try:
        text = read_user_file(root / relative).decode("utf-8-sig")
    except OSError as error:
        raise HarnessError(f"{root / relative}: {error.strerror}", "is --root the right folder?") from error
    except UnicodeDecodeError as error:
        raise HarnessError(f"{root / relative}: not UTF-8 text: {error.reason}") from error
    lines = enumerate(text.splitlines(), 1)
    return [(f"{root / relative}, line {number}", line.strip()) for number, line in lines if line.strip()]


def read_table(root: Path, relative: str, columns: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """Rows of a CSV file: (``FILE, line N``, column -> text).

    Raises:
        HarnessError: the file is absent or not CSV, a column is absent, a row is short.
    """
    lines = read_lines(root, relative)
    path = root / relative
    try:
        reader = csv.DictReader((line for _, line in lines), strict=True)
        absent = sorted(set(columns) - set(reader.fieldnames or ()))
        rows = list(reader)
    except csv.Error as error:
        raise HarnessError(f"{path}: not CSV: {error}") from error
    if absent:
        raise HarnessError(f"{path}: no column {', '.join(absent)}")
    if len(rows) != len(lines) - 1:
        raise HarnessError(f"{path}: {len(lines) - 1} lines make {len(rows)} rows")
    for (where, _), row in zip(lines[1:], rows, strict=True):
        short = [column for column in columns if row[column] is None]
        if short:
            raise HarnessError(f"{where}: no value for {short[0]}")
    return [(where, row) for (where, _), row in zip(lines[1:], rows, strict=True)]


def _check(name: str, records: Sequence[Record]) -> None:
    ids: dict[str, Record] = {}
    patients: dict[str, Record] = {}
    for record in records:
        first = ids.setdefault(record.id, record)
        if first is not record:
            raise HarnessError(f"{record.where}: {record.id} is a second time in {name}, after {first.where}")
        first = patients.setdefault(record.patient_id, record)
        if first.split != record.split:
            raise HarnessError(
                f"{record.where}: patient {record.patient_id} of {record.split} is also in {first.split} "
                f"({first.where})",
                "a patient may be in one split only",
            )
    for split in SPLITS:
        if not any(record.split == split for record in records):
            raise HarnessError(f"{name}: the {split} split has no studies")


def _fingerprint(records: Sequence[Record], size: int, channels: int) -> str:
    """Digest of everything that methods see: ids, splits, classes, attributes and contents of images."""
    contents = [
        (
            record.id,
            record.split,
            record.label,
            {view: source.digest for view, source in record.images.items()},
            dict(record.attributes),
        )
        for record in records
    ]
    text = json.dumps([ORDINARY_VERSION, channels, contents], sort_keys=True)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}-{size}px"
