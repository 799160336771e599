"""A row in the store: numbers, bootstrap replicates, manifest; and what a failure leaves behind."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness import __version__
from harness.core.errors import CorruptFileError, HarnessError
from harness.core.failures import describe, keep_traceback
from harness.core.types import Prediction, Task
from harness.evaluation import confinement, provenance, sample_sheet
from harness.evaluation.benchmark import N_RESAMPLES
from harness.evaluation.branch_confidence import branch_confidence
from harness.evaluation.completion import Completion
from harness.evaluation.diagnosis_facts import diagnosis_facts
from harness.evaluation.entries import PROTOCOL
from harness.evaluation.expert_routing import expert_routing
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.predict import StateAnswers
from harness.evaluation.score import Reduction, StateStatistics, measured_by, reliability_bins, remarks
from harness.evaluation.subgroups import subgroups
from harness.evaluation.trial import Trial
from harness.method.card import card_facts
from harness.method.fingerprint import code_fingerprint
from harness.metrics.base import Metric, MetricOutput
from harness.metrics.diagnosis.confidence import confidence_counts
from harness.metrics.headline import CURVE_METRICS
from harness.metrics.text.hygiene import cut_remarks, remarks_on, sentences
from harness.missingness import masks
from harness.missingness.plan import MaskPlan
from harness.missingness.states import FULL
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
        reduction: curves over missing rates, and the cost of each modality state.
        failures: why metrics have no numbers.
    """

    completion: Completion
    predictions: StateAnswers[Prediction]
    statistics: StateStatistics
    reduction: Reduction
    failures: MetricFailures


def record(trial: Trial, outcome: Outcome) -> list[Measurement]:
    """Write the row's numbers under each mask plan, as one result per plan.

    A result holds what a run of that plan alone would write: numbers, bootstrap replicates (for paired ranks)
    and a manifest. Numbers that an earlier run stored under the same identity stay where this run has none,
    with a remark.

    Returns:
        What this run measured, failures of metrics included.
    """
    sample_sheet.show(trial, outcome.predictions[FULL])
    confidences = confidence_counts(outcome.predictions, trial.benchmark.references, trial.info.multilabel)
    shared = {
        "confidence": confidences,
        **expert_routing(trial),
        **branch_confidence(trial),
        **diagnosis_facts(trial, outcome.statistics),
        "measured_by": measured_by(trial, outcome.statistics, outcome.completion),
        **({"subgroups": subgroups(trial, outcome.statistics)} if trial.benchmark.config.by else {}),
    }
    of_numbers = remarks(trial, outcome.statistics, outcome.failures)  # the same under every plan, and slow
    return [row for plan in trial.plans for row in _record_plan(trial, plan, outcome, shared, of_numbers)]


def _record_plan(
    trial: Trial,
    plan: MaskPlan,
    outcome: Outcome,
    shared: Mapping[str, Any],
    of_numbers: Mapping[str, str],
) -> list[Measurement]:
    remark_on = _remarks(trial, plan, outcome, of_numbers)
    measurements = list(_measurements(trial, plan, outcome, remark_on))
    key, store = trial.result_key(plan), trial.benchmark.store
    lost = {
        output.name
        for metric in trial.metrics
        if metric.name in outcome.failures
        for output in metric.outputs
    }
    replicates = {
        name: curve.replicates.astype(np.float32)
        for name, curve in outcome.reduction.curves[plan.policy].items()
        if name not in lost
    }
    scored = {
        name: {state: rows for state, rows in by_state.items() if state in plan.states}
        for name, by_state in outcome.statistics.items()
        if name not in outcome.failures
    }
    earlier = Earlier(store.result(key), measurements)
    replicates = earlier.replicates() | replicates
    manifest = earlier.manifest(_manifest(trial, plan, **_facts(plan, outcome, shared)))
    reliability = earlier.reliability(reliability_bins(scored))
    store.write_result(key, earlier.rows, manifest, replicates, reliability)
    return measurements


def _facts(plan: MaskPlan, outcome: Outcome, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a manifest that only a row with numbers has, for the modality states of a plan."""
    costs = {
        name: {state: cost.to_json() for state, cost in by_state.items() if state in plan.states}
        for name, by_state in outcome.reduction.costs.items()
    }
    of_states = {
        name: {state: each for state, each in shared[name].items() if state in plan.states}
        for name in ("confidence", "risk_coverage")
        if name in shared
    }
    return {
        **shared,
        **of_states,
        "reliance": {name: by_state for name, by_state in costs.items() if by_state},
        **outcome.completion.facts(plan.states),
    }


def record_failure(trial: Trial, error: BaseException) -> list[Measurement]:
    """Store and report rows that say why a trial has no numbers; ``n/a`` where the method has none anyway.

    Numbers that an earlier run stored under the same identity stay: they are still right.
    """
    reason = describe(error, trial.entry.method_class.__module__)
    log = trial.cell.directory / "error.txt"
    keep_traceback(log, error)
    failed, absent = {"status": "failed", "detail": reason}, {"status": "n/a"}
    lost = [(metric, failed if trial.suits(metric) else absent) for metric in trial.metrics]
    measurements = []
    for plan in trial.plans:
        key = trial.result_key(plan)
        of_plan = [
            _measurement(trial, plan, Place(key, metric, output), **values)
            for metric, values in lost
            for output in metric.outputs
        ]
        if not trial.benchmark.store.has_numbers(key):
            trial.benchmark.store.write_result(key, of_plan, _manifest(trial, plan))
        measurements += of_plan
    hint = "" if isinstance(error, HarnessError) else f" (traceback: {log})"
    trial.failed(f"{reason}{hint}")
    return measurements


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number stands: the row's key, metric, its output, missing rate."""

    key: str
    metric: Metric
    output: MetricOutput
    rate: float = 0.0


def _measurements(
    trial: Trial, plan: MaskPlan, outcome: Outcome, remark_on: Mapping[str, str]
) -> Iterator[Measurement]:
    """Every output of every metric, at every missing rate where it has a curve."""
    failures, curves = outcome.failures, outcome.reduction.curves[plan.policy]
    key = trial.result_key(plan)
    for metric in trial.metrics:
        for output in metric.outputs:
            at_full = Place(key, metric, output)
            if metric.name in failures:
                failure = {"status": "failed", "detail": failures.reasons[metric.name]}
                yield _measurement(trial, plan, at_full, **failure)
                continue
            if output.name in curves:
                detail = remark_on.get(output.name, "")
                for point in curves[output.name].points:
                    values = {
                        "value": point.estimate.value,
                        "ci95": point.estimate.ci95,
                        "detail": detail,
                    }
                    yield _measurement(trial, plan, replace(at_full, rate=point.rate), **values)
                continue
            reason = trial.unavailable(metric)
            status = "unavailable" if reason and trial.suits(metric) else "n/a"
            yield _measurement(trial, plan, at_full, status=status, detail=reason or "")


def _remarks(trial: Trial, plan: MaskPlan, outcome: Outcome, of_numbers: Mapping[str, str]) -> dict[str, str]:
    """Metric output -> remark: on the row, on its reports, and what a metric says of its number."""
    lacking = outcome.completion.remark(plan.states, trial.reads)
    entry = trial.entry
    parts = (
        trial.new_method().remark,
        confinement.remark(entry.name, entry.label, entry.confinement),
        lacking and f"{entry.label}: {lacking}",
    )
    remark = "; ".join(filter(None, parts))
    curves = outcome.reduction.curves[plan.policy]
    of_row = {name: remark for name in CURVE_METRICS if remark and name in curves}
    of_reports = _on_reports(trial, outcome, [name for name in CURVE_METRICS if name in curves])
    return {
        name: "; ".join(filter(None, (of_row.get(name), of_reports.get(name), of_numbers.get(name))))
        for name in {**of_row, **of_reports, **of_numbers}
    }


def _on_reports(trial: Trial, outcome: Outcome, headline: Sequence[str]) -> dict[str, str]:
    """Metric output -> what is odd about the reports that were predicted with no modality missing.

    It stands at the first of the ``headline`` metrics. How many texts were cut stands at the metric that cut.
    """
    predictions = outcome.predictions[FULL].items()
    texts = {name: each.report for name, each in predictions if each.report is not None}
    if not texts or not headline:
        return {}
    odd = {headline[0]: "; ".join(sentences(remarks_on(texts, "predictions"), with_ids=False))}
    for metric in trial.metrics:
        if metric.task is Task.REPORT and metric.name in outcome.statistics:
            for remark in cut_remarks(metric, texts, "predictions"):
                name = metric.outputs[0].name
                odd[name] = "; ".join(filter(None, (odd.get(name), *sentences([remark], with_ids=False))))
    return odd


def _measurement(trial: Trial, plan: MaskPlan, place: Place, **values: Any) -> Measurement:
    benchmark, metric = trial.benchmark, place.metric
    return Measurement(
        dataset=trial.info.title,
        method=trial.entry.label,
        preset=trial.preset,
        seed=trial.seed,
        drop=plan.policy,
        mechanism=plan.mechanism,
        rate=place.rate,
        metric=place.output.name,
        value=values.pop("value", None),
        ci95=values.pop("ci95", None),
        n=len(benchmark.references),
        signature=metric.signature,
        control=trial.entry.is_control,
        group=metric.group,
        higher_is_better=place.output.higher_is_better,
        key=place.key,
        test_set=benchmark.test_set,
        **values,
    )


def _manifest(trial: Trial, plan: MaskPlan, **facts: Any) -> Manifest:
    """How the row came about; ``facts`` are the fields that only a row with numbers has."""
    benchmark, entry = trial.benchmark, trial.entry
    shares = dict(zip(map(str, plan.rates), benchmark.shares(plan), strict=True))
    fitted = _fitted(trial)
    if fitted.get("signs"):
        facts["signs"] = VitalSigns(**fitted["signs"])
    return Manifest(
        harness=__version__,
        protocol=PROTOCOL,
        config=benchmark.resolved_config(plan)
        | {"train_missing": [entry.train_missing]}
        | ({} if entry.imputer else {"impute": None}),
        execution=benchmark.execution.model_dump(mode="json"),
        seed=trial.seed,
        method=entry.label,
        card=card_facts(entry.method_class.card, entry.variant, trial.settings, trial.config.pretrained),
        code=code_fingerprint(entry.method_class),
        confinement=entry.confinement,
        cost=_cost(trial, fitted),
        cell=str(trial.cell.directory.relative_to(benchmark.store.root)),
        checkpoint=_checkpoint(trial),
        identity=trial.identity(plan),
        **trial.settings_facts,
        **benchmark.left_out,
        test_set=benchmark.test_set,
        may_show_images=trial.info.may_show_images,
        masks=plan.digest,
        mask_plan=benchmark.saved_plan(plan),
        natural=masks.natural(trial.studies, trial.info),
        without_input={state: trial.without_input[state] for state in plan.states},
        mask_seeds=len(plan.seeds),
        achieved={rate: each.studies for rate, each in shares.items()},
        achieved_instances={rate: each.instances for rate, each in shares.items()},
        lost={rate: each.modalities for rate, each in shares.items()},
        bootstrap=BootstrapFacts(
            resamples=N_RESAMPLES, seed=0, unit="patient", interval_of="one masked test set"
        ),
        machine=provenance.machine(benchmark.device),
        environment=provenance.environment(),
        unix_time=int(time.time()),
        **facts,
    )


def _fitted(trial: Trial) -> dict[str, Any]:
    """What was measured while the method was fitted; nothing where that is not known."""
    try:
        return trial.cell.facts() if (trial.cell.checkpoint / "done.json").exists() else {}
    except CorruptFileError:  # the row fails by it; its manifest is written all the same
        return {}


def _checkpoint(trial: Trial) -> str:
    """Digest of the checkpoint; empty where a file that says what it holds is damaged."""
    try:
        return trial.cell.checkpoint_digest()
    except (CorruptFileError, OSError, LookupError, TypeError):  # as above
        return ""


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
