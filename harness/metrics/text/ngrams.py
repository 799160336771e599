"""Counting n-grams, matching them, and common subsequences: the primitives of the text metrics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Ngram = tuple[str, ...]

MOST_ALL_PAIRS = 4_000
"""Of more texts not all pairs are scored at once: their table would have 128 MB and grow with the square."""

_Cells = tuple[NDArray[np.float64], tuple[NDArray[np.intp], NDArray[np.intp]]]
"""Values of a sparse matrix, and their lines and columns."""


def ngram_counts(tokens: Sequence[str], order: int) -> list[Counter[Ngram]]:
    """Counts of the n-grams of length 1 to ``order``, one counter per length."""
    shifted = [tokens[start:] for start in range(order)]
    return [Counter(zip(*shifted[:length], strict=False)) for length in range(1, order + 1)]


def clipped_matches(
    ours: Sequence[Counter[Ngram]],
    theirs: Sequence[Counter[Ngram]],
    weight: Callable[[Ngram, int], float] = lambda ngram, count: 1.0,
) -> NDArray[np.float64]:
    """Clipped matches of every one of n texts with every one of m others, (n, m).

    The second occurrence of an n-gram is a term of its own, and so on: then a clipped count is an inner
    product, and all pairs are one product of sparse matrices.

    Args:
        ours, theirs: counts of the n-grams of one length per text.
        weight: of a match, from the n-gram and its count in the text of ``theirs``.
    """
    from scipy.sparse import csr_array  # only permutation tests need it

    terms: dict[tuple[Ngram, int], int] = {}

    def matrix(texts: Sequence[Counter[Ngram]], value: Callable[[Ngram, int], float]) -> _Cells:
        cells = [
            (value(ngram, count), line, terms.setdefault((ngram, occurrence), len(terms)))
            for line, counts in enumerate(texts)
            for ngram, count in counts.items()
            for occurrence in range(count)
        ]
        values, lines, columns = zip(*cells, strict=True) if cells else ((), (), ())
        return np.array(values, dtype=np.float64), (np.array(lines, np.intp), np.array(columns, np.intp))

    first, second = matrix(ours, lambda ngram, count: 1.0), matrix(theirs, weight)
    left, right = (
        csr_array(cells, shape=(len(texts), len(terms))) for cells, texts in ((first, ours), (second, theirs))
    )
    matches: NDArray[np.float64] = (left @ right.T).toarray()
    return matches


def repeated(tokens: Sequence[str], order: int = 4) -> tuple[int, int]:
    """How many n-grams repeat an earlier one of the same text, and how many there are."""
    total = max(0, len(tokens) - order + 1)
    return total - len(set(zip(*(tokens[start:] for start in range(order)), strict=False))), total


def lcs_length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, a machine word of columns at a time.

    Each bit of an integer stands for a token of ``first``; one addition carries a whole line of the
    dynamic programme (Crochemore et al. 2001; Hyyrö 2004). Python integers have no word limit.
    """
    positions: defaultdict[Hashable, int] = defaultdict(int)
    for index, token in enumerate(first):
        positions[token] |= 1 << index
    everywhere = (1 << len(first)) - 1
    row = everywhere
    for token in second:
        matches = row & positions.get(token, 0)
        row = ((row + matches) | (row - matches)) & everywhere
    return len(first) - row.bit_count()
