"""Where a mixture of experts sends its words, by what is missing; asked of methods that can tell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from harness.core.errors import HarnessError
from harness.core.files import read_checked_json, unless_damaged, write_checked_json
from harness.core.types import Study
from harness.evaluation.trial import Trial
from harness.method.batching import collate
from harness.missingness.states import FULL
from harness.store.cell import OF_CELL

STUDIES = 64
"""Test studies that are asked about: enough for shares of thousands of words."""
_BATCH = 32


def expert_routing(trial: Trial) -> dict[str, Any]:
    """``{"routing": {state: shares}}`` with shares (blocks, experts) of the routed words; rows sum to 1.

    States are ``full`` and every image modality that the method reads, dropped. Empty for methods and
    variants without experts.
    """
    if trial.entry.shuffled or not trial.entry.method_class.has_experts:
        return {}
    path = trial.cell.directory / "routing" / f"{trial.benchmark.test_set}.json"
    stored = unless_damaged(path, lambda: read_checked_json(path, OF_CELL)) if path.exists() else None
    if stored is not None:
        return {"routing": stored}
    shares: dict[str, list[list[float]]] = {}
    try:
        for state in (FULL, *(view for view in trial.info.image_modalities if view in trial.reads)):
            able = (one for one in trial.studies if state == FULL or state in one.modalities)
            studies = list(islice(able, STUDIES))
            if studies:
                shares[state] = _shares(trial, studies, None if state == FULL else state)
    except HarnessError:
        return {}
    write_checked_json(path, shares, OF_CELL)
    return {"routing": shares}


def _shares(trial: Trial, studies: Sequence[Study], dropped: str | None) -> list[list[float]]:
    """Mean utilisation over studies, weighted by their numbers of words."""
    method = trial.method
    total, count = 0.0, 0
    for start in range(0, len(studies), _BATCH):
        batch = studies[start : start + _BATCH]
        inputs = collate(batch, trial.info, reads=method.card.reads, dropped=dropped, run_seed=trial.seed)
        for routed in method.routing(inputs):
            total = total + routed.utilisation() * len(routed.words)
            count += len(routed.words)
    mean: list[list[float]] = np.round(np.asarray(total) / max(1, count), 6).tolist()
    return mean
