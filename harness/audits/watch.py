"""What a method reaches for behind the harness' back: test studies, their targets, the files of both."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.types import Reference, Study
from harness.datasets.base import Dataset
from harness.datasets.opening import studies_of
from harness.datasets.selection import select

Answer = tuple[str | None, NDArray[np.float32] | None]
"""A study's targets: report and labels."""

_TARGETS = frozenset({"report", "labels"})
_NAMES = frozenset({"id", "patient_id", "split"})
_CODE = frozenset({".py", ".pyc", ".pyi", ".so", ".lock"})
_SYSTEM = ("/proc/", "/dev/", "/sys/")


class TestStudyReadError(HarnessError):
    """A method read a study that it must not see."""

    __test__ = False


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

    def of_targets(self) -> str:
        """A line on the first target or file that was read; empty where none was."""
        for study, name in self.fields:
            if name in _TARGETS:
                return f"study {study}: its {name} was read from the dataset"
        return f"opened {self.files[0]}, which holds the data" if self.files else ""

    def of_inputs(self) -> str:
        """A line on the first input that was read past the harness; empty where none was."""
        for study, name in self.fields:
            if name not in _TARGETS:
                return f"study {study}: its {name} was read from the dataset, past the mask"
        return ""


class Watched:
    """A test study that notes when it is read, and raises where reading it is a breach."""

    def __init__(self, study: Study, answer: Answer | None, touches: Touches, raises: bool) -> None:
        values = {"study": study, "answer": answer, "touches": touches, "raises": raises}
        self.__dict__["_watched"] = values

    def __getattr__(self, name: str) -> Any:
        inside = self.__dict__["_watched"]
        study = inside["study"]
        if name in _NAMES or name.startswith("__"):
            return getattr(study, name)
        inside["touches"].fields.append((study.id, name))
        if inside["raises"]:
            raise TestStudyReadError(f"test study {study.id}: its {name} was read")
        if name in _TARGETS and inside["answer"] is not None:
            return inside["answer"][name == "labels"]
        return getattr(study, name)


@contextmanager
def watching(
    dataset: Dataset,
    files: frozenset[str] = frozenset(),
    *,
    raises: bool = False,
    answers: Mapping[str, Answer] | None = None,
) -> Iterator[Touches]:
    """Note every touch of a test study that is taken from the dataset, and every opening of its files.

    Args:
        dataset: any object of its class is watched, also one that a method opens itself.
        files: those that ``data_files`` found.
        raises: reading a test study raises ``TestStudyReadError``.
        answers: study id -> targets that stand in place of the true ones.
    """
    owner = type(dataset)
    touches = Touches()
    original = owner.studies

    def studies(self: Dataset, split: str) -> Sequence[Study]:
        of_split = original(self, split)
        if split != "test":
            return of_split
        replaced = answers or {}
        return [Watched(study, replaced.get(study.id), touches, raises) for study in of_split]  # type: ignore[misc]

    inherited = "studies" not in vars(owner)
    owner.studies = studies  # type: ignore[method-assign]
    try:
        with _opened() as paths:
            yield touches
    finally:
        touches.files += [path for path in paths if path in files]
        touches.opened.update(paths)
        if inherited:
            del owner.studies
        else:
            owner.studies = original  # type: ignore[method-assign]


@contextmanager
def retargeted(answers: Mapping[str, Answer]) -> Iterator[None]:
    """Put other targets into every live ``Study`` and ``Reference`` with one of the ids."""
    alive = [one for one in gc.get_objects() if type(one) in (Study, Reference) and one.id in answers]
    before = [(one.report, one.labels) for one in alive]
    try:
        for one in alive:
            _set(one, answers[one.id])
        yield
    finally:
        for one, answer in zip(alive, before, strict=True):
            _set(one, answer)


def _set(one: Study | Reference, answer: Answer) -> None:
    for name, value in zip(("report", "labels"), answer, strict=True):
        object.__setattr__(one, name, value)


def swapped(studies: Sequence[Study]) -> dict[str, Answer]:
    """Every study has the targets of another one."""
    others = [*studies[len(studies) // 2 :], *studies[: len(studies) // 2]]
    return {own.id: (other.report, other.labels) for own, other in zip(studies, others, strict=True)}


def scrambled(studies: Sequence[Study]) -> dict[str, Answer]:
    """Reports read backwards; findings are turned into their opposite."""
    return {
        study.id: (
            None if study.report is None else " ".join(reversed(study.report.split())),
            None if study.labels is None else (1 - study.labels).astype(np.float32),
        )
        for study in studies
    }


def data_files(
    open_dataset: Callable[[], Dataset], limit: int | None
) -> tuple[Dataset, frozenset[str], frozenset[str]]:
    """The dataset, the files that hold its hidden part, and all files that were opened for it.

    Hidden are those that training studies are not read from: nothing but the dataset has a reason to open one
    of them again.
    """
    with _opened() as paths:
        dataset = open_dataset()
        _read(select(studies_of(dataset, "test"), limit))
    with _opened() as allowed:
        for split in ("train", "val"):
            for _ in range(2):  # the second time from what the first one kept
                _read(select(studies_of(dataset, split), limit))
    opened = frozenset(filter(_is_data, [*paths, *allowed]))
    return dataset, opened & (frozenset(paths) - frozenset(allowed)), opened


def _read(studies: Sequence[Study]) -> None:
    for study in studies:
        for view in study.images:
            np.asarray(study.images[view])


def _is_data(path: str) -> bool:
    return PurePath(path).suffix not in _CODE and not path.startswith(_SYSTEM) and os.path.isfile(path)


_LISTENERS: list[list[str]] = []


@contextmanager
def _opened() -> Iterator[list[str]]:
    """Absolute paths of the files that Python code of this process opens."""
    _listen()
    paths: list[str] = []
    _LISTENERS.append(paths)
    try:
        yield paths
    finally:
        _LISTENERS.pop()


@cache
def _listen() -> None:
    """An audit hook stays until the process ends: there is one, and it is idle while nothing is watched."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and _LISTENERS and isinstance(arguments[0], str | os.PathLike):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            for paths in _LISTENERS:
                paths.append(path)

    sys.addaudithook(heard)
