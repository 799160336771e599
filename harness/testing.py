"""For the tests of plugins: an audit and the score of a method that need not be registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.audits.audit import examine
from harness.audits.subject import Case, Subject
from harness.core.progress import SILENT
from harness.core.registry import MetricOptions, make_metric
from harness.core.types import Reference
from harness.datasets.example import ExampleData
from harness.evaluation.entries import Entry
from harness.method.contract import Method
from harness.metrics.base import Metric, checked_statistics
from harness.store.verdicts import Verdict

__all__ = ["ExampleData", "audited", "scored"]


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
    return examine(*_case(method_class, folder, preset, overrides), SILENT)


def scored(
    method_class: type[Method[Any]],
    folder: Path,
    metric: str,
    *,
    preset: str = "tiny",
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """What a metric says of a method that was trained on the example studies, with nothing missing.

    Args:
        method_class, folder, preset, overrides: as ``audited`` takes them.
        metric: registered family, e.g. ``auroc``.

    Returns:
        Metric output -> value on the test studies.
    """
    case, entry = _case(method_class, folder, preset, overrides)
    subject = Subject(case, entry)
    subject.method, _ = subject.fit(case.seed, lambda fraction, status: None, poisoned=False)
    answers = subject.predict()
    family: Metric = make_metric(metric, MetricOptions(multilabel=case.info.multilabel))
    references = [Reference(s.id, s.patient_id, s.report, s.labels, s.images) for s in case.test]
    statistics = checked_statistics(family, [answers[each.id] for each in references], references)
    values = family.values(statistics, np.ones((1, len(references))))
    return {name: float(value[0]) for name, value in values.items()}


def _case(
    method_class: type[Method[Any]], folder: Path, preset: str, overrides: Mapping[str, Any] | None
) -> tuple[Case, Entry]:
    """A method on the example studies."""
    data = ExampleData()
    train, val, test = (data.studies(split) for split in ("train", "val", "test"))
    case = Case(data, frozenset(), train, val, test, preset, "cpu", folder)
    name = method_class.card.name
    return case, Entry(name, name, None, method_class, dict(overrides or {}))
