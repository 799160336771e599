"""Opening a registered dataset by its name, with the options of ``--set DATASET.key=value``."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from harness.core import registry
from harness.core.errors import PluginError, UnknownNameError
from harness.core.names import did_you_mean
from harness.datasets.base import Dataset


def open_dataset(name: str, root: Path | None = None, options: Mapping[str, Any] | None = None) -> Dataset:
    """The dataset that is registered under ``name``.

    Args:
        name: registry name.
        root: where its files are, unless a package ships them.
        options: keyword arguments of its ``open``.

    Raises:
        UnknownNameError: no such dataset, or an option that its ``open`` does not take.
        PluginError: its class cannot be loaded, or has no ``open``.
        HarnessError: what the dataset itself finds wrong.
    """
    dataset_class = registry.load("datasets", name)
    if not callable(getattr(dataset_class, "open", None)):
        raise PluginError(f"dataset {name}: its class has no open(root, ..)")
    parameters = signature(dataset_class.open).parameters
    takes_any = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    known_options = set(parameters) - {"root"}
    for key in options or {}:
        if key not in known_options and not takes_any:
            raise UnknownNameError(
                f"--set {name}.{key}: {name} has no such option", did_you_mean(key, known_options)
            )
    dataset: Dataset = dataset_class.open(root, **(options or {}))
    return dataset
