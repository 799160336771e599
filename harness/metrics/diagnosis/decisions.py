"""Accuracy, macro F1, Cohen's kappa and macro AUROC of class or finding probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference
from harness.metrics.base import JointMetric, MetricOutput, Statistics
from harness.metrics.diagnosis.probabilities import Floats, LabelMetric

THRESHOLD = 0.5

_BLOCK_CELLS = 2_000_000
"""Cells of one block of weights: 16 MB of float64, of which AUROC holds about six at a time."""

_PAIR_CELLS = 2_000_000
"""Largest table of positive and negative studies, 16 MB of float64; longer lists are sorted instead."""


class Diagnosis(LabelMetric):
    """Decisions against labels, with scikit-learn's definitions.

    Exclusive classes: the decision is the most probable class; statistics are flattened confusion matrices
    (n, C * C). Independent findings: a finding is called present from probability 0.5 upwards; statistics are
    ``[TP (L), FP (L), FN (L), all findings right, 1]``.

    * ``accuracy``: share of studies decided rightly, for findings in all of them (subset accuracy).
    * ``f1_macro``: mean F1. A finding that neither occurs nor is called scores 0 (``zero_division=0``); a
      class that neither occurs nor is chosen is left out, as in scikit-learn without ``labels``.
    * ``kappa``: Cohen's, unweighted (Cohen 1960); the mean over findings for which it is defined.

    Where nothing is defined the value is NaN.
    """

    name: ClassVar[str] = "diagnosis"
    outputs: ClassVar[tuple[MetricOutput, ...]] = (
        MetricOutput("accuracy"),
        MetricOutput("f1_macro"),
        MetricOutput("kappa", bounds=(-1.0, 1.0)),
    )

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        rule = f"present:p>={THRESHOLD:g}" if self.multilabel else "class:argmax"
        return f"{self.name}|{self.setting}|{rule}|zero:0|impl:sklearn|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Counts per study, float64 (n_studies, C * C) or (n_studies, 3 * L + 2)."""
        probabilities, labels = self.arrays(predictions, references)
        n, width = labels.shape
        if not self.multilabel:
            cell = labels.argmax(1) * width + probabilities.argmax(1)
            statistics = np.zeros((n, width * width))
            statistics[np.arange(n), cell] = 1.0
            return statistics
        called, true = probabilities >= THRESHOLD, labels == 1
        exact = (called == true).all(1, keepdims=True)
        counts = [called & true, called & ~true, ~called & true, exact, np.ones((n, 1), dtype=bool)]
        return np.concatenate(counts, axis=1).astype(np.float64)

    def reduce(self, totals: Statistics) -> dict[str, Floats]:
        """Summed statistics (..., k) to values (...) per output."""
        return _findings(totals) if self.multilabel else _classes(totals)


def _classes(totals: Statistics) -> dict[str, Floats]:
    """Scores of summed confusion matrices, true class by chosen class."""
    width = isqrt(totals.shape[-1])
    confusion = totals.reshape(*totals.shape[:-1], width, width)
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    decided, true = confusion.sum(-2), confusion.sum(-1)
    n = true.sum(-1)
    f1 = _ratio(2 * right, decided + true)
    return {
        "accuracy": _ratio(right.sum(-1), n),
        "f1_macro": _mean_of_defined(f1),
        "kappa": _kappa(right.sum(-1), (decided * true).sum(-1), n),
    }


def _findings(totals: Statistics) -> dict[str, Floats]:
    """Scores of summed ``[TP, FP, FN, exact, n]``."""
    width = (totals.shape[-1] - 2) // 3
    tp, fp, fn = (totals[..., part * width : (part + 1) * width] for part in range(3))
    exact, n = totals[..., -2], totals[..., -1]
    each = np.broadcast_to(n[..., None], tp.shape)
    agreed = each - fp - fn
    chance = (tp + fp) * (tp + fn) + (each - tp - fp) * (each - tp - fn)
    return {
        "accuracy": _ratio(exact, n),
        "f1_macro": np.nan_to_num(_ratio(2 * tp, 2 * tp + fp + fn)).mean(-1),
        "kappa": _mean_of_defined(_kappa(agreed, chance, each)),
    }


def _kappa(agreed: Floats, chance: Floats, n: Floats) -> Floats:
    """Cohen's kappa from the number of agreements and the sum of products of marginal counts.

    As one minus a ratio of disagreements: counts are whole numbers, so the undefined case is an exact 0 / 0.
    """
    expected = n * n - chance
    kappa: Floats = 1.0 - _ratio((n - agreed) * n, expected)
    return kappa


def _ratio(above: Floats, below: Floats) -> Floats:
    """Quotient, NaN where the denominator is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _mean_of_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is left."""
    return _ratio(np.nansum(values, axis=-1), (~np.isnan(values)).sum(-1).astype(np.float64))


class Auroc(LabelMetric, JointMetric):
    """Area under the ROC curve: mean over findings, or over classes against the rest.

    A tie counts one half (Hanley & McNeil 1982). A label of which only one outcome occurs has no ROC curve
    and is left out of the mean; the value is NaN where that leaves none. Statistics are
    ``[probabilities (L), labels (L)]``.
    """

    name: ClassVar[str] = "auroc"
    outputs: ClassVar[tuple[MetricOutput, ...]] = (MetricOutput("auroc_macro"),)

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return f"{self.name}|{self.setting}|mean:macro|ties:half|undefined:skip|impl:sklearn|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Probabilities and labels, float64 (n_studies, 2 * L)."""
        return np.concatenate(self.arrays(predictions, references), axis=1)

    def joint(self, statistics: Statistics, weights: Floats) -> dict[str, Floats]:
        """Statistics (n, 2 * L) under each line of ``weights`` (B, n) to values (B,)."""
        width = statistics.shape[1] // 2
        each = [
            _area(statistics[:, label], statistics[:, width + label] == 1, weights) for label in range(width)
        ]
        return {"auroc_macro": _mean_of_defined(np.stack(each, axis=-1))}


def _area(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """AUROC (B,) of one label under each line of ``weights`` (B, n)."""
    up, down = scores[positive], scores[~positive]
    if up.size * down.size <= _PAIR_CELLS:
        # A table of all pairs: what B resamples ask of it is one matrix product.
        wins = (up[:, None] > down) + 0.5 * (up[:, None] == down)
        above, below = weights[:, positive], weights[:, ~positive]
        return _ratio(((above @ wins) * below).sum(1), above.sum(1) * below.sum(1))
    ranked = _ranked(scores, positive)
    step = max(1, _BLOCK_CELLS // max(1, len(scores)))
    blocks = [_areas(*ranked, weights[start : start + step]) for start in range(0, len(weights), step)]
    return np.concatenate(blocks) if blocks else np.empty(0)


def _ranked(
    scores: Floats, positive: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.intp]]:
    """Order of rising scores (n,), which are positive in that order (n,), where each run of ties starts."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return order, positive[order], starts


def _areas(
    order: NDArray[np.intp], positive: NDArray[np.bool_], starts: NDArray[np.intp], weights: Floats
) -> Floats:
    """AUROC (B,) of one label: the weighted share of pairs in which the positive study scores higher."""
    ordered = weights[:, order]
    up = np.add.reduceat(np.where(positive, ordered, 0.0), starts, axis=1)
    down = np.add.reduceat(np.where(positive, 0.0, ordered), starts, axis=1)
    below = np.cumsum(down, axis=1) - 0.5 * down
    return _ratio((up * below).sum(1), up.sum(1) * down.sum(1))
