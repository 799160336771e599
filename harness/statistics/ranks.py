"""Rank ranges: the places among the methods that the test set leaves open to each of them.

A method's best place is one behind all methods that are clearly better, its worst place one before all that
are clearly worse. All paired differences are judged at once, with one critical value for the largest of them
(max-t). So all ranges together contain the true places in at least 95 % of the test sets that could have been
drawn (Mogstad, Romano, Shaikh & Wilhelm 2024, "Inference for Ranks").
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.statistics.bootstrap import FloatArray

RankRange = tuple[int, int]
"""Best and worst place of a method, counted from 1."""

_ROUNDING = 1e-12
"""Differences below it are rounding."""


def rank_ranges(
    values: Mapping[str, float],
    samples: Mapping[str, FloatArray],
    *,
    higher_is_better: bool = True,
    level: float = 0.95,
) -> dict[str, RankRange]:
    """The range of places of each method; empty where no replicate is defined for all of them.

    Args:
        values: method -> value; methods without one (NaN) are left out.
        samples: method -> replicates (B,), all made with the same weights, else nothing is paired.
        higher_is_better: direction.
        level: how often all ranges together contain the true places.
    """
    names = [name for name, value in values.items() if not np.isnan(value)]
    if not names:
        return {}
    sign = 1.0 if higher_is_better else -1.0
    heights = sign * np.array([values[name] for name in names])
    replicates = sign * np.stack([samples[name] for name in names]).astype(np.float64)
    replicates = replicates[:, ~np.isnan(replicates).any(axis=0)]
    if not replicates.size:
        return {}
    better = _clearly_better(heights, replicates, level)
    ahead, behind = better.sum(axis=0), better.sum(axis=1)
    return {
        name: (1 + int(ahead[index]), len(names) - int(behind[index])) for index, name in enumerate(names)
    }


def _clearly_better(heights: FloatArray, samples: FloatArray, level: float) -> NDArray[np.bool_]:
    """Whether method i is better than method j beyond what resampling explains, (K, K).

    Args:
        heights: (K,) values; more is better.
        samples: (K, B) their replicates. Only the spread of their differences is read.
        level: of all differences together.
    """
    deviations = samples - samples.mean(axis=1, keepdims=True)
    largest = np.zeros(samples.shape[1])
    errors = np.zeros((len(heights), len(heights)))
    for index, deviation in enumerate(deviations[:-1]):
        distance = deviation - deviations[index + 1 :]
        error = np.sqrt(np.einsum("kb,kb->k", distance, distance) / len(largest))
        # Replicates of two methods that differ by a constant: rounding has no distribution.
        error[error < _ROUNDING] = 0.0
        errors[index, index + 1 :] = errors[index + 1 :, index] = error
        varies = error > 0.0
        if varies.any():
            scaled = np.abs(distance[varies]) / error[varies, None]
            np.maximum(largest, scaled.max(axis=0), out=largest)
    gap = heights[:, None] - heights
    return gap > np.maximum(np.quantile(largest, level) * errors, _ROUNDING)
