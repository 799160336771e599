"""What all rows of a run share, found before any work: dataset, metrics, masks, cells of the store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.core.config import ExecutionConfig, RunConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.progress import Reporter
from harness.core.slugs import slug
from harness.core.types import DatasetInfo, Reference, Study
from harness.datasets.base import SPLITS, Dataset
from harness.datasets.images import filling, pixels
from harness.datasets.opening import open_dataset, studies_of
from harness.datasets.selection import select
from harness.evaluation import imputation
from harness.evaluation.chosen_metrics import choose_metrics
from harness.evaluation.entries import Entry, entries
from harness.evaluation.report_samples import ReportSamples
from harness.metrics.base import Metric
from harness.missingness import masks
from harness.missingness.plan import MaskPlan, Missingness
from harness.missingness.policy import check_policy, default_policy
from harness.statistics.bootstrap import bootstrap_weights
from harness.store.store import Store

N_RESAMPLES = 1000


@dataclass(frozen=True)
class Benchmark:
    """Everything that all trials of a run share.

    Attributes:
        settings: what is computed and where, as it was given.
        entries: the rows that the settings ask for.
        device: torch device string.
        dataset, splits: the data; split name -> studies.
        metrics: families that suit the dataset.
        samples: how ``--report-samples`` makes probabilities of drawn reports, or None.
        plan: which test study loses what at which missing rate, for every mask seed.
        weights: bootstrap weights (B, n_test), patients resampled.
        store: where results are kept.
    """

    settings: RunSettings
    entries: Sequence[Entry]
    device: str
    dataset: Dataset
    splits: Mapping[str, Sequence[Study]]
    metrics: Sequence[Metric]
    samples: ReportSamples | None
    plan: MaskPlan
    weights: np.ndarray[Any, np.dtype[np.float64]]
    store: Store

    @property
    def config(self) -> RunConfig:
        """What is computed."""
        return self.settings.config

    @property
    def execution(self) -> ExecutionConfig:
        """Where it is computed."""
        return self.settings.execution

    @cached_property
    def resolved_config(self) -> dict[str, Any]:
        """The settings as JSON with every default filled in: they make the same run again."""
        plan = self.plan
        resolved = {
            "drop": plan.policy,
            "mechanism": plan.mechanism,
            "missing": plan.rates,
            "mask_seeds": len(plan.seeds),
        }
        return self.config.model_copy(update=resolved).model_dump(mode="json")

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


def open_benchmark(settings: RunSettings, rows: Sequence[Entry] | None = None) -> Benchmark:
    """Find everything a run needs, before any work: bad names and absent weights surface here.

    Args:
        settings: of the run.
        rows: ``entries(settings.config)``, where the caller has them.
    """
    config = settings.config
    rows = entries(config, {}) if rows is None else rows
    device = resolve_device(settings.execution.device)
    dataset = open_dataset(config.dataset, config.root, config.set.get(config.dataset))
    splits = {split: select(studies_of(dataset, split), config.limit) for split in SPLITS}
    test = splits["test"]
    metrics = choose_metrics(config, dataset.info)
    plan = mask_plan(config, dataset.info, test)
    if config.impute is not None:
        imputation.check(config.impute, rows, plan.states, dataset.info)
    return Benchmark(
        settings=settings,
        entries=rows,
        device=device,
        dataset=dataset,
        splits=splits,
        metrics=metrics,
        samples=ReportSamples.of(config.report_samples, config.uncertain, dataset.info),
        plan=plan,
        weights=bootstrap_weights([study.patient_id for study in test], N_RESAMPLES),
        store=Store(config.store).enter(),
    )


def prepare_images(benchmark: Benchmark, reporter: Reporter) -> None:
    """Decode the images that this run's methods read and no earlier run has kept, on all processors.

    Raises:
        HarnessError: a file that is no readable image, or a full disk.
    """
    info = benchmark.dataset.info
    cards = [card for entry in benchmark.entries for card in entry.cards]
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
    if config.drop is not None:
        check_policy(config.drop, info.modalities)
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
