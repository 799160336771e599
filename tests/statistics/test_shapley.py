"""Exact Shapley values: all orders of joining, efficiency, and equity."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from harness.statistics.shapley import equity, shapley_values

PLAYERS = ("frontal", "lateral", "context")


def game(rng: np.random.Generator) -> dict[frozenset[str], np.ndarray]:
    subsets = [frozenset(each) for size in range(4) for each in combinations(PLAYERS, size)]
    return {subset: rng.normal(size=5) for subset in subsets}


def test_values_are_mean_gains_over_all_orders_of_joining() -> None:
    worth = game(np.random.default_rng(0))
    expected = dict.fromkeys(PLAYERS, np.zeros(5))
    for order in permutations(PLAYERS):
        for place, name in enumerate(order):
            before, after = frozenset(order[:place]), frozenset(order[: place + 1])
            expected[name] = expected[name] + (worth[after] - worth[before]) / 6
    values = shapley_values(worth, PLAYERS)
    for name in PLAYERS:
        assert values[name] == pytest.approx(expected[name])
    assert sum(values.values()) == pytest.approx(worth[frozenset(PLAYERS)] - worth[frozenset()])


def test_a_player_that_changes_nothing_has_nothing_and_equal_ones_share() -> None:
    gain = {"frontal": 1.0, "lateral": 1.0, "context": 0.0}
    worth = {
        frozenset(each): np.array([float(any(gain[name] for name in each))])
        for size in range(4)
        for each in combinations(PLAYERS, size)
    }
    values = shapley_values(worth, PLAYERS)
    assert [float(values[name][0]) for name in PLAYERS] == pytest.approx([0.5, 0.5, 0.0])


def test_equity_is_smallest_over_largest() -> None:
    shares = equity([np.array([0.2, -0.1, -0.2, 0.3]), np.array([0.4, 0.4, -0.1, 0.3])])
    assert shares == pytest.approx([0.5, 0.0, np.nan, 1.0], nan_ok=True)
