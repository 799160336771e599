"""Curves over missing rates as results hold them, several training seeds of a method as their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from harness.leaderboard.bounds import bounded
from harness.leaderboard.protocol import Masks
from harness.leaderboard.selection import masks_of
from harness.leaderboard.shares import NO_SHARES, Shares
from harness.statistics.bootstrap import interval
from harness.statistics.estimate import Estimate
from harness.statistics.seeds import over_seeds, stretch
from harness.store.results import Measurement, StoredResult

Samples = NDArray[np.float64]
"""Bootstrap replicates (R, B), one line per missing rate."""


@dataclass(frozen=True, slots=True)
class StoredCurve:
    """One metric of one method over missing rates.

    Attributes:
        rows: one per rate, by rate.
        samples: their replicates.
        costs: modality -> what its absence from every study costs.
        masks: of all rates above 0.
        seeds: training seeds that the curve is the mean of.
        shares: what the masks took.
    """

    rows: tuple[Measurement, ...]
    samples: Samples
    costs: dict[str, Estimate]
    masks: Masks
    seeds: tuple[int, ...]
    shares: Shares = NO_SHARES

    @property
    def rates(self) -> NDArray[np.float64]:
        """Missing rates (R,)."""
        return np.array([row.rate for row in self.rows])

    @property
    def values(self) -> NDArray[np.float64]:
        """Heights (R,)."""
        return np.array([row.value for row in self.rows], dtype=np.float64)


def curves_of(result: StoredResult) -> list[StoredCurve]:
    """The curves of one result; metrics without a rate above 0 or without replicates are left out."""
    samples, masks = result.replicates(), masks_of(result)
    by_metric: dict[str, list[Measurement]] = {}
    for row in result.rows:
        if row.value is not None and row.status == "ok":
            by_metric.setdefault(row.metric, []).append(row)
    curves = []
    for metric, rows in by_metric.items():
        ordered = sorted(rows, key=lambda row: row.rate)
        lines = samples.get(metric)
        if len(ordered) < 2 or lines is None or len(lines) != len(ordered):
            continue
        reliance = result.manifest.reliance.get(metric, {})
        costs = {name: Estimate(each.cost, each.lo, each.hi, rows[0].n) for name, each in reliance.items()}
        curves.append(
            StoredCurve(
                tuple(ordered),
                lines.astype(np.float64),
                costs,
                masks,
                (rows[0].seed,),
                Shares.of(result.manifest),
            )
        )
    return curves


def means_over_seeds(curves: Sequence[StoredCurve]) -> list[StoredCurve]:
    """The curves, those that differ in their seed alone as one, where the first of them stood."""
    groups: dict[tuple[object, ...], list[StoredCurve]] = {}
    for curve in curves:
        alike = [replace(row, seed=0, value=None, ci95=None, detail="", key="") for row in curve.rows]
        groups.setdefault((*alike, curve.masks, curve.samples.shape), []).append(curve)
    return [_mean(sorted(group, key=lambda curve: curve.seeds)) for group in groups.values()]


def _mean(group: Sequence[StoredCurve]) -> StoredCurve:
    """The mean of curves of several seeds, smallest seed first; the one curve as it is."""
    first = group[0]
    if len(group) == 1:
        return first
    values = np.stack([curve.values for curve in group])
    samples = np.stack(
        [
            over_seeds(list(values[:, rate]), [curve.samples[rate] for curve in group])
            for rate in range(len(first.rows))
        ]
    )
    rows = tuple(
        replace(row, value=float(height), ci95=bounded(row.metric, interval(line)))
        for row, height, line in zip(first.rows, values.mean(axis=0), samples, strict=True)
    )
    shared = [name for name in first.costs if all(name in curve.costs for curve in group)]
    costs = {name: _mean_cost([curve.costs[name] for curve in group]) for name in shared}
    seeds = tuple(seed for curve in group for seed in curve.seeds)
    return StoredCurve(rows, samples, costs, first.masks, seeds, first.shares)


def _mean_cost(costs: Sequence[Estimate]) -> Estimate:
    """The mean over seeds, with an interval from those of the seeds, for results keep no replicates of costs.

    The seeds' intervals are over the same patients: the mean of their widths is that of patients, on each
    side. Student's interval of the S values is added to it as for independent noise.
    """
    values = [cost.value for cost in costs]
    value, count = fmean(values), len(values)
    # stretch() has the square root of S / (S - 1) for a bootstrap's spread; stdev() is without that bias.
    seeds = 1.96 * stretch(count) * math.sqrt((count - 1) / count) * stdev(values) / math.sqrt(count)
    down, up = (fmean(ends) for ends in zip(*((c.value - c.lo, c.hi - c.value) for c in costs), strict=True))
    return Estimate(value, value - math.hypot(down, seeds), value + math.hypot(up, seeds), costs[0].n)
