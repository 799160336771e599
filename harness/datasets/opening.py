"""Opening a registered dataset by its name, with the options of ``--set DATASET.key=value``.

Datasets may be plugins. Whatever they raise becomes one line that names the dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, overload
from weakref import WeakKeyDictionary

from harness.core import registry
from harness.core.errors import HarnessError, PluginError, UnknownNameError
from harness.core.failures import failures_named
from harness.core.names import did_you_mean
from harness.core.printed import printed_nowhere
from harness.core.types import DatasetInfo, Study
from harness.core.untouched import untouched
from harness.datasets.base import SPLITS, Dataset
from harness.datasets.contents import add_to_fingerprint
from harness.datasets.readers.faults import changed, check_studies
from harness.datasets.selection import select


def open_dataset(name: str, root: Path | None = None, options: Mapping[str, Any] | None = None) -> Dataset:
    """The dataset that is registered under ``name``.

    Args:
        name: registry name.
        root: where its files are, unless a package ships them.
        options: keyword arguments of its ``open``.

    Raises:
        UnknownNameError: no such dataset, or an option that its ``open`` does not take.
        PluginError: its class cannot be loaded, or ``open`` fails with any other exception than a
            ``HarnessError``, or gives no dataset.
        HarnessError: what the dataset itself finds wrong.
    """
    dataset_class = registry.load("datasets", name)
    parameters = signature(dataset_class.open).parameters
    takes_any = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    known_options = set(parameters) - {"root"}
    for key in options or {}:
        if key not in known_options and not takes_any:
            raise UnknownNameError(
                f"--set {name}.{key}: {name} has no such option", did_you_mean(key, known_options)
            )
    with ExitStack() as stack:
        stack.enter_context(failures_named(f"dataset {name} cannot be opened", dataset_class.__module__))
        if registry.is_foreign(dataset_class):
            stack.enter_context(untouched(f"dataset {name}"))
            stack.enter_context(printed_nowhere())
        dataset: Dataset = dataset_class.open(root, **(options or {}))
    if not isinstance(getattr(dataset, "info", None), DatasetInfo):
        raise PluginError(f"dataset {name} cannot be opened: what open() gives has no info (a DatasetInfo)")
    if not registry.is_ours(dataset_class):
        _read_once(dataset)
    return dataset


_studies_read: WeakKeyDictionary[Dataset, dict[str, list[Study]]] = WeakKeyDictionary()
"""First reading of datasets of other packages, as long as nothing has asked for it."""


def _read_once(dataset: Dataset) -> None:
    """Read a plugin's studies: their digest belongs to its fingerprint. Faults are left to later readers."""
    with suppress(HarnessError), failures_named("", ""):
        splits = {split: list(studies_of(dataset, split)) for split in SPLITS}
        with untouched(f"dataset {dataset.info.name}"), printed_nowhere():
            add_to_fingerprint(dataset, splits)
        with suppress(TypeError):  # one that takes no weak reference
            _studies_read[dataset] = splits


def studies_of(dataset: Dataset, split: str) -> Sequence[Study]:
    """The studies of a split.

    Raises:
        PluginError: ``studies`` fails with any other exception than a ``HarnessError``.
        HarnessError: what the dataset itself finds wrong.
    """
    with failures_named(f"dataset {dataset.info.name}: studies of {split}", type(dataset).__module__):
        if not registry.is_foreign(type(dataset)):
            return dataset.studies(split)
        with untouched(f"dataset {dataset.info.name}"), printed_nowhere():
            studies = dataset.studies(split)
        if not isinstance(studies, Sequence):
            kind = type(studies).__name__
            raise PluginError(f"dataset {dataset.info.name}: studies of {split} are a {kind}, no sequence")
        return _Checked(dataset, split, studies)


def studies_of_splits(dataset: Dataset, limit: int | None) -> dict[str, list[Study]]:
    """Split -> its studies, at most ``limit`` of each; those of a plugin are checked.

    Raises:
        HarnessError: studies that would give wrong numbers, such as a patient in two splits.
    """
    if registry.is_ours(type(dataset)):
        return {split: select(studies_of(dataset, split), limit) for split in SPLITS}
    name, whole = dataset.info.name, _first_reading(dataset)
    check_studies(name, dataset.info, whole)
    for split, studies in whole.items():
        again = list(studies_of(dataset, split))
        with failures_named(f"dataset {name}: studies of {split}", type(dataset).__module__):
            change = changed(studies, again)
        if change:
            raise HarnessError(f"dataset {name}: {change}", "every process of a run reads them anew")
    return {split: select(studies, limit) for split, studies in whole.items()}


def _first_reading(dataset: Dataset) -> dict[str, list[Study]]:
    with suppress(TypeError):
        if (read := _studies_read.pop(dataset, None)) is not None:
            return read
    return {split: list(studies_of(dataset, split)) for split in SPLITS}


class _Checked(Sequence[Study]):
    """Studies of a plugin: what goes wrong with one of them is a line that names the dataset."""

    def __init__(self, dataset: Dataset, split: str, studies: Sequence[Study]) -> None:
        self._what = f"dataset {dataset.info.name}: studies of {split}"
        self._home, self._studies = type(dataset).__module__, studies

    def __len__(self) -> int:
        with failures_named(self._what, self._home):
            return len(self._studies)

    @overload
    def __getitem__(self, index: int) -> Study: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Study]: ...
    def __getitem__(self, index: int | slice) -> Study | Sequence[Study]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        with failures_named(self._what, self._home):
            study = self._studies[index]
        if not (isinstance(study, Study) and isinstance(study.id, str)):
            raise PluginError(f"{self._what}: number {index} is no Study with a text as id")
        return study

    def __iter__(self) -> Iterator[Study]:
        return (self[index] for index in range(len(self)))
