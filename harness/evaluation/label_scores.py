"""Precision, recall and F1 of every label alone, of report files and of tables of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.core import registry
from harness.core.errors import UnavailableError
from harness.core.metric_options import DEFAULTS, MetricOptions
from harness.core.types import Prediction
from harness.evaluation.label_references import LabelledPair, LabelledPairs
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.probability_files.cells import Values
from harness.evaluation.probability_files.scoring import DEFAULT_READING, references_of, rows_of
from harness.evaluation.probability_files.tables import LabelReading, joined
from harness.evaluation.report_files.in_memory import Texts
from harness.evaluation.report_files.pairing import DEFAULT_READING as DEFAULT_REPORTS
from harness.evaluation.report_files.pairing import PairedReports, ReportReading, paired_reports
from harness.evaluation.score_files import N_RESAMPLES, choose
from harness.metrics.base import checked_statistics
from harness.metrics.clinical.categories import Categorised, category_scores
from harness.metrics.clinical.labels import (
    BLANK,
    LABELS,
    UNCERTAIN,
    LabelF1,
    LabelPrecisionRecall,
    label_statistics,
)
from harness.metrics.diagnosis.decisions import Auroc
from harness.metrics.diagnosis.per_label import per_label
from harness.metrics.diagnosis.probabilities import checked_probabilities
from harness.statistics.bootstrap import BootstrapWeights, blocks, bootstrap_weights, interval, resampled_sums
from harness.statistics.estimate import Estimate

Floats = NDArray[np.float64]
SCORES = ("precision", "recall", "f1")


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label of one family.

    Attributes:
        family: what read or predicted the labels, e.g. ``chexpert_rules_f1``.
        label: its name; of metrics over entities, a category of them.
        positives: studies whose reference has it, uncertain ones as ``uncertain:`` in the signature says.
        called: studies whose prediction has it; None for probabilities.
        scores: precision, recall, F1 and, for probabilities, AUROC and AUPRC. One without a value is NaN:
            precision of a label that is never called, recall of one that never occurs.
        signature: of the family.
        uncertain, blank: studies whose reference is uncertain of it, or does not mention it; None for
            probabilities.
    """

    family: str
    label: str
    positives: int
    called: int | None
    scores: dict[str, Estimate]
    signature: str
    uncertain: int | None = None
    blank: int | None = None


def report_label_scores(
    references: Texts,
    predictions: Texts,
    metrics: Sequence[str] | None = None,
    options: MetricOptions = DEFAULTS,
    reading: ReportReading = DEFAULT_REPORTS,
) -> list[LabelScore]:
    """Labels that are read from reports; arguments as ``score_files.score`` takes them.

    Raises:
        HarnessError: as ``score_files.score``.
        UnavailableError: no family that reads labels can run here.
    """
    reports = paired_reports(references, {"": predictions}, reading)
    failures = MetricFailures()
    chosen, unavailable = choose(metrics, options, failures)
    weights = bootstrap_weights([target.patient_id for target in reports.targets], N_RESAMPLES)
    rows: list[LabelScore] = []
    for choice in chosen:
        metric = choice.metric
        if metrics and isinstance(metric, Categorised):
            rows += category_rows(metric, reports, weights)
        if isinstance(metric, LabelF1) and not isinstance(metric, LabelPrecisionRecall):
            predicted, expected = metric.both_sides(reports.systems[""], reports.targets)
            statistics = label_statistics(predicted, expected, metric.policy)
            pair = LabelledPair(metric.name, predicted, expected, statistics, weights, metric.signature)
            rows += label_rows(pair)
    if not rows:
        reasons = [reason for name, reason in unavailable.items() if name.startswith("chexpert_rules_f1")]
        raise UnavailableError(f"--per-label: {reasons[0] if reasons else 'no metric of labels: name one'}")
    return rows


def category_rows(metric: Categorised, reports: PairedReports, weights: BootstrapWeights) -> list[LabelScore]:
    """One row per category of the entities that a metric compares.

    Precision is how much of the prediction's entities of all studies is matched, recall how much of the
    references', F1 their harmonic mean.
    """
    by_category = metric.by_category(reports.systems[""], reports.targets)
    n, width = len(reports.targets), len(by_category.names)
    flat = by_category.counts.reshape(n, -1)
    values = category_scores(by_category.counts.sum(axis=0))
    samples = category_scores(resampled_sums(flat, weights).reshape(-1, width, 4))
    has = (by_category.counts[..., (1, 3)] > 0).sum(axis=0)
    signature = metric.category_signature
    return [
        LabelScore(
            signature.partition("|")[0],
            name,
            int(has[place, 1]),
            int(has[place, 0]),
            {score: _estimate(values[score][place], samples[score][:, place], n) for score in SCORES},
            signature,
        )
        for place, name in enumerate(by_category.names)
    ]


def label_reference_scores(labelled: LabelledPairs) -> list[LabelScore]:
    """Labels against those of a table, as ``label_references.labelled_pairs`` joined them."""
    return [row for pair in labelled.pairs for row in label_rows(pair)]


def label_rows(pair: LabelledPair) -> list[LabelScore]:
    """One row per label of a family."""
    counts = pair.statistics[:, : 3 * len(LABELS)]
    totals, samples = counts.sum(axis=0), resampled_sums(counts, pair.weights)
    values, replicates = _from_counts(totals[None]), _from_counts(samples)
    tp, fp, fn = totals.reshape(3, len(LABELS))
    uncertain, blank = ((pair.expected == kind).sum(axis=0) for kind in (UNCERTAIN, BLANK))
    return [
        LabelScore(
            pair.family,
            label,
            int(tp[place] + fn[place]),
            int(tp[place] + fp[place]),
            {
                name: _estimate(values[name][0, place], replicates[name][:, place], len(counts))
                for name in SCORES
            },
            pair.signature,
            int(uncertain[place]),
            int(blank[place]),
        )
        for place, label in enumerate(LABELS)
    ]


def probability_label_scores(
    truth: Values, predictions: Values, reading: LabelReading = DEFAULT_READING
) -> list[LabelScore]:
    """Labels that are predicted as probabilities; arguments as ``score_probabilities`` takes them.

    Raises:
        HarnessError: as ``score_probabilities``.
    """
    studies = joined(truth, predictions, reading)
    probabilities, _, _ = checked_probabilities(
        studies.probabilities, studies.truth, studies.multilabel, rows_of(studies)
    )
    metric = registry.make_metric(Auroc.name, MetricOptions(multilabel=studies.multilabel))
    answers = [Prediction(probabilities=row) for row in probabilities]
    statistics = checked_statistics(metric, answers, references_of(studies))
    weights = bootstrap_weights(studies.patients, N_RESAMPLES)
    values = per_label(statistics, np.ones((1, len(statistics))), studies.multilabel)
    parts = [
        per_label(statistics, weights[block], studies.multilabel)
        for block in blocks(len(weights), len(statistics))
    ]
    setting = "multi|present:p>=0.5" if studies.multilabel else "single|class:argmax"
    return [
        LabelScore(
            "diagnosis",
            label,
            int(studies.truth[:, place].sum()),
            None,
            {
                name: _estimate(value[0], np.concatenate([part[place][name] for part in parts]), len(answers))
                for name, value in values[place].items()
            },
            f"per_label|labels:{setting}|impl:harness|v:1",
        )
        for place, label in enumerate(studies.names)
    ]


def _from_counts(totals: Floats) -> dict[str, Floats]:
    """Precision, recall and F1 (B, 14) of sums of ``[TP x 14, FP x 14, FN x 14]`` (B, 42)."""
    tp, fp, fn = np.moveaxis(totals.reshape(len(totals), 3, -1), 1, 0)
    with np.errstate(invalid="ignore"):
        return {
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": np.nan_to_num(2 * tp / (2 * tp + fp + fn)),
        }


def _estimate(value: float, samples: Floats, n: int) -> Estimate:
    """A value with its interval over the resamples in which it exists."""
    defined = samples[~np.isnan(samples)]
    lo, hi = interval(defined) if len(defined) and not np.isnan(value) else (float("nan"), float("nan"))
    return Estimate(float(value), lo, hi, n=n)
