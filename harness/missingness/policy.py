"""Which modality a study loses: the drop policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import CONTEXT
from harness.missingness.states import FULL, missing_in, state_of, subsets

ALTERNATE = "alternate"


ANY = "any"


EVERY = "every"
"""Stands for several policies: see ``policies_of``."""


@dataclass(frozen=True, slots=True)
class DropPolicy:
    """What a study loses.

    Attributes:
        name: a modality, several joined by ``+`` (all of them at once), ``alternate`` or ``any``.
        targets: states that a study can be put into, in the dataset's order.
    """

    name: str
    targets: tuple[str, ...]

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
        targets = {ALTERNATE: images, ANY: tuple(modalities)}.get(name, (name,))
        return cls(name, targets)


def check_policy(name: str, modalities: Sequence[str]) -> None:
    """Whether a dataset with ``modalities`` has a policy of this name, with or without a missing rate.

    Raises:
        UnknownNameError: no such policy; the message names ``--drop`` and the nearest name.
        HarnessError: the dataset has no clinical context, or modalities stand in another order.
    """
    names = (*modalities, ALTERNATE, ANY)
    joined = next((each for each in modalities if missing_in(each) != {each}), None)
    if joined is not None:
        raise HarnessError(f"a modality is called {joined}", "rename it: full and + name modality states")
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


def main_policy(modalities: Sequence[str]) -> str:
    """The policy whose curve stands first: the clinical context goes missing, else the images in turn."""
    if CONTEXT in modalities:
        return CONTEXT
    return ALTERNATE if len(modalities) > 1 else ANY


def policies_of(
    drop: str, rates: Sequence[float], modalities: Sequence[str], *, every_subset: bool = False
) -> dict[str, tuple[float, ...]]:
    """Drop policy -> its missing rates, for all curves of a run.

    Args:
        drop: ``every``, or policies joined by commas. ``every`` stands for the loss of each single modality
            by all studies (rate 1), and for the curves of ``context``, ``alternate`` and ``any`` at
            ``rates``, as far as the dataset has them.
        rates: sorted missing rates, 0 in front.
        modalities: of the dataset.
        every_subset: with ``every``, all studies also lose each larger set of modalities.

    Raises:
        UnknownNameError: no such policy.
        HarnessError: ``every_subset`` without ``every``, or on a dataset with too many modalities.
    """
    names = [name.strip() for name in drop.split(",")]
    if EVERY not in names:
        if every_subset:
            raise HarnessError(f"--states all with --drop {drop}", "it goes with --drop every")
        for name in names:
            check_policy(name, modalities)
        return dict.fromkeys(names, tuple(rates))
    if len(names) > 1:
        raise HarnessError(f"--drop {drop}: every has the other policies in it", "use --drop every")
    first = main_policy(modalities)
    if len(modalities) < 2:
        return {first: tuple(rates)}
    images = [name for name in modalities if name != CONTEXT]
    curves = [first, *([ALTERNATE] if len(images) > 1 else []), ANY] if any(rates) else []
    planned: dict[str, tuple[float, ...]] = dict.fromkeys(curves, tuple(rates))
    for lost in subsets(modalities) if every_subset else reversed(modalities):
        planned[lost] = tuple(sorted({*planned.get(lost, (0.0,)), 1.0}))
    return planned
