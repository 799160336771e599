"""Paired tests between two systems, and the adjustment for many of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.metrics.base import JointMetric, Metric, Statistics
from harness.statistics.bootstrap import (
    FloatArray,
    Weights,
    ahead,
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
    weights: Weights | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise HarnessError(f"--trials must be at least 1, got {self.trials}")

    def bootstrap_weights(self) -> Weights:
        """``weights``, made where they are None."""
        if self.weights is not None:
            return self.weights
        return bootstrap_weights(self.patient_ids, self.n_resamples, self.seed)

    def swaps(self) -> Iterator[FloatArray]:
        """All trials in blocks (T, n_patients), 1 where a patient is swapped. The next replaces a block."""
        n_patients, _ = clusters(self.patient_ids)
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, 1]))  # not the stream of the bootstrap
        slices = list(blocks(self.trials, n_patients))
        buffers = cycle(np.empty((2, slices[0].stop, n_patients)))

        def draw(block: slice) -> FloatArray:
            buffer = next(buffers)[: block.stop - block.start]
            rng.random(out=buffer)
            return np.less(buffer, 0.5, out=buffer)

        return ahead(draw, slices)


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """A system's numbers on one metric.

    Attributes:
        statistics: (n_studies, k).
        values: metric output -> value on all studies.
        replicates: metric output -> bootstrap replicates (B,).
    """

    statistics: Statistics
    values: Mapping[str, float]
    replicates: Mapping[str, FloatArray]

    @classmethod
    def of(cls, metric: Metric, statistics: Statistics, resampling: Resampling) -> System:
        """The numbers behind statistics.

        Raises:
            HarnessError: the statistics are not of the studies that are resampled.
        """
        if len(statistics) != len(resampling.patient_ids):
            raise HarnessError(
                f"paired test over different studies: {len(statistics)} rows, "
                f"{len(resampling.patient_ids)} patients",
                "score all systems on the same ids",
            )
        return cls(statistics, *value_and_replicates(metric, statistics, resampling.bootstrap_weights()))


class Randomisation:
    """Approximate randomisation test of two systems (Noreen 1989), swapping whole patients.

    Under the null hypothesis the two outputs for a patient are exchangeable. Each trial swaps a random half
    of the patients. A swap moves a patient's statistics from one sum to the other, so all trials are one
    matrix product.

    Args:
        metric: any metric.
        a: the first system.
        b: the second system, with the same studies in the same order.
        resampling: patients, swaps and resamples.
    """

    def __init__(self, metric: Metric, a: System, b: System, resampling: Resampling) -> None:
        self._a, self._b, self._resampling = a, b, resampling
        n_patients, patient_of = clusters(resampling.patient_ids)
        self._difference = _swapped_difference(metric, a.statistics, b.statistics, patient_of)
        # The all-swapped trial equals the observed one up to rounding and has to count.
        observed = self._difference(np.zeros((1, n_patients)))
        self._threshold = {name: np.abs(value[0]) - 1e-12 for name, value in observed.items()}
        self._counts = dict.fromkeys(self._threshold, 0)

    def count(self, swapped: FloatArray) -> None:
        """Count the trials (T, n_patients) that differ at least as much as without a swap."""
        for name, trial in self._difference(swapped).items():
            # "not less" rather than "at least": an undefined trial is evidence for the null.
            self._counts[name] += int(np.sum(~(np.abs(trial) < self._threshold[name])))

    def tests(self) -> dict[str, PairedTest]:
        """Output name -> test, after all trials are counted."""
        trials, n = self._resampling.trials, len(self._resampling.patient_ids)
        return {
            name: PairedTest(
                value_a=value,
                value_b=self._b.values[name],
                difference=Estimate(
                    value - self._b.values[name],
                    *interval(self._a.replicates[name] - self._b.replicates[name]),
                    n=n,
                ),
                p_value=(self._counts[name] + 1) / (trials + 1),
                trials=trials,
            )
            for name, value in self._a.values.items()
        }


def paired_randomisation(
    metric: Metric, statistics_a: Statistics, statistics_b: Statistics, resampling: Resampling
) -> dict[str, PairedTest]:
    """The randomisation test of two systems on one metric; see ``Randomisation``.

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
    if statistics_a.shape != statistics_b.shape:
        raise HarnessError(
            f"paired test over different studies: {len(statistics_a)} rows, {len(statistics_b)} rows",
            "score both systems on the same ids",
        )
    a, b = (System.of(metric, each, resampling) for each in (statistics_a, statistics_b))
    randomisation = Randomisation(metric, a, b, resampling)
    for swapped in resampling.swaps():
        randomisation.count(swapped)
    return randomisation.tests()


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
    differ = np.flatnonzero(moved.any(axis=0))
    moving = moved[:, differ]
    total_a, total_b = statistics_a.sum(axis=0), statistics_b.sum(axis=0)

    def summed(swapped: FloatArray) -> dict[str, FloatArray]:
        shift = np.zeros((len(swapped), len(total_a)))
        shift[:, differ] = swapped @ moving
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
