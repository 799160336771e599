"""A metric as a function of the missing rate, from statistics that were computed once per modality state.

A mask only says from which state each study's statistics come. So a curve over any number of rates, mask
seeds and bootstrap resamples is, per state, one product of masked weights with that state's statistics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.metrics.base import JointMetric, Metric, MetricOutput, Statistics, checked_values
from harness.missingness.plan import MaskPlan
from harness.missingness.states import FULL
from harness.statistics.bootstrap import FloatArray, Weights, affordable, blocks, corrected, interval
from harness.statistics.estimate import Estimate

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A metric at one missing rate.

    Attributes:
        rate: requested missing rate.
        estimate: mean over mask seeds, with its interval over patients and mask seeds together.
        achieved: share of studies that really lost a modality.
    """

    rate: float
    estimate: Estimate
    achieved: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric output over missing rates.

    Attributes:
        output: name of the metric output, e.g. ``bleu_4``.
        points: one per rate, in the order of the plan.
        replicates: (R, B), for paired comparisons with curves made from the same plan and weights.
    """

    output: str
    points: tuple[CurvePoint, ...]
    replicates: FloatArray = field(repr=False, compare=False)

    def at(self, rate: float) -> CurvePoint:
        """The point at ``rate``.

        Raises:
            HarnessError: the curve has no such rate.
        """
        for point in self.points:
            if np.isclose(point.rate, rate, rtol=0.0, atol=1e-9):
                return point
        rates = ", ".join(f"{point.rate:g}" for point in self.points)
        raise HarnessError(f"{self.output} has no value at missing rate {rate:g}", f"rates: {rates}")


def curves(
    metric: Metric,
    statistics: Mapping[str, Statistics],
    plan: MaskPlan,
    weights: Weights,
    level: float = 0.95,
) -> dict[str, Curve]:
    """A curve per output of ``metric``; see ``Mixtures.curves``."""
    return Mixtures(metric, statistics, weights).curves(plan, level)


@dataclass(frozen=True, slots=True)
class Values:
    """Every output of a metric on a test set whose studies are in several modality states.

    Attributes:
        each: output -> its value for each mask, (S,).
        resampled: output -> bootstrap replicates (B,); replicate b meets mask b mod S.
    """

    each: dict[str, FloatArray]
    resampled: dict[str, FloatArray]

    def corrected(self, metric: Metric, output: MetricOutput) -> FloatArray:
        """The replicates (B,) that the interval of an output is read from: see ``bootstrap.corrected``."""
        value = float(np.mean(self.each[output.name]))
        raised_by = float(np.mean(self.each.get(output.raised_by, 0.0)))
        return corrected(metric, output, self.resampled[output.name], value, raised_by)


@dataclass(frozen=True, slots=True, eq=False)
class Mixtures:
    """A metric on any mixture of modality states; equal mixtures are computed once.

    Attributes:
        metric: any metric.
        statistics: state -> (n, k); a study's row is read only if a mask puts the study in that state.
        weights: (B, n) from ``bootstrap.bootstrap_weights``.
    """

    metric: Metric
    statistics: Mapping[str, Statistics]
    weights: Weights
    _distinct: dict[str, str] = field(init=False, repr=False, default_factory=dict)
    _values: dict[bytes, Values] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Take states that make no difference to these statistics for one.

        A method that does not read a modality then has the same curve at every rate, computed once.
        """
        for state in self.statistics:
            same = (
                other
                for other in dict.fromkeys(self._distinct.values())
                if same_statistics(self.statistics, other, state)
            )
            self._distinct[state] = next(same, state)

    def curves(self, plan: MaskPlan, level: float = 0.95) -> dict[str, Curve]:
        """A curve per output of the metric under a plan.

        The value at a rate is the mean over the S mask seeds of the metric on the masked test set. Replicate
        b resamples patients with row b of the weights and masks with seed b mod S, so the interval covers
        both the choice of patients and the choice of masks. A metric that is not ``mixed`` has no point where
        the studies of one test set are in different states.

        Args:
            plan: masks for every seed and rate, for the studies of the statistics in their order.
            level: of the interval.

        Raises:
            HarnessError: a state that the plan uses has no statistics, or the shapes do not fit.
        """
        _check(self.statistics, plan, self.weights)
        achieved = plan.achieved()
        points: dict[str, list[CurvePoint]] = {output.name: [] for output in self.metric.outputs}
        samples: dict[str, list[FloatArray]] = {output.name: [] for output in self.metric.outputs}
        for column, rate in enumerate(plan.rates):
            if not self.metric.mixed and plan.is_mixture(column):
                continue  # for methods that read nothing of it, too: a column has the same rates for all
            values = self.at(self._in_statistics(plan, column))
            for output in self.metric.outputs:
                name, value = output.name, float(np.mean(values.each[output.name]))
                samples[name].append(values.corrected(self.metric, output))
                estimate = Estimate(value, *interval(samples[name][-1], level), n=len(plan.ids))
                points[name].append(CurvePoint(rate, estimate, float(achieved[column])))
        return {name: Curve(name, tuple(points[name]), np.stack(samples[name])) for name in points}

    def at(self, masks: NDArray[np.int8]) -> Values:
        """The outputs under masks (S, n) of indices into the states of the statistics."""
        # Masks that are all alike need one line: replicate b meets mask b mod S either way.
        by_seed = masks[:1] if (masks == masks[0]).all() else masks
        key = hashlib.sha256(by_seed.tobytes()).digest()  # masks of many studies are large
        if key not in self._values:
            masked = _Masked(self.metric, self.statistics, tuple(self.statistics), by_seed)
            self._values[key] = masked.values(self.weights)
        return self._values[key]

    def corner(self, state: str, able: NDArray[np.bool_]) -> Values:
        """The outputs with every study that is ``able``, (n,), in one state and the others in ``full``."""
        place = {name: index for index, name in enumerate(self.statistics)}
        index = place[self._distinct[state]]
        return self.at(np.where(able, index, place[FULL]).astype(np.int8)[None])

    def _in_statistics(self, plan: MaskPlan, column: int) -> NDArray[np.int8]:
        """Masks (S, n) at a rate: indices into the states of the statistics, distinct ones alone."""
        place = {name: index for index, name in enumerate(self.statistics)}
        # A state that no study is in need not have statistics.
        index = [place.get(self._distinct.get(state, state), 0) for state in plan.states]
        masks: NDArray[np.int8] = np.array(index, dtype=np.int8)[plan.assignment[:, column]]
        return masks


def same_statistics(statistics: Mapping[str, Statistics], one: str, other: str) -> bool:
    """Whether two states have the same statistics: the method does not read what sets them apart."""
    return one in statistics and np.array_equal(statistics[one], statistics[other])


@dataclass(frozen=True, slots=True, eq=False)
class _Masked:
    """A metric under masks.

    Attributes:
        metric: any metric.
        statistics: state -> (n, k).
        states: names of the states, in the order of their indices.
        masks: (S, n) of such indices; line b of weights meets mask b mod S.
    """

    metric: Metric
    statistics: Mapping[str, Statistics]
    states: tuple[str, ...]
    masks: NDArray[np.int8]

    def values(self, weights: Weights) -> Values:
        """The outputs for each mask, and under each line of bootstrap weights (B, n) that the metric uses."""
        metric, count = self.metric, len(self.masks)
        if isinstance(metric, JointMetric) and not metric.per_mask:
            once = np.broadcast_to(1.0, self.masks.shape)
            return Values(self._joint(once, count), self._joint(weights, affordable(metric, weights)))
        lines = count + affordable(metric, weights)
        if isinstance(metric, JointMetric):
            values: dict[str, FloatArray] = {}
            for own, part in self._lines(weights, metric.joint):
                for name, numbers in checked_values(metric, part, len(range(lines)[own])).items():
                    values.setdefault(name, np.empty(lines))[own] = numbers
        else:
            totals = np.empty((lines, self.statistics[self.states[self.masks[0, 0]]].shape[1]))
            for own, sums in self._lines(weights, lambda rows, some: some @ rows):
                totals[own] = sums
            values = dict(checked_values(metric, metric.reduce(totals), lines))
        each = {name: value[:count] for name, value in values.items()}
        return Values(each, {name: value[count:] for name, value in values.items()})

    def _joint(self, weights: Weights, lines: int) -> dict[str, FloatArray]:
        """Outputs (lines,) from the rows of all states, for the first lines of weights."""
        used = np.unique(self.masks)
        # A study has one row per state that any mask uses; all but one of them have weight 0.
        stacked = np.concatenate([self.statistics[self.states[index]] for index in used])
        values: dict[str, list[FloatArray]] = {}
        for block in blocks(lines, len(stacked)):
            masks, some = self.masks[np.arange(block.start, block.stop) % len(self.masks)], weights[block]
            each = np.concatenate([np.where(masks == index, some, 0.0) for index in used], axis=1)
            outputs = checked_values(self.metric, self.metric.values(stacked, each), len(each))
            for name, part in outputs.items():
                values.setdefault(name, []).append(part)
        return {name: np.concatenate(parts) for name, parts in values.items()}

    def _lines(
        self, weights: Weights, values: Callable[[Statistics, FloatArray], _Answer]
    ) -> Iterator[tuple[slice, _Answer]]:
        """``values(rows, lines)`` for each mask: of one line of ones, and of the lines that meet the mask.

        The slices say which lines these are if the S lines of ones stand in front of all others.
        """
        count, used = len(self.masks), affordable(self.metric, weights)
        for number, rows in self._rows():
            own, ones = range(number, used, count), np.ones((1, len(rows)))
            # Line S + b of all of them meets mask b mod S, too: one call does for both.
            first, *others = blocks(len(own), len(rows)) if own else [slice(0, 0)]
            some = np.concatenate([ones, weights[_slice(own[first])]])
            yield slice(number, number + len(some) * count, count), values(rows, some)
            for block in others:
                start, stop = (count + own[block].start, count + own[block].stop)
                yield slice(start, stop, count), values(rows, weights[_slice(own[block])])

    def _rows(self) -> Iterator[tuple[int, Statistics]]:
        """Each mask's number, and the statistics (n, k) of its test set.

        A row that the mask does not use may hold anything, NaN included: 0 x NaN is not 0.
        """
        for number, mask in enumerate(self.masks):
            first, *others = np.unique(mask)
            rows = self.statistics[self.states[first]]
            rows = rows.copy() if others else rows
            for index in others:
                here = np.flatnonzero(mask == index)
                rows[here] = self.statistics[self.states[index]][here]
            yield number, rows


def _slice(numbers: range) -> slice:
    return slice(numbers.start, numbers.stop, numbers.step)


def _check(statistics: Mapping[str, Statistics], plan: MaskPlan, weights: Weights) -> None:
    for state in plan.used_states():
        if state not in statistics:
            raise HarnessError(
                f"no statistics for the modality state {state!r}", f"there are {', '.join(statistics)}"
            )
    shapes = {array.shape for array in statistics.values()}
    if len(shapes) != 1 or next(iter(shapes))[0] != len(plan.ids) or weights.shape[1] != len(plan.ids):
        raise HarnessError(
            f"statistics {sorted(shapes)} and weights {weights.shape} do not fit a plan for "
            f"{len(plan.ids)} studies"
        )


def area_under_curve(curve: Curve) -> float:
    """Mean height of the curve over its range of rates (trapezoids), in the metric's own unit."""
    points = sorted(curve.points, key=lambda point: point.rate)
    rates = np.array([point.rate for point in points])
    values = np.array([point.estimate.value for point in points])
    span = rates[-1] - rates[0]
    return float(np.trapezoid(values, rates) / span) if span > 0 else float(values.mean())


def retention(curve: Curve, rate: float) -> float:
    """Share of the full-modality value that is left at ``rate``; NaN where that value is 0."""
    full = curve.at(0.0).estimate.value
    return curve.at(rate).estimate.value / full if full != 0 else float("nan")
