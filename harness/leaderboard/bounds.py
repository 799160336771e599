"""Intervals over several training seeds end where their metric does.

Bootstrap replicates of one seed keep to the bounds of their metric. The stretched spread of few seeds does
not: an F1 of .98 would reach 1.04.
"""

from __future__ import annotations

from functools import cache

from harness.core import registry
from harness.core.errors import HarnessError

_ANY = (-float("inf"), float("inf"))


def bounded(metric: str, ends: tuple[float, float]) -> tuple[float, float]:
    """An interval of a metric, no end outside of what the metric can be."""
    lowest, highest = _bounds().get(metric, _ANY)
    lo, hi = (min(max(end, lowest), highest) if end == end else end for end in ends)
    return lo, hi


@cache
def _bounds() -> dict[str, tuple[float, float]]:
    """Number -> smallest and largest possible value, of all metrics that are registered and can be loaded."""
    bounds: dict[str, tuple[float, float]] = {}
    for name in registry.names("metrics"):
        try:
            bounds |= {output.name: output.bounds for output in registry.make_metric(name).outputs}
        except HarnessError:  # a plugin that does not load; where it is asked for, its error is printed
            continue
    return bounds
