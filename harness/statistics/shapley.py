"""What each modality contributes, shared out exactly over all subsets of modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

import numpy as np

from harness.statistics.bootstrap import FloatArray


def shapley_values(
    worth: Mapping[frozenset[str], FloatArray], players: Sequence[str]
) -> dict[str, FloatArray]:
    """The Shapley value of each player: its mean gain over all orders in which players may join.

    They sum to the worth of all players less that of none (Shapley 1953).

    Args:
        worth: subset of the players, the empty one and all of them included -> values (B,).
        players: P names; there are 2^P subsets.

    Returns:
        Player -> (B,).
    """
    values = {}
    for player in players:
        others = [name for name in players if name != player]
        gains = [
            (worth[subset | {player}] - worth[subset]) / (len(players) * comb(len(others), len(subset)))
            for size in range(len(players))
            for subset in map(frozenset, combinations(others, size))
        ]
        values[player] = np.sum(gains, axis=0)
    return values


def equity(values: Sequence[FloatArray]) -> FloatArray:
    """Smallest over largest Shapley value, (B,), of values (B,) per player: 1 where all contribute alike.

    A player that does harm counts as one that contributes nothing. NaN where no player contributes.
    """
    stacked = np.stack(values)
    largest = stacked.max(axis=0)
    smallest = np.maximum(stacked.min(axis=0), 0.0)
    share: FloatArray = np.divide(smallest, largest, out=np.full(largest.shape, np.nan), where=largest > 0.0)
    return share
