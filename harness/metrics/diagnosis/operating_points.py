"""What probabilities are worth as a test: precision at every recall, sensitivity at high specificity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference
from harness.metrics.base import JointMetric, MetricOutput, Statistics
from harness.metrics.common_labels import signature_part
from harness.metrics.diagnosis.decisions import mean_of_defined, ratio
from harness.metrics.diagnosis.probabilities import Floats, LabelMetric

SPECIFICITY = 0.9
_CELLS = 4_000_000
"""Cells of one block of weights times positive studies: 32 MB of float64."""


class OperatingPoints(LabelMetric, JointMetric):
    """Average precision, and sensitivity at 90 % specificity: means over common findings, or classes.

    * ``auprc_macro_common``: area under the curve of precision over recall as average precision, the sum of
      precisions weighted by the steps of recall (scikit-learn's ``average_precision_score``). A method
      without any skill has the finding's prevalence, not 0.5.
    * ``sensitivity_at_90_specificity``: the largest share of positive studies above a threshold that at most
      a tenth of the negative studies reach (the largest ``tpr`` of scikit-learn's ``roc_curve`` with ``fpr``
      up to 0.1).

    A label without positive studies has neither and is left out; without negative ones it has no sensitivity.
    Statistics are ``[probabilities (L), labels (L)]``.
    """

    name: ClassVar[str] = "operating_points"
    mixed: ClassVar[bool] = False
    mirrored: ClassVar[bool] = True
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("auprc_macro_common"),
        MetricOutput("sensitivity_at_90_specificity"),
    )

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        rules = f"mean:macro|{signature_part(self.labels)}|undefined:skip|ci:basic"
        return f"{self.name}|{self.setting}|{rules}|impl:sklearn|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Probabilities and labels, float64 (n_studies, 2 * L)."""
        return np.concatenate(self.arrays(predictions, references), axis=1)

    def joint(self, statistics: Statistics, weights: Floats) -> dict[str, Floats]:
        """Statistics (n, 2 * L) under each line of ``weights`` (B, n) to values (B,)."""
        width = statistics.shape[1] // 2
        each = [(statistics[:, k], statistics[:, width + k] == 1) for k in self.common(width)]
        precision = [average_precision(scores, positive, weights) for scores, positive in each]
        sensitivity = [sensitivity_at(SPECIFICITY, scores, positive, weights) for scores, positive in each]
        return {
            "auprc_macro_common": mean_of_defined(np.stack(precision, axis=-1)),
            "sensitivity_at_90_specificity": mean_of_defined(np.stack(sensitivity, axis=-1)),
        }


def average_precision(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Average precision (B,) of one label under each line of ``weights`` (B, n).

    Args:
        scores: (n,) probabilities; equal ones share a threshold.
        positive: (n,) whether a study has the label.
        weights: (B, n) how often each study counts.
    """
    # Precision at the threshold of each positive study: what scores at least as much is called.
    levels, level = np.unique(scores[positive], return_inverse=True)
    called = (scores[:, None] >= levels).astype(np.float64)
    step = max(1, _CELLS // max(1, called.size, positive.sum()))
    blocks = [
        _precision(weights[start : start + step], called, positive, level)
        for start in range(0, len(weights), step)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0)


def _precision(
    weights: Floats, called: Floats, positive: NDArray[np.bool_], level: NDArray[np.intp]
) -> Floats:
    own = weights[:, positive]
    precision = np.nan_to_num(ratio(own @ called[positive], weights @ called))
    return ratio((own * precision[:, level]).sum(1), own.sum(1))


def sensitivity_at(
    specificity: float, scores: Floats, positive: NDArray[np.bool_], weights: Floats
) -> Floats:
    """Sensitivity (B,) of one label at a specificity, under each line of ``weights`` (B, n).

    Args:
        specificity: share of negative studies that stay below the threshold, at least.
        scores: (n,) probabilities; equal ones share a threshold.
        positive: (n,) whether a study has the label.
        weights: (B, n) how often each study counts.
    """
    own, others = weights[:, positive], weights[:, ~positive]
    order = np.argsort(-scores[~positive], kind="stable")
    alarms = np.cumsum(others[:, order], axis=1)
    totals = others.sum(1)
    if not order.size or not positive.any():
        return np.full(len(weights), np.nan)
    # The first negative study, from the highest score down, that must not be called.
    share = ratio(alarms, np.broadcast_to(totals[:, None], alarms.shape))
    first = (share > 1.0 - specificity + 1e-12).argmax(axis=1)
    threshold = scores[~positive][order][first]
    sensitivity = ratio((own * (scores[positive] > threshold[:, None])).sum(1), own.sum(1))
    return np.where(totals > 0, sensitivity, np.nan)
