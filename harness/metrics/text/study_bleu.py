"""BLEU-2 of each study by itself, as ReXrank's code has it; the mean is another number than corpus BLEU."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.text.base import report_texts
from harness.metrics.text.characters import NO_NORM

ORDER = 2
EPSILON = 0.1
"""Takes the place of 0 matching bigrams: fast-bleu's and NLTK's first smoothing method."""


class StudyBleu(Metric):
    """Mean over studies of BLEU-2 of one prediction and one reference, words in lower case.

    A full stop begins a word of its own, other punctuation stays at its word. Source: the public code of
    CXR-Report-Metric (MIT), on which ReXrank's table is built. Statistics are ``[BLEU-2, 1]``.
    """

    name: ClassVar[str] = "bleu_2_study"
    task: ClassVar[Task] = Task.REPORT
    outputs: tuple[MetricOutput, ...] = (MetricOutput("bleu_2_study"),)
    best_by: ClassVar[str] = "columns"
    by_default: ClassVar[bool] = False
    on_request: ClassVar[bool] = True

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return f"{self.name}|order:{ORDER}|{NO_NORM}|tok:rexrank|smooth:{EPSILON:g}|impl:fast-bleu|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """BLEU-2 and 1 per study, float64 (n_studies, 2); 0 where no word is common."""
        pairs = list(zip(*report_texts(predictions, references), strict=True))
        scores = {both: bleu_2(*map(words_of, both)) for both in set(pairs)}
        statistics = np.ones((len(pairs), 2))
        statistics[:, 0] = [scores[both] for both in pairs]
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean BLEU-2 (...)."""
        return {self.name: mean_of(totals)}


def words_of(text: str) -> list[str]:
    """Words as ReXrank splits them: lower case, at blanks alone, with full stops cut off."""
    return [word for word in text.lower().replace(".", " .").split(" ") if word]


def bleu_2(hypothesis: Sequence[str], reference: Sequence[str]) -> float:
    """BLEU-2 in [0, 1] of one pair: geometric mean of two clipped precisions times the brevity penalty."""
    precisions = []
    for order in range(1, ORDER + 1):
        ours, theirs = (_ngrams(words, order) for words in (hypothesis, reference))
        matches = (ours & theirs).total()
        if order == 1 and not matches:
            return 0.0
        precisions.append((matches or EPSILON) / max(1, ours.total()))
    brevity = math.exp(min(0.0, 1.0 - len(reference) / len(hypothesis)))
    return brevity * math.sqrt(math.prod(precisions))


def _ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))
