"""Scores of probabilities that any system wrote: no model, no store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.core import registry
from harness.core.errors import PluginError, UnavailableError, UnknownNameError
from harness.core.metric_options import MetricOptions
from harness.core.names import did_you_mean
from harness.core.types import LabelCounts, Prediction, Reference, Task
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.probability_files.cells import Values
from harness.evaluation.probability_files.tables import LabelledStudies, LabelReading, joined
from harness.evaluation.report_files.fields import listed
from harness.evaluation.score_files import N_RESAMPLES, Score, Scores
from harness.metrics.base import Metric, checked_remarks, checked_statistics
from harness.metrics.diagnosis.probabilities import checked_probabilities
from harness.metrics.text.hygiene import Remark
from harness.statistics import bootstrap

DEFAULT_READING = LabelReading()


def score_probabilities(
    truth: Values,
    predictions: Values,
    metrics: Sequence[str] | None = None,
    reading: LabelReading = DEFAULT_READING,
) -> Scores:
    """Score predicted probabilities against labels.

    Args:
        truth: table with a column of ids, optionally one of patients, and a column per label with 0 and 1, or
            one column with the names of exclusive classes.
        predictions: table with a column of ids and a column of probabilities per label.
        metrics: families or single outputs (``auroc``, ``ece``); default all diagnosis metrics that can run
            and choose nothing on validation studies.
        reading: what the tables cannot say.

    Raises:
        HarnessError: as ``tables.joined``; logits or percent; an unknown metric, or none that can run.
    """
    studies = joined(truth, predictions, reading)
    probabilities, _, renormalised = checked_probabilities(
        studies.probabilities, studies.truth, studies.multilabel, rows_of(studies)
    )
    failures = MetricFailures()
    families, unavailable = families_for(studies, metrics, failures)
    references = references_of(studies)
    answers = [Prediction(probabilities=row) for row in probabilities]
    weights = bootstrap.bootstrap_weights(studies.patients, N_RESAMPLES)
    scores: list[Score] = []
    notes: dict[str, str] = {}
    for metric in families:
        with failures.of(metric):
            statistics = checked_statistics(metric, answers, references)
            estimates = bootstrap.estimate(metric, statistics, weights)
            chosen = [
                each for each in metric.outputs if not metrics or {metric.name, each.name} & set(metrics)
            ]
            for each in chosen:
                estimate, higher = estimates[each.name], each.higher_is_better
                scores.append(Score(each.name, estimate, metric.signature, metric.group, higher))
            lines = checked_remarks(metric, statistics)
            undefined = [each.name for each in chosen if np.isnan(estimates[each.name].value)]
            notes |= dict.fromkeys(undefined, _UNDEFINED)
            notes |= {each.name: lines[each.name] for each in chosen if each.name in lines}
    remarks = (*remarks_of(studies, renormalised), *_on_probabilities(studies.ids, probabilities))
    return Scores(tuple(scores), unavailable, studies.ids, {}, failures.reasons, remarks, notes)


_UNDEFINED = "undefined: no label has both studies with it and studies without it"


def _on_probabilities(ids: tuple[str, ...], probabilities: NDArray[np.float64]) -> list[Remark]:
    """What probabilities look like that are none, or that say nothing."""
    remarks: list[tuple[str, str]] = []
    if len(ids) > 1 and (probabilities == probabilities[0]).all():
        remarks.append(("same", "have the same probabilities"))
    elif np.isin(probabilities, (0.0, 1.0)).all():
        remarks.append(("decisions", "have only probabilities of 0 and 1, as decisions have, or labels"))
    return [Remark(kind, words, len(ids), len(ids), "studies", ids) for kind, words in remarks]


def references_of(studies: LabelledStudies) -> list[Reference]:
    """The studies as metrics get them."""
    return [
        Reference(name, patient, labels=labels)
        for name, patient, labels in zip(studies.ids, studies.patients, studies.truth, strict=True)
    ]


def rows_of(studies: LabelledStudies) -> list[str]:
    """What messages call the studies; ids that are texts are not shown."""
    return [f"study {listed([name])}" for name in studies.ids]


def remarks_of(studies: LabelledStudies, renormalised: NDArray[np.bool_]) -> tuple[Remark, ...]:
    """What was read in another form than it stands."""
    rounded = tuple(studies.ids[index] for index in np.flatnonzero(renormalised))
    predicate = "have probabilities that miss a sum of 1 by rounding: divided by their sum"
    read = [*studies.remarks, ("renormalised", predicate, rounded)]
    total = len(studies.ids)
    return tuple(Remark(kind, words, len(ids), total, "studies", ids) for kind, words, ids in read if ids)


def families_for(
    studies: LabelledStudies, wanted: Sequence[str] | None, failures: MetricFailures
) -> tuple[list[Metric], dict[str, str]]:
    """Families that score probabilities without validation studies, and why others cannot run."""
    positives = tuple(int(count) for count in studies.truth.sum(axis=0))
    options = MetricOptions(multilabel=studies.multilabel, labels=LabelCounts(studies.names, positives))
    families: list[Metric] = []
    for name in registry.names("metrics"):
        try:
            metric: Metric = registry.make_metric(name, options)
        except PluginError as error:
            if wanted and name in wanted:
                failures.reasons[name] = str(error)
            continue
        if metric.task is Task.DIAGNOSE and not metric.uses_validation:
            families.append(metric)
    names = {each for one in families for each in (one.name, *(output.name for output in one.outputs))}
    for name in wanted or ():
        if name not in names and name not in failures:
            raise UnknownNameError(
                f"--metrics {name}: no such metric of probabilities", did_you_mean(name, names)
            )
    chosen = [
        one
        for one in families
        if (not wanted and not one.on_request)
        or {one.name, *(each.name for each in one.outputs)} & set(wanted or ())
    ]
    reasons = {one.name: reason for one in chosen if (reason := one.unavailable())}
    if wanted and chosen and len(reasons) == len(chosen):
        name, reason = next(iter(reasons.items()))
        raise UnavailableError(f"--metrics {name}: {reason}")
    unavailable = {
        output.name: reasons[one.name] for one in chosen if one.name in reasons for output in one.outputs
    }
    return [one for one in chosen if one.name not in reasons], unavailable
