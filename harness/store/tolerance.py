"""When two numbers of a row are equal: for reproduced rows, killed and resumed runs, runs on a cluster."""

from __future__ import annotations

import math
from typing import Any

TOLERANCE = 1e-9
"""Numbers that differ by less, absolutely or relatively, are equal: sums of floats depend on the machine."""


def close(one: Any, other: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers, or two intervals, are equal; None and NaN equal themselves alone."""
    if one is None or other is None:
        return one is other
    if isinstance(one, (tuple, list)):
        return all(close(x, y, tolerance) for x, y in zip(one, other, strict=True))
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
