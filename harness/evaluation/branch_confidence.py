"""How far a method trusts each of its branches, by what is missing; asked of methods that can tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.core.files import read_checked_json, unless_damaged, write_checked_json
from harness.evaluation.trial import Trial
from harness.method.batching import collate
from harness.metrics.diagnosis.confidence import histogram
from harness.missingness.states import FULL
from harness.store.cell import OF_CELL

_BATCH = 32


def branch_confidence(trial: Trial) -> dict[str, Any]:
    """``{"branch_confidence": {state: {branch: counts}}}``, counts of the test studies per bin of confidence.

    States are ``full`` and every image modality that the method reads, dropped; a state has the studies that
    have the modality. Empty for methods and variants that weight no branches.
    """
    if trial.entry.shuffled or not trial.entry.method_class.has_branches:
        return {}
    path = trial.cell.directory / "branches" / f"{trial.benchmark.test_set}.json"
    stored = unless_damaged(path, lambda: read_checked_json(path, OF_CELL)) if path.exists() else None
    if stored is not None:
        return {"branch_confidence": stored}
    counts: dict[str, dict[str, list[int]]] = {}
    for state in (FULL, *(view for view in trial.info.image_modalities if view in trial.reads)):
        parts = list(_asked(trial, state))
        if not parts or not parts[0]:
            continue
        counts[state] = {
            branch: histogram(np.concatenate([part[branch] for part in parts])) for branch in parts[0]
        }
    if not counts:
        return {}
    write_checked_json(path, counts, OF_CELL)
    return {"branch_confidence": counts}


def _asked(trial: Trial, state: str) -> Iterator[dict[str, Any]]:
    """Confidences of the branches, batch by batch."""
    method = trial.method
    studies = [study for study in trial.studies if state == FULL or state in study.modalities]
    for start in range(0, len(studies), _BATCH):
        batch = studies[start : start + _BATCH]
        dropped = None if state == FULL else state
        inputs = collate(batch, trial.info, reads=method.card.reads, dropped=dropped, run_seed=trial.seed)
        yield {branch: np.array(each) for branch, each in method.confidences(inputs).items()}
