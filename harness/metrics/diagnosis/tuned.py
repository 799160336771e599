"""Macro F1 with a threshold per finding that was chosen on validation studies."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import ClassVar

import numpy as np

from harness.core.errors import HarnessError
from harness.core.types import LabelCounts, Prediction, Reference
from harness.metrics.base import MetricOutput, Statistics
from harness.metrics.common_labels import common_remark, signature_part
from harness.metrics.diagnosis.decisions import THRESHOLD, call_counts, counts_of, ratio
from harness.metrics.diagnosis.probabilities import Floats, LabelMetric, checked_judgements
from harness.metrics.diagnosis.temperature import PROBABILITIES


class TunedF1(LabelMetric):
    """``f1_macro_tuned``: macro F1 over common findings, each called from its own threshold upwards.

    A rare finding seldom reaches probability 0.5, so F1 at that threshold says more about prevalence than
    about what a method knows. The threshold of a finding is the one with the highest F1 on the validation
    studies (``best_threshold``); the test set has no part in it.
    Statistics are those of ``Diagnosis``.
    """

    name: ClassVar[str] = "diagnosis_tuned"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("f1_macro_tuned"),)
    uses_validation: ClassVar[bool] = True

    def __init__(self, multilabel: bool = True, labels: LabelCounts | None = None) -> None:
        super().__init__(multilabel, labels)
        self.thresholds: tuple[float, ...] = ()

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        rule = "present:p>=threshold-of-best-validation-f1"
        return f"{self.name}|{self.setting}|{rule}|zero:0|{signature_part(self.labels)}|impl:sklearn|v:1"

    def unavailable(self) -> str | None:
        """Exclusive classes have no thresholds."""
        return (
            None if self.multilabel else "exclusive classes have no thresholds: the most probable is chosen"
        )

    def fitted(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> TunedF1:
        """The metric with thresholds from predictions for validation studies."""
        probabilities, labels = self.arrays(predictions, references)
        tuned = copy(self)
        tuned.thresholds = tuple(map(best_threshold, probabilities.T, labels.T))
        return tuned

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Counts per study, float64 (n_studies, 3 * L + 2).

        Raises:
            HarnessError: no thresholds were chosen before.
        """
        probabilities, labels = self.arrays(predictions, references)
        if len(self.thresholds) != labels.shape[1]:
            raise HarnessError(
                f"{self.name}: no thresholds", "call fitted() with validation predictions first"
            )
        return call_counts(probabilities >= np.array(self.thresholds), labels == 1)

    def reduce(self, totals: Statistics) -> dict[str, Floats]:
        """Summed statistics (..., 3 * L + 2) to F1 (...)."""
        tp, fp, fn = counts_of(totals)
        f1 = np.nan_to_num(ratio(2 * tp, 2 * tp + fp + fn))
        return {"f1_macro_tuned": f1[..., self.common(f1.shape[-1])].mean(-1)}

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """Which labels the average leaves out."""
        remark = common_remark(self.labels) if self.labels else ""
        return {"f1_macro_tuned": remark} if remark else {}


def best_threshold(probabilities: Floats, labels: Floats) -> float:
    """The threshold with the highest F1 of one finding, from probabilities (n,) and labels (n,).

    It lies half-way in log odds between the lowest probability that is called and the highest that is not:
    no study's own probability, and the same choice after a change of temperature. Of thresholds with equal
    F1 the highest is taken; without a positive study, 0.5.

    Raises:
        InvalidValuesError: logits, percent, NaN, labels other than 0 and 1, other shapes, or nothing.
    """
    probabilities, labels, _ = checked_judgements(probabilities, labels)
    if not labels.any():
        return THRESHOLD
    levels, place = np.unique(probabilities, return_inverse=True)
    positive = np.bincount(place, labels, minlength=len(levels))
    called = np.cumsum(np.bincount(place, minlength=len(levels))[::-1])[::-1]
    correct = np.cumsum(positive[::-1])[::-1]
    f1 = 2 * correct / (called + labels.sum())
    best = len(levels) - 1 - int(np.argmax(f1[::-1]))
    if not best:
        return 0.0
    below, lowest = levels[best - 1], levels[best]
    safe = np.clip([below, lowest], *PROBABILITIES)
    odds = float(np.sqrt(np.prod(safe / (1.0 - safe))))
    return float(np.clip(odds / (1.0 + odds), np.nextafter(below, 1.0), lowest))
