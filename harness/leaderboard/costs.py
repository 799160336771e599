"""What the method of a row costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.store.manifest import Cost


@dataclass(frozen=True, slots=True)
class RowCost:
    """What a row's method costs (see ``store.manifest.Cost``); None where nothing measured it.

    Attributes:
        training_seconds, seconds_per_study: means over the row's seeds.
        peak_memory_gib: the highest of its seeds.
        device: of the first seed.
    """

    parameters: int | None = None
    trainable_parameters: int | None = None
    flops: int | None = None
    training_seconds: float | None = None
    seconds_per_study: float | None = None
    peak_memory_gib: float | None = None
    device: str = ""


NO_COST: Final = RowCost()


def mean_cost(costs: Sequence[Cost]) -> RowCost:
    """The cost of a row from those of its seeds: times are means, memory is the highest."""
    first = costs[0]

    def mean(values: Sequence[float | None]) -> float | None:
        timed = [value for value in values if value is not None]
        return sum(timed) / len(timed) if timed else None

    return RowCost(
        parameters=first.parameters,
        trainable_parameters=first.trainable_parameters,
        flops=first.flops,
        training_seconds=mean([cost.training_seconds for cost in costs]),
        seconds_per_study=mean([cost.seconds_per_study for cost in costs]),
        peak_memory_gib=max((cost.peak_memory_gib or 0.0 for cost in costs), default=0.0) or None,
        device=first.device,
    )
