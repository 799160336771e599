"""Texts as numbers of tokens, and the n-grams of many of them at once.

Work and memory grow with the number of tokens. Equal texts and equal pairs of texts are handled once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.core.hardware import cores
from harness.metrics.text.tokenization import Tokenizer

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
T = TypeVar("T")

_TEXTS_AT_ONCE = 512
_BLOCKS_FOR_THREADS = 16
_HASHED = 4_096
"""So many keys are worth a hash table."""


@dataclass(frozen=True, slots=True, eq=False)
class NumberedTexts:
    """Texts whose tokens are numbers, in the alphabetical order of the tokens.

    Attributes:
        tokens: of all texts, one after the other, (N,).
        starts: (T + 1,) where each text begins, and N.
        vocabulary: how many different tokens there are.
    """

    tokens: Integers
    starts: Integers
    vocabulary: int

    @property
    def lengths(self) -> Integers:
        """Tokens of each text, (T,)."""
        return np.diff(self.starts)

    def text(self, index: int) -> list[int]:
        """Tokens of one text."""
        numbers: list[int] = self.tokens[self.starts[index] : self.starts[index + 1]].tolist()
        return numbers

    def some(self, indices: Integers) -> NumberedTexts:
        """Some of the texts, in the order of ``indices``."""
        lengths = self.lengths[indices]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(self.starts[indices] - starts[:-1], lengths) + np.arange(starts[-1])
        return NumberedTexts(self.tokens[places], starts, self.vocabulary)


@dataclass(frozen=True, slots=True, eq=False)
class NumberedPairs:
    """Pairs of a predicted and a reference report, each different pair once.

    Attributes:
        texts: different predictions, then different references.
        hypotheses: (P,) the prediction of each pair, an index into ``texts``.
        targets: (P,) the reference of each pair.
        pair_of: (n,) the pair of each study.
    """

    texts: NumberedTexts
    hypotheses: Integers
    targets: Integers
    pair_of: Integers

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        hypotheses: Sequence[str],
        targets: Sequence[str],
        reference_words: int | None = None,
    ) -> NumberedPairs:
        """The pairs of as many predictions as references.

        Args:
            tokenizer: splits the texts.
            hypotheses: the predictions.
            targets: the references.
            reference_words: so many tokens of a reference count; None: all.
        """
        predicted, true = dict.fromkeys(hypotheses), dict.fromkeys(targets)
        numbers = tokenizer.numbered([*predicted, *true])
        lines = [
            line[:reference_words] if place >= len(predicted) else line for place, line in enumerate(numbers)
        ]
        indices = (dict(zip(texts, range(len(texts)), strict=True)) for texts in (predicted, true))
        ours, theirs = (
            np.fromiter(map(index.__getitem__, texts), np.int64, len(texts))
            for index, texts in zip(indices, (hypotheses, targets), strict=True)
        )
        pairs, pair_of = np.unique(ours * max(1, len(true)) + theirs, return_inverse=True)
        first, second = np.divmod(pairs, max(1, len(true)))
        texts = _alphabetical(lines, tokenizer.words)
        return cls(texts, first, second + len(predicted), pair_of.reshape(-1))


def blocks(length: int) -> Iterator[slice]:
    """Slices of so many texts or pairs, short enough that what is computed on them stays in the caches."""
    for start in range(0, length, _TEXTS_AT_ONCE):
        yield slice(start, min(start + _TEXTS_AT_ONCE, length))


def over_blocks(work: Callable[[slice], T], length: int) -> Iterator[tuple[slice, T]]:
    """Each block of ``length`` and what ``work`` returns for it, in order.

    Two threads work on many blocks: NumPy's sorts, which take most of the time, let other threads run.
    """
    parts = list(blocks(length))
    if len(parts) < _BLOCKS_FOR_THREADS or cores() < 2:
        yield from ((block, work(block)) for block in parts)
        return
    with ThreadPoolExecutor(2) as pool:
        coming: deque[tuple[slice, Future[T]]] = deque()
        for block in parts:
            coming.append((block, pool.submit(work, block)))
            if len(coming) > 4:
                first, future = coming.popleft()
                yield first, future.result()
        yield from ((block, future.result()) for block, future in coming)


def _alphabetical(lines: Sequence[NDArray[np.int32]], words: Sequence[str]) -> NumberedTexts:
    """Texts with the tokenizer's numbers, which depend on what it has read before, numbered anew."""
    starts = np.concatenate([[0], np.cumsum([len(line) for line in lines], dtype=np.int64)]).astype(np.int64)
    tokens = np.concatenate([*lines, np.empty(0, np.int32)])
    used = np.flatnonzero(np.bincount(tokens, minlength=len(words)))
    places = np.zeros(len(words), dtype=np.int32)
    places[sorted(used.tolist(), key=words.__getitem__)] = np.arange(len(used))
    return NumberedTexts(places[tokens], starts, len(used))


@dataclass(frozen=True, slots=True, eq=False)
class NgramCounts:
    """How often each n-gram of one length occurs in each of some texts, in the order of texts and n-grams.

    Attributes:
        texts: (E,) index of the text.
        ngrams: (E,) number of the n-gram, in alphabetical order.
        counts: (E,) how often it occurs there.
        keys: (D,) of each n-gram ``number of all its tokens but the last x vocabulary + last token``.
    """

    texts: Integers
    ngrams: Integers
    counts: Integers
    keys: Integers


def ngrams(texts: NumberedTexts, order: int) -> Iterator[NgramCounts]:
    """Counts of the n-grams of length 1 to ``order``, one length after the other."""
    places = np.arange(len(texts.tokens), dtype=np.int32)
    owners = np.repeat(np.arange(len(texts.starts) - 1, dtype=np.int32), texts.lengths)
    numbers = np.zeros(len(places), dtype=np.int64)
    for length in range(order):
        if length:
            fits = places + length < texts.starts[1:][owners]
            places, owners, numbers = places[fits], owners[fits], numbers[fits]
        keys, numbers = _in_order(numbers * texts.vocabulary + texts.tokens[places + length])
        distinct = max(1, len(keys))
        narrow = len(texts.starts) * distinct < 2**31  # then 32 bits do, which are sorted in half the time
        cells = np.sort(
            (owners.astype(np.int64) * distinct + numbers).astype(np.int32 if narrow else np.int64)
        )
        firsts = np.flatnonzero(np.append(True, cells[1:] > cells[:-1])) if len(cells) else np.zeros(0, int)
        owner, ngram = np.divmod(cells[firsts].astype(np.int64), distinct)
        yield NgramCounts(owner, ngram, np.diff(firsts, append=len(cells)), keys)


def _in_order(keys: Integers) -> tuple[Integers, Integers]:
    """Different keys in ascending order, and the place of each key among them, as ``np.unique`` has it."""
    if len(keys) < _HASHED:
        different, places = np.unique(keys, return_inverse=True)
        return different, places
    import pandas as pd  # a hash table, where np.unique would sort all keys

    codes, unordered = pd.factorize(keys)
    order = np.argsort(unordered)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return unordered[order], places[codes]


@dataclass(frozen=True, slots=True, eq=False)
class PairCounts:
    """The n-grams of one length in some pairs.

    Attributes:
        ours, theirs: counts of the predictions and of the references; ``texts`` are indices of the pairs.
        both: (2, C) indices into ``ours`` and ``theirs`` of the n-grams that a pair has on both sides.
        pairs: how many pairs there are.
    """

    ours: NgramCounts
    theirs: NgramCounts
    both: Integers
    pairs: int

    def sums(self, values: Floats | Integers) -> Floats:
        """Sum over each pair of values (C,), one for each n-gram on both sides."""
        return np.asarray(np.bincount(self.ours.texts[self.both[0]], values, self.pairs), dtype=np.float64)


def pair_counts(pairs: NumberedPairs, block: slice, order: int) -> Iterator[PairCounts]:
    """The n-grams of length 1 to ``order`` in a block of pairs, one length after the other."""
    hypotheses, targets = pairs.hypotheses[block], pairs.targets[block]
    texts = pairs.texts.some(np.concatenate([hypotheses, targets]))
    for each in ngrams(texts, order):
        middle = np.searchsorted(each.texts, len(hypotheses))
        ours, theirs = (
            NgramCounts(each.texts[side] - shift, each.ngrams[side], each.counts[side], each.keys)
            for side, shift in ((slice(middle), 0), (slice(middle, None), len(hypotheses)))
        )
        first, second = (side.texts * len(each.keys) + side.ngrams for side in (ours, theirs))
        places = np.searchsorted(second, first)
        inside = np.flatnonzero(places < len(second))
        inside = inside[second[places[inside]] == first[inside]]
        yield PairCounts(ours, theirs, np.stack([inside, places[inside]]), len(hypotheses))
