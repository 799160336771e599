"""A row in the store: numbers, bootstrap replicates, manifest; and what a failure leaves behind."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import __version__
from harness.core.errors import HarnessError
from harness.core.failures import describe, keep_traceback
from harness.core.files import write_atomic
from harness.core.types import Prediction
from harness.evaluation import provenance, sample_sheet
from harness.evaluation.benchmark import N_RESAMPLES
from harness.evaluation.branch_confidence import branch_confidence
from harness.evaluation.completion import Completion
from harness.evaluation.entries import PROTOCOL
from harness.evaluation.expert_routing import expert_routing
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.predict import StateAnswers
from harness.evaluation.score import StateStatistics, findings, reliability_bins, remarks
from harness.evaluation.trial import Trial
from harness.method.card import card_facts
from harness.method.fingerprint import code_fingerprint
from harness.metrics.base import Metric, MetricOutput
from harness.metrics.headline import CURVE_METRICS
from harness.missingness import masks
from harness.missingness.policy import FULL
from harness.statistics.curves import Curve
from harness.store.earlier import Earlier
from harness.store.manifest import BootstrapFacts, Cost, Manifest, VitalSigns
from harness.store.predictions import PREDICTIONS, AnswerFile
from harness.store.results import Measurement


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial, from its predictions to its curves.

    Attributes:
        completion: views that were generated in the place of lost ones.
        predictions: modality state -> study id -> prediction.
        statistics: metric family -> modality state -> per-study statistics (n, k).
        curves: metric output -> curve over missing rates.
        failures: why metrics have no numbers.
    """

    completion: Completion
    predictions: StateAnswers[Prediction]
    statistics: StateStatistics
    curves: Mapping[str, Curve]
    failures: MetricFailures


def record(trial: Trial, outcome: Outcome) -> list[Measurement]:
    """Write the row's numbers, its bootstrap replicates (for paired ranks) and its manifest.

    Numbers that an earlier run stored under the same identity stay where this run has none, with a remark.

    Returns:
        What this run measured, failures of metrics included.
    """
    sample_sheet.show(trial, outcome.predictions[FULL])
    facts = {
        **findings(trial, outcome.statistics, outcome.predictions, outcome.failures),
        **expert_routing(trial),
        **branch_confidence(trial),
        **outcome.completion.facts,
    }
    measurements = list(_measurements(trial, outcome))
    key, store = trial.result_key, trial.benchmark.store
    lost = {
        output.name
        for metric in trial.metrics
        if metric.name in outcome.failures
        for output in metric.outputs
    }
    replicates = {
        name: curve.replicates.astype(np.float32)
        for name, curve in outcome.curves.items()
        if name not in lost
    }
    earlier = Earlier(store.result(key), measurements)
    replicates = earlier.replicates() | replicates
    manifest = earlier.manifest(_manifest(trial, **facts))
    scored = {name: each for name, each in outcome.statistics.items() if name not in outcome.failures}
    reliability = earlier.reliability(reliability_bins(scored))
    path = store.root / "results" / f"{key}.npz"
    write_atomic(path, lambda stream: np.savez(stream, **replicates))  # type: ignore[arg-type]
    store.write_result(key, earlier.rows, manifest, reliability)
    return measurements


def record_failure(trial: Trial, error: Exception) -> list[Measurement]:
    """Store and report rows that say why a trial has no numbers.

    Numbers that an earlier run stored under the same identity stay: they are still right.
    """
    reason = describe(error, trial.entry.method_class.__module__)
    log = trial.cell.directory / "error.txt"
    keep_traceback(log, error)
    measurements = [
        _measurement(trial, metric, output, 0.0, status="failed", detail=reason)
        for metric in trial.metrics
        for output in metric.outputs
    ]
    if not trial.benchmark.store.has_numbers(trial.result_key):
        trial.benchmark.store.write_result(trial.result_key, measurements, _manifest(trial))
    hint = "" if isinstance(error, HarnessError) else f" (traceback: {log})"
    trial.failed(f"{reason}{hint}")
    return measurements


def _measurements(trial: Trial, outcome: Outcome) -> Iterator[Measurement]:
    """Every output of every metric, at every missing rate where it has a curve."""
    said_of = _remarks(trial, outcome)
    failures = outcome.failures
    for metric in trial.metrics:
        for output in metric.outputs:
            if metric.name in failures:
                failure = {"status": "failed", "detail": failures.reasons[metric.name]}
                yield _measurement(trial, metric, output, 0.0, **failure)
                continue
            if output.name in outcome.curves:
                detail = said_of.get(output.name, "")
                for point in outcome.curves[output.name].points:
                    values = {
                        "value": point.estimate.value,
                        "ci95": point.estimate.ci95,
                        "detail": detail,
                    }
                    yield _measurement(trial, metric, output, point.rate, **values)
                continue
            reason = metric.unavailable()
            status = "unavailable" if reason and trial.suits(metric) else "n/a"
            yield _measurement(trial, metric, output, 0.0, status=status, detail=reason or "")


def _remarks(trial: Trial, outcome: Outcome) -> dict[str, str]:
    """Metric output -> remark; what a metric says of its number comes before what concerns the row."""
    remark = "; ".join(filter(None, (trial.new_method().remark, outcome.completion.remark)))
    of_row = {name: remark for name in CURVE_METRICS if remark and name in outcome.curves}
    return of_row | remarks(trial, outcome.statistics, outcome.failures)


def _measurement(
    trial: Trial, metric: Metric, output: MetricOutput, rate: float, **values: Any
) -> Measurement:
    benchmark = trial.benchmark
    return Measurement(
        dataset=trial.info.title,
        method=trial.entry.label,
        preset=trial.preset,
        seed=trial.seed,
        drop=benchmark.plan.policy,
        mechanism=benchmark.plan.mechanism,
        rate=rate,
        metric=output.name,
        value=values.pop("value", None),
        ci95=values.pop("ci95", None),
        n=len(benchmark.references),
        signature=metric.signature,
        control=trial.entry.is_control,
        group=metric.group,
        higher_is_better=output.higher_is_better,
        key=trial.result_key,
        test_set=benchmark.test_set,
        **values,
    )


def _manifest(trial: Trial, **facts: Any) -> Manifest:
    """How the row came about; ``facts`` are the fields that only a row with numbers has."""
    benchmark, entry, plan = trial.benchmark, trial.entry, trial.benchmark.plan
    settings = trial.new_method().config.model_dump(mode="json")
    fitted = trial.cell.facts() if (trial.cell.checkpoint / "done.json").exists() else {}
    if fitted.get("signs"):
        facts["signs"] = VitalSigns(**fitted["signs"])
    return Manifest(
        harness=__version__,
        protocol=PROTOCOL,
        config=benchmark.resolved_config | ({} if entry.imputer else {"impute": None}),
        execution=benchmark.execution.model_dump(mode="json"),
        seed=trial.seed,
        method=entry.label,
        card=card_facts(entry.method_class.card, entry.variant, settings),
        code=code_fingerprint(entry.method_class),
        cost=_cost(trial, fitted),
        cell=str(trial.cell.directory.relative_to(benchmark.store.root)),
        identity=trial.identity,
        test_set=benchmark.test_set,
        may_show_images=trial.info.may_show_images,
        masks=plan.digest,
        mask_plan=benchmark.saved_plan,
        natural=masks.natural(trial.studies, trial.info),
        mask_seeds=len(plan.seeds),
        achieved=dict(zip(map(str, plan.rates), map(float, plan.achieved()), strict=True)),
        bootstrap=BootstrapFacts(resamples=N_RESAMPLES, seed=0, unit="patient"),
        machine=provenance.machine(benchmark.device),
        environment=provenance.environment(),
        unix_time=int(time.time()),
        **facts,
    )


def _cost(trial: Trial, fitted: Mapping[str, Any]) -> Cost:
    """What was measured when the cell was fitted (``fitted``) and its test studies were predicted."""
    cost: dict[str, Any] = {"device": fitted.get("device", trial.benchmark.device), **fitted.get("cost", {})}
    file = AnswerFile(trial.cell.predictions(trial.state_name(FULL)), PREDICTIONS)
    timing = file.timing()
    if timing.studies:
        cost["seconds_per_study"] = timing.seconds / timing.studies
        if timing.batch_size is not None:
            cost["prediction_batch_size"] = timing.batch_size
    return Cost(**cost)
