"""How reports are worded, whatever they say: length, repetition, variety of words, copies.

None of it says how good a report is. A model that has collapsed shows here first: short or endless texts, the
same words everywhere, one text for many studies. References play no part.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.text.base import plain_report_texts
from harness.metrics.text.characters import NORM
from harness.metrics.text.ngrams import ngram_counts, repeated

_WORD = re.compile(r"\w+(?:['-]\w+)*")
_ORDER = 2
REPEATED_ORDER = 4


class Wording(Metric):
    """Mean length, repetition, distinct n-grams and copies of the predicted reports.

    * ``words_mean``: words per report; neither more nor less is better as such;
    * ``repetition_4``: share of the 4-grams that repeat an earlier 4-gram of the same report;
    * ``distinct_1``, ``distinct_2``: different words and bigrams of all reports, divided by their number (Li
      et al. 2016). It falls as studies are added: compare systems on the same studies only;
    * ``identical_share``: share of the studies whose report another study has, too, word for word.

    An n-gram that occurs c times in all reports counts 1 / c at each place, so that their sum is the number
    of different n-grams. A resample keeps these counts, as CIDEr keeps its document frequencies.
    Statistics are ``[words, repeated 4-grams, 4-grams, distinct words, words, distinct bigrams, bigrams, is a
    copy, 1]``.
    """

    name: ClassVar[str] = "wording"
    task: ClassVar[Task] = Task.REPORT
    by_default: ClassVar[bool] = False  # no quality of a report
    on_request: ClassVar[bool] = True
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("words_mean", higher_is_better=None, bounds=(0.0, float("inf")), unit="words"),
        MetricOutput("repetition_4", higher_is_better=False),
        MetricOutput("distinct_1"),
        MetricOutput("distinct_2"),
        MetricOutput("identical_share", higher_is_better=False),
    )

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return f"wording|{NORM}|tok:words|counts:all-predictions|impl:harness|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Float64 (n_studies, 9)."""
        texts, _ = plain_report_texts(predictions, references)
        words = [_WORD.findall(text.lower()) for text in texts]
        counts = [ngram_counts(line, _ORDER) for line in words]
        everywhere = [sum((each[order] for each in counts), Counter()) for order in range(_ORDER)]
        copies = Counter(map(tuple, words))
        rows = []
        for line, own in zip(words, counts, strict=True):
            row: list[float] = [len(line), *repeated(line, REPEATED_ORDER)]
            for order in range(_ORDER):
                row += [
                    sum(count / everywhere[order][ngram] for ngram, count in own[order].items()),
                    own[order].total(),
                ]
            rows.append([*row, copies[tuple(line)] > 1, 1.0])
        return np.array(rows, dtype=np.float64).reshape(len(rows), 5 + 2 * _ORDER)

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 9) to the five numbers (...)."""
        return {
            "words_mean": mean_of(totals, 0, 8),
            "repetition_4": mean_of(totals, 1, 2),
            "distinct_1": mean_of(totals, 3, 4),
            "distinct_2": mean_of(totals, 5, 6),
            "identical_share": mean_of(totals, 7, 8),
        }
