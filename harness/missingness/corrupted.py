"""States in which all studies have a modality, but a part of it is lost: ``--corrupt frontal:blur:3``.

Such a state is named by its modality, its corruption and its level, or its amount where that is of no level:
``context:words=0.4``. As of a missing modality there is a plan with it: at rate 1 every study that has the
modality is in the state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import CONTEXT, Study
from harness.missingness.corruptions import (
    VERSION,
    Corruption,
    amount_of,
    corrupt,
    corruption_named,
)
from harness.missingness.plan import MaskPlan
from harness.missingness.states import FULL, is_corrupted

LEVELS = (1, 3, 5)
"""What ``--corrupt frontal:blur`` asks for."""


@dataclass(frozen=True, slots=True)
class CorruptedState:
    """A modality of which a part is lost.

    Attributes:
        modality: name of it.
        corruption: what happens to it.
        amount: how much is lost, in the corruption's unit.
    """

    modality: str
    corruption: Corruption
    amount: float

    @property
    def kind(self) -> str:
        """Modality and corruption: states that differ in their amount alone share it."""
        return f"{self.modality}:{self.corruption.name}"

    @property
    def severity(self) -> float:
        """The level, which is no whole number for an amount between two levels."""
        return self.corruption.level(self.amount)

    @property
    def label(self) -> str:
        """Corruption and level, ``blur 3``, or corruption and amount, ``words=0.4``."""
        amounts, name = self.corruption.amounts, self.corruption.name
        if self.amount in amounts:
            return f"{name} {amounts.index(self.amount) + 1}"
        return f"{name}={self.amount:g}"

    @property
    def name(self) -> str:
        """Name of the state: ``frontal:blur:3``, ``context:words=0.4``."""
        return f"{self.modality}:{self.label.replace(' ', ':')}"

    @property
    def file(self) -> str:
        """Begins the names of files with answers in the state: another version has other files."""
        return f"corrupted-{VERSION}-{self.name}"

    @classmethod
    def of(cls, name: str) -> CorruptedState:
        """The state called ``name``.

        Raises:
            HarnessError: not of the form ``modality:corruption:level`` or ``modality:corruption=amount``, no
                such corruption, or an amount or level that it does not have.
        """
        modality, _, rest = name.partition(":")
        kind, by_level, level = rest.partition(":")
        kind, by_amount, amount = kind.partition("=") if not by_level else (kind, "", "")
        corruption = corruption_named(kind)
        try:
            value = float(f"{float(amount):g}") if by_amount else amount_of(corruption, int(level))
        except ValueError:
            raise HarnessError(
                f"{name}: neither a level nor an amount", f"e.g. {modality}:{kind}:3"
            ) from None
        if not 0.0 < value <= corruption.most:
            raise HarnessError(
                f"{name}: out of range", f"levels 1 to 5, or {kind}= up to {corruption.most:g}"
            )
        return cls(modality, corruption, value)

    def affects(self, study: Study) -> bool:
        """Whether a study has something of the modality to lose."""
        return self.modality in study.modalities

    def applied(self, study: Study) -> Study:
        """The study as it is in this state; its images are read and corrupted at access."""
        if self.modality == CONTEXT:
            return replace(study, context=self._corrupt(study.context or "", study.id))
        return replace(study, images=_Corrupted(study.images, self, study.id))

    def _corrupt(self, content: Any, study_id: str) -> Any:
        name = self.corruption.name
        return corrupt(content, name, amount=self.amount, study_id=study_id, modality=self.modality)


class _Corrupted(Mapping[str, NDArray[np.uint8]]):
    """Images of a study, one of them corrupted."""

    def __init__(self, images: Mapping[str, NDArray[np.uint8]], state: CorruptedState, study_id: str) -> None:
        self._images = images
        self._state = state
        self._study_id = study_id

    def __getitem__(self, view: str) -> NDArray[np.uint8]:
        image = self._images[view]
        if view != self._state.modality:
            return image
        corrupted: NDArray[np.uint8] = self._state._corrupt(image, self._study_id)
        return corrupted

    def __contains__(self, view: Any) -> bool:
        return view in self._images

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


def corrupted_state(state: str) -> CorruptedState | None:
    """A state by its name; None for those in which modalities are missing."""
    return CorruptedState.of(state) if is_corrupted(state) else None


def states_of(corrupt: Sequence[str], modalities: Sequence[str]) -> tuple[CorruptedState, ...]:
    """The states that ``--corrupt`` asks for, by modality, corruption and amount.

    Args:
        corrupt: items ``frontal:blur``, which stands for ``LEVELS``, ``frontal:blur:2`` or
            ``context:words=0.4``.
        modalities: of the dataset.

    Raises:
        UnknownNameError: the dataset has no such modality, or there is no such corruption.
        HarnessError: an item of another form, or a corruption of images for a text or the reverse.
    """
    states: dict[str, CorruptedState] = {}
    for item in corrupt:
        try:
            for state in _expanded(item, modalities):
                states[state.name] = state
        except HarnessError as error:
            raise type(error)(f"--corrupt {item}: {error.message}", error.hint) from None

    def place(state: CorruptedState) -> tuple[int, str, float]:
        return modalities.index(state.modality), state.corruption.name, state.amount

    return tuple(sorted(states.values(), key=place))


def _expanded(item: str, modalities: Sequence[str]) -> list[CorruptedState]:
    modality, colon, rest = item.partition(":")
    if not colon:
        raise HarnessError("not of the form modality:corruption", "e.g. frontal:blur")
    if modality not in modalities:
        raise UnknownNameError(f"the dataset has {', '.join(modalities)}", did_you_mean(modality, modalities))
    names = [item] if ":" in rest or "=" in rest else [f"{item}:{level}" for level in LEVELS]
    states = [CorruptedState.of(name) for name in names]
    of = "text" if modality == CONTEXT else "image"
    if states[0].corruption.of != of:
        raise HarnessError(f"{states[0].corruption.name} is not for {modality}, which is {_KIND[of]}")
    return states


_KIND = {"text": "a text", "image": "an image"}


def corrupted_plan(state: CorruptedState, studies: Sequence[Study], like: MaskPlan) -> MaskPlan:
    """Rates 0 and 1: nothing is corrupted, and every study that has the modality is in the state.

    Args:
        state: one corruption of one modality.
        studies: of the test set.
        like: its mechanism and mask seeds are taken over; they play no part.
    """
    affected = np.array([state.affects(study) for study in studies], dtype=np.int8)
    both = np.stack([np.zeros_like(affected), affected])
    return MaskPlan(
        policy=state.name,
        mechanism=like.mechanism,
        states=(FULL, state.name),
        rates=(0.0, 1.0),
        seeds=like.seeds,
        ids=tuple(study.id for study in studies),
        assignment=np.repeat(both[None], len(like.seeds), axis=0),
    )
