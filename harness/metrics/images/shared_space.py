"""A space that two modalities of a study share, from real pairs alone: canonical correlation analysis.

It is the linear relative of contrastive learning. Features are grey levels of 16 x 16 areas of an image, or
those of a network, and TF-IDF of a report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from harness.core.types import Reference
from harness.metrics.images.extractors import Floats, Image

IMAGE_RANK, TEXT_RANK, WIDTH = 48, 48, 8
"""Principal components of either side, and canonical directions that are compared."""

RIDGE = 0.1


GRID = 16
"""Areas per side of the coarse image features."""


def coarse(images: Sequence[Image]) -> Floats:
    """Mean grey level in [0, 1] of 16 x 16 areas, (n, 256), of images (H, W) or (H, W, C)."""
    grey = [np.asarray(image, dtype=np.float32).reshape(*image.shape[:2], -1).mean(-1) for image in images]
    small = [Picture.fromarray(each).resize((GRID, GRID), Picture.Resampling.BOX) for each in grey]
    return np.stack([np.asarray(each, dtype=np.float64).ravel() / 255.0 for each in small])


def gap(images: Floats, words: Floats) -> tuple[Floats, Floats]:
    """Cosine (n,) of each pair of rows, and that minus the mean cosine with the partners of other rows."""
    cosines = _unit(images) @ _unit(words).T
    own = np.diagonal(cosines)
    rest = (cosines.sum(1) - own) / max(1, len(own) - 1)
    return own, own - rest


def _unit(x: Floats) -> Floats:
    length: Floats = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)


class Whitened:
    """Centred, projected on principal components, scaled to unit variance."""

    def __init__(self, x: Floats, rank: int) -> None:
        self.mean = x.mean(0)
        _, values, axes = np.linalg.svd(x - self.mean, full_matrices=False)
        deviation = values / np.sqrt(max(1, len(x) - 1))
        rank_kept = min(rank, int((deviation > 1e-9).sum()), max(1, len(x) // 4))
        floor = RIDGE * deviation[:1]
        self.axes = axes[:rank_kept].T / np.sqrt(deviation[:rank_kept] ** 2 + floor**2 + 1e-12)

    def __call__(self, x: Floats) -> Floats:
        projected: Floats = (x - self.mean) @ self.axes
        return projected


def space(images: Floats, texts: Floats) -> tuple[Projected, Projected]:
    """Canonical directions of paired rows: the singular vectors of their whitened cross-covariance."""
    first, second = Whitened(images, IMAGE_RANK), Whitened(texts, TEXT_RANK)
    left, strength, right = np.linalg.svd(first(images).T @ second(texts) / len(images))
    width = min(WIDTH, len(strength))
    weight = np.sqrt(strength[:width])
    return Projected(first, left[:, :width] * weight), Projected(second, right[:width].T * weight)


class Projected:
    """Whitening followed by canonical directions."""

    def __init__(self, whitened: Whitened, directions: Floats) -> None:
        self.whitened, self.directions = whitened, directions

    def __call__(self, x: Floats) -> Floats:
        projected: Floats = self.whitened(x) @ self.directions
        return projected


def tfidf(texts: Sequence[str], *others: Sequence[str]) -> list[Floats]:
    """TF-IDF of texts, (n, d), and of others by the words and the rarities of the first ones."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=2000)
    try:
        vectors.fit(texts)
    except ValueError:  # no word occurs twice
        return [np.zeros((len(each), 1)) for each in (texts, *others)]
    return [np.asarray(vectors.transform(each).toarray(), dtype=np.float64) for each in (texts, *others)]


def halves(references: Sequence[Reference]) -> NDArray[np.bool_]:
    """Two halves of the patients, as a mask (n,); of the studies where one half would have fewer than two."""
    half = np.array([_odd(reference.patient_id) for reference in references])
    if min(half.sum(), (~half).sum()) < 2:
        half = np.arange(len(references)) % 2 == 0
    return half


def _odd(patient: str) -> bool:
    return bool(hashlib.blake2b(patient.encode(), digest_size=1).digest()[0] & 1)
