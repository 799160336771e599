"""Modality states: the set of modalities that a study lacks, and its name.

A state is named by its modalities, joined by ``+`` in the dataset's order: ``frontal+context``. The empty set
is ``full``. Files, masks and manifests hold names. A name with a colon is that of a state in which a part of
one modality is lost (``harness.missingness.corrupted``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import combinations

from harness.core.errors import HarnessError

FULL = "full"
"""The state in which a study keeps every modality it has by nature."""

MOST_MODALITIES = 5
"""A dataset with more modalities has too many subsets: 2^6 - 1 states are 63 predictions of every study."""

_JOIN = "+"
_PARTLY = ":"


def state_of(lost: Collection[str], modalities: Sequence[str]) -> str:
    """The name of a set of missing modalities; ``modalities`` are the dataset's, in its order."""
    return _JOIN.join(name for name in modalities if name in lost) or FULL


def is_corrupted(state: str) -> bool:
    """Whether no modality is missing in a state, but a part of one is lost: ``frontal:blur:3``."""
    return _PARTLY in state


def names_in(state: str) -> tuple[str, ...]:
    """The modalities that a state lacks, in the order of its name."""
    return () if state == FULL or is_corrupted(state) else tuple(state.split(_JOIN))


def lost_in(text: str) -> tuple[str, ...]:
    """The modalities that a user's name of a state lacks: ``no-context``, ``frontal+context``, ``full``."""
    parts = tuple(part.strip().removeprefix("no-") for part in text.casefold().split(_JOIN))
    return () if parts in ((FULL,), ("",)) and not text.startswith("no-") else parts


def missing_in(state: str) -> frozenset[str]:
    """The modalities that a state lacks."""
    return frozenset(names_in(state))


def subsets(modalities: Sequence[str], losable: Sequence[str] | None = None) -> tuple[str, ...]:
    """Every state in which something is missing and something is left, by the number of missing modalities.

    Args:
        modalities: of the dataset.
        losable: those that may be missing; by default all.

    Raises:
        HarnessError: more than ``MOST_MODALITIES`` may be missing.
    """
    names = modalities if losable is None else losable
    if len(names) > MOST_MODALITIES:
        raise HarnessError(
            f"{len(names)} modalities have {2 ** len(names) - 1:,} states, too many to predict",
            f"every subset can be asked for with at most {MOST_MODALITIES}",
        )
    sizes = range(1, min(len(names), len(modalities) - 1) + 1)
    return tuple(state_of(lost, modalities) for size in sizes for lost in combinations(names, size))


def ordered(states: Iterable[str], modalities: Sequence[str]) -> tuple[str, ...]:
    """States without repetition: ``full``, then by the number of modalities, in the dataset's order."""
    place = {name: index for index, name in enumerate(modalities)}

    def key(state: str) -> tuple[int, list[int]]:
        lost = missing_in(state)
        return len(lost), sorted(place.get(name, len(place)) for name in lost)

    return tuple(sorted({FULL, *states}, key=key))


@lru_cache(maxsize=4096)  # of many studies, few have another set of modalities
def lost_by(present: frozenset[str], state: str, offered: frozenset[str]) -> frozenset[str]:
    """What a study really loses when it is put into a state.

    A study that would be left with nothing keeps everything: no study is ever empty.

    Args:
        present: modalities that the study has by nature.
        state: name of a state.
        offered: the dataset's modalities.
    """
    lost = missing_in(state) & present
    return lost if (present & offered) - lost else frozenset()
