"""From predictions to per-study statistics, and from these to curves over missing rates."""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from typing import Any

from harness.core.types import Prediction
from harness.evaluation import synthesis
from harness.evaluation.completion import Completion
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.predict import StateAnswers
from harness.evaluation.trial import Trial
from harness.metrics.base import Metric, Statistics, checked_statistics
from harness.metrics.diagnosis.confidence import confidence_counts
from harness.missingness.policy import FULL
from harness.statistics import curves as curves_over_rates
from harness.statistics.reliance import reliance
from harness.store.arrays import load_array, save_array

StateStatistics = dict[str, dict[str, Statistics]]
"""Metric family -> modality state -> per-study statistics (n, k)."""


def score(
    trial: Trial, predictions: StateAnswers[Prediction], completion: Completion, failures: MetricFailures
) -> StateStatistics:
    """Per-study statistics of every metric that suits the method, from the store where it has them.

    A metric that fails has none; ``failures`` says why.
    """
    progress = trial.phase("score")
    metrics = [metric for metric in trial.metrics if trial.suits(metric) and not metric.unavailable()]
    statistics: StateStatistics = {}
    for number, metric in enumerate(metrics, 1):
        with failures.of(metric):
            statistics[metric.name] = _of_metric(trial, metric, predictions, completion)
        progress(number / len(metrics), metric.name)
    return statistics


def _of_metric(
    trial: Trial, metric: Metric, predictions: StateAnswers[Prediction], completion: Completion
) -> dict[str, Statistics]:
    """Modality state -> statistics. A state in which nothing changes for the method is scored once."""
    benchmark = trial.benchmark
    references = benchmark.references
    in_full = [predictions[FULL][reference.id] for reference in references]
    by_state: dict[str, Statistics] = {}
    for state in trial.states:
        name = completion.states[state].name if state in completion.states else trial.state_name(state)
        path = trial.cell.statistics(name, metric.name, metric.signature, benchmark.test_set)
        statistics = load_array(path)
        if statistics is None:
            ordered = [predictions[state][reference.id] for reference in references]
            if metric.completes:
                ordered = synthesis.completed(ordered, references, state)
            if FULL in by_state and not metric.completes and all(map(is_, ordered, in_full)):
                statistics = by_state[FULL]
            else:
                statistics = checked_statistics(metric, ordered, references)
            save_array(path, statistics)
        by_state[state] = statistics
    return by_state


def reduce(
    trial: Trial, statistics: StateStatistics, failures: MetricFailures
) -> dict[str, curves_over_rates.Curve]:
    """A curve over missing rates per metric output: missing rates x mask seeds x bootstrap, as products."""
    benchmark = trial.benchmark
    curves: dict[str, curves_over_rates.Curve] = {}
    for metric in _scored(trial, statistics):
        with failures.of(metric):
            states = statistics[metric.name]
            curves |= curves_over_rates.curves(metric, states, benchmark.plan, benchmark.weights)
    return curves


def remarks(trial: Trial, statistics: StateStatistics, failures: MetricFailures) -> dict[str, str]:
    """What metrics remark on their numbers, by output: FID's floor, for one."""
    by_output: dict[str, str] = {}
    for metric in _scored(trial, statistics):
        with failures.of(metric):
            by_output |= metric.remarks(statistics[metric.name][FULL])
    return by_output


def findings(
    trial: Trial,
    statistics: StateStatistics,
    predictions: StateAnswers[Prediction],
    failures: MetricFailures,
) -> dict[str, Any]:
    """What a manifest says beside the numbers: the cost of each modality's absence, counts of confidences."""
    benchmark = trial.benchmark
    costs: dict[str, dict[str, Any]] = {}
    for metric in _scored(trial, statistics):
        with failures.of(metric):
            lost = reliance(metric, statistics[metric.name], benchmark.weights)
            costs |= {
                name: {state: cost.to_json() for state, cost in each.items()} for name, each in lost.items()
            }
    confidences = confidence_counts(predictions, benchmark.references, trial.info.multilabel)
    return {"reliance": {name: states for name, states in costs.items() if states}, "confidence": confidences}


def _scored(trial: Trial, statistics: StateStatistics) -> list[Metric]:
    """The run's metrics that have statistics, in the order in which they were scored."""
    by_name = {metric.name: metric for metric in trial.benchmark.metrics}
    return [by_name[name] for name in statistics]


def reliability_bins(statistics: Mapping[str, Mapping[str, Statistics]]) -> dict[str, dict[str, list[float]]]:
    """Per modality state, what a reliability diagram shows: the bins behind ECE, summed over studies.

    Returns:
        State -> ``count``, ``confidence`` and ``correct`` per bin of equal width, the latter two as sums;
        empty for methods without probabilities.
    """
    by_state = {}
    for state, bins in statistics.get("ece", {}).items():
        count, confidence, correct = bins.sum(axis=0).reshape(3, -1).tolist()
        by_state[state] = {"count": count, "confidence": confidence, "correct": correct}
    return by_state
