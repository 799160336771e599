"""Studies with reports as an adapter lists them: all records, and everything wrong with them, in one pass.

An adapter for a layout on disk is a function ``list_X(root, profile) -> Listing`` that reads tables and texts
but no pixels. ``ReportDataset`` opens a listing and refuses it at its first fatal problem; ``harness data
check`` prints all of them. So both see the same data and one rule decides what is fatal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import SPLITS
from harness.datasets.images.pixels import ImageFile


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the data. Texts name ids, files and rows, never a word of a report.

    Attributes:
        kind: short name that tests and tables group by, e.g. ``duplicate-id`` or ``patient-in-two-splits``.
        where: file and row or study id.
        message: what is wrong.
        hint: what to do about it.
        fatal: the dataset must not be used as it is; otherwise ``message`` says whether the study stands.
    """

    kind: str
    where: str
    message: str
    hint: str = ""
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """One study before its pixels are read.

    Attributes:
        images: view name -> file; a view that the study lacks has no key.
        report: the target text after the profile's choice of sections.
        context: demographics and indication as text, or None.
        labels: float32 (n_labels,), NaN-free, or None where the release has none for the study.
        where: the file and row that list it.
    """

    id: str
    patient_id: str
    split: str
    images: Mapping[str, ImageFile]
    report: str
    where: str
    context: str | None = None
    labels: NDArray[np.float32] | None = None
    attributes: Mapping[str, str | float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds.

    Attributes:
        records: studies in the order of the dataset's files, unreadable ones left out.
        problems: in the order they were met.
        published: what the release or its paper says of the whole, e.g. ``{"train": 2069, "test": 590,
            "test without context": 0.02}``, shown beside what was found: counts are int, shares float.
    """

    records: list[ReportRecord]
    problems: list[Problem]
    published: Mapping[str, int | float] = field(default_factory=dict)


class Listed(Protocol):
    """A study before its pixels are read."""

    @property
    def id(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def images(self) -> Mapping[str, ImageFile]: ...


def empty_splits(records: Iterable[Listed]) -> list[Problem]:
    """A problem for each split that has no studies."""
    filled = {record.split for record in records}
    return [
        Problem("empty-split", split, f"the {split} split has no studies", "every split needs some")
        for split in SPLITS
        if split not in filled
    ]


def other_counts(where: Path, counts: Mapping[str, int], released: Mapping[str, int]) -> list[Problem]:
    """What a release has more or less of than its authors say, counted before anything is left out."""
    hint = "a part of the release, or another version of it, gives other scores"
    return [
        Problem(
            "count-differs", str(where), f"{counts[what]:,} {what}, the release has {count:,}", hint, False
        )
        for what, count in released.items()
        if counts[what] != count
    ]
