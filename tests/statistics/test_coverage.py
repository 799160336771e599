"""Intervals contain the truth in at least 90 % of simulated test sets.

Each simulation draws a test set from a population whose value is known: from many studies, or in closed form.
The slow tier repeats the quick one with more simulations.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference
from harness.metrics.base import Metric, Statistics
from harness.metrics.diagnosis.calibration import ClasswiseEce, Ece, EqualMassEce
from harness.statistics.bootstrap import bootstrap_weights, estimate
from harness.statistics.estimate import Estimate

Floats = NDArray[np.float64]
Population = Callable[[np.random.Generator, int], tuple[Floats, Floats]]
"""Random numbers and n -> a method's probabilities, and those with which findings occur, (n, L) each."""

N, RESAMPLES = 590, 300
WEIGHTS = bootstrap_weights([str(index) for index in range(N)], RESAMPLES)
SHARES = np.array([0.35, 0.12, 0.1, 0.05, 0.04, 0.02, 0.02, 0.01, 0.15, 0.01, 0.02, 0.01, 0.05, 0.3])
"""How often findings occur, about as on IU X-Ray."""


def method(shift: float, slope: float) -> Population:
    """A method whose log odds are ``slope`` times the true ones, plus ``shift``; (0, 1) is calibrated."""

    def draw(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
        odds = np.log(SHARES / (1 - SHARES)) + rng.normal(size=(n, 1)) + rng.normal(size=(n, len(SHARES)))
        return 1 / (1 + np.exp(-(slope * odds + shift))), 1 / (1 + np.exp(-odds))

    return draw


def statistics_of(metric: Metric, probabilities: Floats, labels: Floats) -> Statistics:
    references = [Reference(str(place), str(place), labels=row) for place, row in enumerate(labels)]
    return metric.statistics([Prediction(probabilities=row) for row in probabilities], references)


def intervals(metric: Metric, population: Population, simulations: int) -> list[Estimate]:
    """The estimate of each simulated test set; a metric here has one output."""
    rng = np.random.default_rng(4)
    estimates = []
    for _ in range(simulations):
        probabilities, truth = population(rng, N)
        labels = (rng.random(truth.shape) < truth).astype(np.float64)
        estimates.append(estimate(metric, statistics_of(metric, probabilities, labels), WEIGHTS)[metric.name])
    return estimates


def calibration_error(metric: Metric, population: Population) -> float:
    """Of the population: its labels are so many that noise adds little; 0 for a calibrated method."""
    rng = np.random.default_rng(5)
    probabilities, truth = population(rng, 50_000)
    if np.allclose(probabilities, truth):
        return 0.0
    labels = (rng.random(truth.shape) < truth).astype(np.float64)
    statistics = statistics_of(metric, probabilities, labels)
    return float(metric.values(statistics, np.ones((1, len(statistics))))[metric.name][0])


CALIBRATION = [
    (family, shift, slope)
    for family in (Ece, ClasswiseEce)
    for shift, slope in ((0.0, 1.0), (0.15, 1.0), (0.0, 1.5), (1.0, 1.0))
]


def check(family: type[Metric], population: Population, simulations: int) -> None:
    metric = family()
    error = calibration_error(metric, population)
    estimates = intervals(metric, population, simulations)
    assert all(each.covers(each.value) for each in estimates), "a number lies outside its own interval"
    # Two standard errors of the simulation below 90 %.
    least = 0.9 - 2 * np.sqrt(0.9 * 0.1 / simulations)
    assert np.mean([each.covers(error) for each in estimates]) >= least


@pytest.mark.parametrize(("family", "shift", "slope"), CALIBRATION)
def test_calibration_errors_are_covered(family: type[Metric], shift: float, slope: float) -> None:
    check(family, method(shift, slope), 40)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "shift", "slope"), [*CALIBRATION, (EqualMassEce, 0.0, 1.0)])
def test_calibration_errors_are_covered_in_many_simulations(
    family: type[Metric], shift: float, slope: float
) -> None:
    check(family, method(shift, slope), 400)


@pytest.mark.parametrize("family", [Ece, ClasswiseEce, EqualMassEce])
def test_a_calibrated_method_is_said_to_be_perhaps_perfect(family: type[Metric]) -> None:
    metric, rng = family(), np.random.default_rng(6)
    remarks = []
    for population in (method(0.0, 1.0), method(1.0, 1.0)):
        probabilities, truth = population(rng, N)
        labels = (rng.random(truth.shape) < truth).astype(np.float64)
        statistics = statistics_of(metric, probabilities, labels)
        remarks.append(metric.remarks(statistics))
    assert remarks == [{metric.name: "cannot be distinguished from perfect calibration"}, {}]
