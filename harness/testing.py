"""For the tests of plugins: what a method, a dataset and a metric have to keep. None need be registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from harness.audits.audit import examine
from harness.audits.subject import Case, Subject
from harness.audits.verbatim import hidden_reports
from harness.audits.watch import DataFiles
from harness.core.errors import PluginError
from harness.core.metric_options import MetricOptions
from harness.core.progress import SILENT
from harness.core.registry import make_metric
from harness.core.types import Prediction, Reference, Study
from harness.datasets.base import SPLITS, Dataset
from harness.datasets.example import ExampleData
from harness.datasets.readers.faults import changed, faults
from harness.evaluation.entries import Entry
from harness.method.contract import Method
from harness.metrics.base import JointMetric, Metric, checked_statistics, checked_values
from harness.store.verdicts import Verdict

__all__ = ["ExampleData", "audited", "check_dataset", "check_metric", "scored"]

_RESAMPLES = 8
"""Lines of weights with which ``check_metric`` tries a metric."""


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
        preset: size of the method.
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
        method_class: as ``audited`` takes it.
        folder: scratch space.
        preset: size of the method.
        overrides: as ``audited`` takes them.
        metric: registered family, e.g. ``auroc``.

    Returns:
        Metric output -> value on the test studies.
    """
    case, entry = _case(method_class, folder, preset, overrides)
    with closing(Subject(case, entry)) as subject, subject.trained(case.seed) as (asked, _, _):
        answers = subject.answers(asked)
    family: Metric = make_metric(metric, MetricOptions(multilabel=case.info.multilabel))
    references = [Reference(s.id, s.patient_id, s.report, s.labels, s.images, s.context) for s in case.test]
    statistics = checked_statistics(family, [answers[each.id] for each in references], references)
    values = family.values(statistics, np.ones((1, len(references))))
    return {name: float(value[0]) for name, value in values.items()}


def check_dataset(dataset: Dataset) -> None:
    """Hold an opened dataset to its contract: every study of every split is read.

    Raises:
        PluginError: what it declares or gives is not what a run expects; names the study.
    """
    info = dataset.info
    for what in ("name", "fingerprint", "licence", "tasks", "image_modalities"):
        if not getattr(info, what):
            raise PluginError(f"dataset {info.name}: its info has no {what}")
    splits = {split: dataset.studies(split) for split in SPLITS}
    for fault in faults(info, splits):
        raise PluginError(f"dataset {info.name}, {fault.where}: {fault.message}", fault.hint)
    for split, studies in splits.items():
        if not studies:
            raise PluginError(f"dataset {info.name}: the {split} split is empty")
        if change := changed(studies, dataset.studies(split)):
            raise PluginError(f"dataset {info.name}, {split}: {change}", "a run reads studies anew")
        for study in studies:
            if wrong := _wrong_in(study, split, dataset):
                raise PluginError(f"dataset {info.name}, {study.id}: {wrong}")


def _wrong_in(study: Study, split: str, dataset: Dataset) -> str:
    """What a study has that its dataset does not declare; empty where all is well."""
    info = dataset.info
    if study.split != split:
        return f"its split is {study.split!r}, not {split!r}"
    if extra := sorted(study.modalities - set(info.modalities)):
        return f"it has modalities that the info does not name: {', '.join(extra)}"
    expected = (info.image_size, info.image_size, info.channels)
    for view, image in study.images.items():
        if image.dtype != np.uint8 or image.shape != expected:
            return f"{view} is {image.dtype} {image.shape}, expected uint8 {expected}"
    if info.label_names and (study.labels is None or study.labels.shape != (len(info.label_names),)):
        return f"its labels are not of shape ({len(info.label_names)},)"
    return ""


def check_metric(metric: Metric, predictions: Sequence[Prediction], references: Sequence[Reference]) -> None:
    """Hold a metric to its contract: signature, statistics, values, bounds, and that order plays no part.

    Args:
        metric: need not be registered.
        predictions: of at least two studies.
        references: of the same studies in the same order.

    Raises:
        PluginError: it breaks its contract; says how.
    """
    rows, n = checked_statistics(metric, predictions, references), len(references)
    weights = np.random.default_rng(0).multinomial(n, [1 / n] * n, size=_RESAMPLES).astype(float)
    values = checked_values(metric, metric.values(rows, weights), _RESAMPLES)
    order = np.random.default_rng(1).permutation(n)
    again = checked_statistics(metric, [predictions[i] for i in order], [references[i] for i in order])
    if not np.allclose(again, rows[order], rtol=1e-9, atol=1e-9, equal_nan=True):
        raise PluginError(f"metric {metric.name}: a study's statistics depend on the order of studies")
    grid = weights.reshape(2, -1, n)
    for output in metric.outputs:
        low, high = output.bounds
        defined = values[output.name][~np.isnan(values[output.name])]
        if ((defined < low - 1e-9) | (defined > high + 1e-9)).any():
            raise PluginError(f"metric {metric.name}: {output.name} leaves its bounds {low:g} to {high:g}")
        if not isinstance(metric, JointMetric):
            reduced = metric.reduce(grid @ rows)[output.name]
            if not np.allclose(np.ravel(reduced), values[output.name], equal_nan=True):
                raise PluginError(f"metric {metric.name}: reduce is not vectorised over leading axes")


def _case(
    method_class: type[Method[Any]], folder: Path, preset: str, overrides: Mapping[str, Any] | None
) -> tuple[Case, Entry]:
    """A method on the example studies."""
    data = ExampleData()
    train, val, test = (data.studies(split) for split in ("train", "val", "test"))
    nothing = DataFiles(frozenset(), frozenset())
    case = Case(*(data, nothing, train, val, test, preset, "cpu", folder), unseen=hidden_reports(data))
    name = method_class.card.name
    return case, Entry(name, name, None, method_class, dict(overrides or {}))
