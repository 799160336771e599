"""Dataset, test studies, metrics and masks of the rows that a store has: what a further row is held to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from harness.core.config import RunConfig
from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Reference, Study
from harness.datasets.opening import open_dataset, studies_of
from harness.datasets.selection import select
from harness.evaluation.benchmark import test_set_of
from harness.evaluation.chosen_metrics import choose_metrics
from harness.metrics.base import Metric
from harness.missingness.masks import read_plan
from harness.missingness.plan import MaskPlan
from harness.missingness.states import is_corrupted
from harness.store.results import StoredResult
from harness.store.store import Store


@dataclass(frozen=True)
class Target:
    """What the rows of a store were scored against.

    Attributes:
        store: gets the row.
        config: of the newest run.
        info: of the dataset.
        studies: its test studies.
        plans: one per drop policy: the masks of most rows.
    """

    store: Store
    config: RunConfig
    info: DatasetInfo
    studies: Sequence[Study]
    plans: tuple[MaskPlan, ...]

    @classmethod
    def of(cls, folder: Path, dataset: str | None = None, root: Path | None = None) -> Target:
        """Read a store's runs and open their dataset.

        Args:
            folder: the store.
            dataset: as tables call it; needed where the store has several.
            root: folder of the dataset, where it is not where it was.

        Raises:
            HarnessError: no store, no run in it, several datasets, or a dataset that has changed since.
        """
        if not (folder / "store.json").exists():
            raise HarnessError(f"--store {folder}: no results store", "harness run makes one")
        store = Store(folder)
        newest, *others = _runs(store, dataset)
        test_set = newest.manifest.test_set
        runs = [each for each in (newest, *others) if each.manifest.test_set == test_set]
        try:
            config = RunConfig.model_validate(newest.manifest.config)
        except ValidationError:
            raise HarnessError(f"{newest.path}: its settings are of another version", "run again") from None
        opened = open_dataset(config.dataset, root or config.root, config.set.get(config.dataset))
        studies = select(studies_of(opened, "test"), config.limit)
        if test_set_of(opened.info, studies) != test_set:
            raise HarnessError(
                f"{config.dataset}: its test studies are not those of {newest.key}",
                "--root DIR with the data of the run, or run again",
            )
        plans = tuple(read_plan(folder / each, studies, opened.info) for each in _plans(runs))
        return cls(store, config, opened.info, studies, plans)

    @cached_property
    def metrics(self) -> list[Metric]:
        """Those of the run that score answers alone."""
        chosen = choose_metrics(self.config, self.info, self.studies)
        return [each for each in chosen if not (each.generates or each.completes or each.uses_validation)]

    @cached_property
    def references(self) -> list[Reference]:
        """Truth of the test studies."""
        return [Reference(s.id, s.patient_id, s.report, s.labels, context=s.context) for s in self.studies]

    @property
    def test_set(self) -> str:
        """Identity of what is scored against."""
        return test_set_of(self.info, self.studies)


def _runs(store: Store, dataset: str | None) -> list[StoredResult]:
    """Rows of ``harness run`` on one dataset, the newest first."""
    runs = [each for each in store.stored() if each.rows and _is_run(each)]
    if not runs:
        raise HarnessError(f"--store {store.root}: no row of harness run", "run a method there first")
    names = sorted({each.rows[0].dataset for each in runs})
    if dataset is not None:
        runs = [
            each for each in runs if dataset in (each.rows[0].dataset, each.manifest.config.get("dataset"))
        ]
    if not runs or (dataset is None and len(names) > 1):
        problem = "several datasets" if dataset is None else f"no row on {dataset}"
        raise HarnessError(f"--store {store.root}: {problem}", f"--dataset {' or '.join(names)}")
    return sorted(runs, key=lambda each: each.time, reverse=True)


def _is_run(result: StoredResult) -> bool:
    manifest = result.manifest
    return bool(manifest.config and manifest.mask_plan) and not is_corrupted(result.rows[0].drop)


def _plans(runs: Sequence[StoredResult]) -> list[str]:
    """Files of masks: per drop policy and mechanism, that of most rows, else the newest."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for each in runs:
        place = each.rows[0].drop, each.rows[0].mechanism
        counts.setdefault(place, Counter())[each.manifest.mask_plan] += 1
    return [own.most_common(1)[0][0] for own in counts.values()]
