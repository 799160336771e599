"""Shapley values of modalities from the numbers in modality states.

The players are the modalities that a method reads. A subset is worth what the method scores where all others
are missing. The empty subset is worth what the control ``template`` scores: the same answer for all studies,
which needs no modality at all. A method's own answer to nothing would do for some methods alone, as no study
is ever left empty, and would credit a modality with repairing a bad one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.missingness.states import state_of
from harness.statistics.bootstrap import interval
from harness.statistics.estimate import Estimate
from harness.statistics.shapley import equity, shapley_values

NOTHING_READ: Final = "template"
"""The control whose value is that of the empty subset."""

Valued = tuple[float, NDArray[np.float64]]
"""A value, and its replicates (B,)."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """How a method's lead over a fixed answer divides among the modalities that it reads.

    Attributes:
        shapley: modality -> Shapley value in the metric's own unit; positive is better, whatever the metric's
            direction.
        equity: smallest over largest of them, 0 to 1; None where the largest is not clearly above 0, or the
            method reads one modality alone.
    """

    shapley: dict[str, Estimate]
    equity: Estimate | None = None


def contributions(
    values: Mapping[str, Valued], empty: Valued, reads: Sequence[str], sign: float, n: int
) -> Contributions | None:
    """The contributions of a method's modalities; None where a subset was not measured.

    Args:
        values: modality state -> the method's number.
        empty: the number of ``NOTHING_READ``, from the same resamples.
        reads: the dataset's modalities that the method reads, in its order.
        sign: 1 where higher is better, else -1.
        n: test studies.
    """
    worth: dict[frozenset[str], Valued] = {frozenset(): empty}
    for size in range(1, len(reads) + 1):
        for subset in map(frozenset, combinations(reads, size)):
            state = state_of([name for name in reads if name not in subset], reads)
            if state not in values:
                return None
            worth[subset] = values[state]
    if not reads or len({samples.shape for _, samples in worth.values()}) > 1:
        return None
    once = shapley_values({each: np.array([sign * value]) for each, (value, _) in worth.items()}, reads)
    resampled = shapley_values({each: sign * samples for each, (_, samples) in worth.items()}, reads)
    shapley = {name: Estimate(float(once[name][0]), *interval(resampled[name]), n=n) for name in reads}
    largest = max(shapley.values(), key=lambda each: each.value)
    if len(reads) < 2 or not largest.lo > 0.0:
        return Contributions(shapley)
    value = float(equity([once[name] for name in reads])[0])
    lo, hi = interval(equity([resampled[name] for name in reads]))
    # Near 1 noise only ever lowers a smallest over a largest value: replicates may all lie below it.
    return Contributions(shapley, Estimate(value, min(lo, value), max(hi, value), n=n))
