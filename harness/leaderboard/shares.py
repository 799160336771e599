"""What masks really took from the test studies, beside the missing rates that were asked for.

A rate has two readings in the literature: the share of studies that lose something, and the share of modality
instances that are missing. Some studies lack a modality by nature, and some have nothing that they could
lose. So a rate alone does not say how many studies have no context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.missingness.policy import SUBSETS
from harness.store.manifest import Manifest

_HALF_A_POINT = 0.005


@dataclass(frozen=True, slots=True)
class RateShares:
    """What masks took at one missing rate, as means over mask seeds.

    Attributes:
        studies: share of studies that lose something.
        instances: share of modality instances that are lost, of those that the studies have by nature.
        lost: modality -> share of studies that lose it.
    """

    studies: float
    instances: float
    lost: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shares:
    """What the masks of a result took.

    Attributes:
        natural: modality -> share of studies that lack it by nature.
        rates: missing rate -> what was taken.
    """

    natural: dict[str, float] = field(default_factory=dict)
    rates: dict[float, RateShares] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest) -> Shares:
        """Those that a manifest records; rates of stores that recorded less are left out."""
        rates = {
            float(rate): RateShares(studies, manifest.achieved_instances[rate], manifest.lost.get(rate, {}))
            for rate, studies in manifest.achieved.items()
            if rate in manifest.achieved_instances
        }
        return cls(dict(manifest.natural), rates)

    def heading(self, rate: float, n: int, drop: str) -> str:
        """A rate as a column's heading: ``0.6``, or ``0.6 (0.500 lost)`` where fewer studies lost something.

        A difference up to half a point, or to half a study, is not named. Under policies that take each
        modality for itself, a rate is not the share of studies that lose something: nothing is added.
        """
        taken = self.rates.get(rate)
        if taken is None or drop == SUBSETS or "=" in drop:
            return f"{rate:g}"
        differs = abs(taken.studies - rate) > max(_HALF_A_POINT, 0.5 / max(1, n)) + 1e-9
        return f"{rate:g} ({taken.studies:.3f} lost)" if differs else f"{rate:g}"

    def axis(self, rates: Sequence[float]) -> str:
        """``without context: 8.6 % | 28.6 %``: shares of studies, by nature and then at each rate."""
        return "; ".join(self._without(self._above_zero(rates)))

    def sentences(self, rates: Sequence[float]) -> Iterator[str]:
        """The same as a footnote, after the two readings of a rate; nothing where nothing is recorded."""
        above = self._above_zero(rates)
        if not above:
            return
        taken = [self.rates[rate] for rate in above]
        yield (
            f"At missing rates {' | '.join(f'{rate:g}' for rate in above)}, studies that lose something: "
            f"{_percents([each.studies for each in taken])}; modality instances that are lost: "
            f"{_percents([each.instances for each in taken])}."
        )
        lacking = self._without(above)
        if lacking:
            yield f"Studies {'; '.join(lacking)} (first by nature, then at each rate)."

    def _above_zero(self, rates: Sequence[float]) -> list[float]:
        return [rate for rate in rates if rate > 0 and rate in self.rates]

    def _without(self, rates: Sequence[float]) -> list[str]:
        """One part per modality that studies lose at one of the rates."""
        parts = []
        for name, share in self.natural.items():
            lost = [self.rates[rate].lost.get(name, 0.0) for rate in rates]
            if any(lost):
                parts.append(f"without {name}: {_percents([share, *(share + each for each in lost)])}")
        return parts


NO_SHARES: Final = Shares()


def _percents(shares: Sequence[float]) -> str:
    return " | ".join(f"{share:.1%}".replace("%", " %") for share in shares)
