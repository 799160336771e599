"""Where a mixture of experts sends its words, by what is missing; asked of methods that can tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.core.errors import HarnessError
from harness.core.files import read_json, write_json
from harness.core.types import Study
from harness.evaluation.benchmark import Benchmark
from harness.evaluation.entries import Entry
from harness.method.batching import collate
from harness.method.contract import Method
from harness.missingness.policy import FULL
from harness.store.cell import Cell

STUDIES = 64
"""Test studies that are asked about: enough for shares of thousands of words."""
_BATCH = 32


def routing(
    benchmark: Benchmark, entry: Entry, seed: int, cell: Cell, fitted: Callable[[], Method[Any]]
) -> dict[str, Any]:
    """``{"routing": {state: shares}}`` with shares (blocks, experts) of the routed words; rows sum to 1.

    States are ``full`` and every image modality that the method reads, dropped. Empty for methods and
    variants without experts.
    """
    if entry.shuffled or not entry.method_class.has_experts:
        return {}
    path = cell.directory / "routing" / f"{benchmark.test_set}.json"
    if path.exists():
        return {"routing": read_json(path)}
    method = fitted()
    info = benchmark.dataset.info
    reads = info.read_by(entry.method_class.card.reads)
    views = [view for view in info.image_modalities if view in reads]
    found = {}
    try:
        for state in (FULL, *views):
            some = [one for one in benchmark.splits["test"] if state == FULL or state in one.modalities][
                :STUDIES
            ]
            if some:
                found[state] = _shares(benchmark, method, some, None if state == FULL else state, seed)
    except HarnessError:
        return {}
    write_json(path, found)
    return {"routing": found}


def _shares(
    benchmark: Benchmark, method: Method[Any], studies: Sequence[Study], dropped: str | None, seed: int
) -> list[list[float]]:
    """Mean utilisation over studies, weighted by their numbers of words."""
    total, count = 0.0, 0
    for start in range(0, len(studies), _BATCH):
        batch = studies[start : start + _BATCH]
        inputs = collate(
            batch, benchmark.dataset.info, reads=method.card.reads, dropped=dropped, run_seed=seed
        )
        for each in method.routing(inputs):
            total = total + each.utilisation() * len(each.words)
            count += len(each.words)
    shares: list[list[float]] = np.round(np.asarray(total) / max(1, count), 6).tolist()
    return shares
