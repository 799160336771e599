"""What the absence of a modality costs a method: value lost per modality state, with interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.metrics.base import Metric, Statistics
from harness.missingness.policy import FULL
from harness.statistics.bootstrap import FloatArray, affordable, interval
from harness.statistics.curves import same_statistics
from harness.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class AbsenceCost:
    """What the absence of one modality costs.

    Attributes:
        value: the metric where every study that has the modality has lost it.
        cost: how much worse that is than with nothing missing, in the metric's own unit; positive is worse.
            Its interval resamples patients and is paired.
    """

    value: float
    cost: Estimate

    def to_json(self) -> dict[str, float]:
        """What a manifest stores."""
        return {"value": self.value, "cost": self.cost.value, "lo": self.cost.lo, "hi": self.cost.hi}


def reliance(
    metric: Metric, statistics: Mapping[str, Statistics], weights: FloatArray
) -> dict[str, dict[str, AbsenceCost]]:
    """Output -> modality -> what its absence from every study costs.

    Args:
        metric: any metric.
        statistics: state -> (n, k); every state but ``full`` names the modality that is gone.
        weights: (B, n) from ``bootstrap.bootstrap_weights``.
    """
    costs: dict[str, dict[str, AbsenceCost]] = {output.name: {} for output in metric.outputs}
    lost = [state for state in statistics if state != FULL]
    if not lost:
        return costs
    n = len(statistics[FULL])
    once, resampled = np.ones((1, n)), affordable(metric, weights)
    full = metric.values(statistics[FULL], once)
    full_replicates: dict[str, FloatArray] = {}
    for state in lost:
        if same_statistics(statistics, FULL, state):  # the method does not read this modality
            for name, value in full.items():
                costs[name][state] = AbsenceCost(float(value[0]), Estimate(0.0, 0.0, 0.0, n))
            continue
        full_replicates = full_replicates or metric.values(statistics[FULL], resampled)
        without = metric.values(statistics[state], once)
        replicates = metric.values(statistics[state], resampled)
        for output in metric.outputs:
            name, sign = output.name, 1.0 if output.higher_is_better else -1.0
            cost = sign * float(full[name][0] - without[name][0])
            ends = interval(sign * (full_replicates[name] - replicates[name]))
            costs[name][state] = AbsenceCost(float(without[name][0]), Estimate(cost, *ends, n=n))
    return costs
