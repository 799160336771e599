"""FID and KID of two sets of images that need not be pairs: each side has its own bootstrap weights.

With one image of either side per study, ``distances`` has the same numbers, from shared weights.
"""

from __future__ import annotations

import numpy as np

from harness.metrics.images.distances import Floats, centred_features, distance_of, kernel_blocks

_FEWEST = 2
"""Images of a side that a covariance needs."""


def frechet_replicates(real: Floats, generated: Floats, weights: tuple[Floats, Floats]) -> Floats:
    """Fréchet distance (B,) of features (n, d) and (m, d) under lines of weights (B, n) and (B, m).

    Of fewer images than features all resamples share the inner products of the images, as in
    ``distances.frechet_distances``.
    """
    if max(len(real), len(generated)) > real.shape[1]:
        pairs = zip(*weights, strict=True)
        return np.array(
            [distance_of(centred_features(real, a), centred_features(generated, b)) for a, b in pairs]
        )
    if not len(real):
        return np.full(len(weights[0]), np.nan)
    centre = real.mean(axis=0)  # distances do not depend on it, rounding does
    real, generated = real - centre, generated - centre
    sides = [_Side.of(real, weights[0]), _Side.of(generated, weights[1])]
    across = real @ generated.T
    apart = sides[0].means + sides[1].means - 2.0 * ((sides[0].shares @ across) * sides[1].shares).sum(axis=1)
    spread = sides[0].spreads + sides[1].spreads
    distances = np.full(len(weights[0]), np.nan)
    for line in range(len(distances)):
        rows, columns = (np.flatnonzero(side.shares[line] > 0) for side in sides)
        if min(len(rows), len(columns)) < _FEWEST:
            continue
        share, other = sides[0].shares[line, rows], sides[1].shares[line, columns]
        cross = across[np.ix_(rows, columns)]
        cross -= share @ cross
        cross -= (cross @ other)[:, None]
        cross *= np.sqrt(share / sides[0].freedoms[line])[:, None]
        cross *= np.sqrt(other / sides[1].freedoms[line])
        shared = np.linalg.svd(cross, compute_uv=False).sum()
        distances[line] = max(0.0, float(apart[line] + spread[line] - 2.0 * shared))
    return distances


def kid_replicates(real: Floats, generated: Floats, weights: tuple[Floats, Floats]) -> Floats:
    """Unbiased squared MMD (B,) of features (n, d) and (m, d) under lines of weights (B, n) and (B, m)."""
    totals = [each.sum(axis=1) for each in weights]
    distance = np.zeros(len(totals[0]))
    for side, own, total in zip((real, generated), weights, totals, strict=True):
        within = np.zeros(len(own))
        for block, kernel in kernel_blocks(side, side):
            columns = np.arange(len(side))[block]
            kernel[columns, columns - columns[0]] = 0.0
            within += ((own @ kernel) * own[:, block]).sum(axis=1)
        pairs = total**2 - np.square(own).sum(axis=1)
        distance += np.divide(within, pairs, out=np.full(len(own), np.nan), where=pairs > 0)
    across = np.zeros(len(distance))
    for block, kernel in kernel_blocks(real, generated):
        across += ((weights[0] @ kernel) * weights[1][:, block]).sum(axis=1)
    total = totals[0] * totals[1]
    distance -= 2.0 * np.divide(across, total, out=np.full(len(distance), np.nan), where=total > 0)
    return distance


class _Side:
    """What is quadratic in the weights of one side alone, one product for all lines.

    Attributes:
        shares: (B, n), weights that add up to 1.
        means: (B,), squared length of the mean.
        spreads: (B,), trace of the unbiased covariance.
        freedoms: (B,), n - 1 over n for equal weights.
    """

    def __init__(self, shares: Floats, means: Floats, spreads: Floats, freedoms: Floats) -> None:
        self.shares, self.means, self.spreads, self.freedoms = shares, means, spreads, freedoms

    @classmethod
    def of(cls, features: Floats, weights: Floats) -> _Side:
        total = weights.sum(axis=1, keepdims=True)
        shares = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        freedoms = 1.0 - np.square(shares).sum(axis=1)
        means = ((shares @ (features @ features.T)) * shares).sum(axis=1)
        about = shares @ np.square(features).sum(axis=1) - means
        spreads = np.divide(about, freedoms, out=np.full(len(means), np.nan), where=freedoms > 0)
        return cls(shares, means, spreads, freedoms)
