"""Temporal F1: whether two reports use the same words of change, after Zhang et al. 2025 (Libra)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.text.base import plain_report_texts
from harness.metrics.text.characters import NORM

_LIST = """
bigger greater larger smaller better worse
new newly constant stable stably stability unchanged unaltered
change changes changed
decrease decreases decreased decreasing increase increases increased increasing
enlarge enlarges enlarged enlarging enlargement
evolve evolves evolved evolving evolution
expand expands expanded expanding
grow grows grown growing growth
improve improves improved improving improvement
persist persists persisted persisting persistent persistence
progress progresses progressed progressing progression progressive
reduce reduces reduced reducing reduction
regress regressed regressing regression
remove removed removal
resolve resolves resolved resolving resolution
cleared clearing
worsen worsens worsened worsening
"""
WORDS = frozenset(_LIST.split())
"""Words that compare with an earlier examination. The list is our own; the signature holds its digest."""

_WORD = re.compile(r"[a-z]+")


class TemporalF1(Metric):
    """Mean over studies of the F1 between the sets of words of change of both texts.

    Two texts without such words score 1, as in Libra's code, and a remark counts them: in a corpus of first
    examinations the score says little. Statistics are ``[F1, 1, 1 where neither text has such a word]``.
    """

    name: ClassVar[str] = "temporal_f1"
    task: ClassVar[Task] = Task.REPORT
    group = "report findings"
    best_by: ClassVar[str] = "columns"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("temporal_f1"),)
    language: ClassVar[str | None] = "en"
    by_default: ClassVar[bool] = False
    on_request: ClassVar[bool] = True

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``words`` is a digest of the list."""
        return f"{self.name}|words:{_DIGEST}|empty:1|{NORM}|impl:harness|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """F1, 1, and whether both texts say nothing of change, per study: float64 (n_studies, 3)."""
        sides = zip(*plain_report_texts(predictions, references), strict=True)
        rows = [(words_of_change(ours), words_of_change(theirs)) for ours, theirs in sides]
        statistics = np.ones((len(rows), 3))
        statistics[:, 0] = [set_f1(*row) for row in rows]
        statistics[:, 2] = [not (ours or theirs) for ours, theirs in rows]
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 3) to the mean F1 (...)."""
        return {self.name: mean_of(totals)}

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """In how many studies there is nothing to compare."""
        count = int(statistics[:, 2].sum())
        line = f"neither text of {count} of {len(statistics)} studies speaks of change: they score 1"
        return {self.name: line} if count else {}


def words_of_change(text: str) -> frozenset[str]:
    """The different words of change of a text, in lower case; ``re-enlarged`` holds one."""
    return WORDS.intersection(_WORD.findall(text.lower()))


def set_f1(first: frozenset[str], second: frozenset[str]) -> float:
    """F1 of two sets: 1 where both are empty, 0 where one is."""
    return 2 * len(first & second) / (len(first) + len(second)) if first or second else 1.0


_DIGEST = hashlib.sha256(" ".join(sorted(WORDS)).encode()).hexdigest()[:8]
