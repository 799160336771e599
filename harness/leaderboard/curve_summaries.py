"""What a curve over missing rates comes to: its area, what is retained, where it meets another one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.leaderboard.stored_curves import Samples, StoredCurve
from harness.statistics.bootstrap import interval
from harness.statistics.estimate import Estimate

BASELINE = "late_fusion"
"""What effective robustness is measured against. It diagnoses; no baseline of this kind writes reports."""


@dataclass(frozen=True, slots=True)
class Fall:
    """Where a method meets its control.

    Attributes:
        control: label of the control's row.
        meets: missing rate at which the two curves meet; None where they do not.
        indistinct: rate from which the paired interval of their difference has 0 in it; None where none.
    """

    control: str
    meets: float | None
    indistinct: float | None


def summarised(curve: StoredCurve, summary: Callable[[Samples], Samples]) -> Estimate:
    """A summary of values (R, B) along the rates: of the curve itself, and its interval over replicates."""
    value = float(summary(curve.values[:, None])[0])
    return Estimate(value, *interval(summary(curve.samples)), curve.rows[0].n)


def area(values: Samples, rates: NDArray[np.float64]) -> Samples:
    """Mean height (B,) of lines (R, B) over their range of rates, by trapezoids."""
    height: Samples = np.trapezoid(values, rates, axis=0) / (rates[-1] - rates[0])
    return height


def ratio(values: Samples, at: int) -> Samples:
    """Share (B,) of the first of lines (R, B) that is left in line ``at``; NaN where that is 0."""
    full = values[0]
    share: Samples = np.divide(values[at], full, out=np.full(full.shape, np.nan), where=full != 0)
    return share


def fall(curve: StoredCurve, control: StoredCurve) -> Fall:
    """Where a curve meets its control's, and where the two can no longer be told apart."""
    name = control.rows[0].method
    if not comparable(curve, control):
        return Fall(name, None, None)
    sign = -1.0 if curve.rows[0].higher_is_better is False else 1.0
    gap = sign * (curve.values - control.values)
    lower = np.array([interval(line)[0] for line in sign * (curve.samples - control.samples)])
    return Fall(name, first_zero(curve.rates, gap), first_zero(curve.rates, lower))


def skill_retained(curve: StoredCurve, control: StoredCurve, at: int) -> Estimate:
    """(v_r - c_r) / (v_0 - c_0): what is left at a rate of the lead over the control, paired.

    It means the same for both directions of a metric: the signs cancel. Where the lead with nothing missing
    is not clear, because its interval is not above 0, all is NaN: no skill could be retained.

    Args:
        curve: v, of the method.
        control: c, of the same method on other studies' images.
        at: place of the rate r.
    """
    n = curve.rows[0].n
    undefined = Estimate(math.nan, math.nan, math.nan, n)
    if not comparable(curve, control):
        return undefined
    lead, leads = curve.values - control.values, curve.samples - control.samples
    sign = -1.0 if curve.rows[0].higher_is_better is False else 1.0
    if not interval(sign * leads[0])[0] > 0.0:
        return undefined
    return Estimate(float(lead[at] / lead[0]), *interval(ratio(leads[[0, at]], 1)), n)


def effective(curve: StoredCurve, baseline: StoredCurve | None) -> Estimate | None:
    """Effective robustness (MultiBench, Liang et al. 2021), as a mean over the range of rates.

    The baseline's curve is moved so that it starts where the method's does. The mean height of the method's
    curve above it is the result, and positive where the method holds up better, whatever the metric's
    direction. MultiBench sums over its eleven rates, which depends on their number.
    """
    if baseline is None or not comparable(curve, baseline) or curve.rows[0].method == BASELINE:
        return None
    sign = -1.0 if curve.rows[0].higher_is_better is False else 1.0
    gap, gaps = curve.values - baseline.values, curve.samples - baseline.samples
    value = sign * float(area((gap - gap[0])[:, None], curve.rates)[0])
    return Estimate(value, *interval(sign * area(gaps - gaps[0], curve.rates)), curve.rows[0].n)


def comparable(curve: StoredCurve, other: StoredCurve) -> bool:
    """Whether two curves have the same rates and as many replicates."""
    return other.samples.shape == curve.samples.shape and np.allclose(other.rates, curve.rates)


def first_zero(rates: NDArray[np.float64], heights: NDArray[np.float64]) -> float | None:
    """The rate at which a line through the points first comes down to 0; None where it stays above."""
    for index, height in enumerate(heights):
        if height <= 0:
            if index == 0:
                return float(rates[0])
            before, step = heights[index - 1], rates[index] - rates[index - 1]
            return float(rates[index - 1] + step * before / (before - height))
    return None
