"""Accuracy, F1, Cohen's kappa, Matthews' coefficient and AUROC of class or finding probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.types import LabelCounts, Prediction, Reference
from harness.metrics.base import JointMetric, MetricOutput, Statistics
from harness.metrics.common_labels import signature_part
from harness.metrics.diagnosis.probabilities import Floats, LabelMetric

THRESHOLD = 0.5

_BLOCK_CELLS = 2_000_000
"""Cells of one block of weights: 16 MB of float64, of which AUROC holds about six at a time."""


class Diagnosis(LabelMetric):
    """Decisions against labels, with scikit-learn's definitions.

    Exclusive classes: the decision is the most probable class; statistics are flattened confusion matrices
    (n, C * C). Independent findings: a finding is called present from probability 0.5 upwards; statistics are
    ``[TP (L), FP (L), FN (L), all findings right, 1]``.

    * ``subset_accuracy`` (findings): share of studies in which every finding is right.
    * ``accuracy`` (classes): share of studies decided rightly.
    * ``f1_micro`` (findings): F1 of all findings of all studies together.
    * ``f1_macro``: mean F1. A finding that neither occurs nor is called scores 0 (``zero_division=0``); a
      class that neither occurs nor is chosen is left out, as in scikit-learn without ``labels``.
    * ``f1_macro_common``: the same mean over common labels (``common_labels``).
    * ``kappa``: Cohen's, unweighted (Cohen 1960); the mean over common findings for which it is defined.
    * ``mcc``: Matthews' correlation coefficient (Matthews 1975), of several classes (Gorodkin 2004), or of
      all findings of all studies together. 0 where it is undefined.

    Where nothing is defined the value is NaN.
    """

    name: ClassVar[str] = "diagnosis"
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("subset_accuracy"),
        MetricOutput("f1_micro"),
        MetricOutput("f1_macro"),
        MetricOutput("f1_macro_common"),
        MetricOutput("kappa", bounds=(-1.0, 1.0)),
        MetricOutput("mcc", bounds=(-1.0, 1.0)),
    )

    def __init__(self, multilabel: bool = True, labels: LabelCounts | None = None) -> None:
        super().__init__(multilabel, labels)
        if not multilabel:  # F1 over all classes together is the accuracy
            self.outputs = (MetricOutput("accuracy"), *self.outputs[2:])

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        rule = f"present:p>={THRESHOLD:g}" if self.multilabel else "class:argmax"
        common = signature_part(self.labels)
        return f"{self.name}|{self.setting}|{rule}|zero:0|{common}|impl:sklearn|v:3"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Counts per study, float64 (n_studies, C * C) or (n_studies, 3 * L + 2)."""
        probabilities, labels = self.arrays(predictions, references)
        n, width = labels.shape
        if not self.multilabel:
            cell = labels.argmax(1) * width + probabilities.argmax(1)
            statistics = np.zeros((n, width * width))
            statistics[np.arange(n), cell] = 1.0
            return statistics
        return call_counts(probabilities >= THRESHOLD, labels == 1)

    def reduce(self, totals: Statistics) -> dict[str, Floats]:
        """Summed statistics (..., k) to values (...) per output."""
        if self.multilabel:
            return _findings(totals, self.common((totals.shape[-1] - 2) // 3))
        return _classes(totals, self.common(isqrt(totals.shape[-1])))

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """Which labels the averages over common labels leave out, and which rare ones the other includes."""
        return self.macro_remarks("f1_macro")


def call_counts(called: NDArray[np.bool_], true: NDArray[np.bool_]) -> Statistics:
    """``[TP (L), FP (L), FN (L), all right, 1]`` of findings called and true, (n, L) each."""
    exact = (called == true).all(1, keepdims=True)
    counts = [called & true, called & ~true, ~called & true, exact, np.ones_like(exact)]
    return np.concatenate(counts, axis=1).astype(np.float64)


def _classes(totals: Statistics, common: NDArray[np.intp]) -> dict[str, Floats]:
    """Scores of summed confusion matrices, true class by chosen class."""
    width = isqrt(totals.shape[-1])
    confusion = totals.reshape(*totals.shape[:-1], width, width)
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    decided, true = confusion.sum(-2), confusion.sum(-1)
    agreed, chance, n = right.sum(-1), (decided * true).sum(-1), true.sum(-1)
    f1 = ratio(2 * right, decided + true)
    spread = (n * n - (decided**2).sum(-1)) * (n * n - (true**2).sum(-1))
    return {
        "accuracy": ratio(agreed, n),
        "f1_macro": mean_of_defined(f1),
        "f1_macro_common": mean_of_defined(f1[..., common]),
        "kappa": _kappa(agreed, chance, n),
        "mcc": _correlation(agreed * n - chance, spread),
    }


def _findings(totals: Statistics, common: NDArray[np.intp]) -> dict[str, Floats]:
    """Scores of summed ``[TP, FP, FN, exact, n]``."""
    tp, fp, fn = counts_of(totals)
    exact, n = totals[..., -2], totals[..., -1]
    each = np.broadcast_to(n[..., None], tp.shape)
    tn = each - tp - fp - fn
    chance = (tp + fp) * (tp + fn) + (tn + fn) * (tn + fp)
    f1 = np.nan_to_num(ratio(2 * tp, 2 * tp + fp + fn))
    correct, wrong, missed, right = (cell.sum(-1) for cell in (tp, fp, fn, tn))
    called, true = correct + wrong, correct + missed
    pooled = called * true * (right + wrong) * (right + missed)
    return {
        "subset_accuracy": ratio(exact, n),
        "f1_micro": np.nan_to_num(ratio(2 * correct, called + true)),
        "f1_macro": f1.mean(-1),
        "f1_macro_common": f1[..., common].mean(-1),
        "kappa": mean_of_defined(_kappa(tp + tn, chance, each)[..., common]),
        "mcc": _correlation(correct * right - wrong * missed, pooled),
    }


def counts_of(totals: Statistics) -> tuple[Floats, Floats, Floats]:
    """TP, FP and FN, (..., L) each, of summed ``call_counts`` (..., 3 L + 2)."""
    width = (totals.shape[-1] - 2) // 3
    tp, fp, fn = (totals[..., part * width : (part + 1) * width] for part in range(3))
    return tp, fp, fn


def _correlation(covariance: Floats, spread: Floats) -> Floats:
    """Matthews' coefficient; 0 where one side has one outcome only, as in scikit-learn."""
    return np.nan_to_num(ratio(covariance, np.sqrt(spread)))


def _kappa(agreed: Floats, chance: Floats, n: Floats) -> Floats:
    """Cohen's kappa from the number of agreements and the sum of products of marginal counts.

    As one minus a ratio of disagreements: counts are whole numbers, so the undefined case is an exact 0 / 0.
    """
    expected = n * n - chance
    kappa: Floats = 1.0 - ratio((n - agreed) * n, expected)
    return kappa


def ratio(above: Floats, below: Floats) -> Floats:
    """Quotient, NaN where the denominator is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def mean_of_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is left."""
    return ratio(np.nansum(values, axis=-1), (~np.isnan(values)).sum(-1).astype(np.float64))


class Auroc(LabelMetric, JointMetric):
    """Area under the ROC curve: mean over findings, or over classes against the rest.

    A tie counts one half (Hanley & McNeil 1982). A label of which only one outcome occurs has no ROC curve
    and is left out of the mean; the value is NaN where that leaves none. ``auroc_macro_common`` is the mean
    over common labels (``common_labels``). Statistics are ``[probabilities (L), labels (L)]``.
    """

    per_mask: ClassVar[bool] = True
    name: ClassVar[str] = "auroc"
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("auroc_macro"),
        MetricOutput("auroc_macro_common"),
    )

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        rules = f"mean:macro|ties:half|undefined:skip|{signature_part(self.labels)}"
        return f"{self.name}|{self.setting}|{rules}|impl:sklearn|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Probabilities and labels, float64 (n_studies, 2 * L)."""
        return np.concatenate(self.arrays(predictions, references), axis=1)

    def joint(self, statistics: Statistics, weights: Floats) -> dict[str, Floats]:
        """Statistics (n, 2 * L) under each line of ``weights`` (B, n) to values (B,)."""
        width = statistics.shape[1] // 2
        wins, pairs = np.empty((2, len(weights), width))
        for label in range(width):
            scores, positive = statistics[:, label], statistics[:, width + label] == 1
            wins[:, label], pairs[:, label] = pair_wins(scores, positive, weights)
        areas = ratio(wins, pairs)
        return {
            "auroc_macro": mean_of_defined(areas),
            "auroc_macro_common": mean_of_defined(areas[:, self.common(width)]),
        }

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """Which labels the average over common labels leaves out, and which rare ones the other includes."""
        return self.macro_remarks("auroc_macro")


def pair_wins(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """Weight of the pairs in which the positive study scores higher, and of all pairs with a negative one.

    Both (B,) under lines of ``weights`` (B, n); their ratio is the AUROC of one label. A tie is half a win.
    """
    up, down = positive.nonzero()[0], (~positive).nonzero()[0]
    up = up[scores[up].argsort(kind="stable")]
    ordered, negative = scores[up], scores[down]
    lower, not_lower = ordered.searchsorted(negative, "left"), ordered.searchsorted(negative, "right")
    wins, pairs = np.empty((2, len(weights)))
    step = max(1, _BLOCK_CELLS // max(1, len(scores)))
    for start in range(0, len(weights), step):
        some = weights[start : start + step]
        below, until = some.take(down, axis=1), np.zeros((len(some), len(up) + 1))
        some.take(up, axis=1).cumsum(axis=1, out=until[:, 1:])
        passed = until.take(lower, axis=1)
        passed += until.take(not_lower, axis=1)
        pairs[start : start + step] = until[:, -1] * below.sum(1)
        wins[start : start + step] = -0.5 * np.einsum("bj,bj->b", passed, below)
    return pairs + wins, pairs
