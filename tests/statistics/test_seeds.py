"""The hierarchical bootstrap over training seeds and patients."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.statistics.bootstrap import bootstrap_weights, interval
from harness.statistics.seeds import over_seeds, seed_weights, stretch

N, B = 60, 400
WEIGHTS = np.asarray(bootstrap_weights([str(index) for index in range(N)], B)) / N


def replicates_of(scores: NDArray[np.float64]) -> tuple[list[float], list[NDArray[np.float64]]]:
    """Per seed the mean over studies and its replicates, of scores (S, n)."""
    return [float(row.mean()) for row in scores], [WEIGHTS @ row for row in scores]


def test_one_seed_has_the_interval_of_its_patients_to_the_last_digit() -> None:
    values, replicates = replicates_of(np.random.default_rng(0).normal(size=(1, N)))
    assert over_seeds(values, replicates) is replicates[0]


def test_seeds_that_agree_leave_the_interval_of_the_patients() -> None:
    scores = np.tile(np.random.default_rng(0).normal(size=N), (3, 1))
    values, replicates = replicates_of(scores)
    assert interval(over_seeds(values, replicates)) == pytest.approx(interval(replicates[0]))


def test_seeds_that_differ_widen_the_interval() -> None:
    scores = np.random.default_rng(0).normal(size=(3, N))
    narrow = interval(np.mean(replicates_of(scores)[1], axis=0))
    values, replicates = replicates_of(scores + np.array([[-0.5], [0.0], [0.5]]))
    lo, hi = interval(over_seeds(values, replicates))
    assert hi - lo > 2 * (narrow[1] - narrow[0])
    assert lo < np.mean(values) < hi


def test_draws_are_shared_so_that_a_shift_common_to_a_seed_cancels() -> None:
    rng = np.random.default_rng(0)
    scores, shift = rng.normal(size=(3, N)), np.array([[-3.0], [0.0], [3.0]])
    one, other = (over_seeds(*replicates_of(each)) for each in (scores + shift, scores + shift + 0.1))
    assert interval(one - other) == pytest.approx((-0.1, -0.1))


def test_weights_of_seeds_are_shares_and_the_same_in_every_call() -> None:
    weights = seed_weights(3, 500)
    assert weights.shape == (500, 3)
    assert weights.sum(axis=1) == pytest.approx(1.0)
    assert weights.mean(axis=0) == pytest.approx(1 / 3, abs=0.03)
    assert (weights == seed_weights(3, 500)).all()
    assert (weights[:100] == seed_weights(3, 100)).all()  # image metrics use the first resamples


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_stretch_is_that_of_students_interval(seeds: int) -> None:
    exact = np.sqrt(seeds / (seeds - 1)) * stats.t.ppf(0.975, seeds - 1) / stats.norm.ppf(0.975)
    assert stretch(seeds) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize(
    ("patients", "between_seeds", "own"),
    [(0.1, 1.0, 0.0), (1.0, 1.0, 0.0), (1.0, 0.2, 0.0), (1.0, 1.0, 1.0), (0.3, 0.0, 1.0)],
    ids=["seeds", "both", "patients", "all", "patients-of-one-seed"],
)
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_the_truth_at_least_about_as_often_as_they_say(
    seeds: int, patients: float, between_seeds: float, own: float
) -> None:
    """Scores are 0 + a patient's part + a seed's part + a part of both; standard errors of the three."""
    rng = np.random.default_rng(7)
    covered = {"stretched": 0, "plain": 0}
    shares = seed_weights(seeds, B)
    trials = 400
    for _ in range(trials):
        noise = np.sqrt(N) * (patients * rng.normal(size=N) + own * rng.normal(size=(seeds, N)))
        values, replicates = replicates_of(noise + between_seeds * rng.normal(size=(seeds, 1)))
        lines = {
            "stretched": over_seeds(values, replicates),
            "plain": (shares * np.stack(replicates, axis=1)).sum(axis=1),
        }
        for name, line in lines.items():
            lo, hi = interval(line)
            covered[name] += lo <= 0.0 <= hi
    assert covered["stretched"] / trials >= 0.92
    if between_seeds > 5 * patients:
        assert covered["plain"] / trials < 0.9
        assert covered["stretched"] / trials <= 0.985
