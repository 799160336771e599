"""Calibration: do events forecast with probability p happen in a share p of cases?

Bins are half-open, [lo, hi), and the last one is closed, so a confidence on an inner edge belongs to the bin
above it. This is what netcal does; the other convention moves ECE by tenths where confidences sit on edges.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError, InvalidValuesError
from harness.core.types import Prediction, Reference
from harness.metrics.base import JointMetric, MetricOutput, Statistics
from harness.metrics.diagnosis.probabilities import (
    Floats,
    LabelMetric,
    checked_confidences,
    checked_judgements,
    checked_probabilities,
    renormalised,
)

BINS = 15
Binning = Literal["width", "mass"]

_BLOCK_CELLS = 2_000_000
"""Cells of one block of weights: 16 MB of float64, of which equal-mass bins hold about four at a time."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """The points of a reliability diagram.

    Attributes:
        edges: (bins + 1,) from 0 to 1.
        count: (bins,) weight of the judgements in each bin.
        confidence: (bins,) mean confidence, NaN in an empty bin.
        accuracy: (bins,) share that came true, NaN in an empty bin.
        binning: bins of equal width or of equal mass.
    """

    edges: Floats
    count: Floats
    confidence: Floats
    accuracy: Floats
    binning: Binning

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of accuracy from confidence, weighted by count."""
        gap = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float((gap * self.count).sum() / self.count.sum())


def reliability(
    confidence: Floats,
    correct: Floats,
    bins: int = BINS,
    binning: Binning = "width",
    weights: Floats | None = None,
) -> Reliability:
    """Bin judgements by confidence.

    Args:
        confidence: (n,) in [0, 1], e.g. from ``judgements``.
        correct: (n,) 1 where it came true, else 0.
        bins: number of bins.
        binning: of equal width, or of equal mass (edges at the quantiles of ``confidence``).
        weights: (n,) how often each judgement counts; once by default.

    Raises:
        InvalidValuesError: logits, percent, NaN, outcomes other than 0 and 1, other shapes, nothing, or no
            such bins.
    """
    if binning not in get_args(Binning):
        raise InvalidValuesError(f"binning {binning!r}", f"one of {', '.join(get_args(Binning))}")
    confidence, correct, weight = checked_judgements(confidence, correct, weights)
    edges = width_edges(bins) if binning == "width" else mass_edges(confidence, weight, bins)
    index = bin_index(confidence, edges)
    count, sure, true = (
        np.bincount(index, values, minlength=bins)
        for values in (weight, weight * confidence, weight * correct)
    )
    empty = np.full(bins, np.nan)
    mean_confidence = np.divide(sure, count, out=empty.copy(), where=count > 0)
    accuracy = np.divide(true, count, out=empty, where=count > 0)
    return Reliability(edges, count.astype(np.float64), mean_confidence, accuracy, binning)


def judgements(probabilities: Floats, labels: Floats, multilabel: bool) -> tuple[Floats, Floats]:
    """What a reliability diagram bins: confidences and whether each came true, both (n, m).

    Exclusive classes give one judgement per study, the probability of the chosen class. Findings give one per
    finding, the probability that it is present: pooling them asks whether "30 %" means 30 % whatever the
    finding.

    Raises:
        InvalidValuesError: as ``checked_probabilities``. Rows that it renormalises are counted in a warning.
    """
    probabilities, labels, rounded = checked_probabilities(probabilities, labels, multilabel)
    if rounded.any():
        warnings.warn(renormalised(rounded), stacklevel=2)
    if multilabel:
        return probabilities, labels
    classes = probabilities.argmax(1)[:, None]
    return np.take_along_axis(probabilities, classes, 1), np.take_along_axis(labels, classes, 1)


def width_edges(bins: int) -> Floats:
    """Edges (bins + 1,) of bins of equal width.

    Raises:
        InvalidValuesError: fewer than one bin, or no whole number of them.
    """
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1:
        raise InvalidValuesError(f"bins must be at least 1 and whole, got {bins}")
    return np.linspace(0.0, 1.0, bins + 1)


def mass_edges(confidence: Floats, weights: Floats, bins: int) -> Floats:
    """Edges (bins + 1,) of bins of equal mass: NumPy's linear quantiles of ``confidence``, 0 and 1 outermost.

    A confidence of weight w counts as w copies. Interpolated quantiles of a doubled sample are not those of
    the sample, so unlike everything else here equal-mass bins may shift where all weights are doubled.

    Raises:
        InvalidValuesError: as ``reliability``.
    """
    confidence, _, weights = checked_judgements(confidence, np.zeros(np.shape(confidence)), weights)
    weighted = weights > 0
    order = np.argsort(confidence[weighted], kind="stable")
    cumulated = np.cumsum(weights[weighted][order])
    edges: Floats = _sorted_mass_edges(confidence[weighted][order], cumulated[None], bins)[0]
    return edges


def _sorted_mass_edges(confidence: Floats, cumulated: Floats, bins: int) -> Floats:
    """Edges (B, bins + 1) of sorted confidences (m,) whose cumulated weights are the lines (B, m)."""
    position = (cumulated[:, -1:] - 1.0) * width_edges(bins)
    before = np.floor(position)
    share = position - before
    places = [
        np.searchsorted(line, at, side="right")
        for line, at in zip(cumulated, np.concatenate([before, before + 1], axis=1), strict=True)
    ]
    values = confidence[np.minimum(np.array(places, dtype=np.intp), len(confidence) - 1)]
    low, high = values[:, : bins + 1], values[:, bins + 1 :]
    # From the nearer end, as NumPy does: a quantile that rounds to the other side of a value changes its bin.
    edges = np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1.0 - share))
    edges[:, 0], edges[:, -1] = 0.0, 1.0
    return edges


def bin_index(confidence: Floats, edges: Floats) -> NDArray[np.intp]:
    """Bin of every confidence, of any shape: [lo, hi), the last bin closed.

    Raises:
        InvalidValuesError: NaN, logits or percent.
    """
    sure = checked_confidences(confidence)
    return np.clip(np.searchsorted(edges, sure, side="right") - 1, 0, len(edges) - 2)


class _Binned(LabelMetric):
    """A calibration error over bins.

    Args:
        multilabel: findings or exclusive classes.
        bins: number of bins.
    """

    name: ClassVar[str]
    recentred: ClassVar[bool] = True

    def __init__(self, multilabel: bool = True, bins: int = BINS) -> None:
        super().__init__(multilabel)
        if bins < 1:
            raise HarnessError(f"bins must be at least 1, got {bins}")
        self.bins = bins

    def _signature(self, over: str, edges: str) -> str:
        binning = f"over:{over}|bins:{self.bins}|edges:{edges}"
        return f"{self.name}|{self.setting}|{binning}|impl:netcal|ci:recentred,less-noise|v:2"

    @property
    def _over(self) -> str:
        return "pooled" if self.multilabel else "top"

    @abstractmethod
    def bins_of(self, statistics: Statistics) -> Floats:
        """Count, confidence and correctness per label and bin of all studies, (L, 3, bins)."""

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """Whether a perfectly calibrated method would often have as large an error."""
        sums = self.bins_of(statistics)
        cannot = _gap(sums).mean() <= _by_chance(sums)
        return {self.name: "cannot be distinguished from perfect calibration"} if cannot else {}


class Ece(_Binned):
    """Expected calibration error of the chosen class, or of all findings pooled (Naeini et al. 2015).

    Statistics are ``[count, sum of confidences, number come true]`` per bin of equal width, (n, 3 * bins).
    """

    name: ClassVar[str] = "ece"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("ece", higher_is_better=False, raised_by="ece_noise"),)

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return self._signature(self._over, "width[lo,hi)")

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Bin sums per study, float64 (n_studies, 3 * bins)."""
        confidence, correct = judgements(*self.arrays(predictions, references), self.multilabel)
        return _bin_sums(confidence, correct, self.bins).sum(axis=1).reshape(len(confidence), -1)

    def bins_of(self, statistics: Statistics) -> Floats:
        """Sums over studies and findings, (1, 3, bins)."""
        return statistics.sum(axis=0).reshape(1, 3, self.bins)

    def reduce(self, totals: Statistics) -> dict[str, Floats]:
        """Summed statistics (..., 3 * bins) to ECE (...); NaN of nothing."""
        sums = totals.reshape(*totals.shape[:-1], 1, 3, self.bins)
        return {"ece": _gap(sums).mean(-1), "ece_noise": _noise(sums)}


class ClasswiseEce(_Binned):
    """Mean over classes, or findings, of the calibration error of their own probability (Kull et al. 2019).

    Statistics are the bin sums of ``Ece`` for every class, (n, n_labels * 3 * bins).
    """

    name: ClassVar[str] = "ece_classwise"
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("ece_classwise", higher_is_better=False, raised_by="ece_classwise_noise"),
    )

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return self._signature("each", "width[lo,hi)")

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Bin sums per study and label, float64 (n_studies, n_labels * 3 * bins)."""
        probabilities, labels = self.arrays(predictions, references)
        return _bin_sums(probabilities, labels, self.bins).reshape(len(probabilities), -1)

    def bins_of(self, statistics: Statistics) -> Floats:
        """Sums over studies, (n_labels, 3, bins)."""
        return statistics.sum(axis=0).reshape(-1, 3, self.bins)

    def reduce(self, totals: Statistics) -> dict[str, Floats]:
        """Summed statistics (..., n_labels * 3 * bins) to values (...)."""
        sums = totals.reshape(*totals.shape[:-1], -1, 3, self.bins)
        return {"ece_classwise": _gap(sums).mean(-1), "ece_classwise_noise": _noise(sums)}


def _bin_sums(confidence: Floats, correct: Floats, bins: int) -> Floats:
    """Count, confidence and correctness of judgements (n, m), each in its bin: (n, m, 3, bins)."""
    sums = np.zeros((*confidence.shape, 3, bins))
    study, column = np.indices(confidence.shape)
    index = bin_index(confidence, width_edges(bins))
    for part, values in enumerate((np.ones_like(confidence), confidence, correct)):
        sums[study, column, part, index] = values
    return sums


def _gap(sums: Floats) -> Floats:
    """ECE (...) of summed ``[count, confidence, correct]`` per bin (..., 3, bins)."""
    count, sure, true = sums[..., 0, :].sum(-1), sums[..., 1, :], sums[..., 2, :]
    gap = np.abs(sure - true).sum(-1)
    return np.divide(gap, count, out=np.full(count.shape, np.nan), where=count > 0)


def _noise(sums: Floats) -> Floats:
    """By how much noise raises a mean ECE at most, (...), of summed bins per label (..., L, 3, bins).

    In a bin the number that comes true misses the expected one by the bin's own error g and by noise z of
    standard deviation s, nearly normal; E|g + z| - |g| is what noise adds. It is largest, 0.8 s, for g = 0,
    and next to nothing from 2 s on. The bin's own error is taken to be 2 s less than what is seen, so that a
    bin that may well be calibrated counts in full.
    """
    gap, spread = np.abs(sums[..., 1, :] - sums[..., 2, :]), _spread(sums)
    own = np.maximum(np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 0) - 2.0, 0.0)
    # 2 phi(t) - 2 t (1 - Phi(t)) within 0.01, without SciPy.
    added = spread * np.sqrt(2.0 / np.pi) * np.exp(-1.25 * own - 0.35 * own**2)
    noise: Floats = (added.sum(-1) / np.maximum(sums[..., 0, :].sum(-1), 1.0)).mean(-1)
    return noise


def _by_chance(sums: Floats) -> float:
    """97.5th percentile of the mean ECE if labels are drawn from the probabilities; bins (L, 3, bins).

    The distance from the expected number is half-normal in each bin, the sum of many of them nearly normal.
    """
    spread = _spread(sums) / np.maximum(sums[:, 0].sum(-1, keepdims=True), 1.0)
    mean = np.sqrt(2.0 / np.pi) * spread.sum()
    error = np.sqrt((1.0 - 2.0 / np.pi) * (spread**2).sum())
    return float((mean + 1.96 * error) / len(sums))


def _spread(sums: Floats) -> Floats:
    """Standard deviation (..., bins) of how many come true if labels are drawn from the probabilities."""
    count, sure = sums[..., 0, :], sums[..., 1, :]
    share = np.divide(sure, count, out=np.zeros_like(sure), where=count > 0)
    spread: Floats = np.sqrt(np.maximum(sure * (1.0 - share), 0.0))
    return spread


class EqualMassEce(_Binned, JointMetric):
    """``Ece`` over bins that hold equally many judgements; their edges depend on the studies in the set.

    Statistics are ``[confidences (m), come true (m)]``, m judgements per study.
    """

    per_mask: ClassVar[bool] = True
    name: ClassVar[str] = "ece_mass"
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("ece_mass", higher_is_better=False, raised_by="ece_mass_noise"),
    )

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return self._signature(self._over, "mass[lo,hi)")

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Judgements, float64 (n_studies, 2 * m)."""
        return np.concatenate(
            judgements(*self.arrays(predictions, references), self.multilabel), axis=1
        ).astype(np.float64)

    def bins_of(self, statistics: Statistics) -> Floats:
        """Sums over studies and findings, (1, 3, bins)."""
        return self._sums(statistics, np.ones((1, len(statistics))))[0]

    def joint(self, statistics: Statistics, weights: Floats) -> dict[str, Floats]:
        """Statistics (n, 2 * m) under each line of ``weights`` (B, n) to ECE (B,)."""
        sums = self._sums(statistics, weights)
        return {"ece_mass": _gap(sums).mean(-1), "ece_mass_noise": _noise(sums)}

    def _sums(self, statistics: Statistics, weights: Floats) -> Floats:
        """Count, confidence and correctness per bin under each line of weights, (B, 1, 3, bins)."""
        width = statistics.shape[1] // 2
        confidence, correct = statistics[:, :width].ravel(), statistics[:, width:].ravel()
        order = np.argsort(confidence)
        confidence, correct, study = confidence[order], correct[order], order // width
        step = max(1, _BLOCK_CELLS // max(1, len(order)))
        blocks = [
            self._bins(confidence, correct, weights[start : start + step].take(study, axis=1))
            for start in range(0, len(weights), step)
        ]
        return np.concatenate(blocks)[:, None]

    def _bins(self, confidence: Floats, correct: Floats, weights: Floats) -> Floats:
        """Sums (B, 3, bins) of sorted judgements (m,) under weights (B, m); 0 where none weighs."""
        # Judgements of weight 0 stay in: no search below can end on one, and sums do not see them.
        cumulated = np.cumsum(weights, axis=1)
        edges = _sorted_mass_edges(confidence, cumulated, self.bins)
        starts = np.searchsorted(confidence, edges[:, :-1], side="left")
        starts[:, 0] = 0
        ends = np.concatenate([starts[:, 1:], np.full((len(starts), 1), len(confidence))], axis=1)
        before = np.where(starts > 0, np.take_along_axis(cumulated, np.maximum(starts, 1) - 1, axis=1), 0.0)
        count = np.diff(before, axis=1, append=cumulated[:, -1:])
        # reduceat() has no empty segments: it gives the first element of one.
        filled = ends > starts
        places = (starts + len(confidence) * np.arange(len(starts))[:, None]).ravel()
        sums = [
            np.add.reduceat((weights * values).ravel(), places).reshape(filled.shape) * filled
            for values in (confidence, correct)
        ]
        return np.stack([count, *sums], axis=1)
