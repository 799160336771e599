"""What all rows of a run share, found before any work: dataset, metrics, masks, cells of the store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.core import registry
from harness.core.config import ExecutionConfig, RunConfig, RunSettings
from harness.core.errors import HarnessError, UnavailableError
from harness.core.progress import Reporter
from harness.core.slugs import slug
from harness.core.types import DatasetInfo, Reference, Study, Task
from harness.datasets.base import SPLITS, Dataset
from harness.datasets.images import filling, pixels
from harness.evaluation import imputation
from harness.evaluation.entries import PROTOCOL, Entry, entries
from harness.evaluation.report_samples import ReportSamples
from harness.method.contract import Method
from harness.method.fingerprint import code_fingerprint
from harness.metrics.base import Metric
from harness.missingness import masks
from harness.missingness.plan import MaskPlan, Missingness
from harness.missingness.policy import default_policy
from harness.statistics import bootstrap
from harness.store.cell import Cell
from harness.store.predictions import Part
from harness.store.store import Store

N_RESAMPLES = 1000


@dataclass(frozen=True)
class Benchmark:
    """Everything that all rows of a run share; ``part`` is what this process predicts of the test studies."""

    settings: RunSettings
    device: str
    dataset: Dataset
    splits: Mapping[str, Sequence[Study]]
    metrics: Sequence[Metric]
    samples: ReportSamples | None
    plan: MaskPlan
    weights: np.ndarray[Any, np.dtype[np.float64]]
    store: Store
    part: Part | None = None

    @property
    def config(self) -> RunConfig:
        """What is computed."""
        return self.settings.config

    @property
    def execution(self) -> ExecutionConfig:
        """Where it is computed."""
        return self.settings.execution

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


def open_benchmark(settings: RunSettings) -> Benchmark:
    """Find everything a run needs, before any work: bad names and absent weights surface here."""
    config = settings.config
    entries(config)
    device = resolve_device(settings.execution.device)
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
    if config.impute is not None:
        imputation.check(config.impute, entries(config), plan.states, dataset.info)
    weights = bootstrap.bootstrap_weights([study.patient_id for study in splits["test"]], N_RESAMPLES)
    samples = ReportSamples.of(config.report_samples, config.uncertain, dataset.info)
    settings = RunSettings(config, settings.execution)
    return Benchmark(
        settings, device, dataset, splits, metrics, samples, plan, weights, Store(config.store).enter()
    )


def prepare_images(benchmark: Benchmark, reporter: Reporter) -> None:
    """Decode the images that this run's methods read and no earlier run has kept, on all processors.

    Raises:
        HarnessError: a file that is no readable image, or a full disk.
    """
    info = benchmark.dataset.info
    cards = [card for entry in entries(benchmark.config) for card in entry.cards]
    views = {view for card in cards for view in info.read_by(card.reads)}
    studies = [study for split in SPLITS for study in benchmark.splits[split]]
    for cache, sources in pixels.absent(studies, views):
        progress = reporter.phase("images", "decode once")
        done = 0
        for count in filling.fill(cache.store, sources):
            done += count
            progress(done / len(sources), f"{done:,} of {len(sources):,}")
        reporter.done("images", f"{done:,} decoded and kept in {cache.store.folder}")


def mask_plan(config: RunConfig, info: DatasetInfo, studies: Sequence[Study]) -> MaskPlan:
    """The run's masks: drawn, or as ``--masks`` has them where flags do not narrow it."""
    if config.masks is None:
        seeds = range(config.mask_seeds)
        drop = config.drop or default_policy(info.modalities)
        return masks.plan_of(studies, info, Missingness(drop, config.mechanism, config.rates, seeds))
    given = config.model_fields_set
    return masks.narrowed(
        masks.read_plan(config.masks, studies, info),
        config.masks,
        drop=config.drop,
        mechanism=config.mechanism if "mechanism" in given else None,
        rates=config.missing if "missing" in given else None,
        seeds=config.mask_seeds if "mask_seeds" in given else None,
    )


def choose_metrics(config: RunConfig, dataset: Dataset) -> list[Metric]:
    """Metric families that suit the dataset; one that was asked for by name must be able to run."""
    options = registry.MetricOptions(
        tokenizer=config.tokenizer or dataset.info.tokenizer,
        reference_words=config.reference_words or dataset.info.reference_words,
        uncertain=config.uncertain,
        multilabel=dataset.info.multilabel,
    )
    chosen: list[Metric] = []
    for name in config.metrics or registry.names("metrics"):
        metric: Metric = registry.make_metric(name, options)
        if not config.metrics and not metric.by_default:
            continue
        reason = metric.unavailable()
        if reason and (config.metrics or (config.tokenizer and metric.tokenized)):
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


def create(benchmark: Benchmark, entry: Entry) -> Method[Any]:
    """An unfitted instance of an entry's method."""
    return entry.method_class.create(
        benchmark.dataset.info,
        variant=entry.variant,
        preset=benchmark.config.preset,
        overrides=entry.overrides,
    )


def cell_of(benchmark: Benchmark, entry: Entry, seed: int) -> Cell:
    """The store's folder for the trained method behind an entry."""
    method = create(benchmark, entry)
    identity = {
        "method": entry.name,
        "variant": entry.variant,
        "preset": benchmark.config.preset,
        "seed": seed,
        "config": method.config.model_dump(mode="json"),
        "dataset": benchmark.dataset.info.name,
        "data": benchmark.dataset.info.fingerprint,
        "limit": benchmark.config.limit,
        "code": code_fingerprint(entry.method_class),
        "protocol": PROTOCOL,
        **_train_missing(benchmark),
    }
    return benchmark.store.cell(
        benchmark.dataset.info.name, entry.trained_label, benchmark.config.preset, seed, identity
    )


def _train_missing(benchmark: Benchmark) -> dict[str, Any]:
    """What a cell's weights owe to ``--train-missing``; nothing where all training studies are whole."""
    rate, plan = benchmark.config.train_missing, benchmark.plan
    return {"train_missing": {"rate": rate, "drop": plan.policy, "mechanism": plan.mechanism}} if rate else {}


def metrics_of(benchmark: Benchmark, entry: Entry) -> list[Metric]:
    """The run's metrics as they apply to a method: those of probabilities from draws say so."""
    samples = benchmark.samples
    if samples is None or not samples.serve(entry):
        return list(benchmark.metrics)
    return [samples.metric(m) if m.task is Task.DIAGNOSE else m for m in benchmark.metrics]


def does(benchmark: Benchmark, entry: Entry, metric: Metric) -> bool:
    """Whether a method's predictions are something for this metric."""
    drawn = benchmark.samples is not None and benchmark.samples.serve(entry) and metric.task is Task.DIAGNOSE
    return drawn or metric.task in entry.method_class.card.tasks


def state_name(entry: Entry, state: str) -> str:
    """Name of a state's files; the shuffled-image control shares its method's cell."""
    return f"shuffled-{state}" if entry.shuffled else state
