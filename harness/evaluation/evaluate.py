"""The flow: dataset -> modality states -> fit / predict -> per-study statistics -> reduce and bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from operator import is_
from types import MappingProxyType
from typing import Any, TypeVar

from harness.core.config import RunSettings
from harness.core.errors import DiskError
from harness.core.progress import Progress, Reporter
from harness.core.slugs import slug
from harness.core.types import Prediction, Study
from harness.evaluation import fit as fitting
from harness.evaluation import imputation, sample_sheet, synthesis
from harness.evaluation import predict as inference
from harness.evaluation.benchmark import (
    Benchmark,
    cell_of,
    create,
    does,
    metrics_of,
    open_benchmark,
    prepare_images,
    state_name,
)
from harness.evaluation.entries import Entry, entries, image_donors
from harness.evaluation.expert_routing import routing
from harness.evaluation.record import fail, findings, reliability_bins, remarks, store_result, summarise
from harness.method.contract import Method
from harness.metrics.base import Statistics
from harness.metrics.headline import CURVE_METRICS
from harness.missingness.policy import FULL
from harness.store.arrays import load_array, save_array
from harness.store.cell import Cell
from harness.store.predictions import Part
from harness.store.results import Measurement

T = TypeVar("T")

Given = Mapping[str, imputation.Filled]
"""Modality state -> test studies whose lost view was generated."""
NONE: Given = MappingProxyType({})


def run(settings: RunSettings, reporter: Reporter) -> tuple[list[Measurement], bool]:
    """Train what is not trained, predict what is not predicted, score, store.

    Returns:
        The rows of this run and whether every cell succeeded. One failing method never takes the run down.
    """
    benchmark = open_benchmark(settings)
    prepare_images(benchmark, reporter)
    rows: list[Measurement] = []
    for entry in entries(settings.config):
        for seed in settings.config.seeds:
            rows += evaluate(benchmark, entry, seed, reporter)
    return rows, all(row.status != "failed" for row in rows)


def evaluate(benchmark: Benchmark, entry: Entry, seed: int, reporter: Reporter) -> list[Measurement]:
    """One row of the leaderboard: one call per arrow of the flow."""
    cell = cell_of(benchmark, entry, seed)
    try:
        given, imputed = complete(benchmark, entry, seed, reporter)
        with cell.lock(_waiting(entry, reporter)):
            method = Fitted(benchmark, entry, seed, cell, reporter)
            predictions = predict(benchmark, entry, seed, cell, method, reporter, given)
            predictions = draw(benchmark, entry, seed, cell, method, predictions, reporter, given)
            predictions = synthesize(benchmark, entry, seed, cell, method, predictions, reporter, given)
            show(benchmark, entry, seed, predictions[FULL])
            rows = score(benchmark, entry, cell, predictions, reporter, given)
            curves = summarise(benchmark, rows)
            note = imputation.remark(entry, benchmark.dataset.info, benchmark.plan.states, given)
            said = {name: note for name in CURVE_METRICS if note and name in curves} | remarks(
                benchmark, rows
            )
            facts = (
                findings(benchmark, rows, predictions)
                | routing(benchmark, entry, seed, cell, method)
                | imputed
            )
            result = store_result(benchmark, entry, seed, cell, curves, said, reliability_bins(rows), facts)
    except DiskError:
        raise
    except Exception as error:
        return fail(benchmark, entry, seed, error, reporter)
    reporter.done(entry.label, _headline(result))
    return result


def prepare(benchmark: Benchmark, entry: Entry, seed: int, reporter: Reporter) -> None:
    """Train what a row needs and is not trained.

    What goes wrong is left to ``evaluate``, which comes upon it again and makes rows of it.
    """
    cell = cell_of(benchmark, entry, seed)
    try:
        with cell.lock(_waiting(entry, reporter)):
            Fitted(benchmark, entry, seed, cell, reporter)
    except DiskError:
        raise
    except Exception:
        return


def share(benchmark: Benchmark, entry: Entry, seed: int, part: Part, reporter: Reporter) -> None:
    """Predict a part of the test studies for ``evaluate``, beside those who predict the others.

    As with ``prepare``, nothing is wrong with a row before ``evaluate`` says so.
    """
    cell, benchmark = cell_of(benchmark, entry, seed), replace(benchmark, part=part)
    try:
        if not cell.is_fitted():
            return
        given, _ = complete(benchmark, entry, seed, reporter)
        method = Fitted(benchmark, entry, seed, cell, reporter)
        predictions = predict(benchmark, entry, seed, cell, method, reporter, given)
        predictions = draw(benchmark, entry, seed, cell, method, predictions, reporter, given)
        synthesize(benchmark, entry, seed, cell, method, predictions, reporter, given)
    except DiskError:
        raise
    except Exception:
        reporter.done(entry.label, "left to the last of its tasks")
    else:
        reporter.done(entry.label, "predicted")


def _waiting(entry: Entry, reporter: Reporter) -> Callable[[str], None]:
    """Says who holds a cell, from the first time that it has to be waited for."""
    updates: list[Progress] = []

    def say(holder: str) -> None:
        if not updates:
            updates.append(reporter.phase(entry.label, f"wait for {holder}, which works on it,"))
        updates[0](0.0, "")

    return say


def complete(
    benchmark: Benchmark, entry: Entry, seed: int, reporter: Reporter
) -> tuple[Given, dict[str, Any]]:
    """What ``--impute`` puts in the place of lost views, and what a manifest says of it.

    The imputer's cell is let go before the row's own is taken: two runs that impute each other's methods
    would wait for each other.
    """
    if entry.imputer is None:
        return {}, {}
    cell = cell_of(benchmark, entry.imputer, seed)
    with cell.lock(_waiting(entry, reporter)):
        # Its training shows where the row shows that waits for it.
        fitted = Fitted(benchmark, replace(entry.imputer, label=entry.label), seed, cell, reporter)
        given = imputation.complete(
            entry,
            benchmark.splits["test"],
            benchmark.plan.states,
            benchmark.dataset.info,
            cell,
            fitted,
            seed,
            lambda state: reporter.phase(entry.label, f"generate {state}"),
        )
    return given, imputation.facts(entry, given, str(cell.directory.relative_to(benchmark.store.root)))


class Fitted:
    """A method that is trained, or loaded, at its first use: what is stored already needs neither."""

    def __init__(self, benchmark: Benchmark, entry: Entry, seed: int, cell: Cell, reporter: Reporter) -> None:
        self.benchmark, self.entry, self.seed, self.cell, self.reporter = (
            benchmark,
            entry,
            seed,
            cell,
            reporter,
        )
        if not cell.is_fitted():
            self()  # a row stands for a trained method even where predictions of one survive

    def __call__(self) -> Method[Any]:
        """The fitted method on its device."""
        return self._method

    @cached_property
    def _method(self) -> Method[Any]:
        if not self.cell.is_fitted():
            progress = self.reporter.phase(self.entry.label, "train")
            return fitting.fitted(self.benchmark, self.entry, self.seed, self.cell, progress)
        method = create(self.benchmark, self.entry)
        method.load(self.cell.checkpoint)
        return method.to(self.benchmark.device)


def predict(
    benchmark: Benchmark,
    entry: Entry,
    seed: int,
    cell: Cell,
    fitted: Fitted,
    reporter: Reporter,
    given: Given = NONE,
) -> dict[str, dict[str, Prediction]]:
    """Every test study once per modality state, whatever the number of rates and mask seeds."""

    def ask(state: str, studies: Sequence[Study], **options: Any) -> dict[str, Prediction]:
        return inference.predict_state(
            fitted,
            studies,
            benchmark.dataset.info,
            cell.predictions(state_name(entry, state)),
            progress=reporter.phase(entry.label, f"predict {state}"),
            **options,
        )

    return _per_state(benchmark, entry, seed, ask, given)


def draw(
    benchmark: Benchmark,
    entry: Entry,
    seed: int,
    cell: Cell,
    fitted: Fitted,
    predictions: dict[str, dict[str, Prediction]],
    reporter: Reporter,
    given: Given = NONE,
) -> dict[str, dict[str, Prediction]]:
    """With ``--report-samples``, probabilities for a method that only writes: its drawn reports' labels."""
    samples = benchmark.samples
    if samples is None or not samples.serve(entry):
        return predictions
    draws = samples.draws

    def ask(state: str, studies: Sequence[Study], **options: Any) -> dict[str, list[str]]:
        return inference.sample_state(
            fitted,
            studies,
            benchmark.dataset.info,
            cell.predictions(f"samples-{draws}-{state_name(entry, state)}"),
            draws=draws,
            progress=reporter.phase(entry.label, f"draw {state}"),
            **options,
        )

    drawn = _per_state(benchmark, entry, seed, ask, given)
    return {state: samples.add(predictions[state], reports) for state, reports in drawn.items()}


def synthesize(
    benchmark: Benchmark,
    entry: Entry,
    seed: int,
    cell: Cell,
    fitted: Fitted,
    predictions: dict[str, dict[str, Prediction]],
    reporter: Reporter,
    given: Given = NONE,
) -> dict[str, dict[str, Prediction]]:
    """With images where the method generates them: each view from all else that a study has."""
    info, studies = benchmark.dataset.info, benchmark.splits["test"]
    reports = synthesis.reports_of(studies, image_donors(studies, seed) if entry.shuffled else None)
    for view in synthesis.views(entry.method_class.card, info):

        def ask(state: str, some: Sequence[Study], view: str = view, **options: Any) -> dict[str, Prediction]:
            return inference.synthesize_state(
                fitted,
                some,
                info,
                cell.predictions(f"synthesis-{view}-{state_name(entry, state)}"),
                targets=[view],
                reports=reports,
                progress=reporter.phase(entry.label, f"generate {view}, {state}"),
                **options,
            )

        predictions = synthesis.joined(predictions, _per_state(benchmark, entry, seed, ask, given))
    return predictions


def show(benchmark: Benchmark, entry: Entry, seed: int, predictions: Mapping[str, Prediction]) -> None:
    """A sheet of generated beside real images in the store's ``samples``, where they may be shown."""
    info, studies = benchmark.dataset.info, benchmark.splits["test"]
    if not synthesis.views(entry.method_class.card, info) or not info.may_show_images:
        return
    name = slug(f"{entry.label}-{benchmark.config.preset}-s{seed}")
    path = benchmark.store.root / "samples" / slug(info.name) / f"{name}.png"
    sample_sheet.write_sheet(
        path, f"{entry.label} on {info.name}", sample_sheet.chosen(studies, info), predictions, info
    )


def _per_state(
    benchmark: Benchmark, entry: Entry, seed: int, ask: Callable[..., dict[str, T]], given: Given
) -> dict[str, dict[str, T]]:
    """``ask(state, studies, **options)`` once per study and modality state that differ for this method."""
    donors = image_donors(benchmark.splits["test"], seed) if entry.shuffled else None
    part = {} if benchmark.part is None else {"part": benchmark.part}
    answers: dict[str, dict[str, T]] = {FULL: {}}
    for state in benchmark.plan.states:
        # A study that lacks the modality by nature, or a method that never gets it, is in its full state.
        reads = benchmark.dataset.info.read_by(entry.method_class.card.reads)
        lost = frozenset() if state == FULL else frozenset({state}) & reads
        lacking = {s.id for s in benchmark.splits["test"] if state != FULL and not lost & s.modalities}
        studies = [study for study in benchmark.splits["test"] if study.id not in lacking]
        dropped = None if state == FULL else state
        done = ask(state, studies, dropped=dropped, run_seed=seed, donors=donors, **part)
        if state in given:  # to the method, these are studies that lack nothing
            filled = given[state]
            done |= ask(filled.name, filled.studies, dropped=None, run_seed=seed, donors=None, **part)
        known = lacking if benchmark.part is None else lacking & answers[FULL].keys()
        answers[state] = {**{study_id: answers[FULL][study_id] for study_id in known}, **done}
    return answers


def score(
    benchmark: Benchmark,
    entry: Entry,
    cell: Cell,
    predictions: Mapping[str, Mapping[str, Prediction]],
    reporter: Reporter,
    given: Given = NONE,
) -> dict[str, dict[str, Statistics]]:
    """Per-study statistics (n, k) of every metric on every state."""
    progress = reporter.phase(entry.label, "score")
    rows: dict[str, dict[str, Statistics]] = {}
    metrics = [m for m in metrics_of(benchmark, entry) if does(benchmark, entry, m) and not m.unavailable()]
    whole = [predictions[FULL][reference.id] for reference in benchmark.references]
    for index, metric in enumerate(metrics):
        rows[metric.name] = {}
        for state in benchmark.plan.states:
            name = given[state].name if state in given else state_name(entry, state)
            path = cell.statistics(name, metric.name, metric.signature, benchmark.test_set)
            found = load_array(path)
            if found is None:
                ordered = [predictions[state][reference.id] for reference in benchmark.references]
                if metric.completes:
                    ordered = synthesis.completed(ordered, benchmark.references, state)
                if FULL in rows[metric.name] and not metric.completes and all(map(is_, ordered, whole)):
                    found = rows[metric.name][FULL]
                else:
                    found = metric.statistics(ordered, benchmark.references)
                save_array(path, found)
            rows[metric.name][state] = found
        progress((index + 1) / len(metrics), metric.name)
    return rows


def _headline(rows: Sequence[Measurement]) -> str:
    full = {row.metric: row.value for row in rows if row.rate == 0.0 and row.value is not None}
    shown = [name for name in CURVE_METRICS if name in full] or list(full)
    return ", ".join(f"{name} {full[name]:.3f}" for name in shown[:3])
