"""The flow: dataset -> modality states -> fit / predict -> per-study statistics -> reduce and bootstrap."""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np

from harness import __version__, inference, masks, provenance, registry, robustness, statistics, synthesis
from harness.cells import PROTOCOL, Entry, code_fingerprint, entries, image_donors
from harness.confidences import confidence_counts
from harness.config import RunConfig
from harness.costs import PeakMemory, sizes
from harness.datasets.base import SPLITS, Dataset
from harness.errors import DiskError, HarnessError, UnavailableError
from harness.export import sheets
from harness.files import read_json, write_atomic
from harness.leaderboard import CURVE_METRICS
from harness.method import FitRun, Method
from harness.metrics.base import Metric, MetricOutput, Rows, by_default, group_of
from harness.missingness import FULL, MaskPlan
from harness.results import Cell, ResultRow, Store, load_array, save_array, slug
from harness.sampling import ReportSamples
from harness.training import training_summary
from harness.types import DatasetInfo, Prediction, Reference, Study, Task

N_RESAMPLES = 1000

T = TypeVar("T")

Progress = Callable[[float, str], None]


class Reporter(Protocol):
    """Where a run says what it is doing."""

    def phase(self, label: str, phase: str) -> Progress:
        """Start a phase of a row; the result takes (fraction in [0, 1], status)."""
        ...

    def done(self, label: str, summary: str) -> None:
        """A row is finished."""
        ...

    def failed(self, label: str, reason: str) -> None:
        """A row could not be finished; the run goes on."""
        ...


@dataclass(frozen=True)
class Bench:
    """Everything that all rows of a run share."""

    config: RunConfig
    device: str
    dataset: Dataset
    splits: Mapping[str, Sequence[Study]]
    metrics: Sequence[Metric]
    samples: ReportSamples | None
    plan: MaskPlan
    weights: np.ndarray[Any, np.dtype[np.float64]]
    store: Store

    @cached_property
    def references(self) -> list[Reference]:
        """Truth of the test studies, in the order of the plan."""
        return [Reference(s.id, s.patient_id, s.report, s.labels, s.images) for s in self.splits["test"]]

    @cached_property
    def saved_plan(self) -> str:
        """Path of the masks in the store, which keeps them from here on."""
        return masks.save_plan(self.store.root, slug(self.dataset.info.name), self.plan)

    @cached_property
    def test_set(self) -> str:
        """Identity of what is scored against."""
        text = "\0".join([self.dataset.info.fingerprint, *(study.id for study in self.splits["test"])])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def run(config: RunConfig, reporter: Reporter) -> tuple[list[ResultRow], bool]:
    """Train what is not trained, predict what is not predicted, score, store.

    Returns:
        The rows of this run and whether every cell succeeded. One failing method never takes the run down.
    """
    bench = open_bench(config)
    rows: list[ResultRow] = []
    for entry in entries(config):
        for seed in config.seeds:
            rows += evaluate(bench, entry, seed, reporter)
    return rows, all(row.status != "failed" for row in rows)


def evaluate(bench: Bench, entry: Entry, seed: int, reporter: Reporter) -> list[ResultRow]:
    """One row of the leaderboard: one call per arrow of the flow."""
    cell = cell_of(bench, entry, seed)
    try:
        with cell.lock():
            method = Fitted(bench, entry, seed, cell, reporter)
            predictions = predict(bench, entry, seed, cell, method, reporter)
            predictions = draw(bench, entry, seed, cell, method, predictions, reporter)
            predictions = synthesize(bench, entry, seed, cell, method, predictions, reporter)
            show(bench, entry, seed, predictions[FULL])
            rows = score(bench, entry, cell, predictions, reporter)
            curves = summarise(bench, rows)
            said = remarks(bench, rows)
            facts = findings(bench, rows, predictions)
            result = store_result(bench, entry, seed, cell, curves, said, reliability_bins(rows), facts)
    except DiskError:
        raise
    except Exception as error:
        return fail(bench, entry, seed, error, reporter)
    reporter.done(entry.label, _headline(result))
    return result


def open_bench(config: RunConfig) -> Bench:
    """Find everything a run needs, before any work: bad names and absent weights surface here."""
    entries(config)
    device = resolve_device(config.device)
    dataset_class = registry.load("datasets", config.dataset)
    dataset: Dataset = dataset_class.open(config.root, **config.set.get(config.dataset, {}))
    splits = {split: list(dataset.studies(split))[: config.limit] for split in SPLITS}
    metrics = choose_metrics(config, dataset)
    plan = mask_plan(config, dataset.info, splits["test"])
    config = config.model_copy(
        update={
            "drop": plan.policy,
            "mechanism": plan.mechanism,
            "missing": plan.rates,
            "mask_seeds": len(plan.seeds),
        }
    )
    weights = statistics.bootstrap_weights([study.patient_id for study in splits["test"]], N_RESAMPLES)
    samples = ReportSamples.of(config.report_samples, config.uncertain, dataset.info)
    return Bench(config, device, dataset, splits, metrics, samples, plan, weights, Store(config.store))


def mask_plan(config: RunConfig, info: DatasetInfo, studies: Sequence[Study]) -> MaskPlan:
    """The run's masks: drawn, or as ``--masks`` has them where flags do not narrow it."""
    if config.masks is None:
        seeds = range(config.mask_seeds)
        return masks.plan_of(studies, info, config.drop, config.mechanism, config.rates, seeds)
    given = config.model_fields_set
    return masks.narrowed(
        masks.read_plan(config.masks, studies, info),
        config.masks,
        drop=config.drop if "drop" in given else None,
        mechanism=config.mechanism if "mechanism" in given else None,
        rates=config.missing if "missing" in given else None,
        seeds=config.mask_seeds if "mask_seeds" in given else None,
    )


def choose_metrics(config: RunConfig, dataset: Dataset) -> list[Metric]:
    """Metric families that suit the dataset; one that was asked for by name must be able to run."""
    options = registry.MetricOptions(
        tokenizer=config.tokenizer or dataset.info.tokenizer,
        reference_words=config.reference_words,
        uncertain=config.uncertain,
        multilabel=dataset.info.multilabel,
    )
    chosen: list[Metric] = []
    for name in config.metrics or registry.names("metrics"):
        metric: Metric = registry.make_metric(name, options)
        if not config.metrics and not by_default(metric):
            continue
        reason = metric.unavailable()
        if reason and (config.metrics or (config.tokenizer and metric.kind == "text")):
            raise UnavailableError(f"metric {name}: {reason}")
        if metric.task in dataset.info.tasks:
            chosen.append(metric)
    return chosen


def resolve_device(device: str) -> str:
    """``auto`` to the first GPU or the CPU; a GPU that is not there is an error that names ``--device``."""
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind == "cpu" or (kind == "cuda" and int(index or 0) < torch.cuda.device_count()):
        return device
    raise HarnessError(
        f"--device {device}: {torch.cuda.device_count()} CUDA devices found", "use --device cpu"
    )


def cell_of(bench: Bench, entry: Entry, seed: int) -> Cell:
    """The store's folder for the trained method behind an entry."""
    method = create(bench, entry)
    identity = {
        "method": entry.name,
        "variant": entry.variant,
        "preset": bench.config.preset,
        "seed": seed,
        "config": method.config.model_dump(mode="json"),
        "dataset": bench.dataset.info.name,
        "data": bench.dataset.info.fingerprint,
        "limit": bench.config.limit,
        "code": code_fingerprint(entry.method_class),
        "protocol": PROTOCOL,
        **_train_missing(bench.config),
    }
    return bench.store.cell(bench.dataset.info.name, entry.trained_label, bench.config.preset, seed, identity)


def _train_missing(config: RunConfig) -> dict[str, Any]:
    """What a cell's weights owe to ``--train-missing``; nothing where all training studies are whole."""
    if not config.train_missing:
        return {}
    return {
        "train_missing": {"rate": config.train_missing, "drop": config.drop, "mechanism": config.mechanism}
    }


def create(bench: Bench, entry: Entry) -> Method[Any]:
    """An unfitted instance of an entry's method."""
    return entry.method_class.create(
        bench.dataset.info, variant=entry.variant, preset=bench.config.preset, overrides=entry.overrides
    )


class Fitted:
    """A method that is trained, or loaded, at its first use: what is stored already needs neither."""

    def __init__(self, bench: Bench, entry: Entry, seed: int, cell: Cell, reporter: Reporter) -> None:
        self.bench, self.entry, self.seed, self.cell, self.reporter = bench, entry, seed, cell, reporter
        if not cell.is_fitted():
            self()  # a row stands for a trained method even where predictions of one survive

    def __call__(self) -> Method[Any]:
        """The fitted method on its device."""
        return self._method

    def _studies(self, split: str) -> list[Study]:
        """Training or validation studies, some of them without a modality if the run asks for it."""
        config, info = self.bench.config, self.bench.dataset.info
        whole = self.bench.splits[split]
        return masks.thinned(whole, info, config.drop, config.mechanism, config.train_missing, self.seed)

    @cached_property
    def _method(self) -> Method[Any]:
        method = create(self.bench, self.entry)
        if self.cell.is_fitted():
            method.load(self.cell.checkpoint)
            return method.to(self.bench.device)
        progress = self.reporter.phase(self.entry.label, "train")
        started = time.monotonic()
        self.cell.training.mkdir(parents=True, exist_ok=True, mode=0o700)
        run = FitRun(self.cell.training, self.bench.device, self.seed, progress)
        with PeakMemory(self.bench.device) as memory:
            method.fit(self._studies("train"), self._studies("val"), run)
        seconds = time.monotonic() - started
        method.save(self.cell.checkpoint)
        cost = {
            **sizes(method, self.bench.splits["train"][0]),
            # Epochs of interrupted sessions count; the last session's clock has not seen them.
            "training_seconds": max(seconds, training_summary(self.cell.training).get("seconds", 0.0)),
            "peak_memory_gib": memory.gib,
        }
        self.cell.mark_fitted({"seconds_of_last_session": seconds, "device": self.bench.device, "cost": cost})
        return method


def predict(
    bench: Bench, entry: Entry, seed: int, cell: Cell, fitted: Fitted, reporter: Reporter
) -> dict[str, dict[str, Prediction]]:
    """Every test study once per modality state, whatever the number of rates and mask seeds."""

    def ask(state: str, studies: Sequence[Study], **options: Any) -> dict[str, Prediction]:
        return inference.predict_state(
            fitted,
            studies,
            bench.dataset.info,
            cell.predictions(state_name(entry, state)),
            progress=reporter.phase(entry.label, f"predict {state}"),
            **options,
        )

    return _per_state(bench, entry, seed, ask)


def draw(
    bench: Bench,
    entry: Entry,
    seed: int,
    cell: Cell,
    fitted: Fitted,
    predictions: dict[str, dict[str, Prediction]],
    reporter: Reporter,
) -> dict[str, dict[str, Prediction]]:
    """With ``--report-samples``, probabilities for a method that only writes: its drawn reports' labels."""
    samples = bench.samples
    if samples is None or not samples.serve(entry):
        return predictions
    draws = samples.draws

    def ask(state: str, studies: Sequence[Study], **options: Any) -> dict[str, list[str]]:
        return inference.sample_state(
            fitted,
            studies,
            bench.dataset.info,
            cell.predictions(f"samples-{draws}-{state_name(entry, state)}"),
            draws=draws,
            progress=reporter.phase(entry.label, f"draw {state}"),
            **options,
        )

    drawn = _per_state(bench, entry, seed, ask)
    return {state: samples.add(predictions[state], reports) for state, reports in drawn.items()}


def synthesize(
    bench: Bench,
    entry: Entry,
    seed: int,
    cell: Cell,
    fitted: Fitted,
    predictions: dict[str, dict[str, Prediction]],
    reporter: Reporter,
) -> dict[str, dict[str, Prediction]]:
    """With pictures where the method generates them: each view from all else that a study has."""
    info, studies = bench.dataset.info, bench.splits["test"]
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

        predictions = synthesis.joined(predictions, _per_state(bench, entry, seed, ask))
    return predictions


def show(bench: Bench, entry: Entry, seed: int, predictions: Mapping[str, Prediction]) -> None:
    """A sheet of generated pictures beside the real ones in the store's ``samples``, of phantoms only."""
    info, studies = bench.dataset.info, bench.splits["test"]
    if not synthesis.views(entry.method_class.card, info) or not sheets.is_phantom(info):
        return
    name = slug(f"{entry.label}-{bench.config.preset}-s{seed}")
    path = bench.store.root / "samples" / slug(info.name) / f"{name}.png"
    sheets.write_sheet(path, f"{entry.label} on {info.name}", sheets.chosen(studies, info), predictions, info)


def _per_state(
    bench: Bench, entry: Entry, seed: int, ask: Callable[..., dict[str, T]]
) -> dict[str, dict[str, T]]:
    """``ask(state, studies, **options)`` once per study and modality state that differ for this method."""
    donors = image_donors(bench.splits["test"], seed) if entry.shuffled else None
    answers: dict[str, dict[str, T]] = {FULL: {}}
    for state in bench.plan.states:
        # A study that lacks the modality by nature, or a method that never gets it, is in its full state.
        reads = entry.method_class.card.reads
        lost = frozenset() if state == FULL else frozenset({state}) & reads
        lacking = {s.id for s in bench.splits["test"] if state != FULL and not lost & s.modalities}
        studies = [study for study in bench.splits["test"] if study.id not in lacking]
        dropped = None if state == FULL else state
        done = ask(state, studies, dropped=dropped, run_seed=seed, donors=donors)
        answers[state] = {**{study_id: answers[FULL][study_id] for study_id in lacking}, **done}
    return answers


def metrics_of(bench: Bench, entry: Entry) -> list[Metric]:
    """The run's metrics as they apply to a method: those of probabilities from draws say so."""
    samples = bench.samples
    if samples is None or not samples.serve(entry):
        return list(bench.metrics)
    return [samples.metric(m) if m.task is Task.DIAGNOSE else m for m in bench.metrics]


def _does(bench: Bench, entry: Entry, metric: Metric) -> bool:
    """Whether a method's predictions are something for this metric."""
    drawn = bench.samples is not None and bench.samples.serve(entry) and metric.task is Task.DIAGNOSE
    return drawn or metric.task in entry.method_class.card.tasks


def score(
    bench: Bench,
    entry: Entry,
    cell: Cell,
    predictions: Mapping[str, Mapping[str, Prediction]],
    reporter: Reporter,
) -> dict[str, dict[str, Rows]]:
    """Per-study statistics (n, k) of every metric on every state."""
    progress = reporter.phase(entry.label, "score")
    rows: dict[str, dict[str, Rows]] = {}
    metrics = [m for m in metrics_of(bench, entry) if _does(bench, entry, m) and not m.unavailable()]
    for index, metric in enumerate(metrics):
        rows[metric.name] = {}
        for state in bench.plan.states:
            path = cell.statistics(state_name(entry, state), metric.name, metric.signature, bench.test_set)
            found = load_array(path)
            if found is None:
                ordered = [predictions[state][reference.id] for reference in bench.references]
                if getattr(metric, "completes", False):
                    ordered = synthesis.completed(ordered, bench.references, state)
                found = metric.statistics(ordered, bench.references)
                save_array(path, found)
            rows[metric.name][state] = found
        progress((index + 1) / len(metrics), metric.name)
    return rows


def summarise(bench: Bench, rows: Mapping[str, Mapping[str, Rows]]) -> dict[str, robustness.Curve]:
    """A curve over missing rates per metric output."""
    by_name = {metric.name: metric for metric in bench.metrics}
    return {
        output: curve
        for name, states in rows.items()
        for output, curve in robustness.curves(by_name[name], states, bench.plan, bench.weights).items()
    }


def remarks(bench: Bench, rows: Mapping[str, Mapping[str, Rows]]) -> dict[str, str]:
    """What metrics say about their numbers, by output: FID's floor, for one."""
    found: dict[str, str] = {}
    for metric in bench.metrics:
        say = getattr(metric, "remarks", None)
        if say is not None and metric.name in rows:
            found |= say(rows[metric.name][FULL])
    return found


def store_result(
    bench: Bench,
    entry: Entry,
    seed: int,
    cell: Cell,
    curves: Mapping[str, robustness.Curve],
    said: Mapping[str, str],
    reliability: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> list[ResultRow]:
    """Write the row's numbers, its bootstrap replicates (for paired ranks), its manifest with ``facts``."""
    rows: list[ResultRow] = []
    for metric in metrics_of(bench, entry):
        for output in metric.outputs:
            if output.name in curves:
                detail = said.get(output.name, "")
                rows += [
                    _row(
                        bench,
                        entry,
                        seed,
                        metric,
                        output,
                        p.rate,
                        value=p.value,
                        ci95=(p.lo, p.hi),
                        detail=detail,
                    )
                    for p in curves[output.name].points
                ]
                continue
            reason = metric.unavailable()
            status = "unavailable" if reason and _does(bench, entry, metric) else "n/a"
            rows.append(_row(bench, entry, seed, metric, output, 0.0, status=status, detail=reason or ""))
    key = _key(bench, entry, seed)
    path = bench.store.root / "results" / f"{key}.npz"
    replicates = {name: curve.replicates.astype(np.float32) for name, curve in curves.items()}
    write_atomic(path, lambda stream: np.savez(stream, **replicates))  # type: ignore[arg-type]
    manifest = {**_manifest(bench, entry, seed, cell), **facts}
    bench.store.write_result(key, rows, manifest, reliability)
    return rows


def findings(
    bench: Bench,
    rows: Mapping[str, Mapping[str, Rows]],
    predictions: Mapping[str, Mapping[str, Prediction]],
) -> dict[str, Any]:
    """What a manifest says beside the numbers: the cost of each modality's absence, counts of confidences."""
    by_name = {metric.name: metric for metric in bench.metrics}
    costs = {
        output: {state: asdict(cost) for state, cost in states.items()}
        for name, each in rows.items()
        for output, states in robustness.reliance(by_name[name], each, bench.weights).items()
    }
    confidences = confidence_counts(predictions, bench.references, bench.dataset.info.multilabel)
    return {"reliance": {name: states for name, states in costs.items() if states}, "confidence": confidences}


def reliability_bins(rows: Mapping[str, Mapping[str, Rows]]) -> dict[str, dict[str, list[float]]]:
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


def state_name(entry: Entry, state: str) -> str:
    """Name of a state's files; the shuffled-image control shares its method's cell."""
    return f"shuffled-{state}" if entry.shuffled else state


def _row(
    bench: Bench, entry: Entry, seed: int, metric: Metric, output: MetricOutput, rate: float, **rest: Any
) -> ResultRow:
    return ResultRow(
        dataset=bench.dataset.info.name,
        method=entry.label,
        preset=bench.config.preset if entry.method_class.card.learned else "-",
        seed=seed,
        drop=bench.config.drop,
        mechanism=bench.config.mechanism,
        rate=rate,
        metric=output.name,
        value=rest.pop("value", None),
        ci95=rest.pop("ci95", None),
        n=len(bench.references),
        signature=metric.signature,
        control=entry.is_control,
        group=group_of(metric),
        higher_is_better=output.higher_is_better,
        key=_key(bench, entry, seed),
        test_set=bench.test_set,
        **rest,
    )


def fail(bench: Bench, entry: Entry, seed: int, error: Exception, reporter: Reporter) -> list[ResultRow]:
    """Store and report rows that say why a cell has no numbers."""
    cell = cell_of(bench, entry, seed)
    reason = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
    log = cell.directory / "error.txt"
    write_atomic(log, lambda stream: stream.write("".join(traceback.format_exception(error)).encode()))
    rows = [
        _row(bench, entry, seed, metric, output, 0.0, status="failed", detail=reason.splitlines()[0])
        for metric in metrics_of(bench, entry)
        for output in metric.outputs
    ]
    bench.store.write_result(_key(bench, entry, seed), rows, _manifest(bench, entry, seed, cell))
    shown = reason.splitlines()[0] if reason else type(error).__name__
    reporter.failed(entry.label, shown if isinstance(error, HarnessError) else f"{shown} (traceback: {log})")
    return rows


def _key(bench: Bench, entry: Entry, seed: int) -> str:
    config = bench.config
    parts = [config.preset, f"s{seed}", config.drop, config.mechanism, f"n{len(bench.references)}"]
    return "/".join([slug(bench.dataset.info.name), slug(entry.label), slug("-".join(parts))])


def _manifest(bench: Bench, entry: Entry, seed: int, cell: Cell) -> dict[str, Any]:
    return {
        "harness": __version__,
        "protocol": PROTOCOL,
        "config": bench.config.model_dump(mode="json"),
        "seed": seed,
        "method": entry.label,
        "card": provenance.card_facts(
            entry.method_class.card, entry.variant, create(bench, entry).config.model_dump(mode="json")
        ),
        "code": code_fingerprint(entry.method_class),
        "cost": _cost(bench, entry, cell),
        "cell": str(cell.directory.relative_to(bench.store.root)),
        "test_set": bench.test_set,
        "masks": hashlib.sha256(bench.plan.assignment.tobytes()).hexdigest()[:16],
        "mask_plan": bench.saved_plan,
        "natural": masks.natural(bench.splits["test"], bench.dataset.info),
        "mask_seeds": len(bench.plan.seeds),
        "achieved": dict(zip(map(str, bench.plan.rates), map(float, bench.plan.achieved()), strict=True)),
        "bootstrap": {"resamples": N_RESAMPLES, "seed": 0, "unit": "patient"},
        "machine": provenance.machine(bench.device),
        "environment": provenance.environment(),
        "unix_time": int(time.time()),
    }


def _cost(bench: Bench, entry: Entry, cell: Cell) -> dict[str, Any]:
    """What was measured when the cell was fitted and its test studies were predicted."""
    facts = cell.facts() if (cell.checkpoint / "done.json").exists() else {}
    cost: dict[str, Any] = {"device": facts.get("device", bench.device), **facts.get("cost", {})}
    timing = inference.timing_path(cell.predictions(state_name(entry, FULL)))
    if timing.exists():
        taken = read_json(timing)
        cost["seconds_per_study"] = taken["seconds"] / taken["studies"]
    return cost


def _headline(rows: Sequence[ResultRow]) -> str:
    full = {row.metric: row.value for row in rows if row.rate == 0.0 and row.value is not None}
    shown = [name for name in CURVE_METRICS if name in full] or list(full)
    return ", ".join(f"{name} {full[name]:.3f}" for name in shown[:3])
