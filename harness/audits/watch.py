"""What a method reaches for behind the harness' back: test studies, their targets, the files of both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from harness.core.opened import opened_files
from harness.core.types import Study
from harness.datasets.base import Dataset
from harness.datasets.opening import studies_of
from harness.datasets.selection import select


@dataclass(frozen=True, slots=True)
class DataFiles:
    """Files that a dataset was read from.

    Attributes:
        every: all of them.
        test: without those that training and validation studies are read from: nothing but the dataset has a
            reason to open one of them.
    """

    every: frozenset[str]
    test: frozenset[str]


_TARGETS = frozenset({"report", "labels"})
_NAMES = frozenset({"id", "patient_id", "split"})
_CODE = frozenset({".py", ".pyc", ".pyi", ".so", ".lock"})
_SYSTEM = ("/proc/", "/dev/", "/sys/")


@dataclass(slots=True)
class Touches:
    """What was reached for, in the order in which it happened.

    Attributes:
        fields: (study id, field of ``Study``).
        files: paths of opened files that hold the data.
        opened: paths of all opened files.
    """

    fields: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)

    def lines(self) -> list[str]:
        """A line on each touch: targets first, then inputs, then files."""
        targets = [touch for touch in self.fields if touch[1] in _TARGETS]
        inputs = [touch for touch in self.fields if touch[1] not in _TARGETS]
        of_studies = [
            f"study {study}: its {name} was read from the dataset" for study, name in targets + inputs
        ]
        return of_studies + [f"opened {path}, which holds the data" for path in self.files]


class Watched:
    """A test study that notes when it is read."""

    def __init__(self, study: Study, touches: Touches) -> None:
        self.__dict__["_watched"] = study, touches

    def __getattr__(self, name: str) -> Any:
        study, touches = self.__dict__["_watched"]
        if name not in _NAMES and not name.startswith("__"):
            touches.fields.append((study.id, name))
        return getattr(study, name)


@contextmanager
def watching(dataset: Dataset, files: frozenset[str] = frozenset()) -> Iterator[Touches]:
    """Note every touch of a test study that is taken from the dataset, and every opening of its files.

    Args:
        dataset: any object of its class is watched, also one that a method opens itself.
        files: those that ``data_files`` found.
    """
    owner = type(dataset)
    touches = Touches()
    original = owner.studies

    def studies(self: Dataset, split: str) -> Sequence[Study]:
        of_split = original(self, split)
        if split != "test":
            return of_split
        return [Watched(study, touches) for study in of_split]  # type: ignore[misc]

    inherited = "studies" not in vars(owner)
    owner.studies = studies  # type: ignore[method-assign]
    try:
        with opened_files() as paths:
            yield touches
    finally:
        touches.files += [path for path in paths if path in files]
        touches.opened.update(paths)
        if inherited:
            del owner.studies
        else:
            owner.studies = original  # type: ignore[method-assign]


def data_files(open_dataset: Callable[[], Dataset], limit: int | None) -> tuple[Dataset, DataFiles]:
    """The dataset, and the files that were opened for it."""
    with opened_files() as paths:
        dataset = open_dataset()
        _read(select(studies_of(dataset, "test"), limit))
    with opened_files() as learned_from:
        for split in ("train", "val"):
            for _ in range(2):  # the second time from what the first one kept
                _read(select(studies_of(dataset, split), limit))
    every = frozenset(filter(_is_data, (*paths, *learned_from)))
    return dataset, DataFiles(every, every - frozenset(learned_from))


def _read(studies: Sequence[Study]) -> None:
    for study in studies:
        for view in study.images:
            np.asarray(study.images[view])


def _is_data(path: str) -> bool:
    return PurePath(path).suffix not in _CODE and not path.startswith(_SYSTEM) and os.path.isfile(path)
