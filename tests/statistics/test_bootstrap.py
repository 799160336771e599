"""Patient bootstrap and paired randomisation."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.types import Task
from harness.metrics.base import JointMetric, Metric, MetricOutput, Statistics, mean_of
from harness.metrics.text.bleu import Bleu
from harness.statistics import bootstrap as statistics
from harness.statistics.significance import Resampling, paired_randomisation
from tests.helpers.reports import findings, pairs


class Mean(Metric):
    """The simplest metric: statistics are [value, 1]."""

    name = "mean"
    task = Task.REPORT
    outputs = (MetricOutput("mean", bounds=(-np.inf, np.inf)),)
    signature = "mean|v:1"

    def statistics(self, predictions, references) -> Statistics:  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        return {"mean": mean_of(totals)}


class Spread(JointMetric):
    """Variance, which no sum determines."""

    name = "spread"
    task = Task.REPORT
    outputs = (MetricOutput("spread"),)
    signature = "spread|v:1"

    def statistics(self, predictions, references) -> Statistics:  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def joint(self, statistics: Statistics, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        share = weights / weights.sum(1, keepdims=True)
        return {"spread": share @ statistics[:, 0] ** 2 - (share @ statistics[:, 0]) ** 2}


def statistics_of(values: NDArray[np.float64]) -> Statistics:
    return np.stack([values, np.ones_like(values)], axis=1)


patients = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20)


@given(patients, st.integers(0, 2**32))
def test_studies_of_a_patient_move_together(ids: list[str], seed: int) -> None:
    weights = np.asarray(statistics.bootstrap_weights(ids, 20, seed))
    assert weights.shape == (20, len(ids))
    assert weights.dtype == np.float64
    for patient in set(ids):
        columns = weights[:, [index for index, other in enumerate(ids) if other == patient]]
        assert (columns == columns[:, :1]).all()
    first = [ids.index(patient) for patient in set(ids)]
    assert (weights[:, first].sum(axis=1) == len(set(ids))).all()


def test_weights_sum_to_n_where_every_patient_has_one_study() -> None:
    weights = np.asarray(statistics.bootstrap_weights([str(index) for index in range(50)], 200, 3))
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean() == pytest.approx(1.0)
    assert weights.var() == pytest.approx(1.0, abs=0.1)  # Poisson-like: resampled, not permuted


@given(st.permutations(list("aabbcdefgh")))
def test_weights_follow_the_patient_not_the_position(ids: list[str]) -> None:
    here, there = (np.asarray(statistics.bootstrap_weights(order, 5, 1)) for order in (ids, sorted(ids)))
    for index, patient in enumerate(ids):
        assert (here[:, index] == there[:, sorted(ids).index(patient)]).all()


def test_weights_are_seeded_and_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [str(index // 2) for index in range(40)]
    whole = np.asarray(statistics.bootstrap_weights(ids, 100, 7))
    assert (whole == np.asarray(statistics.bootstrap_weights(ids, 100, 7))).all()
    assert (whole != np.asarray(statistics.bootstrap_weights(ids, 100, 8))).any()
    monkeypatch.setattr(statistics, "_CHUNK_CELLS", 64)
    weights = statistics.bootstrap_weights(ids, 100, 7)  # too large to be kept: drawn where it is read
    assert weights.shape == (100, 40)
    for lines in (slice(57, 60), slice(3, None, 10), slice(20, 40), slice(99, 120), slice(5, 5)):
        assert (whole[lines] == weights[lines]).all()
    assert (whole == np.asarray(weights)).all()


def test_memory_grows_with_studies_and_not_with_resamples_or_trials() -> None:
    n = 40_000
    ids = [str(index // 2) for index in range(n)]
    rows = statistics_of(np.random.default_rng(0).normal(size=n))
    tracemalloc.start()
    try:
        statistics.estimate(Mean(), rows, statistics.bootstrap_weights(ids, 300))
        paired_randomisation(Mean(), rows, rows[::-1].copy(), Resampling(ids, 400, n_resamples=300))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150e6  # of all resamples at once: 96 MB, and their studies as many again


def test_more_studies_make_no_more_blocks_for_ever() -> None:
    """What is done once per block, such as ranking studies, would grow with the square of their number."""
    counts = [len(list(statistics.blocks(1000, 10**power))) for power in (3, 5, 7, 9)]
    assert counts == [1, 25, 63, 63]


def test_blocks_that_are_drawn_ahead_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [str(index) for index in range(50)]
    whole = np.concatenate(list(Resampling(ids, 100, 3).swaps()))
    monkeypatch.setattr(statistics, "_CHUNK_CELLS", 50)
    parts = [block.copy() for block in Resampling(ids, 100, 3).swaps()]
    assert [len(part) for part in parts] == [16] * 6 + [4]
    assert (np.concatenate(parts) == whole).all()
    assert set(np.unique(whole)) == {0.0, 1.0}


def test_draws_are_those_of_one_stream_of_random_numbers() -> None:
    """Committed tables rest on these counts."""
    draws = np.random.default_rng(7).integers(0, 20, size=(100, 20))
    counts = np.stack([np.bincount(line, minlength=20) for line in draws])
    ids = [f"{index // 2:02}" for index in range(40)]
    assert (np.asarray(statistics.bootstrap_weights(ids, 100, 7)) == np.repeat(counts, 2, axis=1)).all()


def test_a_study_by_itself_is_scored_without_the_others() -> None:
    rows = np.random.default_rng(0).random((600, 10)) + 1.0
    for metric, statistics_ in ((Bleu(), rows), (Spread(), rows[:, :1])):
        together = metric.values(statistics_, np.eye(600))
        for name, values in metric.alone(statistics_).items():
            np.testing.assert_allclose(values, together[name], rtol=1e-12, atol=1e-12)


def test_clustered_studies_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=60), 4)
    ids = [str(index // 4) for index in range(240)]
    clustered = statistics.estimate(Mean(), statistics_of(values), statistics.bootstrap_weights(ids, 2000, 0))
    naive = statistics.estimate(
        Mean(), statistics_of(values), statistics.bootstrap_weights([str(i) for i in range(240)], 2000, 0)
    )
    ratio = (clustered["mean"].hi - clustered["mean"].lo) / (naive["mean"].hi - naive["mean"].lo)
    assert ratio == pytest.approx(2.0, rel=0.15)  # four copies of each patient: sqrt(4)
    assert clustered["mean"].value == pytest.approx(values.mean())
    assert clustered["mean"].n == 240


def test_interval_is_the_percentile_interval_and_skips_undefined_replicates() -> None:
    values = np.arange(101.0)
    assert statistics.interval(values) == pytest.approx((2.5, 97.5))
    assert statistics.interval(values, level=0.5) == pytest.approx((25.0, 75.0))
    assert statistics.interval(np.append(values, np.nan)) == pytest.approx((2.5, 97.5))
    assert np.isnan(statistics.interval(np.array([np.nan]))).all()
    with pytest.raises(HarnessError, match="level"):
        statistics.interval(values, level=95)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    ids = [str(index) for index in range(80)]
    weights = statistics.bootstrap_weights(ids, 400, 0)
    hits = 0
    for _ in range(200):
        found = statistics.estimate(Mean(), statistics_of(rng.normal(size=80)), weights)["mean"]
        hits += found.covers(0.0)
    assert 0.89 <= hits / 200 <= 0.99


def test_p_values_under_the_null_are_roughly_uniform_and_never_zero() -> None:
    rng = np.random.default_rng(2)
    ids = [str(index // 2) for index in range(60)]
    weights = statistics.bootstrap_weights(ids, 10, 0)
    found = []
    for trial in range(300):
        patient = np.repeat(rng.normal(size=(2, 30)), 2, axis=1)
        a, b = (statistics_of(side + 0.1 * rng.normal(size=60)) for side in patient)
        test = paired_randomisation(Mean(), a, b, Resampling(ids, 99, trial, weights=weights))
        found.append(test["mean"].p_value)
    p = np.array(found)
    assert p.min() >= 0.01
    assert p.max() <= 1.0
    for quantile in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert np.mean(p <= quantile) == pytest.approx(quantile, abs=0.09)


def test_paired_test_finds_a_real_difference_and_not_a_missing_one() -> None:
    rng = np.random.default_rng(3)
    ids = [str(index) for index in range(100)]
    a = rng.normal(size=100)
    better = paired_randomisation(
        Mean(), statistics_of(a + 0.5), statistics_of(a + rng.normal(0, 0.1, 100)), Resampling(ids)
    )
    assert better["mean"].p_value == pytest.approx(1 / 10_001)
    assert better["mean"].difference.lo > 0.4
    assert better["mean"].difference.value == pytest.approx(better["mean"].value_a - better["mean"].value_b)
    same = paired_randomisation(Mean(), statistics_of(a), statistics_of(a), Resampling(ids, 50))
    assert same["mean"].p_value == 1.0
    assert same["mean"].difference.ci95 == (0.0, 0.0)
    assert same["mean"].trials == 50


def test_paired_test_equals_swapping_predictions_and_scoring_again() -> None:
    texts = findings(48)
    ids = [f"p{index // 2}" for index in range(16)]
    metric = Bleu()
    a, b = (metric.statistics(*pairs(side, texts[:16])) for side in (texts[16:32], texts[32:]))
    test = paired_randomisation(metric, a, b, Resampling(ids, 200, 5))["bleu_2"]
    rng = np.random.default_rng(np.random.SeedSequence([5, 1]))
    swaps = (rng.random((200, 8)) < 0.5)[:, np.unique(ids, return_inverse=True)[1]]
    count = 0
    for swap in swaps:
        one = metric.reduce(np.where(swap[:, None], b, a).sum(axis=0))["bleu_2"]
        two = metric.reduce(np.where(swap[:, None], a, b).sum(axis=0))["bleu_2"]
        count += abs(one - two) >= abs(test.difference.value) - 1e-12
    assert test.p_value == pytest.approx((count + 1) / 201)


def test_paired_test_is_antisymmetric_and_seeded() -> None:
    rng = np.random.default_rng(4)
    a, b = statistics_of(rng.normal(size=30)), statistics_of(rng.normal(size=30))
    ids = [str(index) for index in range(30)]
    forth, back = (
        paired_randomisation(Mean(), *sides, Resampling(ids, 500, 1))["mean"] for sides in ((a, b), (b, a))
    )
    assert forth.difference.value == -back.difference.value
    assert forth.p_value == back.p_value
    assert forth.difference.ci95 == pytest.approx((-back.difference.hi, -back.difference.lo))
    assert forth == paired_randomisation(Mean(), a, b, Resampling(ids, 500, 1))["mean"]


def test_paired_test_refuses_different_studies() -> None:
    with pytest.raises(HarnessError, match="different studies: 3 rows, 2 rows"):
        paired_randomisation(Mean(), np.ones((3, 2)), np.ones((2, 2)), Resampling(["a", "b", "c"]))
    with pytest.raises(HarnessError, match="--trials"):
        Resampling(["a"], trials=0)
    with pytest.raises(HarnessError, match="no studies"):
        statistics.bootstrap_weights([], 10, 0)


def test_ten_thousand_trials_take_a_fraction_of_a_second() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((590, 10)) + 1.0, rng.random((590, 10)) + 1.0
    for rows in (a, b):
        rows[:, 2:6] -= 1.0  # matches are no more than n-grams
    started = time.process_time()
    paired_randomisation(Bleu(), a, b, Resampling([str(index) for index in range(590)]))
    assert time.process_time() - started < 2.0
