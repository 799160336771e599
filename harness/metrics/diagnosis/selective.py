"""Selective diagnosis: how wrong a method is on the studies that it is most sure of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from harness.core.types import Prediction, Reference
from harness.metrics.base import JointMetric, MetricOutput, Statistics
from harness.metrics.diagnosis.decisions import THRESHOLD
from harness.metrics.diagnosis.probabilities import Floats, LabelMetric

COVERAGES = np.arange(1, 21) / 20
"""Shares of the test studies at which a risk-coverage curve is kept."""


class RiskCoverage(LabelMetric, JointMetric):
    """``aurc``: the area under the risk-coverage curve (Geifman & El-Yaniv 2017; Geifman et al. 2019).

    Studies are sorted by confidence, and the risk at coverage c is the mean error of the first share c of
    them. The area is the mean of the risk over all coverages; a method whose confidence says nothing has its
    error rate. Exclusive classes: confidence is the largest probability, the error 0 or 1. Findings: a
    study's confidence is the mean over findings of the larger of p and 1 - p, its error the share of findings
    that are called wrongly. Studies of equal confidence come in together. Statistics are
    ``[confidence, error]``.
    """

    name: ClassVar[str] = "risk_coverage"
    mixed: ClassVar[bool] = False
    outputs: tuple[MetricOutput, ...] = (MetricOutput("aurc", higher_is_better=False),)

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        error = "hamming|confidence:mean-max(p,1-p)" if self.multilabel else "zero-one|confidence:max-p"
        return f"{self.name}|{self.setting}|error:{error}|ties:together|impl:harness|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Confidence and error of each study, float64 (n_studies, 2)."""
        probabilities, labels = self.arrays(predictions, references)
        if self.multilabel:
            confidence = np.maximum(probabilities, 1.0 - probabilities).mean(axis=1)
            error = ((probabilities >= THRESHOLD) != (labels == 1)).mean(axis=1)
        else:
            confidence = probabilities.max(axis=1)
            error = (probabilities.argmax(axis=1) != labels.argmax(axis=1)).astype(np.float64)
        return np.stack([confidence, error], axis=1)

    def joint(self, statistics: Statistics, weights: Floats) -> dict[str, Floats]:
        """Statistics (n, 2) under each line of ``weights`` (B, n) to areas (B,)."""
        coverage, risk = coverage_curves(statistics, weights)
        steps = np.diff(coverage, axis=1, prepend=0.0)
        return {"aurc": (steps * np.nan_to_num(risk)).sum(axis=1)}


def risk_at_coverages(statistics: Statistics) -> list[float]:
    """Risk (len(COVERAGES),) of statistics (n, 2) of ``RiskCoverage``, at the next coverage that exists."""
    coverage, risk = coverage_curves(statistics, np.ones((1, len(statistics))))
    place = np.searchsorted(coverage[0], COVERAGES - 1e-9)
    return [float(each) for each in risk[0][np.minimum(place, len(risk[0]) - 1)]]


def coverage_curves(statistics: Statistics, weights: Floats) -> tuple[Floats, Floats]:
    """Coverage and risk, (B, levels) each, from the highest confidence down; risk of nothing is NaN."""
    counted = weights.any(axis=0)
    order = np.flatnonzero(counted)[np.argsort(-statistics[counted, 0], kind="stable")]
    confidence, error, ordered = statistics[order, 0], statistics[order, 1], weights[:, order]
    last = np.append(np.flatnonzero(confidence[1:] != confidence[:-1]), len(order) - 1)
    count = np.cumsum(ordered, axis=1)[:, last]
    wrong = np.cumsum(ordered * error, axis=1)[:, last]
    risk = np.divide(wrong, count, out=np.full(count.shape, np.nan), where=count > 0)
    coverage = np.divide(count, count[:, -1:], out=np.zeros_like(count), where=count[:, -1:] > 0)
    return coverage, risk
