"""What the absence of modalities costs a method: value lost per modality state, with interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.missingness.states import FULL
from harness.statistics.bootstrap import interval
from harness.statistics.curves import Mixtures
from harness.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class AbsenceCost:
    """What a modality state costs.

    Attributes:
        value: the metric where every study that can be put into the state is in it.
        cost: how much worse that is than with nothing missing, in the metric's own unit; positive is worse.
            Its interval resamples patients and is paired, from replicates that are corrected as those of
            curves are.
    """

    value: float
    cost: Estimate

    def to_json(self) -> dict[str, float]:
        """What a manifest stores."""
        return {"value": self.value, "cost": self.cost.value, "lo": self.cost.lo, "hi": self.cost.hi}


def reliance(
    mixtures: Mixtures, corners: Mapping[str, NDArray[np.bool_]]
) -> dict[str, dict[str, AbsenceCost]]:
    """Output -> modality state -> what it costs that every study is in it.

    Args:
        mixtures: a metric on statistics of ``full`` and of the states.
        corners: state -> (n,): the studies that can be put into it; the others keep everything.
    """
    metric, n = mixtures.metric, len(mixtures.statistics[FULL])
    costs: dict[str, dict[str, AbsenceCost]] = {output.name: {} for output in metric.outputs}
    full = mixtures.corner(FULL, np.ones(n, dtype=bool))
    for state, able in corners.items():
        if state == FULL:
            continue
        without = mixtures.corner(state, able)
        for output in metric.outputs:
            name, sign = output.name, -1.0 if output.higher_is_better is False else 1.0
            cost = sign * float(full.each[name][0] - without.each[name][0]) + 0.0  # no -0.0
            both = full.corrected(metric, output), without.corrected(metric, output)
            ends = interval(sign * (both[0] - both[1]) + 0.0)
            costs[name][state] = AbsenceCost(float(without.each[name][0]), Estimate(cost, *ends, n=n))
    return costs
