"""Hierarchical bootstrap over training seeds and patients.

The number of a method that was trained with several seeds is the mean over them. Two things make it
uncertain: the patients of the test set, and the seeds. A replicate resamples both. Its patients are those of
one line of the weight matrix that all methods share. Its seeds are drawn with replacement, and all methods
with equally many seeds share the draws. So the differences between methods are paired over patients and
seeds.

Few seeds make a plain bootstrap too narrow. The spread of three values is that of the seeds times the square
root of 2/3, and no draw lies beyond the largest of them. Where seeds are the only noise, a plain 95 %
interval of three seeds covers the truth in about 80 % of the cases. So the drawn seeds' distance from the
mean is stretched by ``stretch`` (the expanded percentile interval, Hesterberg 2015, section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np

from harness.statistics.bootstrap import FloatArray

_SEED = 20
"""Of the draws of seeds: not the stream of the patients."""


def over_seeds(values: Sequence[float], replicates: Sequence[FloatArray]) -> FloatArray:
    """Replicates (B,) of the mean over S training seeds; those of the one seed as they are where S is 1.

    Replicate b is the mean over the seeds of their replicates b, for the patients; plus the stretched
    difference between the mean of the drawn seeds and the mean of all of them, for the seeds.

    Args:
        values: each seed's number on all test studies.
        replicates: each seed's replicates (B,) over patients, all from one weight matrix.
    """
    if len(replicates) == 1:
        return replicates[0]
    numbers = np.asarray(values, dtype=np.float64)
    drawn = seed_weights(len(numbers), len(replicates[0])) @ numbers
    mean: FloatArray = np.mean(replicates, axis=0, dtype=np.float64)
    return mean + stretch(len(numbers)) * (drawn - numbers.mean())


def seed_weights(n_seeds: int, n_resamples: int) -> FloatArray:
    """Share of each seed in each resample, (B, S): S draws with replacement, the same in every call."""
    draws = np.random.default_rng([_SEED, n_seeds]).integers(0, n_seeds, size=(n_resamples, n_seeds))
    shares: FloatArray = (draws[:, :, None] == np.arange(n_seeds)).mean(axis=1)
    return shares


def stretch(n_seeds: int, level: float = 0.95) -> float:
    """How much wider Student's interval of S values is than that of their plain bootstrap.

    The square root of S / (S - 1) makes the variance unbiased. The ratio of quantiles is for a variance that
    is estimated from S values: 2.7 in all for three seeds, 1.6 for five, 1.2 for ten.
    """
    normal = NormalDist().inv_cdf(0.5 + level / 2)
    return math.sqrt(n_seeds / (n_seeds - 1)) * student_quantile(n_seeds - 1, level) / normal


@cache
def student_quantile(freedom: int, level: float) -> float:
    """The t that Student's distribution stays within, on either side of 0, with probability ``level``.

    The probability of t is a finite sum in the angle whose tangent is t over the root of the degrees of
    freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4). It rises with the angle: bisection finds it.

    Args:
        freedom: degrees of freedom, 1 or more.
        level: in (0, 1).
    """
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _student_probability(freedom, middle) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(middle)


def _student_probability(freedom: int, angle: float) -> float:
    """P(-t < T < t) for t = sqrt(freedom) tan(angle)."""
    odd = freedom % 2 == 1
    term = total = math.cos(angle) if odd else 1.0
    for step in range(3 if odd else 2, freedom, 2):
        term *= (step - 1) / step * math.cos(angle) ** 2
        total += term
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + (math.sin(angle) * total if freedom > 1 else 0.0))
