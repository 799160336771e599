"""What is asked about: studies, each in a modality state, in batches, under their own ids or others."""

from __future__ import annotations

import secrets
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from harness.core.types import DatasetInfo, Inputs, Study
from harness.method.batching import collate
from harness.missingness.states import FULL

BATCH = 16


@dataclass(frozen=True, slots=True)
class Question:
    """Studies to ask about.

    Attributes:
        studies: in their order.
        states: what all of them lack, as a state's name; or study id -> what it lacks.
        size: studies of a batch.
        renamed: the method gets random ids.
        seeds_of: study id -> study whose seed it has.
        seed: of the run; None: the audit's.
    """

    studies: Sequence[Study]
    states: str | Mapping[str, str] = FULL
    size: int = BATCH
    renamed: bool = False
    seeds_of: Mapping[str, Study] | None = None
    seed: int | None = None

    def inputs(self, info: DatasetInfo, reads: Container[str], seed: int) -> Iterator[Inputs]:
        """Batches as the harness makes them, under the studies' own ids."""
        run_seed = seed if self.seed is None else self.seed
        for batch in batches(self.studies, self.size):
            yield joined(
                [
                    collate([study], info, reads=reads, dropped=self.state_of(study), run_seed=run_seed)
                    for study in batch
                ],
                self._seeds(batch, info, run_seed),
            )

    def state_of(self, study: Study) -> str:
        """What a study lacks."""
        return self.states if isinstance(self.states, str) else self.states.get(study.id, FULL)

    def _seeds(self, batch: Sequence[Study], info: DatasetInfo, seed: int) -> list[int] | None:
        if self.seeds_of is None:
            return None
        return collate([self.seeds_of[study.id] for study in batch], info, run_seed=seed).seeds


def joined(parts: Sequence[Inputs], seeds: list[int] | None = None) -> Inputs:
    """Studies as one batch, with other seeds if any are given."""
    first = parts[0]
    return Inputs(
        [name for part in parts for name in part.ids],
        {view: torch.cat([part.images[view] for part in parts]) for view in first.images},
        [text for part in parts for text in part.context],
        {name: torch.cat([part.present[name] for part in parts]) for name in first.present},
        seeds or [seed for part in parts for seed in part.seeds],
    )


def renamed(inputs: Inputs) -> Inputs:
    """The batch under random ids."""
    return replace(inputs, ids=[secrets.token_hex(8) for _ in inputs.ids])


def batches(studies: Sequence[Study], size: int) -> Iterator[Sequence[Study]]:
    """Studies in their order, ``size`` at a time."""
    for start in range(0, len(studies), size):
        yield studies[start : start + size]
