"""Longest common subsequences of many pairs of texts at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.text.ngrams import lcs_length
from harness.metrics.text.numbered import (
    Integers,
    NumberedPairs,
    NumberedTexts,
    changes,
    over_blocks,
    stable_order,
)

_WORD = 64
_MOST_TOKENS = 1024
"""Pairs with a longer text are computed one by one."""


def lcs_lengths(pairs: NumberedPairs) -> Integers:
    """Length of the longest common subsequence of each pair, (P,), as ``lcs_length`` has it."""
    texts, sides = pairs.texts, np.stack([pairs.hypotheses, pairs.targets])
    lengths = texts.lengths[sides]
    swapped = lengths[0] > lengths[1]
    shorter, longer = np.where(swapped, sides[::-1], sides)
    order = np.lexsort((lengths.max(axis=0), lengths.min(axis=0)))  # a block's pairs are of similar lengths
    is_long = lengths.max(axis=0)[order] > _MOST_TOKENS
    common = np.zeros(len(order), dtype=np.int64)
    for pair in order[is_long]:
        common[pair] = lcs_length(texts.text(shorter[pair]), texts.text(longer[pair]))
    others = order[~is_long]

    def work(block: slice) -> Integers:
        return _of_block(texts, shorter[others[block]], longer[others[block]])

    for block, part in over_blocks(work, len(others)):
        common[others[block]] = part
    return common


def _of_block(texts: NumberedTexts, first: Integers, second: Integers) -> Integers:
    """Lengths (P,) for the pairs of some texts: one step of ``lcs_length`` is a step of all pairs.

    A line of the dynamic programme is one machine word per 64 tokens of the first text. The bits behind its
    end stay 1.
    """
    some = texts.some(np.concatenate([first, second]))
    lengths, count = some.lengths, len(first)
    split = some.starts[count]  # tokens of the first texts end here
    owners = np.repeat(np.append(np.arange(count), np.arange(count)), lengths)
    places = np.arange(len(owners)) - np.repeat(some.starts[:-1], lengths)
    groups = _groups(owners, some.tokens, texts.vocabulary)
    masks = _masks(groups[:split], places[:split], len(groups))
    steps = np.full((lengths[count:].max(), count), len(groups))
    steps[places[split:], owners[split:]] = groups[split:]
    line = np.full((len(masks), count), np.iinfo(np.uint64).max, dtype=np.uint64)
    for step in steps:
        carry = np.zeros(count, dtype=np.uint64)
        for word, mask in enumerate(masks):
            matches = line[word] & mask[step]
            plus = line[word] + matches
            total = plus + carry
            if word < len(masks) - 1:
                carry = ((plus < matches) | (total < plus)).astype(np.uint64)
            line[word] = total | (line[word] ^ matches)
    zeros: Integers = np.bitwise_count(~line).sum(axis=0, dtype=np.int64)
    return zeros


def _groups(owners: Integers, tokens: Integers, vocabulary: int) -> Integers:
    """A number for each token of each pair (N,): equal tokens of one pair have the same number, below N."""
    order = stable_order(owners, int(owners.max(initial=0)) + 1)
    order = order[stable_order(tokens[order], vocabulary)]
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.cumsum(changes(owners[order], tokens[order])) - 1
    return numbers


def _masks(groups: Integers, places: Integers, count: int) -> NDArray[np.uint64]:
    """Where the token of each group occurs in its first text: bits (words, ``count`` + 1).

    The last column has none.

    Args:
        groups: of each token of the first texts.
        places: of each token in its text.
        count: above all groups.
    """
    words = 1 + int(places.max(initial=0)) // _WORD
    masks = np.zeros(words * (count + 1), dtype=np.uint64)
    bits = np.left_shift(np.uint64(1), (places % _WORD).astype(np.uint64))
    np.add.at(masks, places // _WORD * (count + 1) + groups, bits)  # each bit once
    return masks.reshape(words, -1)
