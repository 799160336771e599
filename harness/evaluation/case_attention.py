"""Where the words of stored reports look in the images: asked of the checkpoints behind a page of studies."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Study
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.reproduce import entry_of, settings_of
from harness.evaluation.trial import Trial
from harness.method.attention import WordAttention
from harness.method.batching import collate
from harness.missingness.states import FULL
from harness.store.cell import Cell
from harness.store.results import StoredResult
from harness.store.store import Store

_BATCH = 8
_DIGITS = 4

Answers = Mapping[str, Mapping[str, Prediction]]
"""Modality state -> study id -> prediction."""


def attention_of(
    store: Store, stored: StoredResult, answers: Answers, studies: Sequence[Study], device: str | None
) -> dict[str, dict[str, Any]]:
    """Modality state -> study id -> what a page draws; empty for methods and variants without attention.

    Args:
        store: results store with the checkpoint.
        stored: the row.
        answers: its stored reports, of each state that it notices.
        studies: those of the page.
        device: as ``--device`` takes it.

    Raises:
        HarnessError: no checkpoint, or one that the code of today does not load.
    """
    trial = _trial(store, stored, device)
    if not trial.entry.method_class.has_attention:
        return {}
    cell = Cell(store.root / stored.manifest.cell)
    if not cell.is_fitted():
        raise HarnessError(
            f"{stored.manifest.method}: no checkpoint in {cell.directory}", "run the method again"
        )
    method = trial.new_method()
    method.load(cell.checkpoint)
    method.to(trial.benchmark.device)
    content: dict[str, dict[str, Any]] = {}
    for state, of_state in answers.items():
        able = [each for each in studies if each.id in of_state and of_state[each.id].report is not None]
        for start in range(0, len(able), _BATCH):
            batch = able[start : start + _BATCH]
            inputs = collate(
                batch,
                trial.info,
                reads=method.card.reads,
                dropped=None if state == FULL else state,
                run_seed=trial.seed,
            )
            reports = [of_state[each.id].report or "" for each in batch]
            for study, answer in zip(batch, method.attention(inputs, reports), strict=False):
                content.setdefault(state, {})[study.id] = drawn_values(answer)
    return content


def drawn_values(answer: WordAttention) -> dict[str, Any]:
    """A report's attention as JSON values.

    Returns:
        ``words``; ``shape`` (views, h, w); ``peaks``, each word's largest weight; ``views``, the shares of
        views, word by word; ``weights``, base64 of a byte per word and position, 255 for the word's peak.
    """
    weights = answer.weights
    peaks = weights.max(axis=(1, 2, 3), initial=0.0)
    scale = np.where(peaks > 0.0, peaks, 1.0)[:, None, None, None]
    levels = np.round(255.0 * weights / scale).astype(np.uint8)
    return {
        "words": list(answer.words),
        "shape": list(weights.shape[1:]),
        "peaks": [round(float(peak), _DIGITS) for peak in peaks],
        "views": np.round(weights.sum(axis=(2, 3)).astype(float), _DIGITS).tolist(),
        "weights": base64.b64encode(levels.tobytes()).decode(),
    }


def _trial(store: Store, stored: StoredResult, device: str | None) -> Trial:
    benchmark = open_benchmark(settings_of(stored, store.root, device=device))
    return Trial(benchmark, entry_of(benchmark, stored), stored.manifest.seed)
