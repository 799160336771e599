"""Curves from statistics per state equal what scoring every masked test set from scratch gives."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.metrics.base import Metric, Statistics
from harness.metrics.diagnosis.calibration import ClasswiseEce, EqualMassEce
from harness.metrics.diagnosis.decisions import Auroc, Diagnosis
from harness.metrics.text.bleu import Bleu
from harness.metrics.text.cider import Cider
from harness.metrics.text.rouge import RougeL
from harness.missingness.mechanisms import Population
from harness.missingness.plan import MaskPlan, Missingness, draw_plan
from harness.statistics import bootstrap
from harness.statistics.bootstrap import bootstrap_weights
from harness.statistics.curves import Curve, CurvePoint, Mixtures, area_under_curve, curves, retention
from harness.statistics.estimate import Estimate
from harness.statistics.reliance import reliance
from tests.helpers.reports import findings, pairs

COUNT = 40
MODALITIES = ("frontal", "lateral", "context")
RATES = (0.0, 0.3, 0.7)
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def masks() -> MaskPlan:
    return plan_of("any")


def plan_of(policy: str) -> MaskPlan:
    studies = [frozenset(MODALITIES if index % 4 else ("frontal", "context")) for index in range(COUNT)]
    population = Population.of([f"s{index}" for index in range(COUNT)], studies)
    return draw_plan(population, MODALITIES, Missingness(policy, "mcar", RATES, SEEDS))


@pytest.fixture(scope="module")
def references() -> list[Reference]:
    return pairs(findings(COUNT), findings(COUNT))[1]


@pytest.fixture(scope="module")
def predictions(masks: MaskPlan) -> dict[str, list[Prediction]]:
    texts = findings(COUNT * (1 + len(masks.states)))
    return {
        state: [Prediction(report=text) for text in texts[COUNT * (1 + index) : COUNT * (2 + index)]]
        for index, state in enumerate(masks.states)
    }


@pytest.mark.parametrize("metric", [Bleu(), RougeL(), Cider()], ids=lambda metric: metric.name)
def test_curve_equals_scoring_every_mask_from_scratch(
    metric: Metric,
    masks: MaskPlan,
    references: list[Reference],
    predictions: dict[str, list[Prediction]],
) -> None:
    statistics = {state: metric.statistics(said, references) for state, said in predictions.items()}
    weights = bootstrap_weights([reference.patient_id for reference in references], 30, 0)
    found = curves(metric, statistics, masks, weights)
    for column in range(len(RATES)):
        naive: list[Statistics] = []
        for seed in range(len(SEEDS)):
            states = masks.state_names(seed, column)
            said = [predictions[state][index] for index, state in enumerate(states)]
            naive.append(metric.statistics(said, references))
        for name, curve in found.items():
            values = [float(metric.reduce(one.sum(axis=0))[name]) for one in naive]
            assert curve.points[column].estimate.value == pytest.approx(np.mean(values), abs=1e-9)
            replicates = [
                float(metric.reduce(line @ naive[index % len(SEEDS)])[name])
                for index, line in enumerate(np.asarray(weights))
            ]
            assert curve.replicates[column] == pytest.approx(np.array(replicates), abs=1e-9)
            ends = np.quantile(replicates, [0.025, 0.975])
            assert curve.points[column].estimate.ci95 == pytest.approx(tuple(ends), abs=1e-9)


class _AllStates(Auroc):
    """AUROC that is asked once for all masks."""

    per_mask = False


@pytest.mark.parametrize("policy", ["any", "subsets"])
@pytest.mark.parametrize(
    "metric",
    [Auroc(), _AllStates(), EqualMassEce(), ClasswiseEce(), Diagnosis()],
    ids=lambda one: type(one).__name__,
)
def test_values_of_labels_equal_scoring_every_masked_and_resampled_test_set(
    metric: Metric, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = plan_of(policy)
    monkeypatch.setattr(bootstrap, "_CHUNK_CELLS", 20 * COUNT)  # several blocks
    rng = np.random.default_rng(3)
    labels = (rng.random((COUNT, 3)) < 0.4).astype(np.float64)
    truth = [Reference(f"s{index}", f"p{index // 2}", labels=row) for index, row in enumerate(labels)]
    # A grid of probabilities has ties.
    guesses = {state: rng.integers(0, 8, labels.shape) / 8 + labels / 8 for state in masks.states}
    statistics = {
        state: metric.statistics([Prediction(probabilities=row) for row in rows], truth)
        for state, rows in guesses.items()
    }
    weights = bootstrap_weights([one.patient_id for one in truth], 32, 0)
    mixtures = Mixtures(metric, statistics, weights)
    for column in range(len(RATES)):
        values = mixtures.at(masks.assignment[:, column])
        rows = [
            np.stack(
                [statistics[state][study] for study, state in enumerate(masks.state_names(seed, column))]
            )
            for seed in range(len(SEEDS))
        ]
        for output in metric.outputs:
            each = [metric.values(one, np.ones((1, COUNT)))[output.name][0] for one in rows]
            lines = [
                metric.values(np.repeat(rows[b % len(SEEDS)], line.astype(int), axis=0), np.ones((1, COUNT)))
                if line.sum() == COUNT
                else metric.values(rows[b % len(SEEDS)], line[None])
                for b, line in enumerate(np.asarray(weights))
            ]
            resampled = [line[output.name][0] for line in lines]
            assert np.allclose(np.resize(values.each[output.name], len(SEEDS)), each, rtol=0, atol=1e-9)
            assert np.allclose(values.resampled[output.name], resampled, rtol=0, atol=1e-9, equal_nan=True)


def test_points_carry_rate_size_and_achieved_rate(masks: MaskPlan, references: list[Reference]) -> None:
    metric = RougeL()
    statistics = metric.statistics([Prediction(report=one.report) for one in references], references)
    weights = bootstrap_weights([one.patient_id for one in references], 20, 0)
    curve = curves(metric, dict.fromkeys(masks.states, statistics), masks, weights)["rouge_l"]
    assert [point.rate for point in curve.points] == list(RATES)
    assert all(point.estimate.n == COUNT for point in curve.points)
    assert all(point.estimate.value == pytest.approx(1.0) for point in curve.points)
    assert [point.achieved for point in curve.points] == pytest.approx([0.0, 0.3, 0.7])
    assert curve.replicates.shape == (3, 20)


def test_rows_of_a_state_that_a_study_is_never_in_may_be_undefined(
    masks: MaskPlan, references: list[Reference]
) -> None:
    metric = RougeL()
    full = metric.statistics([Prediction(report=one.report) for one in references], references)
    statistics = {state: full.copy() for state in masks.states}
    lateral = masks.states.index("lateral")
    statistics["lateral"][~(masks.assignment == lateral).any(axis=(0, 1))] = np.nan
    weights = bootstrap_weights([one.patient_id for one in references], 20, 0)
    assert all(
        point.estimate.value == pytest.approx(1.0)
        for point in curves(metric, statistics, masks, weights)["rouge_l"].points
    )


def test_states_without_rows_and_wrong_shapes_are_errors(masks: MaskPlan) -> None:
    weights = np.ones((5, COUNT))
    statistics = {state: np.ones((COUNT, 2)) for state in masks.states}
    with pytest.raises(HarnessError, match="no statistics for the modality state 'lateral'"):
        curves(
            RougeL(), {state: statistics[state] for state in statistics if state != "lateral"}, masks, weights
        )
    with pytest.raises(HarnessError, match="do not fit a plan for 40 studies"):
        curves(RougeL(), statistics, masks, np.ones((5, COUNT + 1)))
    with pytest.raises(HarnessError, match="do not fit"):
        curves(RougeL(), statistics | {"full": np.ones((3, 2))}, masks, weights)


def made(*values: tuple[float, float]) -> Curve:
    points = tuple(CurvePoint(rate, Estimate(value, value, value, 10), rate) for rate, value in values)
    return Curve("bleu_4", points, np.zeros((len(points), 1)))


def test_area_is_the_mean_height_and_retention_the_share_that_is_left() -> None:
    curve = made((0.0, 0.4), (0.2, 0.4), (0.8, 0.1))
    assert area_under_curve(curve) == pytest.approx((0.2 * 0.4 + 0.6 * 0.25) / 0.8)
    assert area_under_curve(made((0.8, 0.1), (0.0, 0.3))) == pytest.approx(0.2)
    assert area_under_curve(made((0.0, 0.3))) == pytest.approx(0.3)
    assert retention(curve, 0.8) == pytest.approx(0.25)
    assert retention(curve, 0.0) == 1.0
    assert np.isnan(retention(made((0.0, 0.0), (0.5, 0.0)), 0.5))
    with pytest.raises(HarnessError, match=r"no value at missing rate 0.5 \(rates: 0, 0.2, 0.8\)"):
        retention(curve, 0.5)


def test_states_that_make_no_difference_cost_nothing(
    masks: MaskPlan, references: list[Reference], monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = RougeL()
    statistics = metric.statistics([Prediction(report=text) for text in findings(COUNT + 3)[3:]], references)
    weights = bootstrap_weights([one.patient_id for one in references], 20, 0)
    calls = []
    original = RougeL.reduce
    monkeypatch.setattr(RougeL, "reduce", lambda *all: calls.append(1) or original(*all))
    curve = curves(metric, {state: statistics.copy() for state in masks.states}, masks, weights)["rouge_l"]
    assert len(calls) == 1  # once for the value and the replicates, whatever the number of rates
    assert len({point.estimate for point in curve.points}) == 1
    assert [point.achieved for point in curve.points] == pytest.approx([0.0, 0.3, 0.7])


def test_reliance_is_the_paired_loss_and_positive_where_absence_hurts(
    masks: MaskPlan, references: list[Reference]
) -> None:
    metric = RougeL()
    right = metric.statistics([Prediction(report=one.report) for one in references], references)
    wrong = metric.statistics([Prediction(report="nothing") for _ in references], references)
    weights = bootstrap_weights([one.patient_id for one in references], 50, 0)
    statistics = {"full": right, "frontal": wrong, "lateral": right}
    everyone = np.ones(len(references), dtype=bool)
    corners = dict.fromkeys(statistics, everyone)
    costs = reliance(Mixtures(metric, statistics, weights), corners)["rouge_l"]
    assert set(costs) == {"frontal", "lateral"}
    assert costs["frontal"].cost.value == pytest.approx(1.0 - costs["frontal"].value)
    cost = costs["frontal"].cost
    assert 0.9 < cost.lo <= cost.value <= cost.hi + 1e-12
    assert costs["lateral"].cost == Estimate(0.0, 0.0, 0.0, cost.n)
    assert set(costs["lateral"].to_json()) == {"value", "cost", "lo", "hi"}


@pytest.mark.parametrize("metric", [ClasswiseEce(), EqualMassEce()], ids=lambda one: one.name)
def test_the_interval_of_a_cost_is_that_of_the_corrected_replicates(metric: Metric) -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random((COUNT, 3)) < 0.4).astype(np.float64)
    truth = [Reference(f"s{index}", f"p{index}", labels=row) for index, row in enumerate(labels)]
    # Calibrated with everything, and certain without the view: noise raises the first alone.
    guesses = {"full": np.full(labels.shape, 0.4), "frontal": np.clip(labels.mean(0) + labels * 0, 0.9, 1.0)}
    statistics = {
        state: metric.statistics([Prediction(probabilities=row) for row in rows], truth)
        for state, rows in guesses.items()
    }
    weights = bootstrap_weights([one.patient_id for one in truth], 400, 0)
    everyone = np.ones(COUNT, dtype=bool)
    costs = reliance(Mixtures(metric, statistics, weights), {"full": everyone, "frontal": everyone})
    plan = draw_plan(
        Population.of([one.id for one in truth], [frozenset(MODALITIES)] * COUNT),
        MODALITIES,
        Missingness("frontal", "mcar", (0.0, 1.0), (0,)),
    )
    curve = curves(metric, statistics, plan, weights)[metric.name]
    cost = costs[metric.name]["frontal"].cost
    expected = bootstrap.interval(curve.replicates[1] - curve.replicates[0])
    assert cost.ci95 == pytest.approx(expected, abs=1e-9)
    assert cost.lo < cost.value < cost.hi
