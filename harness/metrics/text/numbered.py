"""Texts as numbers of tokens, and the n-grams of many of them at once.

Work and memory grow with the number of tokens. Equal texts and equal pairs of texts are handled once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.core.hardware import cores
from harness.metrics.text.tokenization import Tokenizer

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
T = TypeVar("T")

_TEXTS_AT_ONCE = 512
_BLOCKS_FOR_THREADS = 16
_MOST_BITS = 63
"""Of the integers that are sorted."""


@dataclass(frozen=True, slots=True, eq=False)
class NumberedTexts:
    """Texts whose tokens are numbers, in the alphabetical order of the tokens.

    Attributes:
        tokens: of all texts, one after the other, (N,).
        starts: (T + 1,) where each text begins, and N.
        words: the token of each number.
    """

    tokens: Integers
    starts: Integers
    words: tuple[str, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer, texts: Sequence[str]) -> NumberedTexts:
        """The tokens of some texts."""
        return _alphabetical(tokenizer.numbered(texts), tokenizer.words)

    @property
    def vocabulary(self) -> int:
        """How many different tokens there are."""
        return len(self.words)

    @property
    def lengths(self) -> Integers:
        """Tokens of each text, (T,)."""
        return np.diff(self.starts)

    def text(self, index: int) -> list[int]:
        """Tokens of one text."""
        numbers: list[int] = self.tokens[self.starts[index] : self.starts[index + 1]].tolist()
        return numbers

    def lines(self) -> list[NDArray[np.integer[Any]]]:
        """Tokens of each text."""
        return np.split(self.tokens, self.starts[1:-1]) if len(self.starts) > 1 else []

    def some(self, indices: Integers) -> NumberedTexts:
        """Some of the texts, in the order of ``indices``."""
        lengths = self.lengths[indices]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(self.starts[indices] - starts[:-1], lengths) + np.arange(starts[-1])
        return NumberedTexts(self.tokens[places], starts, self.words)


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
    in_order = sorted(used.tolist(), key=words.__getitem__)
    places[in_order] = np.arange(len(used))
    return NumberedTexts(places[tokens], starts, tuple(words[number] for number in in_order))


@dataclass(frozen=True, slots=True, eq=False)
class NgramCounts:
    """How often each n-gram of one length occurs in each of some texts or pairs of texts.

    The E entries are in the order of n-grams, then of owners.

    Attributes:
        owners: (E,) index of the text or pair.
        ngrams: (E,) number of the n-gram, in alphabetical order.
        ours: (E,) how often it occurs in the text, or in the first text of the pair.
        theirs: (E,) how often it occurs in the second text of the pair; 0 where there are no pairs.
        shorter: (D,) of each n-gram the number of the n-gram of all its tokens but the last.
        last: (D,) its last token.
        total: how many texts or pairs there are.
    """

    owners: Integers
    ngrams: Integers
    ours: Integers
    theirs: Integers
    shorter: Integers
    last: Integers
    total: int

    def sums(self, values: Floats | Integers) -> Floats:
        """Sum over each text or pair of values (E,)."""
        return np.asarray(np.bincount(self.owners, values, self.total), dtype=np.float64)


def ngrams(texts: NumberedTexts, order: int, sides: int = 1) -> Iterator[NgramCounts]:
    """Counts of the n-grams of length 1 to ``order``, one length after the other.

    Stable sorts, by an n-gram's last token, then by the number of its tokens before, bring equal n-grams
    together and leave their owners in order.

    Args:
        texts: what is counted.
        order: of the longest n-grams.
        sides: 2 where two texts, one after the other, are a pair.
    """
    words, tokens = _renumbered(texts)
    side = sides - 1  # one bit, or none
    index = np.repeat(np.arange(len(texts.starts) - 1), texts.lengths)
    places, ends = np.arange(len(tokens)), texts.starts[1:][index]
    numbers, different = np.zeros(len(tokens), dtype=np.int64), 1
    for length in range(order):
        fits = places + length < ends
        places, ends, index, numbers = places[fits], ends[fits], index[fits], numbers[fits]
        last = tokens[places + length]
        by_last = stable_order(last, len(words))
        in_order = by_last[stable_order(numbers[by_last], different)]
        starts, last, owners = numbers[in_order], last[in_order], index[in_order]
        new = changes(starts, last)
        firsts = np.flatnonzero(new | changes(owners >> side))
        group, entries_end = np.cumsum(new) - 1, np.append(firsts, len(owners))
        theirs = np.diff(np.append(0, np.cumsum(owners & side))[entries_end])
        yield NgramCounts(
            owners=owners[firsts] >> side,
            ngrams=group[firsts],
            ours=np.diff(entries_end) - theirs,
            theirs=theirs,
            shorter=starts[new],
            last=words[last[new]],
            total=(len(texts.starts) - 1) // sides,
        )
        different = int(np.count_nonzero(new))
        numbers[in_order] = group


def stable_order(numbers: Integers, bound: int) -> Integers:
    """Places of ``numbers``, all from 0 to ``bound`` - 1, in their order; equal ones stay in order.

    NumPy sorts integers of 16 bits by their digits, about ten times as fast as larger ones.
    """
    order = np.argsort(numbers.astype(np.uint16), kind="stable")  # the last 16 bits
    for shift in range(16, _bits(bound), 16):
        order = order[np.argsort((numbers[order] >> shift).astype(np.uint16), kind="stable")]
    return order


def pair_counts(pairs: NumberedPairs, block: slice, order: int) -> Iterator[NgramCounts]:
    """The n-grams of length 1 to ``order`` in a block of pairs, one length after the other."""
    both = np.stack([pairs.hypotheses[block], pairs.targets[block]], axis=1)
    return ngrams(pairs.texts.some(both.reshape(-1)), order, sides=2)


def clipped_counts(pairs: NumberedPairs, block: slice, order: int) -> Floats:
    """Clipped matches (P, order) of the n-grams of length 1 to ``order`` in a block of pairs.

    Sorted once by pair and longest n-gram, the shorter ones are in order, too.
    """
    texts = pairs.texts.some(np.concatenate([pairs.hypotheses[block], pairs.targets[block]]))
    words, tokens = _renumbered(texts)
    total = (len(texts.starts) - 1) // 2
    bits = _bits(len(words) + 1)
    if bits * order + _bits(total) + 1 > _MOST_BITS:  # long texts of many words
        counted = pair_counts(pairs, block, order)
        return np.stack([each.sums(np.minimum(each.ours, each.theirs)) for each in counted], axis=1)
    index = np.repeat(np.arange(len(texts.starts) - 1), texts.lengths)
    left = texts.starts[1:][index] - np.arange(len(tokens))
    cells = index % max(1, total)
    padded = np.append(tokens + 1, np.zeros(order, dtype=np.int64))  # 0 is behind the end of a text
    for shift in range(order):
        cells = (cells << bits) | np.where(left > shift, padded[shift : shift + len(tokens)], 0)
    cells = np.sort((cells << 1) | (index >= total))
    of_second = np.append(0, np.cumsum(cells & 1))
    columns = []
    for length in range(1, order + 1):
        grams = cells >> (1 + bits * (order - length))
        ends = np.append(firsts := _firsts(grams), len(cells))
        theirs = np.diff(of_second[ends])
        matches = np.minimum(np.diff(ends) - theirs, theirs) * (grams[firsts] & ((1 << bits) - 1) > 0)
        columns.append(np.bincount(grams[firsts] >> (bits * length), matches, total))
    return np.stack(columns, axis=1)


def _renumbered(texts: NumberedTexts) -> tuple[Integers, Integers]:
    """The different tokens of some texts in their order, and the place of each token among them."""
    occurs = np.zeros(texts.vocabulary, dtype=np.bool_)
    occurs[texts.tokens] = True
    words = np.flatnonzero(occurs)
    place = np.empty(texts.vocabulary, dtype=np.int64)
    place[words] = np.arange(len(words))
    return words, place[texts.tokens]


def _bits(count: int) -> int:
    """Of the largest of the numbers 0 to ``count`` - 1, one at least."""
    return max(1, (count - 1).bit_length())


def changes(*ordered: Integers) -> NDArray[np.bool_]:
    """Whether any of some arrays (N,) has another number here than before: (N,), True for the first."""
    changes = np.ones(len(ordered[0]), dtype=np.bool_)
    changes[1:] = False
    for each in ordered:
        changes[1:] |= each[1:] != each[:-1]
    return changes


def _firsts(ordered: Integers) -> Integers:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(changes(ordered))
