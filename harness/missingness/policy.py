"""Which modality a study loses: the drop policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import CONTEXT
from harness.missingness.states import FULL, missing_in, names_in, state_of, subsets

ALTERNATE = "alternate"


ANY = "any"


SUBSETS = "subsets"


EVERY = "every"
"""Stands for several policies: see ``policies_of``."""


@dataclass(frozen=True, slots=True)
class DropPolicy:
    """What a study loses.

    Attributes:
        name: a modality, several joined by ``+`` (all of them at once), ``alternate``, ``any``, ``subsets``
            (each modality for itself), or the shares of a pattern, ``frontal=0.2+context=0.6``.
        targets: states that a study can be put into, in the dataset's order.
        shares: of ``subsets`` and of patterns, modality -> share of studies that lose it at rate 1; empty for
            policies that take one target from a study.
    """

    name: str
    targets: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=dict)

    @property
    def states(self) -> tuple[str, ...]:
        """Modality states the policy can produce: ``full``, then its targets."""
        return (FULL, *self.targets)

    @classmethod
    def of(cls, name: str, modalities: Sequence[str]) -> DropPolicy:
        """The policy called ``name`` on a dataset with ``modalities``.

        Raises:
            UnknownNameError: no such policy; the message names ``--drop``.
            HarnessError: the dataset lacks the modality, or has nothing to spare.
        """
        check_policy(name, modalities)
        images = tuple(modality for modality in modalities if modality != CONTEXT)
        if len(modalities) < 2:
            raise HarnessError(
                f"--drop {name}: the dataset has one modality, and no study may lose its last one",
                "use --missing 0",
            )
        if name == ALTERNATE and len(images) < 2:
            raise HarnessError(
                "--drop alternate needs two image modalities",
                f"the dataset has {', '.join(images) or 'none'}",
            )
        if name == state_of(modalities, modalities):
            raise HarnessError(f"--drop {name}: no study may lose all of its modalities")
        shares = _shares(name, modalities)
        if shares:
            losable = [modality for modality in modalities if shares.get(modality)]
            return cls(name, subsets(modalities, losable), shares)
        targets = {ALTERNATE: images, ANY: tuple(modalities)}.get(name, (name,))
        return cls(name, targets)

    @property
    def losable(self) -> tuple[str, ...]:
        """Modalities that some target takes."""
        return tuple(dict.fromkeys(name for target in self.targets for name in names_in(target)))


def check_policy(name: str, modalities: Sequence[str]) -> None:
    """Whether a dataset with ``modalities`` has a policy of this name, with or without a missing rate.

    Raises:
        UnknownNameError: no such policy; the message names ``--drop`` and the nearest name.
        HarnessError: the dataset has no clinical context, or modalities stand in another order.
    """
    names = (*modalities, ALTERNATE, ANY, SUBSETS)
    joined = next((each for each in modalities if missing_in(each) != {each}), None)
    if joined is not None:
        raise HarnessError(f"a modality is called {joined}", "rename it: full, + and : name modality states")
    if "=" in name:
        _shares(name, modalities)
        return
    parts = missing_in(name)
    if name in names or name == state_of(parts, modalities):
        return
    if parts <= set(modalities):
        raise HarnessError(f"--drop {name}: write {state_of(parts, modalities)}")
    if CONTEXT in parts and CONTEXT not in modalities:
        raise HarnessError(
            f"--drop {name}: the dataset has no clinical context", f"it has {', '.join(modalities)}"
        )
    near = did_you_mean(name, names)
    raise UnknownNameError(
        f"--drop {name}: no such policy on this dataset, which allows {', '.join(names)}",
        near if near.startswith("did") else "",
    )


def pattern_of(shares: Mapping[str, float], modalities: Sequence[str]) -> str:
    """The name of the policy that takes each modality from its own share of the studies.

    Raises:
        HarnessError: the dataset lacks a modality, or a share is no fraction.
    """
    for modality, share in shares.items():
        if modality not in modalities:
            raise UnknownNameError(
                f"--missing {modality}={share:g}: the dataset has {', '.join(modalities)}",
                did_you_mean(modality, modalities),
            )
        if not 0.0 <= share <= 1.0:
            raise HarnessError(f"--missing {modality}={share:g}: a missing rate lies between 0 and 1")
    return "+".join(f"{name}={shares[name]:g}" for name in modalities if name in shares)


def _shares(name: str, modalities: Sequence[str]) -> dict[str, float]:
    """Modality -> share of the policies ``subsets`` and ``frontal=0.2+context=0.6``; empty for others.

    Raises:
        HarnessError: a pattern that makes no sense, or is not written as ``pattern_of`` writes it.
    """
    if name == SUBSETS:
        return dict.fromkeys(modalities, 1.0)
    if "=" not in name:
        return {}
    try:
        parts = (part.partition("=") for part in name.split("+"))
        shares = {modality: float(share) for modality, _, share in parts}
    except ValueError:
        raise HarnessError(f"--drop {name}: no pattern", "e.g. frontal=0.2+context=0.6") from None
    if (canonical := pattern_of(shares, modalities)) != name:
        raise HarnessError(f"--drop {name}: write {canonical}")
    return shares


def main_policy(modalities: Sequence[str]) -> str:
    """The policy whose curve stands first: the clinical context goes missing, else the images in turn."""
    if CONTEXT in modalities:
        return CONTEXT
    return ALTERNATE if len(modalities) > 1 else ANY


def policies_of(
    drop: str,
    missing: Sequence[float] | Mapping[str, float],
    modalities: Sequence[str],
    *,
    every_subset: bool = False,
) -> dict[str, tuple[float, ...]]:
    """Drop policy -> its missing rates, for all curves of a run.

    Args:
        drop: ``every``, or policies joined by commas. ``every`` stands for the loss of each single modality
            by all studies (rate 1), and for the curves of ``context``, ``alternate`` and ``any`` at
            their missing rates, as far as the dataset has them.
        missing: missing rates; or modality -> rate, which is one pattern in the place of all curves.
        modalities: of the dataset.
        every_subset: with ``every``, all studies also lose each larger set of modalities, and there is the
            curve of ``subsets``.

    Raises:
        UnknownNameError: no such policy.
        HarnessError: ``every_subset`` without ``every``, or on a dataset with too many modalities.
    """
    names = [name.strip() for name in drop.split(",")]
    if isinstance(missing, Mapping):
        if names not in ([EVERY], [SUBSETS]):
            raise HarnessError(
                f"--drop {drop} with a missing rate per modality", "use --drop subsets, or leave --drop out"
            )
        curves = [pattern_of(missing, modalities)]
        names = names if names == [EVERY] else curves
    else:
        curves = _curves(modalities, every_subset)
    rates = (0.0, 1.0) if isinstance(missing, Mapping) else tuple(sorted({0.0, *missing}))
    if EVERY not in names:
        if every_subset:
            raise HarnessError(f"--states all with --drop {drop}", "it goes with --drop every")
        for name in names:
            check_policy(name, modalities)
        return dict.fromkeys(names, rates)
    if len(names) > 1:
        raise HarnessError(f"--drop {drop}: every has the other policies in it", "use --drop every")
    if len(modalities) < 2:
        return {main_policy(modalities): rates}
    planned: dict[str, tuple[float, ...]] = dict.fromkeys(curves if any(rates) else [], rates)
    for lost in subsets(modalities) if every_subset else reversed(modalities):
        planned[lost] = tuple(sorted({*planned.get(lost, (0.0,)), 1.0}))
    return planned


def _curves(modalities: Sequence[str], every_subset: bool) -> list[str]:
    """Policies of the curves of ``every``, the one that stands first in front."""
    images = [name for name in modalities if name != CONTEXT]
    policies = [main_policy(modalities), ALTERNATE if len(images) > 1 else ANY, ANY]
    return list(dict.fromkeys([*policies, *([SUBSETS] if every_subset else [])]))
