"""CIDEr-D and plain CIDEr (Vedantam et al. 2015), with the conventions of the COCO captioning tools."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference
from harness.metrics.base import MetricOutput, Statistics, mean_of
from harness.metrics.text.base import TextMetric
from harness.metrics.text.ngrams import Ngram, clipped_matches, ngram_counts
from harness.metrics.text.tokenization import Tokens

ORDER = 4
SIGMA = 6.0
_SCALE = 10.0

_Weights = dict[Ngram, float]


@dataclass(frozen=True, slots=True)
class _Vector:
    """tf-idf weights and their norm per n-gram length, and the length that the Gaussian penalty compares."""

    weights: tuple[_Weights, ...]
    norms: tuple[float, ...]
    bigrams: int


class Cider(TextMetric):
    """Mean over studies of 10 x the clipped tf-idf cosine, damped by a Gaussian of the length difference.

    Document frequencies are those of the references given to ``statistics``, all of them: a resample or a
    mask does not change them. Statistics are ``[score, 1]``; the number of references is the printed n.

    Args:
        tokenizer: tokenisation profile.
    """

    name: ClassVar[str] = "cider"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("cider", bounds=(0.0, _SCALE)),)

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``df:references`` are the n references of the printed n."""
        return f"cider|d:1|n:{ORDER}|sigma:{SIGMA:g}|df:references|{self.text_fields}|impl:coco|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2)."""
        hypotheses, targets = self.tokens(predictions, references)
        return _scores(hypotheses, targets, _clipped)

    def rematched(
        self, predictions: Sequence[Prediction], references: Sequence[Reference], orders: NDArray[np.intp]
    ) -> dict[str, NDArray[np.float64]]:
        """As ``Metric.rematched``, from the scores of all pairs."""
        scores = _scores_of_all_pairs(*self.tokens(predictions, references))
        return {"cider": scores[orders, np.arange(len(references))].mean(axis=1)}

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean score (...)."""
        return {"cider": mean_of(totals)}


class CiderPlain(TextMetric):
    """Mean over studies of 10 x the tf-idf cosine: CIDEr as first defined, neither clipped nor damped.

    What papers print as CIDEr is nearly always CIDEr-D, our ``cider``. Document frequencies and statistics
    are those of ``cider``. Words are not stemmed, as in the authors' code; their paper stems them.

    Args:
        tokenizer: tokenisation profile.
    """

    name: ClassVar[str] = "cider_plain"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("cider_plain", bounds=(0.0, _SCALE)),)

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``df:references`` are the n references of the printed n."""
        return f"cider_plain|d:0|n:{ORDER}|df:references|{self.text_fields}|impl:coco|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2)."""
        hypotheses, targets = self.tokens(predictions, references)
        return _scores(hypotheses, targets, _cosine)

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean score (...)."""
        return {"cider_plain": mean_of(totals)}


def _scores(
    hypotheses: Sequence[Tokens], targets: Sequence[Tokens], score: Callable[[_Vector, _Vector], float]
) -> Statistics:
    """Score and 1 per study, with the document frequencies of ``true``."""
    statistics = np.ones((len(hypotheses), 2))
    if not hypotheses:
        return statistics
    reference_counts = [ngram_counts(tokens, ORDER) for tokens in targets]
    frequency = _document_frequency(reference_counts)
    log_documents = math.log(len(targets))
    inverse = {ngram: log_documents - math.log(count) for ngram, count in frequency.items()}
    for index, (tokens, counts) in enumerate(zip(hypotheses, reference_counts, strict=True)):
        hypothesis = _vector(ngram_counts(tokens, ORDER), inverse, log_documents)
        statistics[index, 0] = score(hypothesis, _vector(counts, inverse, log_documents))
    return statistics


def _scores_of_all_pairs(hypotheses: Sequence[Tokens], targets: Sequence[Tokens]) -> NDArray[np.float64]:
    """CIDEr-D of each hypothesis with each reference, (n, n), as ``_clipped`` has it."""
    ours, theirs = ([ngram_counts(text, ORDER) for text in texts] for texts in (hypotheses, targets))
    unseen = math.log(len(targets))
    inverse = {ngram: unseen - math.log(count) for ngram, count in _document_frequency(theirs).items()}
    first, second = ([_vector(each, inverse, unseen) for each in counts] for counts in (ours, theirs))

    def weight(ngram: Ngram, count: int) -> float:
        return float(count * inverse.get(ngram, unseen) ** 2)

    cosines = np.zeros((len(hypotheses), len(targets)))
    for place in range(ORDER):
        product = clipped_matches([each[place] for each in ours], [each[place] for each in theirs], weight)
        norms = np.outer([each.norms[place] for each in first], [each.norms[place] for each in second])
        cosines += np.divide(product, norms, out=np.zeros_like(norms), where=norms > 0.0)
    lengths = np.subtract.outer([each.bigrams for each in first], [each.bigrams for each in second])
    scores: NDArray[np.float64] = _SCALE * np.exp(-(lengths**2) / (2.0 * SIGMA**2)) * cosines / ORDER
    return scores


def _document_frequency(documents: Iterable[Sequence[Counter[Ngram]]]) -> Counter[Ngram]:
    """In how many documents each n-gram occurs."""
    frequency: Counter[Ngram] = Counter()
    for counts in documents:
        for of_length in counts:
            frequency.update(of_length.keys())
    return frequency


def _vector(counts: Sequence[Counter[Ngram]], inverse: Mapping[Ngram, float], unseen: float) -> _Vector:
    """tf-idf of one text; an n-gram that no reference has weighs as if one reference had it."""
    weights = tuple(
        {ngram: count * inverse.get(ngram, unseen) for ngram, count in of_length.items()}
        for of_length in counts
    )
    norms = tuple(math.sqrt(sum(weight * weight for weight in part.values())) for part in weights)
    # The COCO tools take the number of bigrams for the length.
    return _Vector(weights, norms, counts[1].total())


def _clipped(hypothesis: _Vector, reference: _Vector) -> float:
    """CIDEr-D of one pair: no n-gram scores more than the reference's weight, and length differences cost."""
    penalty = math.exp(-((hypothesis.bigrams - reference.bigrams) ** 2) / (2.0 * SIGMA**2))
    return _mean_cosine(
        hypothesis,
        reference,
        lambda ours, theirs: sum(
            min(ours[ngram], theirs[ngram]) * theirs[ngram] for ngram in ours.keys() & theirs.keys()
        ),
        penalty,
    )


def _cosine(hypothesis: _Vector, reference: _Vector) -> float:
    """CIDEr of one pair."""
    return _mean_cosine(
        hypothesis,
        reference,
        lambda ours, theirs: sum(ours[ngram] * theirs[ngram] for ngram in ours.keys() & theirs.keys()),
    )


def _mean_cosine(
    hypothesis: _Vector,
    reference: _Vector,
    product: Callable[[_Weights, _Weights], float],
    penalty: float = 1.0,
) -> float:
    """10 x ``penalty`` x ``product`` over the norms, averaged over n-gram lengths."""
    cosines = 0.0
    for ours, theirs, norm, other in zip(
        hypothesis.weights, reference.weights, hypothesis.norms, reference.norms, strict=True
    ):
        if norm > 0.0 and other > 0.0:
            cosines += product(ours, theirs) / (norm * other)
    return _SCALE * penalty * cosines / ORDER
