"""Rank ranges on planted differences: they contain the true ranks, and clear differences separate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.statistics.bootstrap import bootstrap_weights
from harness.statistics.ranks import RankRange, rank_ranges

N, RESAMPLES = 300, 400
WEIGHTS = bootstrap_weights([str(index) for index in range(N)], RESAMPLES)


def ranges_of(truth: Sequence[float], rng: np.random.Generator, sign: float = 1.0) -> dict[str, RankRange]:
    """Ranges of methods whose scores per study are ``truth``, what all share about a study, and noise."""
    scores = np.asarray(truth) + 2 * rng.normal(size=(N, 1)) + rng.normal(size=(N, len(truth)))
    replicates = WEIGHTS @ scores / N
    values = {str(place): sign * value for place, value in enumerate(scores.mean(axis=0))}
    samples = {str(place): sign * replicates[:, place] for place in range(len(truth))}
    return rank_ranges(values, samples, higher_is_better=sign > 0)


def contains(ranges: dict[str, RankRange], truth: Sequence[float]) -> bool:
    """Whether all ranges contain the true places; equal methods may have any of the places they share."""
    return all(
        best <= 1 + sum(other > truth[int(name)] for other in truth)
        and worst >= sum(other >= truth[int(name)] for other in truth)
        for name, (best, worst) in ranges.items()
    )


@pytest.mark.parametrize(
    "truth", [(0.0, 0.0, 0.0, 0.0), (0.5, 0.1, 0.05, 0.0, 0.0), (0.3, 0.2, 0.1, 0.0)], ids=str
)
def test_all_ranges_together_contain_the_true_ranks(truth: tuple[float, ...]) -> None:
    rng = np.random.default_rng(1)
    hits = [contains(ranges_of(truth, rng), truth) for _ in range(300)]
    assert np.mean(hits) >= 0.95 - 0.025  # two standard errors of 300 simulations


def test_large_planted_difference_separates_in_either_direction() -> None:
    for sign in (1.0, -1.0):
        rng = np.random.default_rng(2)
        every = [ranges_of((2.0, 1.0, 0.0, 0.0), rng, sign) for _ in range(50)]
        assert all(ranges["0"] == (1, 1) and ranges["1"] == (2, 2) for ranges in every)
        assert sum(ranges["2"] == ranges["3"] == (3, 4) for ranges in every) >= 45


def test_paired_noise_cancels_and_order_follows_the_values() -> None:
    rng = np.random.default_rng(5)
    common = rng.normal(0, 1.0, 1000)
    means = {"best": 3.0, "close": 2.95, "behind": 2.0, "near": 1.98, "undefined": float("nan")}
    samples = {name: mean + common + rng.normal(0, 0.05, 1000) for name, mean in means.items()}
    assert rank_ranges(means, samples) == {"best": (1, 2), "close": (1, 2), "behind": (3, 4), "near": (3, 4)}


def test_a_chain_of_small_steps_is_a_chain_of_ranges() -> None:
    """One number per method could not say that the middle one is neither the first's nor the last's equal."""
    rng = np.random.default_rng(6)
    means = {"a": 0.0, "b": -2.5, "c": -5.0}
    samples = {name: mean + rng.normal(0, 1.0, 2000) for name, mean in means.items()}
    assert rank_ranges(means, samples) == {"a": (1, 2), "b": (1, 3), "c": (2, 3)}


def test_methods_that_answer_alike_share_their_ranks() -> None:
    line = np.random.default_rng(7).normal(size=500)
    same = rank_ranges({"a": 0.3, "b": 0.3, "c": 9.3}, {"a": line, "b": line + 1e-15, "c": line + 9.0})
    assert same == {"a": (2, 3), "b": (2, 3), "c": (1, 1)}


def test_without_common_replicates_there_are_no_ranges() -> None:
    assert rank_ranges({}, {}) == {}
    assert rank_ranges({"a": 1.0, "b": 2.0}, {"a": np.full(5, np.nan), "b": np.ones(5)}) == {}
