"""One method with one seed on a benchmark: what carries a leaderboard row from training to its numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from harness.core.config import RunSettings
from harness.core.content import by_content, content_digest, is_local_path
from harness.core.dotted import flat
from harness.core.errors import DamagedStateError
from harness.core.files import set_aside, unless_damaged
from harness.core.progress import SILENT, Progress, Reporter
from harness.core.registry import is_ours
from harness.core.slugs import slug
from harness.core.types import DatasetInfo, Study, Task
from harness.datasets import selection
from harness.distributed import launch
from harness.distributed.process_group import process_group
from harness.evaluation import fit, imputation
from harness.evaluation.benchmark import Benchmark, open_benchmark
from harness.evaluation.entries import PROTOCOL, Entry, image_donors
from harness.evaluation.synthesis import generates
from harness.evaluation.used import begin, current_cell, note_used
from harness.method.box.confined import ConfinedMethod
from harness.method.config import MethodConfig
from harness.method.contract import FitRun, Method
from harness.method.fingerprint import code_fingerprint, weights_in_environment
from harness.method.torch_method import TorchMethod
from harness.method.used import noted
from harness.metrics.base import Metric
from harness.missingness import masks
from harness.missingness.corrupted import corrupted_state
from harness.missingness.corruptions import VERSION
from harness.missingness.plan import MaskPlan
from harness.missingness.states import FULL, is_corrupted, lost_by, missing_in, state_of
from harness.store.cell import Cell
from harness.store.predictions import Shard
from harness.store.row_labels import row_title


@dataclass(frozen=True)
class Trial:
    """One method with one seed on a benchmark: a leaderboard row in the making.

    Attributes:
        benchmark: what all trials of a run share.
        entry: method, variant, overrides, control, imputer.
        seed: of training and of every random draw at prediction.
        reporter: shows progress.
        shard: only these of the test studies are predicted; None predicts all.
    """

    benchmark: Benchmark
    entry: Entry
    seed: int
    reporter: Reporter = SILENT
    shard: Shard | None = None

    @property
    def info(self) -> DatasetInfo:
        """The dataset."""
        return self.benchmark.dataset.info

    @cached_property
    def reads(self) -> frozenset[str]:
        """The dataset's modalities that the method reads."""
        return self.info.read_by(self.entry.method_class.card.reads)

    @property
    def studies(self) -> Sequence[Study]:
        """The test studies."""
        return self.benchmark.splits["test"]

    @cached_property
    def states(self) -> Sequence[str]:
        """Modality states of the run, ``full`` first, and the corrupted ones if the row has them."""
        corrupted = (state for plan in self._corruptions for state in plan.states)
        return tuple(dict.fromkeys((*self.benchmark.states, *corrupted)))

    @property
    def _corruptions(self) -> Sequence[MaskPlan]:
        """Plans of corrupted states; none for reruns on other studies' images and for generated views."""
        reran = self.entry.shuffled or self.entry.imputer is not None
        return () if reran else self.benchmark.corruptions

    @cached_property
    def plans(self) -> list[MaskPlan]:
        """The run's plans; of a row with an imputer those in which it generates something."""
        entry, info = self.entry, self.info

        def completes(plan: MaskPlan) -> bool:
            return any(imputation.generated_views(entry, state, info) for state in plan.states)

        plans = [plan for plan in self.benchmark.plans if entry.imputer is None or completes(plan)]
        return [*plans, *self._corruptions]

    @cached_property
    def losses(self) -> dict[str, dict[str, str]]:
        """Modality state -> study id -> state with what the study loses there of what the method reads."""
        return {
            state: {study.id: self._loss(study, state) for study in self.studies} for state in self.states
        }

    def _loss(self, study: Study, state: str) -> str:
        modalities, corrupted = self.info.modalities, corrupted_state(state)
        if corrupted is not None:
            return state if corrupted.modality in self.reads and corrupted.affects(study) else FULL
        return state_of(lost_by(study.modalities, state, frozenset(modalities)) & self.reads, modalities)

    @cached_property
    def without_input(self) -> dict[str, int]:
        """Modality state -> number of test studies that are left with nothing that the method reads."""
        return {
            state: sum(
                not (study.modalities & self.reads) - missing_in(self.losses[state][study.id])
                for study in self.studies
            )
            for state in self.states
        }

    @property
    def preset(self) -> str:
        """The preset that a leaderboard shows; ``-`` where nothing is trained."""
        return self.benchmark.config.preset if self.entry.method_class.card.learned else "-"

    @cached_property
    def cell(self) -> Cell:
        """The folder of the trained method in the store."""
        return self._cell[0]

    @cached_property
    def _cell(self) -> tuple[Cell, list[str]]:
        """The same, and files that changed since an earlier training."""
        benchmark, entry = self.benchmark, self.entry
        identity = {
            "method": entry.name,
            "variant": entry.variant,
            "preset": benchmark.config.preset,
            "seed": self.seed,
            "config": by_content(self.settings),
            "weights": [part.facts()["digest"] for part in self.config.pretrained],
            "dataset": self.info.name,
            "data": self.info.fingerprint,
            "words": self.info.tokenizer,
            "limit": self._limit(),
            "code": code_fingerprint(entry.method_class),
            "protocol": PROTOCOL,
            **weights_in_environment(entry.method_class),
            **({"confined": True} if issubclass(entry.method_class, ConfinedMethod) else {}),
            **self._train_missing(),
        }
        place = (self.info.name, entry.trained_label, benchmark.config.preset, self.seed)
        return current_cell(self, lambda used: benchmark.store.cell(*place, identity | used))

    @cached_property
    def config(self) -> MethodConfig:
        """The method's configuration; no method is built for it, which may fail, but in a box."""
        entry, preset = self.entry, self.benchmark.config.preset
        if issubclass(entry.method_class, ConfinedMethod):
            return self.new_method().config
        return entry.method_class.configured(variant=entry.variant, preset=preset, overrides=entry.overrides)

    @property
    def settings(self) -> dict[str, Any]:
        """The method's configuration as JSON values."""
        return self.config.model_dump(mode="json")

    @property
    def settings_facts(self) -> dict[str, Any]:
        """What a manifest says of the settings: ``configuration``, ``changed`` and ``files``."""
        text = json.dumps(by_content(self.settings), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return {"configuration": digest, "changed": self._changed(), "files": self._files()}

    def _changed(self) -> dict[str, tuple[Any, Any]]:
        """Setting -> its value in the preset and its own, for those that ``--set`` changes."""
        if not self.entry.overrides:
            return {}
        preset = flat(replace(self, entry=replace(self.entry, overrides={})).settings)
        own = flat(self.settings)
        return {key: (preset.get(key), value) for key, value in own.items() if preset.get(key) != value}

    def _files(self) -> dict[str, str]:
        """Local path in the settings of the trial's methods -> digest of what lies there."""
        entries = (self.entry, *([self.entry.imputer] if self.entry.imputer else []))
        values = [value for entry in entries for value in flat(replace(self, entry=entry).settings).values()]
        return {value: content_digest(value) for value in values if is_local_path(value)}

    def _limit(self) -> dict[str, int] | None:
        """Which studies of each split a limited run has; None for all of them."""
        limit = self.benchmark.config.limit
        return None if limit is None else {"studies": limit, "selection": selection.VERSION}

    def identity(self, plan: MaskPlan) -> str:
        """Digest of everything that the row's numbers under a plan depend on: equal digests, equal numbers.

        The signatures hold tokenisation, length of references and policy for uncertain findings. The cells
        hold code, settings and training data.
        """
        benchmark = self.benchmark
        config, imputer = benchmark.config, self.entry.imputer
        parts = {
            "label": self.entry.label,
            "cell": self.cell.directory.name,
            "imputer": None if imputer is None else replace(self, entry=imputer).cell.directory.name,
            "metrics": sorted(metric.signature for metric in self.metrics),
            "report_samples": config.report_samples,
            "dataset": self.info.name,
            "options": config.set.get(config.dataset, {}),
            "test_set": benchmark.test_set,
            "masks": [plan.policy, plan.mechanism, plan.rates, plan.seeds, plan.digest],
            **({"corruptions": VERSION} if is_corrupted(plan.policy) else {}),
        }
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def result_key(self, plan: MaskPlan) -> str:
        """The row's result file below ``results``, without its suffix; its last part is the identity."""
        benchmark = self.benchmark
        size = f"n{len(benchmark.references)}"
        parts = [
            *(benchmark.config.preset, f"s{self.seed}", plan.policy, plan.mechanism, size),
            self.identity(plan),
        ]
        return "/".join([slug(self.info.title), label_folder(self.entry.label), slug("-".join(parts))])

    def _train_missing(self) -> dict[str, Any]:
        """What ``--train-missing`` did to the weights; empty where all training studies are whole."""
        rate, mechanism = self.entry.train_missing, self.benchmark.plans[0].mechanism
        facts = {"rate": rate, "drop": self.benchmark.train_policy, "mechanism": mechanism}
        return {"train_missing": facts} if rate else {}

    def new_method(self) -> Method[Any]:
        """An unfitted instance of the entry's method."""
        entry, preset = self.entry, self.benchmark.config.preset
        with noted(entry.method_class):
            return entry.method_class.create(
                self.info, variant=entry.variant, preset=preset, overrides=entry.overrides
            )

    @cached_property
    def method(self) -> Method[Any]:
        """The fitted method on its device: trained, or loaded from the cell, at first use.

        A damaged checkpoint is set aside and trained again.
        """
        loaded = unless_damaged(self.cell.checkpoint, self._stored)
        return train(self) if loaded is None else loaded

    def _stored(self) -> Method[Any] | None:
        """The method of the cell's checkpoint, or None without one."""
        return self._loaded() if self.cell.is_fitted() else None

    def _loaded(self) -> Method[Any]:
        method = self.new_method()
        with noted(self.entry.method_class):
            method.load(self.cell.checkpoint)
            return method.to(self.benchmark.device)

    def require_trained(self) -> None:
        """Train the method if it is not: a row stands for a trained method even where its answers survive.

        It says which files of a plugin have changed since.
        """
        begin(self, self._cell[1])
        if not unless_damaged(self.cell.checkpoint, self.cell.is_fitted):
            _ = self.method

    @cached_property
    def donors(self) -> dict[str, Study] | None:
        """Study id -> the study whose images are shown instead (shuffled-image control), or None."""
        return image_donors(self.studies, self.seed) if self.entry.shuffled else None

    @property
    def metrics(self) -> list[Metric]:
        """The run's metrics; those of probabilities from drawn reports say so in their signatures."""
        metrics, samples = self.benchmark.metrics, self.benchmark.samples
        if samples is None or not self.draws_reports:
            return list(metrics)
        return [samples.metric(metric) if metric.task is Task.DIAGNOSE else metric for metric in metrics]

    @property
    def draws_reports(self) -> bool:
        """Whether the trial's probabilities come from drawn reports (``--report-samples``)."""
        return self.benchmark.samples is not None and self.benchmark.samples.serve(self.entry)

    def suits(self, metric: Metric) -> bool:
        """Whether the method does what a metric measures."""
        if self.entry.temperature and metric.task is not Task.DIAGNOSE:
            return False
        if metric.generates:
            return generates(self.entry.method_class.card, self.info, metric.generates)
        drawn = self.draws_reports and metric.task is Task.DIAGNOSE
        return drawn or metric.task in self.entry.method_class.card.tasks

    def unavailable(self, metric: Metric) -> str | None:
        """Why a metric has no numbers for this trial; None where it can have some."""
        if reason := metric.unavailable():
            return reason
        if not metric.uses_validation:
            return None
        if self.draws_reports:
            return "reports are drawn for test studies alone, so validation has no probabilities"
        labelled = any(study.labels is not None for study in self.benchmark.splits["val"])
        return None if labelled else "no validation study has labels"

    def state_name(self, state: str) -> str:
        """Name of a state's files; the shuffled-image control shares the cell of its method."""
        corrupted = corrupted_state(state)
        if corrupted is not None:
            return corrupted.file
        return f"shuffled-{state}" if self.entry.shuffled else state

    @property
    def title(self) -> str:
        """What progress calls the trial: the row's label, with the seed where the run has several."""
        return row_title(self.entry.label, self.seed, self.benchmark.config.seeds)

    def phase(self, name: str) -> Progress:
        """Begin a phase of the row."""
        return self.reporter.phase(self.title, name)

    def done(self, summary: str) -> None:
        """Report that the row is finished."""
        self.reporter.done(self.title, summary)

    def failed(self, reason: str) -> None:
        """Report that the row could not be finished."""
        self.reporter.failed(self.title, reason)

    @property
    def waiting(self) -> Callable[[str], None]:
        """Called with the process that holds the cell, again and again while this process waits for it."""
        updates: list[Progress] = []

        def show(holder: str) -> None:
            if not updates:
                updates.append(self.phase(f"wait for {holder}, which works on it,"))
            updates[0](0.0, "")

        return show


def label_folder(label: str) -> str:
    """A row's folder; a label with a slash, as paths in ``--set`` have, is not to share one with ``_``."""
    digest = hashlib.sha256(label.encode()).hexdigest()[:6]
    return slug(f"{label}-{digest}" if "/" in label else label)


def train(trial: Trial) -> Method[Any]:
    """The method, trained in this process or in several together; its checkpoint is in the cell then."""
    progress = trial.phase("train")
    trial.cell.own_training()
    if issubclass(trial.entry.method_class, TorchMethod) and launch.together(trial.benchmark.execution) > 1:
        launch.train(trial.benchmark.settings, trial.entry.label, trial.seed, train_as_member, progress)
        return trial._loaded()
    with fit.alone(trial.cell):
        trained = _train_here(trial, progress)
    # A plugin may save less than it needs: what is asked is what a resumed run would ask.
    return trained if is_ours(trial.entry.method_class) else trial._loaded()


def train_as_member(settings: RunSettings, label: str, seed: int, progress: Progress) -> None:
    """Train as one of several processes; rank 0 stores the checkpoint."""
    benchmark = open_benchmark(settings)
    rows = [*benchmark.entries, *(row.imputer for row in benchmark.entries if row.imputer)]
    trial = Trial(benchmark, next(row for row in rows if row.label == label), seed)
    if not process_group().is_rank_zero:
        _train_here(trial, lambda fraction, status: None)
        return
    with fit.exclusive(trial.cell):
        _train_here(trial, progress)


def _train_here(trial: Trial, progress: Progress) -> Method[Any]:
    run = FitRun(trial.cell.training, trial.benchmark.device, trial.seed, progress)
    train, val = (_thinned(trial, split) for split in ("train", "val"))
    studies = fit.FitStudies(train, val, example=trial.benchmark.splits["train"][0])
    fitted = partial(fit.fit, studies=studies, run=run, cell=trial.cell, note=partial(note_used, trial))
    try:
        return fitted(trial.new_method())
    except DamagedStateError as error:
        if process_group().size > 1:
            raise
        set_aside(trial.cell.training, error.message)
        trial.cell.own_training()
        return fitted(trial.new_method())


def _thinned(trial: Trial, split: str) -> list[Study]:
    """Training or validation studies, some of them without a modality if the run asks for it."""
    benchmark, rate = trial.benchmark, trial.entry.train_missing
    whole, mechanism = benchmark.splits[split], benchmark.plans[0].mechanism
    return masks.thinned(whole, trial.info, benchmark.train_policy, mechanism, rate, trial.seed)
