"""Every score of every label by itself: what averages over labels are made of."""

from __future__ import annotations

import numpy as np

from harness.metrics.base import Statistics
from harness.metrics.diagnosis.decisions import THRESHOLD, pair_wins, ratio
from harness.metrics.diagnosis.operating_points import average_precision
from harness.metrics.diagnosis.probabilities import Floats

LABEL_SCORES = ("precision", "recall", "f1", "auroc", "auprc")


def per_label(statistics: Statistics, weights: Floats, multilabel: bool) -> list[dict[str, Floats]]:
    """Scores of each label, each (B,), under each line of ``weights`` (B, n).

    A label is called as ``Diagnosis`` does. Recall of a label that does not occur is NaN, and so is precision
    of one that is never called; F1 is 0 where a label neither occurs nor is called.

    Args:
        statistics: of ``Auroc``, ``[probabilities (L), labels (L)]``.
        weights: (B, n) how often each study counts.
        multilabel: labels are independent findings.
    """
    width = statistics.shape[1] // 2
    probabilities, true = statistics[:, :width], statistics[:, width:] == 1
    if multilabel:
        called = probabilities >= THRESHOLD
    else:
        called = np.arange(width) == probabilities.argmax(1)[:, None]
    both, calls, occurs = (weights @ each.astype(np.float64) for each in (called & true, called, true))
    precision, recall = ratio(both, calls), ratio(both, occurs)
    f1 = np.nan_to_num(ratio(2 * both, calls + occurs))
    return [
        {
            "precision": precision[:, label],
            "recall": recall[:, label],
            "f1": f1[:, label],
            "auroc": ratio(*pair_wins(probabilities[:, label], true[:, label], weights)),
            "auprc": average_precision(probabilities[:, label], true[:, label], weights),
        }
        for label in range(width)
    ]
