"""Bootstrap intervals over patients, from statistics per study.

Nothing here reads a text or an image again. A bootstrap is a matrix product of a weight matrix with
statistics, one block of resamples after the other. All methods share the weight matrix, so every comparison
is paired. Memory and time grow with the number of studies, never with its square.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.metrics.base import Metric, MetricOutput, Statistics, checked_values
from harness.statistics.estimate import Estimate

FloatArray = NDArray[np.float64]

_CHUNK_CELLS = 4_000_000
"""Cells of one block of random numbers or weights: 32 MB of float64, whatever the number of trials."""

_KEPT_COUNTS = 250_000_000
"""So many counts of patients are kept, of a byte each, instead of drawn again for every metric."""

_FEWEST_LINES = 16
"""Of a block, however many studies there are."""


def clusters(patient_ids: Sequence[str]) -> tuple[int, NDArray[np.intp]]:
    """Number of patients and each study's patient index (n_studies,), independent of the order of studies."""
    if len(patient_ids) == 0:
        raise HarnessError("no studies to resample", "the selection of test studies is empty")
    unique, index = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
    return len(unique), index.reshape(-1)


class BootstrapWeights:
    """A matrix (B, n_studies) of ``bootstrap_weights`` that is drawn where it is read.

    A small matrix is kept, of a large one each patient's count, as a byte. Of a still larger one only the
    state of the generator at the start of each line is kept, and its lines are drawn again wherever they are
    read: ``weights[0:20]`` is float64 (20, n_studies).

    Attributes:
        shape: (B, n_studies).
    """

    def __init__(self, patient_of: NDArray[np.intp], n_patients: int, n_resamples: int, seed: int) -> None:
        self.shape = n_resamples, len(patient_of)
        self._patient_of, self._n_patients = patient_of, n_patients
        self._states: dict[int, Any] = {0: np.random.default_rng(seed).bit_generator.state}
        self._counts: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, lines: slice) -> FloatArray:
        """Some lines, float64 (b, n_studies)."""
        if self.shape[0] * self.shape[1] <= _CHUNK_CELLS:
            return self._whole[lines]
        return self._drawn(range(self.shape[0])[lines])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> FloatArray:
        """The whole matrix, in memory at once."""
        return np.array(self[:], dtype=dtype)

    @cached_property
    def _whole(self) -> FloatArray:
        return self._drawn(range(self.shape[0]))

    def _drawn(self, lines: range) -> FloatArray:
        weights = np.empty((len(lines), self.shape[1]))
        for place, line in enumerate(lines):
            weights[place] = self._line(line)[self._patient_of]
        return weights

    def _line(self, line: int) -> NDArray[np.integer[Any]]:
        """How often each patient is drawn in one resample, (n_patients,)."""
        if line in self._counts:
            return self._counts[line]
        start = line
        while start not in self._states:
            start -= 1
        generator = np.random.default_rng()
        generator.bit_generator.state = self._states[start]
        for number in range(start, line + 1):
            patients = generator.integers(0, self._n_patients, size=self._n_patients)
            self._states.setdefault(number + 1, generator.bit_generator.state)
        counts = np.bincount(patients, minlength=self._n_patients)
        if self.shape[0] * self._n_patients <= _KEPT_COUNTS and counts.max() <= np.iinfo(np.uint8).max:
            self._counts[line] = counts.astype(np.uint8)
        return counts


Weights: TypeAlias = "BootstrapWeights | FloatArray"
"""A weight matrix (B, n_studies): of a bootstrap, or any other array."""


def bootstrap_weights(patient_ids: Sequence[str], n_resamples: int = 1000, seed: int = 0) -> BootstrapWeights:
    """How often each study counts in each bootstrap resample of patients, (B, n_studies).

    Patients are drawn with replacement. All studies of a patient share the patient's count, so correlated
    studies do not pass for independent evidence (Cameron, Gelbach & Miller 2008, "pairs cluster bootstrap").

    Args:
        patient_ids: the patient of each study, n_studies of them.
        n_resamples: B.
        seed: the same seed and patients give the same counts in any order of studies.

    Raises:
        HarnessError: no studies, or no resamples.
    """
    if n_resamples < 1:
        raise HarnessError(f"n_resamples must be at least 1, got {n_resamples}")
    n_patients, patient_of = clusters(patient_ids)
    return BootstrapWeights(patient_of, n_patients, n_resamples, seed)


def interval(values: FloatArray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap replicates (B,).

    Replicates in which a metric is undefined (NaN) are left out; without any defined one both ends are NaN.
    """
    if not 0.0 < level < 1.0:
        raise HarnessError(f"level must lie between 0 and 1, got {level}")
    defined = values[~np.isnan(values)]
    if defined.size == 0:
        return float("nan"), float("nan")
    tail = (1.0 - level) / 2.0
    lo, hi = np.quantile(defined, [tail, 1.0 - tail])
    return float(lo), float(hi)


def gap_interval(samples: FloatArray, values: FloatArray, level: float = 0.95) -> tuple[float, float]:
    """Interval of the gap between groups, the largest less the smallest of their values; never below 0.

    Noise sets groups apart, too. So the lower end is the gap less what noise alone makes of it: a quantile of
    the gaps of resamples whose groups all have the same value. The upper end is that of the percentile
    interval.

    Args:
        samples: replicates (groups, B) from shared resamples.
        values: (groups,) of all studies.
        level: of the interval.
    """
    gap = float(np.ptp(values))
    _, noise = interval(np.ptp(samples - values[:, None], axis=0), level)
    _, hi = interval(np.ptp(samples, axis=0), level)
    return max(0.0, gap - noise), max(gap, hi)


def replicates(
    metric: Metric, statistics: Statistics, weights: Weights, members: NDArray[np.bool_] | None = None
) -> dict[str, FloatArray]:
    """Every output, (B,) per name, of statistics (n, k) under each resample of ``weights`` (B, n).

    Args:
        metric: any metric. It sees a block of resamples at a time.
        statistics: one row per study.
        weights: of them the first lines count, as many as the metric's intervals use.
        members: (n,), the studies that count; None: all.
    """
    parts = []
    for lines in ahead(weights.__getitem__, blocks(affordable(metric, weights), len(statistics))):
        some = lines if members is None else lines * members
        parts.append(checked_values(metric, metric.values(statistics, some), len(some)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def affordable(metric: Metric, weights: Weights) -> int:
    """How many lines of bootstrap ``weights`` (B, n), from the first on, a metric's intervals use."""
    return len(weights) if metric.resamples is None else min(metric.resamples, len(weights))


def corrected(
    metric: Metric, output: MetricOutput, samples: FloatArray, value: float, raised_by: float = 0.0
) -> FloatArray:
    """Bootstrap replicates (B,) of one output, moved if the metric is ``recentred`` or ``mirrored``.

    A resample of n images has about 0.63 n distinct ones, and FID rises as images get fewer: every replicate
    lies above the value, and only their spread is informative. A calibration error takes noise for error, and
    a resample has the noise twice. The value itself is too high, too, by ``raised_by`` at most: the
    replicates below it are stretched until their interval reaches so much further down. Moved replicates stay
    within the output's bounds.

    Average precision is too high on few positive studies, and once more so in a resample of them. Turned
    around the value, the replicates are too low by as much as the value is too high: the basic interval.

    Args:
        metric: of the output.
        output: which of its numbers.
        samples: (B,) replicates.
        value: the number on all test studies.
        raised_by: what ``MetricOutput.raised_by`` names, for all test studies.
    """
    defined = samples[~np.isnan(samples)]
    if metric.mirrored:
        return np.clip(2.0 * value - samples, *output.bounds)
    if not metric.recentred or not len(defined):
        return samples
    moved = samples - defined.mean() + value
    below = value - interval(moved)[0]
    if raised_by > 0.0 and below > 0.0:
        moved = np.where(moved < value, value - (value - moved) * (1.0 + raised_by / below), moved)
    return np.clip(moved, *output.bounds)


def estimate(
    metric: Metric, statistics: Statistics, weights: Weights, level: float = 0.95
) -> dict[str, Estimate]:
    """Every output of ``metric`` on statistics (n, k), with its interval under ``weights`` (B, n)."""
    values, samples = value_and_replicates(metric, statistics, weights)
    return {
        name: Estimate(value, *interval(samples[name], level), n=len(statistics))
        for name, value in values.items()
    }


def value_and_replicates(
    metric: Metric, statistics: Statistics, weights: Weights
) -> tuple[dict[str, float], dict[str, FloatArray]]:
    """Each output on all studies, and the replicates (B,) that its interval is read from."""
    once = replicates(metric, statistics, np.ones((1, len(statistics))))
    numbers = {name: float(value[0]) for name, value in once.items()}
    samples = replicates(metric, statistics, weights)
    return {output.name: numbers[output.name] for output in metric.outputs}, {
        output.name: corrected(
            metric, output, samples[output.name], numbers[output.name], numbers.get(output.raised_by, 0.0)
        )
        for output in metric.outputs
    }


def blocks(length: int, width: int) -> Iterator[slice]:
    """Slices of ``range(length)`` whose (slice, width) block has few cells, but no fewer than some lines.

    What a metric does once per block, such as ranking the studies, would grow with the square of their number
    if the blocks of more studies had fewer lines for ever.
    """
    step = max(_FEWEST_LINES, _CHUNK_CELLS // max(1, width))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def resampled_sums(statistics: Statistics, weights: Weights) -> FloatArray:
    """Sums (B, k) of statistics (n, k) under each line of ``weights`` (B, n)."""
    return np.concatenate([weights[lines] @ statistics for lines in blocks(len(weights), len(statistics))])


def ahead(draw: Callable[[slice], FloatArray], slices: Iterable[slice]) -> Iterator[FloatArray]:
    """What ``draw`` returns for each slice, in order: on a thread, while the block before is worked on."""
    first, *others = slices
    if not others:
        yield draw(first)
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(draw, first)
        for following in others:
            block = coming.result()
            coming = pool.submit(draw, following)
            yield block
        yield coming.result()
