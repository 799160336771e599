"""CIDEr-D and plain CIDEr (Vedantam et al. 2015), with the conventions of the COCO captioning tools."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference
from harness.metrics.base import MetricOutput, Statistics, mean_of
from harness.metrics.several import SeveralReferences
from harness.metrics.text.base import TextMetric
from harness.metrics.text.ngrams import MOST_ALL_PAIRS, Ngram, clipped_matches, ngram_counts
from harness.metrics.text.numbered import (
    Integers,
    NgramCounts,
    NumberedPairs,
    ngrams,
    over_blocks,
    pair_counts,
)
from harness.metrics.text.tokenization import Tokens

ORDER = 4
SIGMA = 6.0
_SCALE = 10.0

_Weights = dict[Ngram, float]
_Short = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Vector:
    """tf-idf weights and their norm per n-gram length, and the length that the Gaussian penalty compares."""

    weights: tuple[_Weights, ...]
    norms: tuple[float, ...]
    bigrams: int


class Cider(TextMetric, SeveralReferences):
    """Mean over studies of 10 x the clipped tf-idf cosine, damped by a Gaussian of the length difference.

    Document frequencies are those of the references given to ``statistics``, all of them: a resample or a
    mask does not change them. Statistics are ``[score, 1]``; the number of references is the printed n.

    Args:
        tokenizer: tokenisation profile.
    """

    name: ClassVar[str] = "cider"
    best_by: ClassVar[str] = "columns"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("cider", bounds=(0.0, _SCALE)),)

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``df:references`` are the n references of the printed n."""
        return f"cider|d:1|n:{ORDER}|sigma:{SIGMA:g}|df:references|{self.text_fields}|impl:coco|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2)."""
        pairs = self.numbered(predictions, references)
        frequencies = self.learned(references, "frequencies", lambda: _DocumentFrequencies.of(pairs))
        return _scores(pairs, frequencies, clipped=True)

    def statistics_of_several(
        self, predictions: Sequence[Prediction], references: Sequence[Sequence[Reference]]
    ) -> Statistics:
        """As ``statistics``: the mean over a study's references, which together are one document."""
        return _of_several(self.several_tokens(predictions, references), clipped=True)

    def rematched(
        self, predictions: Sequence[Prediction], references: Sequence[Reference], orders: NDArray[np.intp]
    ) -> dict[str, NDArray[np.float64]]:
        """As ``Metric.rematched``, of few studies from the scores of all pairs."""
        if len(references) > MOST_ALL_PAIRS:
            return super().rematched(predictions, references, orders)
        scores = _scores_of_all_pairs(*self.tokens(predictions, references))
        return {"cider": scores[orders, np.arange(len(references))].mean(axis=1)}

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean score (...)."""
        return {"cider": mean_of(totals)}


class CiderPlain(TextMetric, SeveralReferences):
    """Mean over studies of 10 x the tf-idf cosine: CIDEr as first defined, neither clipped nor damped.

    What papers print as CIDEr is nearly always CIDEr-D, our ``cider``. Document frequencies and statistics
    are those of ``cider``. Words are not stemmed, as in the authors' code; their paper stems them.

    Args:
        tokenizer: tokenisation profile.
    """

    name: ClassVar[str] = "cider_plain"
    best_by: ClassVar[str] = "columns"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("cider_plain", bounds=(0.0, _SCALE)),)

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``df:references`` are the n references of the printed n."""
        return f"cider_plain|d:0|n:{ORDER}|df:references|{self.text_fields}|impl:coco|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2)."""
        pairs = self.numbered(predictions, references)
        frequencies = self.learned(references, "frequencies", lambda: _DocumentFrequencies.of(pairs))
        return _scores(pairs, frequencies, clipped=False)

    def statistics_of_several(
        self, predictions: Sequence[Prediction], references: Sequence[Sequence[Reference]]
    ) -> Statistics:
        """As ``Cider.statistics_of_several``."""
        return _of_several(self.several_tokens(predictions, references), clipped=False)

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean score (...)."""
        return {"cider_plain": mean_of(totals)}


def _scores(pairs: NumberedPairs, frequencies: _DocumentFrequencies, clipped: bool) -> Statistics:
    """Score and 1 per study: CIDEr-D if ``clipped``, else CIDEr, with the frequencies of all references."""
    statistics = np.ones((len(pairs.pair_of), 2))
    places = frequencies.places(pairs.texts.words)
    scores = np.zeros(len(pairs.hypotheses))

    def cosines(block: slice) -> NDArray[np.float64]:
        numbers, total = np.zeros(1, dtype=np.int64), np.zeros(block.stop - block.start)
        for length, each in enumerate(pair_counts(pairs, block, ORDER)):
            numbers, inverse = frequencies.inverse(length, numbers[each.shorter], places[each.last])
            total += _cosines(each, inverse, clipped)
        return total

    for block, part in over_blocks(cosines, len(scores)):
        scores[block] = part
    if clipped:
        lengths = np.maximum(0, pairs.texts.lengths - 1)  # the COCO tools take the number of bigrams
        difference = lengths[pairs.hypotheses] - lengths[pairs.targets]
        scores *= np.exp(-(difference**2) / (2.0 * SIGMA**2))
    statistics[:, 0] = (_SCALE * scores / ORDER)[pairs.pair_of]
    return statistics


def _cosines(counts: NgramCounts, inverse: NDArray[np.float64], clipped: bool) -> NDArray[np.float64]:
    """Cosine (P,) of the tf-idf weights of each pair; 0 where either side has none.

    Clipped, no n-gram scores more than the reference's weight.
    """
    weights = inverse[counts.ngrams]
    ours, theirs = counts.ours * weights, counts.theirs * weights
    norms = np.sqrt(counts.sums(ours**2)) * np.sqrt(counts.sums(theirs**2))
    products = counts.sums((np.minimum(ours, theirs) if clipped else ours) * theirs)
    return np.divide(products, norms, out=np.zeros(counts.total), where=norms > 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _DocumentFrequencies:
    """In how many references each n-gram occurs.

    Attributes:
        keys: per length, of the n-grams of all references ``number of the n-gram of all tokens but the last
            x number of words + last token``, in order, and a last one above all.
        documents: per length, how many references have each of them; 1 for the last.
        total: number of references.
        words: the token of each number.
    """

    keys: tuple[Integers, ...]
    documents: tuple[NDArray[np.float64], ...]
    total: int
    words: tuple[str, ...]

    @classmethod
    def of(cls, pairs: NumberedPairs) -> _DocumentFrequencies:
        """Frequencies in the references of all studies; a reference of two studies counts twice."""
        targets, studies = np.unique(pairs.targets[pairs.pair_of], return_counts=True)

        def parts_of(block: slice) -> list[_Part]:
            counted = ngrams(pairs.texts.some(targets[block]), ORDER)
            return [_Part.of(counts, studies[block]) for counts in counted]

        parts = [deque(each) for _, each in over_blocks(parts_of, len(targets))]
        numbers, keys, documents = [np.zeros(1, dtype=np.int64)] * len(parts), [], []
        for _ in range(ORDER):
            some = [each.popleft() for each in parts]
            lines = [
                before[part.shorter] * pairs.texts.vocabulary + part.last
                for before, part in zip(numbers, some, strict=True)
            ]
            merged = np.concatenate([*lines, [np.iinfo(np.int64).max]])
            merged.sort()  # several times as fast as np.unique
            keys.append(merged[np.append(merged[1:] > merged[:-1], True)])
            documents.append(np.append(np.zeros(len(keys[-1]) - 1), 1.0))
            numbers = [np.searchsorted(keys[-1], line) for line in lines]
            for places, part in zip(numbers, some, strict=True):
                documents[-1][places] += part.documents
        return cls(tuple(keys), tuple(documents), len(pairs.pair_of), pairs.texts.words)

    def places(self, words: tuple[str, ...]) -> Integers:
        """The number of each of the words here, (V,), -1 for others: predictions may have further words."""
        if words is self.words:
            return np.arange(len(words))
        numbers = {word: number for number, word in enumerate(self.words)}
        return np.array([numbers.get(word, -1) for word in words], dtype=np.int64)

    def inverse(self, length: int, shorter: Integers, last: Integers) -> tuple[Integers, NDArray[np.float64]]:
        """Numbers (D,) of n-grams among those of the references, -1 for others; log inverse frequencies (D,).

        An n-gram that no reference has weighs as if one reference had it.

        Args:
            length: of the n-grams, less 1.
            shorter: (D,) number of the n-gram of all tokens but the last, as this function returns it.
            last: (D,) the last token, as ``places`` has it.
        """
        inside = np.flatnonzero((shorter >= 0) & (last >= 0))
        wanted = shorter[inside] * len(self.words) + last[inside]  # in order: quick to seek
        nearest = np.searchsorted(self.keys[length], wanted)
        numbers = np.full(len(shorter), -1)
        numbers[inside] = np.where(self.keys[length][nearest] == wanted, nearest, -1)
        return numbers, np.log(self.total / self.documents[length][numbers])


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """N-grams of one length in some references, as ``NgramCounts`` has them.

    Attributes:
        documents: (D,) in how many studies' references each occurs.
    """

    shorter: _Short
    last: _Short
    documents: _Short

    @classmethod
    def of(cls, counts: NgramCounts, studies: Integers) -> _Part:
        """The n-grams of references that belong to so many ``studies`` each."""
        documents = np.bincount(counts.ngrams, studies[counts.owners], len(counts.last))
        return cls(*(each.astype(np.int32) for each in (counts.shorter, counts.last, documents)))


def _scores_of_all_pairs(hypotheses: Sequence[Tokens], targets: Sequence[Tokens]) -> NDArray[np.float64]:
    """CIDEr-D of each hypothesis with each reference, (n, n), as ``_scores`` has it."""
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


def _of_several(studies: Sequence[tuple[Tokens, list[Tokens]]], clipped: bool) -> Statistics:
    """Score and 1 per study, of one prediction and several references each; as the COCO tools have it."""
    counts = [[ngram_counts(each, ORDER) for each in theirs] for _, theirs in studies]
    documents = [[sum((each[place] for each in own), Counter()) for place in range(ORDER)] for own in counts]
    unseen = math.log(len(studies))
    inverse = {ngram: unseen - math.log(n) for ngram, n in _document_frequency(documents).items()}
    rows = np.ones((len(studies), 2))
    for row, (ours, _), own in zip(rows, studies, counts, strict=True):
        first = _vector(ngram_counts(ours, ORDER), inverse, unseen)
        scores = [_similarity(first, _vector(each, inverse, unseen), clipped) for each in own]
        row[0] = sum(scores) / len(scores)
    return rows


def _similarity(ours: _Vector, theirs: _Vector, clipped: bool) -> float:
    """CIDEr-D of one pair if ``clipped``, else CIDEr."""
    cosines = 0.0
    for place in range(ORDER):
        norm = ours.norms[place] * theirs.norms[place]
        if norm > 0.0:
            weights = theirs.weights[place]
            products = (
                (min(value, weights[ngram]) if clipped else value) * weights[ngram]
                for ngram, value in ours.weights[place].items()
                if ngram in weights
            )
            cosines += sum(products) / norm
    damping = math.exp(-((ours.bigrams - theirs.bigrams) ** 2) / (2.0 * SIGMA**2)) if clipped else 1.0
    return _SCALE * damping * cosines / ORDER


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
