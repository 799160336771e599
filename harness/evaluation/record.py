"""From statistics to a stored row: curves, what a manifest says, and what a failed cell leaves behind."""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness import __version__
from harness.core.errors import HarnessError
from harness.core.files import read_json, write_atomic
from harness.core.progress import Reporter
from harness.core.slugs import slug
from harness.core.types import Prediction
from harness.evaluation import provenance
from harness.evaluation.benchmark import N_RESAMPLES, Benchmark, cell_of, create, does, metrics_of, state_name
from harness.evaluation.entries import PROTOCOL, Entry
from harness.method.card import card_facts
from harness.method.fingerprint import code_fingerprint
from harness.metrics.base import Metric, MetricOutput, Statistics
from harness.metrics.diagnosis.confidence import confidence_counts
from harness.missingness import masks
from harness.missingness.policy import FULL
from harness.statistics import curves as robustness
from harness.statistics.reliance import reliance
from harness.store.cell import Cell
from harness.store.predictions import timing_path
from harness.store.results import Measurement


def summarise(
    benchmark: Benchmark, rows: Mapping[str, Mapping[str, Statistics]]
) -> dict[str, robustness.Curve]:
    """A curve over missing rates per metric output."""
    by_name = {metric.name: metric for metric in benchmark.metrics}
    return {
        output: curve
        for name, states in rows.items()
        for output, curve in robustness.curves(
            by_name[name], states, benchmark.plan, benchmark.weights
        ).items()
    }


def remarks(benchmark: Benchmark, rows: Mapping[str, Mapping[str, Statistics]]) -> dict[str, str]:
    """What metrics say about their numbers, by output: FID's floor, for one."""
    found: dict[str, str] = {}
    for metric in benchmark.metrics:
        if metric.name in rows:
            found |= metric.remarks(rows[metric.name][FULL])
    return found


def findings(
    benchmark: Benchmark,
    rows: Mapping[str, Mapping[str, Statistics]],
    predictions: Mapping[str, Mapping[str, Prediction]],
) -> dict[str, Any]:
    """What a manifest says beside the numbers: the cost of each modality's absence, counts of confidences."""
    by_name = {metric.name: metric for metric in benchmark.metrics}
    costs = {
        output: {state: cost.to_json() for state, cost in states.items()}
        for name, each in rows.items()
        for output, states in reliance(by_name[name], each, benchmark.weights).items()
    }
    confidences = confidence_counts(predictions, benchmark.references, benchmark.dataset.info.multilabel)
    return {"reliance": {name: states for name, states in costs.items() if states}, "confidence": confidences}


def reliability_bins(rows: Mapping[str, Mapping[str, Statistics]]) -> dict[str, dict[str, list[float]]]:
    """Per modality state, what a reliability diagram shows: the bins behind ECE, summed over studies.

    Returns:
        State -> ``count``, ``confidence`` and ``correct`` per bin of equal width, the latter two as sums;
        empty for methods without probabilities.
    """
    found = {}
    for state, each in rows.get("ece", {}).items():
        count, confidence, correct = each.sum(axis=0).reshape(3, -1).tolist()
        found[state] = {"count": count, "confidence": confidence, "correct": correct}
    return found


def store_result(
    benchmark: Benchmark,
    entry: Entry,
    seed: int,
    cell: Cell,
    curves: Mapping[str, robustness.Curve],
    said: Mapping[str, str],
    reliability: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> list[Measurement]:
    """Write the row's numbers, its bootstrap replicates (for paired ranks), its manifest with ``facts``."""
    rows: list[Measurement] = []
    for metric in metrics_of(benchmark, entry):
        for output in metric.outputs:
            if output.name in curves:
                detail = said.get(output.name, "")
                rows += [
                    _row(
                        benchmark,
                        entry,
                        seed,
                        metric,
                        output,
                        p.rate,
                        value=p.estimate.value,
                        ci95=p.estimate.ci95,
                        detail=detail,
                    )
                    for p in curves[output.name].points
                ]
                continue
            reason = metric.unavailable()
            status = "unavailable" if reason and does(benchmark, entry, metric) else "n/a"
            rows.append(_row(benchmark, entry, seed, metric, output, 0.0, status=status, detail=reason or ""))
    key = _key(benchmark, entry, seed)
    path = benchmark.store.root / "results" / f"{key}.npz"
    replicates = {name: curve.replicates.astype(np.float32) for name, curve in curves.items()}
    write_atomic(path, lambda stream: np.savez(stream, **replicates))  # type: ignore[arg-type]
    manifest = {**_manifest(benchmark, entry, seed, cell), **facts}
    benchmark.store.write_result(key, rows, manifest, reliability)
    return rows


def fail(
    benchmark: Benchmark, entry: Entry, seed: int, error: Exception, reporter: Reporter
) -> list[Measurement]:
    """Store and report rows that say why a cell has no numbers."""
    cell = cell_of(benchmark, entry, seed)
    reason = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
    log = cell.directory / "error.txt"
    write_atomic(log, lambda stream: stream.write("".join(traceback.format_exception(error)).encode()))
    rows = [
        _row(benchmark, entry, seed, metric, output, 0.0, status="failed", detail=reason.splitlines()[0])
        for metric in metrics_of(benchmark, entry)
        for output in metric.outputs
    ]
    benchmark.store.write_result(_key(benchmark, entry, seed), rows, _manifest(benchmark, entry, seed, cell))
    shown = reason.splitlines()[0] if reason else type(error).__name__
    reporter.failed(entry.label, shown if isinstance(error, HarnessError) else f"{shown} (traceback: {log})")
    return rows


def _row(
    benchmark: Benchmark,
    entry: Entry,
    seed: int,
    metric: Metric,
    output: MetricOutput,
    rate: float,
    **rest: Any,
) -> Measurement:
    return Measurement(
        dataset=benchmark.dataset.info.name,
        method=entry.label,
        preset=benchmark.config.preset if entry.method_class.card.learned else "-",
        seed=seed,
        drop=benchmark.plan.policy,
        mechanism=benchmark.plan.mechanism,
        rate=rate,
        metric=output.name,
        value=rest.pop("value", None),
        ci95=rest.pop("ci95", None),
        n=len(benchmark.references),
        signature=metric.signature,
        control=entry.is_control,
        group=metric.group,
        higher_is_better=output.higher_is_better,
        key=_key(benchmark, entry, seed),
        test_set=benchmark.test_set,
        **rest,
    )


def _key(benchmark: Benchmark, entry: Entry, seed: int) -> str:
    plan = benchmark.plan
    parts = [
        benchmark.config.preset,
        f"s{seed}",
        plan.policy,
        plan.mechanism,
        f"n{len(benchmark.references)}",
    ]
    return "/".join([slug(benchmark.dataset.info.name), _folder(entry.label), slug("-".join(parts))])


def _folder(label: str) -> str:
    """A row's folder; a label with a slash, as paths in ``--set`` have, is not to share one with ``_``."""
    digest = hashlib.sha256(label.encode()).hexdigest()[:6]
    return slug(f"{label}-{digest}" if "/" in label else label)


def _manifest(benchmark: Benchmark, entry: Entry, seed: int, cell: Cell) -> dict[str, Any]:
    return {
        "harness": __version__,
        "protocol": PROTOCOL,
        "config": benchmark.config.model_dump(mode="json") | ({} if entry.imputer else {"impute": None}),
        "execution": benchmark.execution.model_dump(mode="json"),
        "seed": seed,
        "method": entry.label,
        "card": card_facts(
            entry.method_class.card, entry.variant, create(benchmark, entry).config.model_dump(mode="json")
        ),
        "code": code_fingerprint(entry.method_class),
        "cost": _cost(benchmark, entry, cell),
        "cell": str(cell.directory.relative_to(benchmark.store.root)),
        "test_set": benchmark.test_set,
        "may_show_images": benchmark.dataset.info.may_show_images,
        "masks": hashlib.sha256(benchmark.plan.assignment.tobytes()).hexdigest()[:16],
        "mask_plan": benchmark.saved_plan,
        "natural": masks.natural(benchmark.splits["test"], benchmark.dataset.info),
        "mask_seeds": len(benchmark.plan.seeds),
        "achieved": dict(
            zip(map(str, benchmark.plan.rates), map(float, benchmark.plan.achieved()), strict=True)
        ),
        "bootstrap": {"resamples": N_RESAMPLES, "seed": 0, "unit": "patient"},
        "machine": provenance.machine(benchmark.device),
        "environment": provenance.environment(),
        "unix_time": int(time.time()),
    }


def _cost(benchmark: Benchmark, entry: Entry, cell: Cell) -> dict[str, Any]:
    """What was measured when the cell was fitted and its test studies were predicted."""
    facts = cell.facts() if (cell.checkpoint / "done.json").exists() else {}
    cost: dict[str, Any] = {"device": facts.get("device", benchmark.device), **facts.get("cost", {})}
    timing = timing_path(cell.predictions(state_name(entry, FULL)))
    if timing.exists():
        taken = read_json(timing)
        cost["seconds_per_study"] = taken["seconds"] / taken["studies"]
        if "batch_size" in taken:
            cost["prediction_batch_size"] = taken["batch_size"]
    return cost
