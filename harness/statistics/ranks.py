"""Rank groups: methods that the test set cannot tell apart share one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.statistics.bootstrap import FloatArray, interval


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
