"""Paired tests between two systems, and the adjustment for many of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.metrics.base import JointMetric, Metric, Rows
from harness.statistics.bootstrap import FloatArray, _blocks, _sampled, bootstrap_weights, clusters, interval
from harness.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class PairedTest:
    """System a against system b on one metric output.

    Attributes:
        difference: ``value_a - value_b`` with its interval under the patient bootstrap.
        p_value: two-sided, ``(count + 1) / (trials + 1)``: never 0.
        trials: random swaps behind ``p_value``.
    """

    value_a: float
    value_b: float
    difference: Estimate
    p_value: float
    trials: int


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
            difference=Estimate(
                value_a[name] - value_b[name], *interval(sampled_a[name] - sampled_b[name]), len(patient_ids)
            ),
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
