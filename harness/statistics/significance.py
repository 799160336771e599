"""Paired tests between two systems, and the adjustment for many of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.metrics.base import JointMetric, Metric, Statistics
from harness.statistics.bootstrap import (
    FloatArray,
    blocks,
    bootstrap_weights,
    clusters,
    interval,
    value_and_replicates,
)
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


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """How often a paired test swaps and resamples, and which studies it moves together.

    Attributes:
        patient_ids: the patient of each study.
        trials: random swaps.
        seed: of the swaps, and of the bootstrap where ``weights`` is None.
        n_resamples: bootstrap resamples behind the interval, where ``weights`` is None.
        weights: (B, n_studies), shared with other comparisons instead of drawn here.

    Raises:
        HarnessError: fewer than one trial.
    """

    patient_ids: Sequence[str]
    trials: int = 10_000
    seed: int = 0
    n_resamples: int = 1000
    weights: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise HarnessError(f"--trials must be at least 1, got {self.trials}")

    def bootstrap_weights(self) -> FloatArray:
        """``weights``, drawn where they are None."""
        if self.weights is not None:
            return self.weights
        return bootstrap_weights(self.patient_ids, self.n_resamples, self.seed)


def paired_randomisation(
    metric: Metric, statistics_a: Statistics, statistics_b: Statistics, resampling: Resampling
) -> dict[str, PairedTest]:
    """Approximate randomisation test of two systems (Noreen 1989), swapping whole patients.

    Under the null hypothesis the two outputs for a patient are exchangeable. Each trial swaps a random half
    of the patients. A swap moves a patient's statistics from one sum to the other, so all trials are one
    matrix product.

    Args:
        metric: any metric.
        statistics_a: of system a, (n_studies, k).
        statistics_b: of system b on the same studies in the same order.
        resampling: patients, swaps and resamples.

    Returns:
        Output name -> test.

    Raises:
        HarnessError: the systems were not scored on the same studies.
    """
    patient_ids = resampling.patient_ids
    if not statistics_a.shape == statistics_b.shape or len(statistics_a) != len(patient_ids):
        raise HarnessError(
            f"paired test over different studies: {len(statistics_a)} rows, {len(statistics_b)} rows, "
            f"{len(patient_ids)} patients",
            "score both systems on the same ids",
        )
    weights = resampling.bootstrap_weights()
    value_a, replicates_a = value_and_replicates(metric, statistics_a, weights)
    value_b, replicates_b = value_and_replicates(metric, statistics_b, weights)
    counts = _extreme_swaps(metric, statistics_a, statistics_b, resampling)
    return {
        name: PairedTest(
            value_a=value_a[name],
            value_b=value_b[name],
            difference=Estimate(
                value_a[name] - value_b[name],
                *interval(replicates_a[name] - replicates_b[name]),
                n=len(patient_ids),
            ),
            p_value=(counts[name] + 1) / (resampling.trials + 1),
            trials=resampling.trials,
        )
        for name in value_a
    }


def _extreme_swaps(
    metric: Metric, statistics_a: Statistics, statistics_b: Statistics, resampling: Resampling
) -> dict[str, int]:
    """Output name -> number of trials in which the outputs differ at least as much as without a swap."""
    n_patients, patient_of = clusters(resampling.patient_ids)
    difference = _swapped_difference(metric, statistics_a, statistics_b, patient_of)
    # The all-swapped trial equals the observed one up to rounding and has to count.
    observed = difference(np.zeros((1, n_patients)))
    threshold = {name: np.abs(value[0]) - 1e-12 for name, value in observed.items()}
    counts = dict.fromkeys(threshold, 0)
    seeds = np.random.SeedSequence([resampling.seed, 1])  # not the stream of the bootstrap
    rng = np.random.default_rng(seeds)
    for block in blocks(resampling.trials, n_patients):
        swapped = rng.random((block.stop - block.start, n_patients)) < 0.5
        for name, trial in difference(swapped.astype(np.float64)).items():
            # "not less" rather than "at least": an undefined trial is evidence for the null.
            counts[name] += int(np.sum(~(np.abs(trial) < threshold[name])))
    return counts


def _swapped_difference(
    metric: Metric, statistics_a: Statistics, statistics_b: Statistics, patient_of: NDArray[np.intp]
) -> Callable[[FloatArray], dict[str, FloatArray]]:
    """A function of swaps (T, n_patients), 1 where a patient is swapped: a minus b per output, (T,).

    ``patient_of`` is the patient's index of each study, (n_studies,).
    """
    if isinstance(metric, JointMetric):
        both = np.concatenate([statistics_a, statistics_b])

        def joint(swapped: FloatArray) -> dict[str, FloatArray]:
            other = swapped[:, patient_of]
            a = metric.joint(both, np.concatenate([1 - other, other], axis=1))
            b = metric.joint(both, np.concatenate([other, 1 - other], axis=1))
            return {name: a[name] - b[name] for name in a}

        return joint
    moved = np.zeros((patient_of.max() + 1, statistics_a.shape[1]))
    np.add.at(moved, patient_of, statistics_b - statistics_a)
    total_a, total_b = statistics_a.sum(axis=0), statistics_b.sum(axis=0)

    def summed(swapped: FloatArray) -> dict[str, FloatArray]:
        shift = swapped @ moved
        a, b = metric.reduce(total_a + shift), metric.reduce(total_b - shift)
        return {name: a[name] - b[name] for name in a}

    return summed


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family of p-values, in the same order (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]
