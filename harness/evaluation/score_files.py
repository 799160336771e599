"""Scoring and comparing the report files of any system: no model, no store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harness.core import registry
from harness.core.errors import HarnessError, PluginError, UnavailableError, UnknownNameError
from harness.core.metric_options import DEFAULTS, MetricOptions
from harness.core.names import did_you_mean
from harness.core.types import Prediction, Reference, Task
from harness.evaluation import shards
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.report_files.in_memory import Texts
from harness.evaluation.report_files.pairing import (
    DEFAULT_READING,
    PairedReports,
    ReportReading,
    paired_reports,
)
from harness.metrics.base import Metric, MetricOutput, Statistics, checked_remarks
from harness.metrics.text.base import numbered_once
from harness.metrics.text.hygiene import Remark, cut_remarks
from harness.statistics import bootstrap
from harness.statistics.estimate import Estimate
from harness.statistics.significance import PairedTest, Randomisation, Resampling, System, holm

N_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a table; ``group`` is the heading of the metrics of its kind, e.g. ``report text``."""

    metric: str
    estimate: Estimate
    signature: str
    group: str
    higher_is_better: bool | None


@dataclass(frozen=True, slots=True)
class Scores:
    """A system's numbers.

    Attributes:
        scores: in the metrics' order.
        unavailable: metric output -> one line of advice.
        ids: studies, in the references' order.
        per_study: metric output -> value of each study taken alone (n,).
        failed: metric family -> why it has no numbers.
        remarks: what is odd about the files and what they hold, counted.
        notes: metric output -> what it says of this test set, e.g. which labels are rare.
    """

    scores: tuple[Score, ...]
    unavailable: Mapping[str, str]
    ids: tuple[str, ...]
    per_study: Mapping[str, NDArray[np.float64]]
    failed: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric, two systems; ``p_holm`` is adjusted over the metric's pairs of systems."""

    metric: str
    a: str
    b: str
    test: PairedTest
    p_holm: float
    signature: str
    higher_is_better: bool | None


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Systems, compared.

    Attributes:
        rows: one per metric and pair of systems.
        failed: metric family -> why it has no rows.
        remarks: what is odd about the files and their reports, counted.
    """

    rows: tuple[Comparison, ...]
    failed: Mapping[str, str]
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """A metric and those of its outputs that were asked for."""

    metric: Metric
    outputs: tuple[MetricOutput, ...]


@numbered_once()
def score(
    references: Texts,
    predictions: Texts,
    metrics: Sequence[str] | None = None,
    options: MetricOptions = DEFAULTS,
    reading: ReportReading = DEFAULT_READING,
) -> Scores:
    """Score predicted reports against the true ones.

    Args:
        references, predictions: paths of files, lists, mappings, series or data frames, joined by id; see
            ``report_files.in_memory.reports_of``.
        metrics: families or single outputs (``bleu`` or ``bleu_4``); default all report metrics that can run.
        options: how metrics are computed.
        reading: which texts mean "no report", which studies count, and how several texts of one study do.

    Raises:
        HarnessError: an unreadable file, an id on one side only, an unknown metric, or none of those that
            were asked for by name can run here.
    """
    reports = paired_reports(references, {"": predictions}, reading)
    targets, hypotheses = reports.targets, reports.systems[""]
    remarks = list(reports.remarks)
    failures = MetricFailures()
    chosen, unavailable = able(*choose(metrics, options, failures), reports)
    weights = bootstrap.bootstrap_weights([target.patient_id for target in targets], N_RESAMPLES)
    scores: list[Score] = []
    per_study: dict[str, NDArray[np.float64]] = {}
    notes: dict[str, str] = {}
    for choice in chosen:
        with failures.of(choice.metric):
            reports.begin(choice.metric)
    rows = _statistics(reports, chosen, failures)
    for choice in chosen:
        metric = choice.metric
        if metric.name not in rows:
            continue
        with failures.of(metric):
            statistics, signature = rows[metric.name][""], reports.signature(metric, "")
            remarks += _cut(metric, {"": hypotheses}, targets)
            estimates = bootstrap.estimate(metric, statistics, weights)
            alone = metric.alone(statistics)
            for output in choice.outputs:
                estimate, higher = estimates[output.name], output.higher_is_better
                scores.append(Score(output.name, estimate, signature, metric.group, higher))
                per_study[output.name] = alone[output.name]
            lines = checked_remarks(metric, statistics)
            notes |= {each.name: lines[each.name] for each in choice.outputs if each.name in lines}
    ids = tuple(target.id for target in targets)
    return Scores(tuple(scores), unavailable, ids, per_study, failures.reasons, tuple(remarks), notes)


@numbered_once()
def compare(
    references: Texts,
    systems: Mapping[str, Texts],
    metrics: Sequence[str] | None = None,
    options: MetricOptions = DEFAULTS,
    trials: int = 10_000,
    reading: ReportReading = DEFAULT_READING,
) -> Comparisons:
    """Paired tests of every pair of systems on every metric; arguments as ``score`` takes them.

    Raises:
        HarnessError: as ``score``, or fewer than two systems.
    """
    if len(systems) < 2:
        raise HarnessError("--system: at least two systems are compared", "give --system NAME=FILE twice")
    reports = paired_reports(references, systems, reading)
    targets, remarks = reports.targets, list(reports.remarks)
    patients = [target.patient_id for target in targets]
    resampling = Resampling(patients, trials, weights=bootstrap.bootstrap_weights(patients, N_RESAMPLES))
    failures = MetricFailures()
    chosen, _ = able(*choose(metrics, options, failures), reports)
    tests: dict[str, dict[tuple[str, str], Randomisation]] = {}
    for choice in chosen:
        with failures.of(choice.metric):
            reports.begin(choice.metric)
    statistics = _statistics(reports, chosen, failures)
    for choice in chosen:
        metric = choice.metric
        if metric.name not in statistics:
            continue
        with failures.of(metric):
            scored = {
                name: System.of(metric, rows, resampling) for name, rows in statistics[metric.name].items()
            }
            remarks += _cut(metric, reports.systems, targets)
            tests[metric.name] = {
                (a, b): Randomisation(metric, scored[a], scored[b], resampling)
                for a, b in combinations(systems, 2)
            }
    for swapped in resampling.swaps():  # the same swaps for all metrics
        for choice in chosen:
            if choice.metric.name not in failures:
                with failures.of(choice.metric):
                    for test in tests[choice.metric.name].values():
                        test.count(swapped)
    rows = [
        row
        for choice in chosen
        if choice.metric.name not in failures
        for row in _comparisons(choice, tests[choice.metric.name], _shared_signature(reports, choice.metric))
    ]
    return Comparisons(tuple(rows), failures.reasons, tuple(remarks))


def _statistics(
    reports: PairedReports, chosen: Sequence[Choice], failures: MetricFailures
) -> dict[str, dict[str, Statistics]]:
    """Metric -> system -> statistics, of the metrics that have them."""
    metrics = [choice.metric for choice in chosen]
    by_metric: dict[str, dict[str, Statistics]] = {}
    with shards.statistics_of(reports, metrics) as statistics:
        for metric in sorted(metrics, key=lambda metric: metric.apart):
            with failures.of(metric):
                by_metric[metric.name] = {name: statistics(metric, name) for name in reports.systems}
    return by_metric


def able(
    chosen: Sequence[Choice], unavailable: Mapping[str, str], reports: PairedReports
) -> tuple[list[Choice], dict[str, str]]:
    """Those of the chosen metrics that can score the reports, and why others cannot.

    Raises:
        UnavailableError: none can.
    """
    refused = {
        output.name: reason
        for choice in chosen
        if (reason := reports.refused(choice.metric)) is not None
        for output in choice.outputs
    }
    left = [choice for choice in chosen if choice.outputs[0].name not in refused]
    if chosen and not left:
        name, reason = next(iter(refused.items()))
        raise UnavailableError(f"--metrics {name}: {reason}")
    return left, {**unavailable, **refused}


def _shared_signature(reports: PairedReports, metric: Metric) -> str:
    """The signature of a metric; where one system has several predictions, it says so for all."""
    return max((reports.signature(metric, system) for system in reports.systems), key=len)


def _comparisons(
    choice: Choice, tests: Mapping[tuple[str, str], Randomisation], signature: str
) -> Iterator[Comparison]:
    """One metric on every pair of systems."""
    pairs = {pair: test.tests() for pair, test in tests.items()}
    adjusted = {
        output.name: dict(
            zip(pairs, holm([outputs[output.name].p_value for outputs in pairs.values()]), strict=True)
        )
        for output in choice.outputs
    }
    for (a, b), outputs in pairs.items():
        for o in choice.outputs:
            p_holm = adjusted[o.name][a, b]
            yield Comparison(o.name, a, b, outputs[o.name], p_holm, signature, o.higher_is_better)


def _cut(
    metric: Metric, systems: Mapping[str, Sequence[Prediction]], targets: Sequence[Reference]
) -> list[Remark]:
    """Remarks on the texts that a metric's model reads only in part."""
    ids = [target.id for target in targets]
    sides = {"references": [target.report or "" for target in targets]}
    for name, predictions in systems.items():
        side = f"predictions of {name}" if len(systems) > 1 else "predictions"
        sides[side] = [prediction.report or "" for prediction in predictions]
    return [
        remark
        for side, texts in sides.items()
        for remark in cut_remarks(metric, dict(zip(ids, texts, strict=True)), side)
    ]


def choose(
    wanted: Sequence[str] | None, options: MetricOptions, failures: MetricFailures
) -> tuple[list[Choice], dict[str, str]]:
    """Metrics and their outputs that were asked for, in that order, and why others cannot run."""
    metrics = _report_metrics(wanted, options, failures)
    names = {
        name for metric in metrics for name in (metric.name, *(output.name for output in metric.outputs))
    }
    for name in wanted or ():
        if name not in names and name not in failures:
            raise UnknownNameError(f"--metrics {name}: no such report metric", did_you_mean(name, names))
    chosen: list[Choice] = []
    unavailable: dict[str, str] = {}
    for metric in sorted(metrics, key=lambda metric: _place(metric, wanted or ())):
        outputs = tuple(o for o in metric.outputs if not wanted or {metric.name, o.name} & set(wanted))
        reason = metric.unavailable() if outputs else None
        if reason and options.tokenizer and metric.tokenized:
            raise UnavailableError(f"--metrics {metric.name}: {reason}")
        if reason:
            unavailable |= dict.fromkeys((output.name for output in outputs), reason)
        elif outputs:
            chosen.append(Choice(metric, outputs))
    if wanted and not chosen:
        name, reason = next(iter((unavailable | failures.reasons).items()))
        raise UnavailableError(f"--metrics {name}: {reason}")
    return chosen, unavailable


def _place(metric: Metric, wanted: Sequence[str]) -> int:
    """Where a family or one of its outputs is named first; after all names where none is."""
    names = {metric.name, *(output.name for output in metric.outputs)}
    return next((place for place, name in enumerate(wanted) if name in names), len(wanted))


def _report_metrics(
    wanted: Sequence[str] | None, options: MetricOptions, failures: MetricFailures
) -> list[Metric]:
    """Every family that scores reports, those on request only where metrics are named.

    A family that cannot be loaded is a failure if it was asked for.
    """
    metrics: list[Metric] = []
    for name in registry.names("metrics"):
        try:
            metric: Metric = registry.make_metric(name, options)
        except PluginError as error:
            if not wanted or name in wanted:
                failures.reasons[name] = str(error)
            continue
        if metric.task is Task.REPORT and (wanted or not metric.on_request):
            metrics.append(metric)
    return metrics
