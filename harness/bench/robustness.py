"""What robustness curves cost: against predicting every masked test set anew, and from stored statistics."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from harness.bench.rows import Row, measured
from harness.core import registry
from harness.core.files import peak_gib
from harness.core.types import DatasetInfo, Prediction, Reference, Study, Task
from harness.method.batching import collate
from harness.method.contract import FitRun, Method
from harness.metrics.base import Metric
from harness.missingness import masks
from harness.missingness.plan import MaskPlan, Missingness
from harness.missingness.states import FULL
from harness.statistics import bootstrap
from harness.statistics import curves as robustness

_RATES = (0.2, 0.4, 0.6, 0.8)
_MASK_SEEDS = 20
_NAIVE_SEEDS = 2
"""Mask seeds that the naive evaluation is timed on; the rest would take as long each."""
_STUDIES = 64
_METHOD = "retrieval"
_TEXT = ("bleu", "rouge_l", "cider")
_DIAGNOSIS = ("diagnosis", "auroc", "ece", "ece_classwise", "ece_mass", "brier", "nll")
_MANY_SEEDS, _METHODS = 100, 10
_POLICIES = ("context", "alternate", "any")


def peer_benchmark() -> list[Row]:
    """One method at 4 rates x 20 mask seeds: once per modality state, against once per rate and seed."""
    dataset: Any = registry.load("datasets", "iu-phantom").open()
    train, test = (list(dataset.studies(split)[:_STUDIES]) for split in ("train", "test"))
    with TemporaryDirectory() as folder:
        method = registry.load("methods", _METHOD).create(dataset.info)
        method.fit(train, [], FitRun(Path(folder), "cpu", 0))
    references = [Reference(one.id, one.patient_id, one.report) for one in test]
    missingness = Missingness("frontal", "mcar", (0.0, *_RATES), range(_MASK_SEEDS))
    plan = masks.plan_of(test, dataset.info, missingness)
    families: list[Metric] = [registry.make_metric(name) for name in _TEXT]
    weights = bootstrap.bootstrap_weights([one.patient_id for one in test])
    _predicted(method, test[:8], dataset.info, [FULL] * 8)  # what loads at the first call

    started = time.perf_counter()
    predictions = {
        state: _predicted(method, test, dataset.info, [state] * len(test)) for state in plan.states
    }
    ours: dict[str, robustness.Curve] = {}
    for metric in families:
        rows = {state: metric.statistics(each, references) for state, each in predictions.items()}
        ours |= robustness.curves(metric, rows, plan, weights)
    quick = time.perf_counter() - started

    started = time.perf_counter()
    naive = _naive(method, test, dataset.info, references, families, plan)
    slow = (time.perf_counter() - started) * _MASK_SEEDS / _NAIVE_SEEDS
    _check(ours, naive, families, plan)
    return [
        measured(
            "robustness",
            f"{', '.join(_TEXT)} of {_METHOD}, {_STUDIES} studies, {len(_RATES)} rates x "
            f"{_MASK_SEEDS} mask seeds, 1,000 resamples",
            quick,
            peer=slow,
            of=f"predicting and scoring per rate and seed, no intervals; extrapolated from "
            f"{_NAIVE_SEEDS} seeds",
        )
    ]


def _predicted(
    method: Method[Any], studies: Sequence[Study], info: DatasetInfo, states: Sequence[str]
) -> list[Prediction]:
    """Predictions of studies, each in its state, in batches of up to 32."""
    by_id: dict[str, Prediction] = {}
    for state in dict.fromkeys(states):
        in_state = [study for study, each in zip(studies, states, strict=True) if each == state]
        for start in range(0, len(in_state), 32):
            dropped = None if state == FULL else state
            inputs = collate(in_state[start : start + 32], info, reads=method.card.reads, dropped=dropped)
            by_id.update(zip(inputs.ids, method.predict(inputs), strict=True))
    return [by_id[study.id] for study in studies]


def _naive(
    method: Method[Any],
    test: Sequence[Study],
    info: DatasetInfo,
    references: Sequence[Reference],
    families: Sequence[Metric],
    plan: MaskPlan,
) -> dict[tuple[str, int, int], float]:
    """(output, seed, rate's column) -> value, each masked test set predicted and scored anew."""
    values = {}
    for seed in range(_NAIVE_SEEDS):
        for column in range(1, len(plan.rates)):
            predictions = _predicted(method, test, info, plan.state_names(seed, column))
            for metric in families:
                rows = metric.statistics(predictions, references)
                for name, value in metric.values(rows, np.ones((1, len(rows)))).items():
                    values[name, seed, column] = float(value[0])
    return values


def _check(
    ours: dict[str, robustness.Curve],
    naive: dict[tuple[str, int, int], float],
    families: Sequence[Metric],
    plan: MaskPlan,
) -> None:
    """A ratio between two things that differ means nothing: naive values lie within the curve's band."""
    for (name, _, column), value in naive.items():
        estimate = ours[name].points[column].estimate
        if not estimate.lo - 1e-9 <= value <= estimate.hi + 1e-9:
            raise AssertionError(
                f"{name} at {plan.rates[column]:g}: {value} is outside [{estimate.lo}, {estimate.hi}]"
            )


def stored_benchmark() -> list[Row]:
    """Curves of several methods, drop policies, missing rates and mask seeds, in a process of its own."""
    code = "from harness.bench.robustness import _from_statistics; _from_statistics()"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout.splitlines()[-1])
    name = (
        f"curves of {_METHODS} methods, {report['studies']} studies, {report['outputs']} outputs each, "
        f"{len(_RATES)} rates x {_MANY_SEEDS} mask seeds x 1,000 resamples x {len(_POLICIES)} drop policies, "
        "from statistics"
    )
    note = f"{report['processor_seconds']:.1f} s of one processor"
    of = "scoring every masked test set from predictions, no intervals; extrapolated from one mask per metric"
    return [
        measured(
            "robustness",
            name,
            report["seconds"],
            peer=report["naive"],
            of=of,
            gib=report["gib"],
            note=note,
        )
    ]


def _from_statistics() -> None:
    """Half of the methods write reports, half diagnose; all depend on the modalities that are dropped."""
    dataset: Any = registry.load("datasets", "iu-phantom").open()
    test = list(dataset.studies("test"))
    references = [Reference(one.id, one.patient_id, one.report, one.labels) for one in test]
    plans = [
        masks.plan_of(test, dataset.info, Missingness(policy, "mcar", (0.0, *_RATES), range(_MANY_SEEDS)))
        for policy in _POLICIES
    ]
    states = tuple(dict.fromkeys(state for plan in plans for state in plan.states))
    weights = bootstrap.bootstrap_weights([one.patient_id for one in test])
    rng = np.random.default_rng(0)
    stored, naive = [], 0.0
    for number in range(_METHODS):
        kind, names = (Task.REPORT, _TEXT) if number % 2 else (Task.DIAGNOSE, _DIAGNOSIS)
        predictions = {state: _made_up(rng, references, kind) for state in states}
        for metric in map(registry.make_metric, names):
            rows = {state: metric.statistics(each, references) for state, each in predictions.items()}
            stored.append((metric, rows))
            if number < 2:
                mixtures = robustness.Mixtures(metric, rows, weights[:1])
                naive += _seconds_of_one_mask(mixtures, predictions, references, plans[-1])
    naive *= _METHODS / 2 * len(_POLICIES) * len(_RATES) * _MANY_SEEDS
    started, processor = time.perf_counter(), time.process_time()
    outputs = 0
    for metric, rows in stored:
        mixtures = robustness.Mixtures(metric, rows, weights)
        curves = [mixtures.curves(plan) for plan in plans]
        outputs += len(curves[0])
    report = {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - processor,
        "naive": naive,
        "gib": peak_gib(),
        "studies": len(test),
        "outputs": f"{outputs / _METHODS:.0f}",
    }
    print(json.dumps(report))


def _seconds_of_one_mask(
    mixtures: robustness.Mixtures,
    predictions: Mapping[str, Sequence[Prediction]],
    references: Sequence[Reference],
    plan: MaskPlan,
) -> float:
    """Seconds to score one masked test set anew; the values have to be those from stored statistics."""
    metric, mask = mixtures.metric, plan.assignment[:1, -1]
    started = time.perf_counter()
    masked = [predictions[plan.states[index]][study] for study, index in enumerate(mask[0])]
    rows = metric.statistics(masked, references)
    values = metric.values(rows, np.ones((1, len(rows))))
    seconds = time.perf_counter() - started
    places = np.array([list(mixtures.statistics).index(state) for state in plan.states], dtype=np.int8)
    ours = mixtures.at(places[mask]).each
    for output in metric.outputs:
        np.testing.assert_allclose(values[output.name], ours[output.name], rtol=0.0, atol=1e-9)
    return seconds


def _made_up(rng: np.random.Generator, references: Sequence[Reference], kind: Task) -> list[Prediction]:
    """Another study's report, or the labels with noise."""
    if kind is Task.REPORT:
        order = rng.permutation(len(references))
        return [Prediction(report=references[index].report) for index in order]
    truth = np.array([one.labels for one in references])
    noisy = np.clip(0.6 * truth + 0.4 * rng.random(truth.shape), 0.0, 1.0)
    return [Prediction(probabilities=row) for row in noisy]


BENCHMARKS = {"one method": peer_benchmark, "from statistics": stored_benchmark}
"""What ``harness bench robustness`` measures, in this order."""
