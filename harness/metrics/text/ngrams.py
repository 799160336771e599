"""Counting n-grams and common subsequences: the two primitives of the text metrics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

Ngram = tuple[str, ...]


def ngram_counts(tokens: Sequence[str], order: int) -> list[Counter[Ngram]]:
    """Counts of the n-grams of length 1 to ``order``, one counter per length."""
    shifted = [tokens[start:] for start in range(order)]
    return [Counter(zip(*shifted[:length], strict=False)) for length in range(1, order + 1)]


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, a machine word of columns at a time.

    Each bit of an integer stands for a token of ``first``; one addition carries a whole line of the
    dynamic programme (Crochemore et al. 2001; Hyyrö 2004). Python integers have no word limit.
    """
    positions: defaultdict[str, int] = defaultdict(int)
    for index, token in enumerate(first):
        positions[token] |= 1 << index
    everywhere = (1 << len(first)) - 1
    row = everywhere
    for token in second:
        matches = row & positions.get(token, 0)
        row = ((row + matches) | (row - matches)) & everywhere
    return len(first) - row.bit_count()
