"""Corpus BLEU-1 to BLEU-4 (Papineni et al. 2002), with the conventions of the COCO captioning tools."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference
from harness.metrics.base import MetricOutput, Statistics
from harness.metrics.several import SeveralReferences
from harness.metrics.text.base import TextMetric
from harness.metrics.text.ngrams import MOST_ALL_PAIRS, clipped_matches, ngram_counts
from harness.metrics.text.numbered import clipped_counts, over_blocks

ORDER = 4
# The COCO tools keep an empty corpus from dividing by zero with these two.
_TINY, _SMALL = 1e-15, 1e-9


class Bleu(TextMetric, SeveralReferences):
    """Corpus BLEU: clipped n-gram precisions of orders 1 to n, geometric mean, brevity penalty.

    Statistics are ``[prediction length, reference length, matches 1..4, totals 1..4]``.

    Args:
        tokenizer: tokenisation profile.
    """

    name: ClassVar[str] = "bleu"
    apart: ClassVar[bool] = True
    outputs: tuple[MetricOutput, ...] = tuple(MetricOutput(f"bleu_{order}") for order in range(1, ORDER + 1))

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return f"bleu|order:{ORDER}|{self.text_fields}|len:closest|impl:coco|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Lengths, clipped matches and totals per study, float64 (n_studies, 10)."""
        pairs = self.numbered(predictions, references)
        lengths = pairs.texts.lengths
        counts = np.empty((len(pairs.hypotheses), 2 + 2 * ORDER))
        counts[:, 0], counts[:, 1] = lengths[pairs.hypotheses], lengths[pairs.targets]
        counts[:, 2 + ORDER :] = np.maximum(0, counts[:, :1] - np.arange(ORDER))

        for block, matches in over_blocks(lambda part: clipped_counts(pairs, part, ORDER), len(counts)):
            counts[block, 2 : 2 + ORDER] = matches
        return counts[pairs.pair_of]

    def statistics_of_several(
        self, predictions: Sequence[Prediction], references: Sequence[Sequence[Reference]]
    ) -> Statistics:
        """As ``statistics``: the most matches with one reference; the closest length."""
        rows = np.zeros((len(predictions), 2 + 2 * ORDER))
        for row, (ours, theirs) in zip(rows, self.several_tokens(predictions, references), strict=True):
            row[0], row[1] = len(ours), min((abs(len(each) - len(ours)), len(each)) for each in theirs)[1]
            row[2 + ORDER :] = np.maximum(0, len(ours) - np.arange(ORDER))
            most = [ngram_counts(each, ORDER) for each in theirs]
            for place, counts in enumerate(ngram_counts(ours, ORDER)):
                union = functools.reduce(operator.or_, (each[place] for each in most))
                row[2 + place] = (counts & union).total()
        return rows

    def rematched(
        self, predictions: Sequence[Prediction], references: Sequence[Reference], orders: NDArray[np.intp]
    ) -> dict[str, NDArray[np.float64]]:
        """As ``Metric.rematched``, of few studies from the matches of all pairs."""
        if len(references) > MOST_ALL_PAIRS:
            return super().rematched(predictions, references, orders)
        hypotheses, targets = self.tokens(predictions, references)
        ours, theirs = ([ngram_counts(text, ORDER) for text in texts] for texts in (hypotheses, targets))
        # Everything but the matches belongs to a prediction or to a reference alone.
        own = self.statistics(predictions, references)
        totals = own[orders].sum(axis=1)
        totals[:, 1] = own[:, 1].sum()
        for place in range(ORDER):
            pairs = clipped_matches([each[place] for each in ours], [each[place] for each in theirs])
            totals[:, 2 + place] = pairs[orders, np.arange(len(targets))].sum(axis=1)
        return self.reduce(totals)

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 10) to BLEU (...) per order."""
        length, reference_length = totals[..., 0], totals[..., 1]
        matches, possible = totals[..., 2 : 2 + ORDER], totals[..., 2 + ORDER :]
        product = np.cumprod((matches + _TINY) / (possible + _SMALL), axis=-1, dtype=np.float64)
        ratio = (length + _TINY) / (reference_length + _SMALL)
        brevity = np.exp(np.minimum(0.0, 1.0 - 1.0 / ratio))
        return {
            output.name: np.power(product[..., index], 1.0 / (index + 1)) * brevity
            for index, output in enumerate(self.outputs)
        }
