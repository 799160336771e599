"""What nearest neighbours in feature space say of two sets of images.

Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020): around every image
lies a ball that reaches to its k-th nearest neighbour in its own set. Memorisation (after Meehan et al.
2020): are generated images nearer to the training images than real test images are?

Distances are computed some rows at a time, so that memory grows with the number of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEIGHBOURS = 5
"""Of an image's ball, as Naeem et al. have it."""

_INSIDE = 1.0 - 1e-9
"""Rounding puts no copy of a neighbour inside of a ball that ends at it."""

_EDGES: tuple[Literal["left", "right"], ...] = ("left", "right")

_BLOCK_CELLS = 4_000_000
"""Cells of one block of distances: 32 MB of float64."""


@dataclass(frozen=True, slots=True)
class Balls:
    """What each image says of the other set.

    Attributes:
        in_real: (m,), 1 where a generated image lies in the ball of a real one: precision.
        density: (m,), in how many balls of real images it lies, divided by k: density.
        in_generated: (n,), 1 where a real image lies in the ball of a generated one: recall.
        covered: (n,), 1 where a real image's own ball holds a generated one: coverage.
    """

    in_real: Floats
    density: Floats
    in_generated: Floats
    covered: Floats


def balls(real: Floats, generated: Floats, neighbours: int = NEIGHBOURS) -> Balls:
    """The balls of features (n, d) of real and (m, d) of generated images.

    A set needs more than ``neighbours`` images. A point on the edge of a ball is outside.
    """
    real_radii, generated_radii = (radii(own, neighbours) * _INSIDE for own in (real, generated))
    held, in_real = np.zeros(len(generated)), np.zeros(len(generated), dtype=bool)
    in_generated, covered = np.zeros(len(real)), np.zeros(len(real))
    for rows, distances in _blocks(real, generated):
        inside = distances < real_radii[rows, None]
        held += inside.sum(axis=0)
        in_real |= inside.any(axis=0)
        in_generated[rows] = (distances < generated_radii).any(axis=1)
        covered[rows] = distances.min(axis=1) < real_radii[rows]
    return Balls(in_real.astype(np.float64), held / neighbours, in_generated, covered)


def radii(features: Floats, neighbours: int) -> Floats:
    """Squared distance (n,) of each row to its k-th nearest other row."""
    reach = np.empty(len(features))
    for rows, distances in _blocks(features, features):
        own = np.arange(len(features))[rows]
        distances[own - own[0], own] = -1.0  # itself, in front of copies of it
        reach[rows] = np.partition(distances, neighbours, axis=1)[:, neighbours]
    return reach


def nearest(features: Floats, others: Floats) -> Floats:
    """Squared distance (n,) of each row to the nearest of ``others``."""
    distances = np.empty(len(features))
    for rows, block in _blocks(features, others):
        distances[rows] = block.min(axis=1)
    return distances


def nearer_share(generated: Floats, real: Floats, weights: tuple[Floats, Floats]) -> Floats:
    """How often a generated image is nearer to the training images than a real test image, (B,).

    Of all pairs of one generated and one real image; ties count half. Real images score 0.5 on average.

    Args:
        generated: (m,) distances to the nearest training image.
        real: (n,) the same of real test images.
        weights: (B, m) and (B, n) of either side.
    """
    farther = nearer_than(generated, real, weights[1])
    totals = weights[0].sum(axis=1) * weights[1].sum(axis=1)
    share: Floats = (weights[0] * farther).sum(axis=1) / totals
    return share


def nearer_than(generated: Floats, real: Floats, weights: Floats) -> Floats:
    """(B, m): the weight of the real images than which each generated one is nearer, under (B, n)."""
    order = np.argsort(real, kind="stable")
    sums = np.cumsum(weights[:, order], axis=1)
    sums = np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)
    below, upto = (np.searchsorted(real[order], generated, side=side) for side in _EDGES)
    farther: Floats = sums[:, -1:] - (sums[:, below] + sums[:, upto]) / 2.0
    return farther


def _blocks(first: Floats, second: Floats) -> Iterator[tuple[slice, Floats]]:
    """Rows of ``first`` with their squared distances to all of ``second``, never negative."""
    centre = second.mean(axis=0)
    ours, theirs = first - centre, second - centre
    squares = np.square(theirs).sum(axis=1)
    step = max(1, _BLOCK_CELLS // max(1, len(second)))
    for start in range(0, len(first), step):
        rows = slice(start, min(start + step, len(first)))
        distances = ours[rows] @ theirs.T
        distances *= -2.0
        distances += squares
        distances += np.square(ours[rows]).sum(axis=1)[:, None]
        yield rows, np.maximum(distances, 0.0, out=distances)
