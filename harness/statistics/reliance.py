"""What the absence of a modality costs a method: value lost per modality state, with interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.metrics.base import Metric, Rows, affordable
from harness.metrics.base import values as values_of
from harness.missingness.policy import FULL
from harness.statistics.bootstrap import FloatArray, interval
from harness.statistics.curves import _equal
from harness.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Cost:
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


def reliance(metric: Metric, rows: Mapping[str, Rows], weights: FloatArray) -> dict[str, dict[str, Cost]]:
    """Output -> modality -> what its absence from every study costs.

    Args:
        metric: any metric.
        rows: state -> (n, k); every state but ``full`` names the modality that is gone.
        weights: (B, n) from ``statistics.bootstrap_weights``.
    """
    found: dict[str, dict[str, Cost]] = {output.name: {} for output in metric.outputs}
    lost = [state for state in rows if state != FULL]
    if not lost:
        return found
    n = len(rows[FULL])
    once, few = np.ones((1, n)), affordable(metric, weights)
    whole = values_of(metric, rows[FULL], once)
    drawn: dict[str, FloatArray] = {}
    for state in lost:
        if _equal(rows, FULL, state):  # the method does not read this modality
            for name, unchanged in whole.items():
                found[name][state] = Cost(float(unchanged[0]), Estimate(0.0, 0.0, 0.0, n))
            continue
        drawn = drawn or values_of(metric, rows[FULL], few)
        value, lines = (values_of(metric, rows[state], each) for each in (once, few))
        for output in metric.outputs:
            sign = 1.0 if output.higher_is_better else -1.0
            cost = sign * float(whole[output.name][0] - value[output.name][0])
            ends = interval(sign * (drawn[output.name] - lines[output.name]))
            found[output.name][state] = Cost(float(value[output.name][0]), Estimate(cost, *ends, n))
    return found
