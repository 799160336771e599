"""From predictions to per-study statistics, and from these to curves over missing rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import is_
from pathlib import Path
from typing import Any

from harness.core.files import sealed_facts, set_aside
from harness.core.registry import is_foreign
from harness.core.types import Prediction
from harness.distributed.processes import SCORE
from harness.evaluation import synthesis
from harness.evaluation.completion import Completion
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.predict import StateAnswers, generate_jointly, predict_validation
from harness.evaluation.trial import Trial
from harness.evaluation.used import files_behind, files_of_metric, is_current, opened_by_metric
from harness.method.fingerprint import metric_fingerprint, weights_in_environment
from harness.metrics.base import Metric, Statistics, checked_remarks, checked_statistics
from harness.missingness.states import FULL, missing_in
from harness.statistics.curves import Curve, Mixtures
from harness.statistics.reliance import AbsenceCost, reliance
from harness.store.arrays import save_array, sound_array
from harness.store.cell import OF_CELL
from harness.store.predictions import MODEL

StateStatistics = dict[str, dict[str, Statistics]]
"""Metric family -> modality state -> per-study statistics (n, k)."""


def score(
    trial: Trial, predictions: StateAnswers[Prediction], completion: Completion, failures: MetricFailures
) -> StateStatistics:
    """Per-study statistics of every metric that suits the method, from the store where it has them.

    A metric that fails has none; ``failures`` says why.
    """
    progress = trial.phase(SCORE)
    metrics = [metric for metric in trial.metrics if trial.suits(metric) and not trial.unavailable(metric)]
    statistics: StateStatistics = {}
    for number, metric in enumerate(metrics, 1):
        if is_foreign(type(metric)):  # should it end the process, its name is known
            progress = trial.phase(SCORE)
            progress((number - 1) / len(metrics), metric.name)
        with failures.of(metric):
            statistics[metric.name] = _of_metric(trial, metric, predictions, completion)
        progress(number / len(metrics), metric.name)
    return statistics


def _of_metric(
    trial: Trial, metric: Metric, predictions: StateAnswers[Prediction], completion: Completion
) -> dict[str, Statistics]:
    """Modality state -> statistics. States that are the same for the method are scored once."""
    if metric.generates:
        return dict.fromkeys(trial.states, _of_joint_generation(trial, metric))
    if metric.uses_validation:
        metric = metric.fitted(*predict_validation(trial))
    benchmark = trial.benchmark
    references = benchmark.references
    answers = {
        state: [predictions[state][reference.id] for reference in references] for state in trial.states
    }
    by_state: dict[str, Statistics] = {}
    for state, ordered in answers.items():
        path = _stored(trial, metric, _name_of(trial, state, completion))
        statistics = _sound(trial, path, metric)
        if statistics is None:
            same = (other for other in by_state if all(map(is_, ordered, answers[other])))
            if metric.completes:
                made_whole = synthesis.completed(ordered, references, missing_in(state))
                statistics = checked_statistics(metric, made_whole, references)
            elif (other := next(same, None)) is not None:
                statistics = by_state[other]
            else:
                statistics = checked_statistics(metric, ordered, references)
            save_array(path, statistics, OF_CELL, _facts(trial, metric))
        by_state[state] = statistics
    return by_state


def measured_by(
    trial: Trial, statistics: StateStatistics, completion: Completion
) -> dict[str, dict[str, str]]:
    """Output of a metric of another package -> digest of its ``code``, and of the files that it opened."""
    versions: dict[str, dict[str, str]] = {}
    for metric in trial.metrics:
        if metric.name in statistics and is_foreign(type(metric)):
            name = trial.state_name(FULL) if metric.generates else _name_of(trial, FULL, completion)
            files = files_behind(_stored(trial, metric, name)) | opened_by_metric(trial, metric)
            version = {"code": metric_fingerprint(type(metric)), **files}
            versions |= {output.name: version for output in metric.outputs}
    return versions


def _name_of(trial: Trial, state: str, completion: Completion) -> str:
    """The name under which a state's statistics are kept."""
    name = completion.states[state].name if state in completion.states else trial.state_name(state)
    return f"temperature-{name}" if trial.entry.temperature else name


def _facts(trial: Trial, metric: Metric) -> dict[str, Any]:
    """What statistics rest on beside the answers."""
    return {MODEL: trial.cell.checkpoint_digest(), **files_of_metric(trial, metric)}


def _sound(trial: Trial, path: Path, metric: Metric) -> Statistics | None:
    """Stored statistics; damaged ones are set aside, and those of other files than there are now are none."""
    statistics = sound_array(path, OF_CELL)
    if statistics is not None and sealed_facts(path, OF_CELL).get(MODEL) != trial.cell.checkpoint_digest():
        set_aside(path, "of another training of the method")
        return None
    return statistics if is_current(path, metric) else None


def _stored(trial: Trial, metric: Metric, state: str) -> Path:
    """Where statistics are kept; a metric whose code has changed finds none."""
    identity = f"{metric.signature} code:{metric_fingerprint(type(metric))}"
    if weights := weights_in_environment(type(metric)):
        identity += f" {weights}"
    return trial.cell.statistics(state, metric.name, identity, trial.benchmark.test_set)


def _of_joint_generation(trial: Trial, metric: Metric) -> Statistics:
    """Statistics of what is generated together and one by one; what a state lacks plays no part."""
    benchmark = trial.benchmark
    name = trial.state_name(FULL)
    path = _stored(trial, metric, name)
    statistics = _sound(trial, path, metric)
    if statistics is None:
        generated = generate_jointly(trial, metric.generates)
        ordered = [generated[reference.id] for reference in benchmark.references]
        statistics = checked_statistics(metric, ordered, benchmark.references)
        save_array(path, statistics, OF_CELL, _facts(trial, metric))
    return statistics


@dataclass(frozen=True, slots=True)
class Reduction:
    """What statistics come to.

    Attributes:
        curves: drop policy -> metric output -> curve over missing rates.
        costs: metric output -> modality state -> what it costs that every study is in it.
    """

    curves: dict[str, dict[str, Curve]]
    costs: dict[str, dict[str, AbsenceCost]]


def reduce(trial: Trial, statistics: StateStatistics, failures: MetricFailures) -> Reduction:
    """Every curve of every metric output: missing rates x mask seeds x bootstrap, as products.

    A mixture of states that several plans have, such as nothing missing, is computed once.
    """
    benchmark = trial.benchmark
    reduction = Reduction({plan.policy: {} for plan in trial.plans}, {})
    for metric in _scored(trial, statistics):
        with failures.of(metric):
            mixtures = Mixtures(metric, statistics[metric.name], benchmark.weights)
            for plan in trial.plans:
                reduction.curves[plan.policy].update(mixtures.curves(plan))
            corners = {state: benchmark.corners[state] for state in trial.states}
            reduction.costs.update(reliance(mixtures, corners))
    return reduction


def remarks(trial: Trial, statistics: StateStatistics, failures: MetricFailures) -> dict[str, str]:
    """What metrics remark on their numbers, by output: FID's floor, for one."""
    by_output: dict[str, str] = {}
    for metric in _scored(trial, statistics):
        with failures.of(metric):
            by_output |= checked_remarks(metric, statistics[metric.name][FULL])
    return by_output


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
