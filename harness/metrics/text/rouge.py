"""ROUGE-L (Lin 2004), with the conventions of the COCO captioning tools and with those of rouge-score."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.core.packages import lacking
from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.several import SeveralReferences
from harness.metrics.text.base import TextMetric, at_least_one, references_field, report_texts
from harness.metrics.text.characters import NO_NORM
from harness.metrics.text.ngrams import lcs_length
from harness.metrics.text.subsequences import lcs_lengths
from harness.metrics.text.tokenization import Tokens

T = TypeVar("T", float, NDArray[np.float64])

BETA = 1.2
_ALPHANUMERIC = re.compile("[a-z0-9]+")


class RougeL(TextMetric, SeveralReferences):
    """Mean over studies of the longest-common-subsequence F-measure, recall weighted by beta = 1.2.

    Statistics are ``[score, 1]``.

    Args:
        tokenizer: tokenisation profile.
    """

    name: ClassVar[str] = "rouge_l"
    apart: ClassVar[bool] = True
    outputs: tuple[MetricOutput, ...] = (MetricOutput("rouge_l"),)
    best_by: ClassVar[str] = "columns"

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return f"rouge_l|beta:{BETA:g}|{self.text_fields}|impl:coco|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2)."""
        pairs = self.numbered(predictions, references)
        lengths, common = pairs.texts.lengths, lcs_lengths(pairs)
        ours, theirs = lengths[pairs.hypotheses], lengths[pairs.targets]
        precision, recall = (common / np.maximum(1, each) for each in (ours, theirs))
        scores = np.zeros(len(common))
        some = common > 0
        scores[some] = _weighted(precision[some], recall[some])
        scores[(ours == 0) & (theirs == 0)] = (
            1.0  # as in the COCO tools, where an empty text is one empty token
        )
        statistics = np.ones((len(predictions), 2))
        statistics[:, 0] = scores[pairs.pair_of]
        return statistics

    def statistics_of_several(
        self, predictions: Sequence[Prediction], references: Sequence[Sequence[Reference]]
    ) -> Statistics:
        """As ``statistics``: the best precision and the best recall over the references."""
        rows = np.ones((len(predictions), 2))
        for row, (ours, theirs) in zip(rows, self.several_tokens(predictions, references), strict=True):
            sides = [_precision_recall(ours, each) for each in theirs]
            precision, recall = (max(each) for each in zip(*sides, strict=True))
            row[0] = _weighted(precision, recall) if precision else 0.0
        return rows

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean score (...)."""
        return {"rouge_l": mean_of(totals)}


class RougeScoreL(Metric):
    """Mean over studies of the F1 of the longest common subsequence, as the rouge-score package has it.

    Precision and recall weigh the same. Tokens are runs of lower-case ASCII letters and digits of the text as
    written, whatever the tokenisation profile, so punctuation never matches. Statistics are ``[score, 1]``.

    Args:
        stemmer: compare the Porter stems of words longer than three characters; needs nltk.
        reference_words: references are cut after so many tokens; None: never.
        rare_words: for the signature, as in ``TextMetric``.
    """

    name: ClassVar[str] = "rouge_score_l"
    apart: ClassVar[bool] = True
    task: ClassVar[Task] = Task.REPORT
    outputs: tuple[MetricOutput, ...] = (MetricOutput("rouge_score_l"),)
    best_by: ClassVar[str] = "columns"

    def __init__(
        self, stemmer: bool = False, reference_words: int | None = None, rare_words: int | None = None
    ) -> None:
        self.stemmer = stemmer
        self.reference_words = at_least_one(reference_words)
        self.rare_words = rare_words

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        stem = "porter" if self.stemmer else "none"
        cut = references_field(self.reference_words, self.rare_words)
        return f"rouge_score_l|beta:1|stem:{stem}|{NO_NORM}|tok:rouge-score|{cut}|impl:rouge-score|v:1"

    def unavailable(self) -> str | None:
        """Why the stemmer cannot run here, or None."""
        return lacking("text", "nltk") if self.stemmer else None

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2); 0 where either text has no token."""
        pairs = list(zip(*report_texts(predictions, references), strict=True))
        scores = {
            (hypothesis, reference): _f1(
                self._tokens(hypothesis), self._tokens(reference)[: self.reference_words]
            )
            for hypothesis, reference in dict.fromkeys(pairs)
        }
        statistics = np.ones((len(pairs), 2))
        statistics[:, 0] = [scores[pair] for pair in pairs]
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean score (...)."""
        return {"rouge_score_l": mean_of(totals)}

    def _tokens(self, text: str) -> Tokens:
        words = _ALPHANUMERIC.findall(text.lower())
        return [_stem(word) if len(word) > 3 else word for word in words] if self.stemmer else words


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    from nltk.stem.porter import PorterStemmer

    stem: str = PorterStemmer().stem(word)
    return stem


def _f1(hypothesis: Tokens, reference: Tokens) -> float:
    common = lcs_length(hypothesis, reference)
    # The harmonic mean of common / len(hypothesis) and common / len(reference).
    return 2 * common / (len(hypothesis) + len(reference)) if common else 0.0


def _precision_recall(hypothesis: Sequence[Hashable], reference: Sequence[Hashable]) -> tuple[float, float]:
    if not hypothesis and not reference:
        return 1.0, 1.0  # as in the COCO tools, where an empty text is one empty token
    common = lcs_length(hypothesis, reference)
    return (common / len(hypothesis), common / len(reference)) if common else (0.0, 0.0)


def _weighted(precision: T, recall: T) -> T:
    """F-measure in which recall counts more, of values above 0."""
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
