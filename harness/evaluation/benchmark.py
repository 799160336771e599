"""What all rows of a run share, found before any work: dataset, metrics, masks, cells of the store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.config import ExecutionConfig, RunConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.progress import Reporter
from harness.core.slugs import slug
from harness.core.types import DatasetInfo, Reference, Study
from harness.datasets.attributes import check_attributes
from harness.datasets.base import SPLITS, Dataset
from harness.datasets.images import filling, pixels
from harness.datasets.opening import open_dataset, studies_of_splits
from harness.evaluation import imputation
from harness.evaluation.chosen_metrics import choose_metrics
from harness.evaluation.entries import Entry, entries
from harness.evaluation.report_samples import ReportSamples
from harness.metrics.base import Metric
from harness.missingness import masks
from harness.missingness.corrupted import corrupted_plan, corrupted_state, states_of
from harness.missingness.plan import MaskPlan, Missingness
from harness.missingness.policy import ANY, EVERY, check_policy, policies_of
from harness.missingness.states import is_corrupted, lost_by, ordered
from harness.statistics.bootstrap import BootstrapWeights, bootstrap_weights
from harness.store.manifest import Unreadable
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
        plans: per drop policy, which test study loses what at which missing rate, for every mask seed.
        weights: bootstrap weights (B, n_test), patients resampled.
        store: where results are kept.
        corruptions: plans of ``--corrupt``: of each corrupted state, and of the loss of a corrupted modality
            where ``plans`` have none.
    """

    settings: RunSettings
    entries: Sequence[Entry]
    device: str
    dataset: Dataset
    splits: Mapping[str, Sequence[Study]]
    metrics: Sequence[Metric]
    samples: ReportSamples | None
    plans: tuple[MaskPlan, ...]
    weights: BootstrapWeights
    store: Store
    corruptions: tuple[MaskPlan, ...] = ()

    @property
    def config(self) -> RunConfig:
        """What is computed."""
        return self.settings.config

    @property
    def execution(self) -> ExecutionConfig:
        """Where it is computed."""
        return self.settings.execution

    @cached_property
    def states(self) -> tuple[str, ...]:
        """Modality states of all plans, ``full`` first: every test study is predicted once per state."""
        return ordered((state for plan in self.plans for state in plan.states), self.dataset.info.modalities)

    def shares(self, plan: MaskPlan) -> Sequence[masks.MissingShares]:
        """What a plan takes at each of its rates."""
        return self._shares[plan.policy]

    @cached_property
    def _shares(self) -> dict[str, list[masks.MissingShares]]:
        info, studies = self.dataset.info, self.splits["test"]
        plans = (*self.plans, *self.corruptions)
        return {plan.policy: masks.missing_shares(plan, studies, info) for plan in plans}

    @cached_property
    def corners(self) -> dict[str, NDArray[np.bool_]]:
        """Modality state -> (n_test,): studies that can be put into it, for they lose and keep something.

        A corner is the test set with every such study in the state.
        """
        states = dict.fromkeys((*self.states, *(state for plan in self.corruptions for state in plan.states)))
        return {
            state: corner_of(self.splits["test"], state, self.dataset.info.modalities) for state in states
        }

    @property
    def train_policy(self) -> str:
        """What ``--train-missing`` takes from training studies."""
        config = self.config
        if config.train_drop is not None:
            return config.train_drop
        return self.plans[0].policy if len(self.plans) == 1 else ANY

    def resolved_config(self, plan: MaskPlan) -> dict[str, Any]:
        """The settings as JSON with every default filled in: they make the numbers of one plan again."""
        resolved = {
            "drop": plan.policy,
            "states": "single",
            "mechanism": plan.mechanism,
            "missing": plan.rates,
            "mask_seeds": len(plan.seeds),
            "train_drop": self.train_policy if any(self.config.train_missing) else None,
            "corrupt": (),
        }
        if is_corrupted(plan.policy):
            resolved |= {"drop": self.plans[0].policy, "missing": (0.0,), "corrupt": (plan.policy,)}
        return self.config.model_copy(update=resolved).model_dump(mode="json")

    @cached_property
    def references(self) -> list[Reference]:
        """Truth of the test studies, in the order of the plan."""
        return [
            Reference(s.id, s.patient_id, s.report, s.labels, s.images, s.context)
            for s in self.splits["test"]
        ]

    def saved_plan(self, plan: MaskPlan) -> str:
        """Path of a plan's masks in the store, which keeps them from here on."""
        return masks.save_plan(self.store.root, slug(self.dataset.info.name), plan)

    @property
    def left_out(self) -> dict[str, Any]:
        """What a manifest says of images that cannot be read; empty where all can."""
        left_out = getattr(self.dataset, "left_out", None)
        facts = left_out and {"unreadable": Unreadable(views=left_out.views, studies=left_out.studies)}
        return facts or {}

    @cached_property
    def test_set(self) -> str:
        """Identity of what is scored against."""
        return test_set_of(self.dataset.info, self.splits["test"])


def test_set_of(info: DatasetInfo, studies: Sequence[Study]) -> str:
    """Digest of a dataset's test studies and of all that methods see of it."""
    text = "\0".join([info.fingerprint, *(study.id for study in studies)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def corner_of(studies: Sequence[Study], state: str, modalities: Sequence[str]) -> NDArray[np.bool_]:
    """Which studies (n,) can be put into a modality state, for they lose and keep something."""
    corrupted, offered = corrupted_state(state), frozenset(modalities)
    if corrupted is not None:
        return np.array([corrupted.affects(study) for study in studies], dtype=bool)
    return np.array([bool(lost_by(each.modalities, state, offered)) for each in studies], dtype=bool)


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
    splits = studies_of_splits(dataset, config.limit)
    test = splits["test"]
    check_attributes(config.by, test)
    metrics = choose_metrics(config, dataset.info, test)
    plans = mask_plans(config, dataset.info, test)
    if config.impute is not None:
        states = dict.fromkeys(state for plan in plans for state in plan.states)
        imputation.check(config.impute, rows, tuple(states), dataset.info)
    return Benchmark(
        settings=settings,
        entries=rows,
        device=device,
        dataset=dataset,
        splits=splits,
        metrics=metrics,
        samples=ReportSamples.of(
            config.report_samples, config.uncertain or dataset.info.uncertain, dataset.info
        ),
        plans=plans,
        weights=bootstrap_weights([study.patient_id for study in test], N_RESAMPLES),
        store=Store(config.store).enter(),
        corruptions=corruption_plans(config, dataset.info, test, plans),
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


def mask_plans(config: RunConfig, info: DatasetInfo, studies: Sequence[Study]) -> tuple[MaskPlan, ...]:
    """The run's masks: drawn, one plan per drop policy, or of ``--masks``, as far as flags select them."""
    if config.train_drop is not None:
        check_policy(config.train_drop, info.modalities)
    if config.masks is None:
        seeds = range(config.mask_seeds)
        policies = policies_of(
            config.drop or EVERY,
            config.missing,
            info.modalities,
            every_subset=config.states == "all",
        )
        return tuple(
            masks.plan_of(studies, info, Missingness(policy, config.mechanism, rates, seeds))
            for policy, rates in policies.items()
        )
    if config.states == "all":
        raise HarnessError("--states all with --masks: the file has its own states", "leave --states out")
    given = config.model_fields_set
    plan = masks.narrowed(
        masks.read_plan(config.masks, studies, info),
        config.masks,
        drop=config.drop,
        mechanism=config.mechanism if "mechanism" in given else None,
        rates=config.rates if "missing" in given else None,
        seeds=config.mask_seeds if "mask_seeds" in given else None,
    )
    return (plan,)


def corruption_plans(
    config: RunConfig, info: DatasetInfo, studies: Sequence[Study], plans: Sequence[MaskPlan]
) -> tuple[MaskPlan, ...]:
    """The plans of ``--corrupt``, beside those of the missing modalities.

    What a part of a modality costs is judged against the loss of all of it: that has a plan, too, where
    ``plans`` have none and the dataset has another modality.
    """
    states = states_of(config.corrupt, info.modalities)
    measured = {plan.policy for plan in plans if 1.0 in plan.rates}
    lost = dict.fromkeys(state.modality for state in states if len(info.modalities) > 1)
    whole = [
        masks.plan_of(studies, info, Missingness(name, plans[0].mechanism, (0.0, 1.0), plans[0].seeds))
        for name in lost
        if name not in measured
    ]
    return (*whole, *(corrupted_plan(state, studies, plans[0]) for state in states))


def resolve_device(device: str) -> str:
    """``auto`` to the first GPU or the CPU; a GPU that is not there is an error that names ``--device``."""
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdecimal():
        raise HarnessError(f"--device {device}: no device", "auto, cpu, cuda or cuda:0")
    if kind == "cpu" or int(index or 0) < torch.cuda.device_count():
        return device
    raise HarnessError(
        f"--device {device}: {torch.cuda.device_count()} CUDA devices found", "use --device cpu"
    )
