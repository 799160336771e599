"""ROUGE-L (Lin 2004), with the conventions of the COCO captioning tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.metrics.base import MetricOutput, Rows, mean_of
from harness.metrics.ngrams import lcs_length
from harness.metrics.text import TextMetric
from harness.metrics.tokenization import Tokens
from harness.types import Prediction, Reference

BETA = 1.2


class RougeL(TextMetric):
    """Mean over studies of the longest-common-subsequence F-measure, recall weighted by beta = 1.2.

    Rows are ``[score, 1]``.

    Args:
        tokenizer: tokenisation profile.
    """

    name: ClassVar[str] = "rouge_l"
    outputs: ClassVar[tuple[MetricOutput, ...]] = (MetricOutput("rouge_l"),)

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return f"rouge_l|beta:{BETA:g}|tok:{self.profile}|ref:full|impl:coco|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Rows:
        """Score and 1 per study, float64 (n_studies, 2)."""
        said, true = self.tokens(predictions, references)
        rows = np.ones((len(said), 2))
        rows[:, 0] = [_score(hypothesis, reference) for hypothesis, reference in zip(said, true, strict=True)]
        return rows

    def reduce(self, totals: Rows) -> dict[str, NDArray[np.float64]]:
        """Summed rows (..., 2) to the mean score (...)."""
        return {"rouge_l": mean_of(totals)}


def _score(hypothesis: Tokens, reference: Tokens) -> float:
    if not hypothesis and not reference:
        return 1.0  # as in the COCO tools, where an empty text is one empty token
    common = lcs_length(hypothesis, reference)
    if common == 0:
        return 0.0
    precision, recall = common / len(hypothesis), common / len(reference)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
