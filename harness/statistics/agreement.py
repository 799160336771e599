"""How well two orders of the same things agree: Kendall's tau-b with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.statistics.bootstrap import bootstrap_weights, interval
from harness.statistics.estimate import Estimate

_Z95 = 1.959963984540054


def kendall_tau(
    scores: NDArray[np.float64], judgements: NDArray[np.float64], clusters: Sequence[str]
) -> Estimate:
    """Kendall's tau-b between scores and judgements, both larger for better.

    Args:
        scores, judgements: (n,), finite.
        clusters: what is resampled together, e.g. the study that several candidates belong to.

    Returns:
        tau with the percentile interval over clusters. NaN where all scores or all judgements are equal.
    """
    by_score, by_judgement = (np.sign(each[:, None] - each[None, :]) for each in (scores, judgements))
    forms = by_score * by_judgement, np.abs(by_score), np.abs(by_judgement)

    def tau(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        agreeing, untied, judged = (((weights @ form) * weights).sum(axis=1) for form in forms)
        size = np.sqrt(untied * judged)
        return np.divide(agreeing, size, out=np.full_like(size, np.nan), where=size > 0)

    replicates = tau(np.asarray(bootstrap_weights(clusters)))
    value = tau(np.ones((1, len(scores))))
    return Estimate(float(value[0]), *interval(replicates), len(scores))


def share(count: int, n: int) -> Estimate:
    """A share with Wilson's 95 % interval, which has a width also where the share is 0 or 1."""
    p, z = count / n, _Z95
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return Estimate(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)), n)
