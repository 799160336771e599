"""Opening a registered dataset by its name, with the options of ``--set DATASET.key=value``.

Datasets may be plugins. Whatever they raise becomes one line that names the dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import PluginError, UnknownNameError
from harness.core.failures import failures_named
from harness.core.names import did_you_mean
from harness.core.types import DatasetInfo, Study
from harness.datasets.base import Dataset


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
    with failures_named(f"dataset {name} cannot be opened", dataset_class.__module__):
        dataset: Dataset = dataset_class.open(root, **(options or {}))
    if not isinstance(getattr(dataset, "info", None), DatasetInfo):
        raise PluginError(f"dataset {name} cannot be opened: what open() gives has no info (a DatasetInfo)")
    return dataset


def studies_of(dataset: Dataset, split: str) -> Sequence[Study]:
    """The studies of a split.

    Raises:
        PluginError: ``studies`` fails with any other exception than a ``HarnessError``.
        HarnessError: what the dataset itself finds wrong.
    """
    with failures_named(f"dataset {dataset.info.name}: studies of {split}", type(dataset).__module__):
        return dataset.studies(split)
