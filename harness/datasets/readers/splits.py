"""Splits of releases that have none: drawn from a seed, the same on every machine."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np


def drawn(count: int, seed: int, held_out: float, test: float) -> list[str]:
    """The split of each of ``count`` rows, as two calls of scikit-learn's ``train_test_split`` make it.

    Both calls shuffle with the same seed: the first holds out ``held_out`` of the rows, the second takes
    ``test`` of those for the test split and leaves the rest for validation; both shares are rounded up.
    """
    splits = ["train"] * count
    order = np.random.RandomState(seed).permutation(count)[: math.ceil(held_out * count)]
    second = np.random.RandomState(seed).permutation(len(order))
    n_test = math.ceil(test * len(order))
    for rank, position in enumerate(second):
        splits[order[position]] = "test" if rank < n_test else "val"
    return splits


def by_group(groups: Sequence[str], seed: int, val: float, test: float) -> list[str]:
    """The split of each row, such that rows of one group are never in two splits.

    Groups are ordered by a digest of seed and name; test takes groups until it has its share of the rows,
    then validation, and training has the rest. So a group that is added or removed moves few others.
    """
    sizes = Counter(groups)
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
    split_of: dict[str, str] = {}
    done = 0
    for group in order:
        share = done / len(groups)
        split_of[group] = "test" if share < test else "val" if share < test + val else "train"
        done += sizes[group]
    return [split_of[group] for group in groups]
