"""Intervals, paired tests and rank groups over per-study rows: patients are resampled, rows are summed.

Nothing here re-reads a text or an image. A bootstrap is one matrix product of a weight matrix with rows, and
because every method meets the same weight matrix, every comparison is paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.metrics.base import JointMetric, Metric, Rows, affordable, centred
from harness.metrics.base import values as values_of

FloatArray = NDArray[np.float64]

_CHUNK_CELLS = 4_000_000
"""Cells of one block of random numbers or weights: 32 MB of float64, whatever the number of trials."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its percentile interval over ``n`` studies."""

    value: float
    lo: float
    hi: float
    n: int


@dataclass(frozen=True, slots=True)
class PairedTest:
    """System a against system b on one metric output.

    Attributes:
        difference: ``value_a - value_b``.
        ci95: percentile interval of the difference under the patient bootstrap.
        p_value: two-sided, ``(count + 1) / (trials + 1)``: never 0.
        trials: random swaps behind ``p_value``.
    """

    value_a: float
    value_b: float
    difference: float
    ci95: tuple[float, float]
    p_value: float
    trials: int


def clusters(patient_ids: Sequence[str]) -> tuple[int, NDArray[np.intp]]:
    """Number of patients and each study's patient index (n_studies,), independent of the order of studies."""
    if len(patient_ids) == 0:
        raise HarnessError("no studies to resample", "the selection of test studies is empty")
    unique, index = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
    return len(unique), index.reshape(-1)


def bootstrap_weights(patient_ids: Sequence[str], n_resamples: int = 1000, seed: int = 0) -> FloatArray:
    """How often each study counts in each bootstrap resample of patients.

    Patients are drawn with replacement; all studies of a patient share the patient's count, so correlated
    studies do not pass for independent evidence (Cameron, Gelbach & Miller 2008, "pairs cluster bootstrap").

    Args:
        patient_ids: the patient of each study, n_studies of them.
        n_resamples: B.
        seed: the same seed and patients give the same counts in any order of studies.

    Returns:
        float64 (B, n_studies).
    """
    if n_resamples < 1:
        raise HarnessError(f"n_resamples must be at least 1, got {n_resamples}")
    n_patients, index = clusters(patient_ids)
    rng = np.random.default_rng(seed)
    weights = np.empty((n_resamples, len(index)))
    for block in _blocks(n_resamples, n_patients):
        size = block.stop - block.start
        drawn = rng.integers(0, n_patients, size=(size, n_patients))
        drawn += np.arange(size)[:, None] * n_patients
        counts = np.bincount(drawn.ravel(), minlength=size * n_patients).reshape(size, n_patients)
        weights[block] = counts[:, index]
    return weights


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


def replicates(metric: Metric, rows: Rows, weights: FloatArray) -> dict[str, FloatArray]:
    """Every output of ``metric`` under every resample: rows (n, k) and weights (B, n) to (B,) per name."""
    return values_of(metric, rows, affordable(metric, weights))


def estimate(metric: Metric, rows: Rows, weights: FloatArray, level: float = 0.95) -> dict[str, Estimate]:
    """Every output of ``metric`` on all rows (n, k), with its interval under ``weights`` (B, n)."""
    values, samples = _sampled(metric, rows, weights)
    return {
        name: Estimate(value, *interval(samples[name], level), len(rows)) for name, value in values.items()
    }


def _sampled(
    metric: Metric, rows: Rows, weights: FloatArray
) -> tuple[dict[str, float], dict[str, FloatArray]]:
    """Each output on all rows, and the replicates (B,) that its interval is read from."""
    once = replicates(metric, rows, np.ones((1, len(rows))))
    values = {name: float(value[0]) for name, value in once.items()}
    samples = replicates(metric, rows, weights)
    return values, {name: centred(metric, name, samples[name], values[name]) for name in values}


def paired_randomisation(
    metric: Metric,
    rows_a: Rows,
    rows_b: Rows,
    patient_ids: Sequence[str],
    trials: int = 10_000,
    seed: int = 0,
    *,
    n_resamples: int = 1000,
    weights: FloatArray | None = None,
) -> dict[str, PairedTest]:
    """Approximate randomisation test of two systems (Noreen 1989), swapping whole patients.

    Under the null hypothesis the two outputs for a patient are exchangeable. Each trial swaps a random half
    of the patients; since a swap moves rows from one sum to the other, all trials are one matrix product.

    Args:
        metric: reduces sums of rows.
        rows_a: rows of system a, (n_studies, k).
        rows_b: rows of system b on the same studies in the same order.
        patient_ids: the patient of each study.
        trials: random swaps.
        seed: of the swaps, and of the bootstrap where ``weights`` is not given.
        n_resamples: bootstrap resamples behind the interval.
        weights: (B, n_studies) shared with other comparisons, instead of drawing them.

    Raises:
        HarnessError: the systems were not scored on the same studies.
    """
    if not rows_a.shape == rows_b.shape or len(rows_a) != len(patient_ids):
        raise HarnessError(
            f"paired test over different studies: {len(rows_a)} rows, {len(rows_b)} rows, "
            f"{len(patient_ids)} patients",
            "score both systems on the same ids",
        )
    if trials < 1:
        raise HarnessError(f"--trials must be at least 1, got {trials}")
    if weights is None:
        weights = bootstrap_weights(patient_ids, n_resamples, seed)
    (value_a, sampled_a), (value_b, sampled_b) = (
        _sampled(metric, rows, weights) for rows in (rows_a, rows_b)
    )
    counts = _extreme_swaps(metric, rows_a, rows_b, patient_ids, trials, seed)
    return {
        name: PairedTest(
            value_a=value_a[name],
            value_b=value_b[name],
            difference=value_a[name] - value_b[name],
            ci95=interval(sampled_a[name] - sampled_b[name]),
            p_value=(counts[name] + 1) / (trials + 1),
            trials=trials,
        )
        for name in value_a
    }


def _extreme_swaps(
    metric: Metric, rows_a: Rows, rows_b: Rows, patient_ids: Sequence[str], trials: int, seed: int
) -> dict[str, int]:
    """In how many trials each output differs at least as much as it does unswapped."""
    n_patients, index = clusters(patient_ids)
    difference = _swapped_difference(metric, rows_a, rows_b, n_patients, index)
    # The all-swapped trial equals the observed one up to rounding and has to count.
    observed = difference(np.zeros((1, n_patients)))
    threshold = {name: np.abs(value[0]) - 1e-12 for name, value in observed.items()}
    counts = dict.fromkeys(threshold, 0)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))  # not the stream of the bootstrap
    for block in _blocks(trials, n_patients):
        swapped = rng.random((block.stop - block.start, n_patients)) < 0.5
        for name, trial in difference(swapped.astype(np.float64)).items():
            # "not less" rather than "at least": an undefined trial is evidence for the null.
            counts[name] += int(np.sum(~(np.abs(trial) < threshold[name])))
    return counts


def _swapped_difference(
    metric: Metric, rows_a: Rows, rows_b: Rows, n_patients: int, index: NDArray[np.intp]
) -> Callable[[FloatArray], dict[str, FloatArray]]:
    """A function of swaps (T, n_patients), 1 where a patient is swapped: a minus b per output, (T,)."""
    if isinstance(metric, JointMetric):
        both = np.concatenate([rows_a, rows_b])

        def joint(swapped: FloatArray) -> dict[str, FloatArray]:
            other = swapped[:, index]
            a = metric.joint(both, np.concatenate([1 - other, other], axis=1))
            b = metric.joint(both, np.concatenate([other, 1 - other], axis=1))
            return {name: a[name] - b[name] for name in a}

        return joint
    moved = np.zeros((n_patients, rows_a.shape[1]))
    np.add.at(moved, index, rows_b - rows_a)
    total_a, total_b = rows_a.sum(axis=0), rows_b.sum(axis=0)

    def summed(swapped: FloatArray) -> dict[str, FloatArray]:
        shift = swapped @ moved
        a, b = metric.reduce(total_a + shift), metric.reduce(total_b - shift)
        return {name: a[name] - b[name] for name in a}

    return summed


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family of p-values, in the order given (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def rank_groups(
    values: Mapping[str, float],
    samples: Mapping[str, FloatArray],
    *,
    higher_is_better: bool = True,
    level: float = 0.95,
) -> dict[str, int]:
    """Group methods that the test set cannot tell apart.

    Methods are sorted by value; a method joins the current group while the paired bootstrap interval of its
    difference to the group's leader contains 0, otherwise it leads the next group.

    Args:
        values: method -> value; methods without one (NaN) are left out.
        samples: method -> replicates (B,), all made with the same weights, else nothing is paired.
        higher_is_better: direction.
        level: of the interval.

    Returns:
        method -> group number from 1, best first.
    """
    sign = -1.0 if higher_is_better else 1.0
    defined = [name for name, value in values.items() if not np.isnan(value)]
    ordered = sorted(defined, key=lambda name: (sign * values[name], name))
    groups: dict[str, int] = {}
    leader, group = "", 0
    for name in ordered:
        lo, hi = interval(samples[leader] - samples[name], level) if leader else (1.0, 1.0)
        if not lo <= 0.0 <= hi:
            leader, group = name, group + 1
        groups[name] = group
    return groups


def _blocks(length: int, width: int) -> Iterator[slice]:
    """Slices of ``range(length)`` whose (slice, width) block has a bounded number of cells."""
    step = max(1, _CHUNK_CELLS // max(1, width))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))
