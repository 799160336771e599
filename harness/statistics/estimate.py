"""One number with its interval: the type of everything that is printed with an uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval over patients, and over mask seeds where there are several.

    The interval is the 95 % percentile interval of a bootstrap unless the function that returns the estimate
    was called with another level.

    Attributes:
        value: the number itself, in the metric's own unit; NaN where the metric is undefined.
        lo: lower end of the interval; NaN where no bootstrap replicate is defined.
        hi: upper end.
        n: studies behind the value.
    """

    value: float
    lo: float
    hi: float
    n: int

    @property
    def ci95(self) -> tuple[float, float]:
        """Both ends of the interval."""
        return self.lo, self.hi

    @property
    def is_defined(self) -> bool:
        """Whether the value is a finite number."""
        return math.isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are finite numbers."""
        return math.isfinite(self.lo) and math.isfinite(self.hi)

    def covers(self, number: float) -> bool:
        """Whether ``number`` lies within the interval, its ends included."""
        return self.lo <= number <= self.hi
