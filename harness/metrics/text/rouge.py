"""ROUGE-L (Lin 2004), with the conventions of the COCO captioning tools and with those of rouge-score."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.packages import lacking
from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.text.base import TextMetric, at_least_one, references_field, report_texts
from harness.metrics.text.characters import NO_NORM
from harness.metrics.text.ngrams import lcs_length
from harness.metrics.text.tokenization import Tokens

BETA = 1.2
_ALPHANUMERIC = re.compile("[a-z0-9]+")


class RougeL(TextMetric):
    """Mean over studies of the longest-common-subsequence F-measure, recall weighted by beta = 1.2.

    Statistics are ``[score, 1]``.

    Args:
        tokenizer: tokenisation profile.
    """

    name: ClassVar[str] = "rouge_l"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("rouge_l"),)

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return f"rouge_l|beta:{BETA:g}|{self.text_fields}|impl:coco|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2)."""
        pairs = self.numbered(predictions, references)
        scores = [
            _score(pairs.texts.text(hypothesis), pairs.texts.text(target))
            for hypothesis, target in zip(pairs.hypotheses, pairs.targets, strict=True)
        ]
        statistics = np.ones((len(predictions), 2))
        statistics[:, 0] = np.array(scores, dtype=np.float64)[pairs.pair_of]
        return statistics

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
    task: ClassVar[Task] = Task.REPORT
    outputs: tuple[MetricOutput, ...] = (MetricOutput("rouge_score_l"),)

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


def _score(hypothesis: Sequence[int], reference: Sequence[int]) -> float:
    if not hypothesis and not reference:
        return 1.0  # as in the COCO tools, where an empty text is one empty token
    common = lcs_length(hypothesis, reference)
    if common == 0:
        return 0.0
    precision, recall = common / len(hypothesis), common / len(reference)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
