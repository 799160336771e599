"""Which modality a study loses: the drop policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import CONTEXT

FULL = "full"
"""The state in which a study keeps every modality it has by nature."""


ALTERNATE = "alternate"


ANY = "any"


@dataclass(frozen=True, slots=True)
class DropPolicy:
    """What a study loses.

    Attributes:
        name: ``context``, an image modality, ``alternate`` or ``any``.
        targets: modalities that can be dropped, in the dataset's order.
    """

    name: str
    targets: tuple[str, ...]

    @property
    def states(self) -> tuple[str, ...]:
        """Modality states the policy can produce: ``full``, then one per droppable modality."""
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
        targets = {ALTERNATE: images, ANY: tuple(modalities)}.get(name, (name,))
        return cls(name, targets)


def check_policy(name: str, modalities: Sequence[str]) -> None:
    """Whether a dataset with ``modalities`` has a policy of this name, with or without a missing rate.

    Raises:
        UnknownNameError: no such policy; the message names ``--drop`` and the nearest name.
        HarnessError: the dataset has no clinical context.
    """
    names = (*modalities, ALTERNATE, ANY)
    if name in names:
        return
    if name == CONTEXT:
        raise HarnessError(
            "--drop context: the dataset has no clinical context", f"it has {', '.join(modalities)}"
        )
    near = did_you_mean(name, names)
    raise UnknownNameError(
        f"--drop {name}: no such policy on this dataset, which allows {', '.join(names)}",
        near if near.startswith("did") else "",
    )


def default_policy(modalities: Sequence[str]) -> str:
    """What is dropped unless ``--drop`` says otherwise: the clinical context, else the images in turn."""
    if CONTEXT in modalities:
        return CONTEXT
    return ALTERNATE if len(modalities) > 1 else ANY
