"""Trials made by hand: an entry on a few studies, without a registered dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.core.config import RunSettings
from harness.core.types import DatasetInfo, Study
from harness.evaluation.benchmark import Benchmark
from harness.evaluation.entries import Entry
from harness.evaluation.trial import Trial
from harness.store.store import Store


def trial_of(
    folder: Path, entry: Entry, studies: Sequence[Study], states: Sequence[str], info: DatasetInfo
) -> Trial:
    """An entry's trial with seed 0 on these test studies, in a store below ``folder``."""
    plan: Any = SimpleNamespace(states=tuple(states), policy="any", mechanism="mcar")
    dataset: Any = SimpleNamespace(info=info)
    benchmark = Benchmark(
        settings=RunSettings.of(methods=(entry.name,), store=folder),
        entries=[entry],
        device="cpu",
        dataset=dataset,
        splits={"train": studies, "val": studies, "test": studies},
        metrics=[],
        samples=None,
        plans=(plan,),
        weights=np.ones((1, len(studies))),
        store=Store(folder),
    )
    return Trial(benchmark, entry, 0)
