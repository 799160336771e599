"""For the tests of plugins: an audit of a method that need not be registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.audit.audit import examine
from harness.audit.subject import Case
from harness.core.progress import SILENT
from harness.datasets.example import ExampleData
from harness.evaluation.entries import Entry
from harness.method.contract import Method
from harness.store.verdicts import Verdict

__all__ = ["ExampleData", "audited"]


def audited(
    method_class: type[Method[Any]],
    folder: Path,
    *,
    preset: str = "tiny",
    overrides: Mapping[str, Any] | None = None,
) -> Verdict:
    """The audit of a method on the example studies.

    Args:
        method_class: need not be registered.
        folder: scratch space.
        overrides: as ``--set`` gives them, without the method's name, e.g. ``{"training.epochs": 1}``.
    """
    data = ExampleData()
    train, val, test = (data.studies(split) for split in ("train", "val", "test"))
    case = Case(data, frozenset(), train, val, test, preset, "cpu", folder)
    name = method_class.card.name
    return examine(case, Entry(name, name, None, method_class, dict(overrides or {})), SILENT)
