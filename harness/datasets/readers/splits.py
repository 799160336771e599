"""Splits of data that have none: drawn from a seed, the same on every machine."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


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


def rarest(labels: Sequence[NDArray[np.float32] | None]) -> list[int | None]:
    """Of each study the positive label that fewest have: -1 without a positive one, None without labels."""
    positive = [None if own is None else np.flatnonzero(own > 0.5).tolist() for own in labels]
    counts = Counter(label for own in positive for label in own or ())
    return [
        None if own is None else min(own, key=lambda label: (counts[label], label), default=-1)
        for own in positive
    ]


def by_patient(
    patients: Sequence[str], strata: Sequence[Hashable], shares: Mapping[str, float], seed: int
) -> list[str]:
    """The split of each row, such that no patient is in two splits and strata are in each as in the whole.

    Patients are ordered by the rarest stratum of their rows, then by a digest of seed and name. Each goes to
    the split that has least of its share of the rows so far.

    Args:
        patients: of the rows.
        strata: of the rows, e.g. their rarest label; common strata alone do no harm.
        shares: split -> share of the rows; they sum to 1.
        seed: another order of the patients.
    """
    counts = Counter(strata)
    by_count = sorted(counts, key=lambda stratum: (counts[stratum], repr(stratum)))
    rarity = {stratum: rank for rank, stratum in enumerate(by_count)}
    rarest: dict[str, int] = {}
    for patient, stratum in zip(patients, strata, strict=True):
        rarest[patient] = min(rarity[stratum], rarest.get(patient, len(rarity)))

    def place(patient: str) -> tuple[int, bytes]:
        return rarest[patient], hashlib.sha256(f"{seed}\0{patient}".encode()).digest()

    sizes, split_of = Counter(patients), {}
    rows, filled = 0, Counter[str]()
    for patient in sorted(sizes, key=place):
        rows += sizes[patient]
        split_of[patient] = max(shares, key=lambda split: shares[split] * rows - filled[split])
        filled[split_of[patient]] += sizes[patient]
    return [split_of[patient] for patient in patients]
