"""Do generated images say what the true report says? Asked in a space that images and reports share.

The space comes from the real test pairs alone, by canonical correlation analysis, the linear relative of
contrastive learning: what is seen of an image on one side, TF-IDF of reports on the other. It is fitted on
one half of the patients and used on the other, both ways round: no pair is judged by a space that has seen
it, and no method by its own contrastive space.

Images are seen by one of two ``eyes``: ``lite0``, features of EfficientNet-Lite0, which small artefacts and
blur move far; or ``coarse``, grey levels of 16 x 16 areas, which see where it is bright and no texture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from harness.core.errors import UnavailableError
from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import JointMetric, Metric, MetricOutput, Statistics, mean_of
from harness.metrics.images.distances import frechet_distances
from harness.metrics.images.extractors import Floats, Image, Lite0, digest
from harness.metrics.images.features import features
from harness.metrics.images.ms_ssim import pairs_of

IMAGE_RANK, TEXT_RANK, WIDTH = 48, 48, 8
"""Principal components of either side, and canonical directions that are compared."""

_RIDGE = 0.1


_GRID = 16
"""Areas per side that the coarse eyes tell apart."""


def _coarse(images: Sequence[Image]) -> Floats:
    """Mean grey level in [0, 1] of 16 x 16 areas (n, 256), of images (H, W) or (H, W, C)."""
    grey = [np.asarray(image, dtype=np.float32).reshape(*image.shape[:2], -1).mean(-1) for image in images]
    small = [Picture.fromarray(each).resize((_GRID, _GRID), Picture.Resampling.BOX) for each in grey]
    return np.stack([np.asarray(each, dtype=np.float64).ravel() / 255.0 for each in small])


Judged = tuple[NDArray[np.intp], Floats, Floats, Floats]
"""Indices of m references; their real images, generated images and reports in the shared space, (m, <= 8)."""


class Sighted(Metric):
    """What the metrics of this file have in common: whose eyes, and which view.

    Attributes:
        eyes: ``lite0`` or ``coarse``.
    """

    name: ClassVar[str]
    task: ClassVar[Task] = Task.SYNTHESIZE
    view: ClassVar[str] = "frontal"
    eyes: ClassVar[Literal["lite0", "coarse"]] = "lite0"

    def unavailable(self) -> str | None:
        """What is absent and how to get it, or None."""
        if self.eyes == "coarse":
            return None
        try:
            Lite0().source()
        except UnavailableError as error:
            return str(error)
        return None

    def space(self) -> str:
        """Part of the signature that says in which space images and reports meet."""
        if self.eyes == "coarse":
            seen, weights = f"grey{_GRID}x{_GRID}-pca{IMAGE_RANK}", "none"
        else:
            size = Lite0.preparation.partition(",")[0]
            seen, weights = f"lite0@{size}-pca{IMAGE_RANK}", "absent"
            if self.unavailable() is None:
                weights = digest(Lite0().source())
        return (
            f"view:{self.view}|space:cca{WIDTH}({seen},tfidf-svd{TEXT_RANK})"
            f"|fit:real test pairs,two halves of patients|weights:{weights}"
        )

    def judged(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Iterator[Judged]:
        """The two halves of the patients that have the view and a report, each in the space of the other.

        Nothing where fewer than four studies have both.

        Raises:
            HarnessError: a prediction lacks the view, or no reference has it.
        """
        kept, real, made = pairs_of(self.view, predictions, references)
        told = [place for place, row in enumerate(kept) if (references[row].report or "").strip()]
        if len(told) < 4:
            return
        texts = _tfidf([references[kept[place]].report or "" for place in told])
        seen, drawn = (self._seen([images[place] for place in told]) for images in (real, made))
        half = np.array([_half(references[kept[place]].patient_id) for place in told])
        if len(set(half.tolist())) < 2 or min(half.sum(), (~half).sum()) < 2:
            half = np.arange(len(told)) % 2 == 0
        target = np.array([kept[place] for place in told])
        for one in (half, ~half):
            image_map, text_map = _space(seen[~one], texts[~one])
            yield target[one], image_map(seen[one]), image_map(drawn[one]), text_map(texts[one])

    def _seen(self, images: Sequence[Image]) -> Floats:
        return _coarse(images) if self.eyes == "coarse" else features(Lite0(), images)


class Alignment(Sighted):
    """Cosine of generated image and true report, and by how much it beats other patients' reports.

    * ``alignment_lite0``: mean cosine of a study's generated image with its own report;
    * ``alignment_gap_lite0``: that minus the mean cosine with the reports of all other studies of the half;
      0 for images that have nothing to do with their condition;
    * ``alignment_real_lite0``: the gap of the real images. Images that show nothing but what a report says
      can have a larger one.
    """

    name: ClassVar[str] = "alignment_lite0"
    outputs: ClassVar[tuple[MetricOutput, ...]] = (
        MetricOutput("alignment_lite0", bounds=(-1.0, 1.0)),
        MetricOutput("alignment_gap_lite0", bounds=(-2.0, 2.0)),
        MetricOutput("alignment_real_lite0", bounds=(-2.0, 2.0)),
    )

    @property
    def signature(self) -> str:
        """Identity of the numbers, down to the weights."""
        return f"{self.name}|{self.space()}|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """``[own, own - others, the same of the real image, 1]`` per study (n, 4).

        Zeros where a study has no real image of the view or no report.

        Raises:
            HarnessError: a prediction lacks the view, or no reference has it.
        """
        statistics = np.zeros((len(references), 4))
        for target, seen, drawn, words in self.judged(predictions, references):
            own, gap = _gap(drawn, words)
            ceiling = _gap(seen, words)[1]
            statistics[target] = np.stack([own, gap, ceiling, np.ones_like(own)], axis=1)
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Means over studies."""
        return {output.name: mean_of(totals, column, 3) for column, output in enumerate(self.outputs)}


class JointDistance(Sighted, JointMetric):
    """Fréchet distance of (image, report) pairs (DeVries et al. 2019), in the space that both share.

    FID sees images alone: shuffled among the conditions they score the same. Here the generated images with
    their conditions' reports are held against the real pairs, so that images which do not say what their
    report says are far away even if they are good images. The mean of the two halves, each judged in the
    other's space.

    Attributes:
        resamples, recentred: as for FID.
    """

    name: ClassVar[str] = "fjd_lite0"
    outputs: ClassVar[tuple[MetricOutput, ...]] = (
        MetricOutput("fjd_lite0", higher_is_better=False, bounds=(0.0, np.inf)),
    )
    resamples: ClassVar[int] = 200
    recentred: ClassVar[bool] = True

    @property
    def signature(self) -> str:
        """Identity of the numbers, down to the weights."""
        return f"{self.name}|{self.space()}|resamples:{self.resamples},recentred|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """``[half, real, generated, report]`` per study (n, 1 + 3 x 8), the half 1 or 2.

        Zeros where a study has no real image of the view or no report.

        Raises:
            HarnessError: a prediction lacks the view, or no reference has it.
        """
        statistics = np.zeros((len(references), 1 + 3 * WIDTH))
        for half, (target, *parts) in enumerate(self.judged(predictions, references), 1):
            statistics[target, 0] = half
            for number, part in enumerate(parts):
                start = 1 + number * WIDTH
                statistics[target, start : start + part.shape[1]] = part
        return statistics

    def joint(self, statistics: Statistics, weights: Floats) -> dict[str, Floats]:
        """Rows under each line of ``weights`` (B, n) to values (B,); NaN below two studies a half."""
        halves = [statistics[:, 0] == half for half in (1, 2)]
        real, made, words = np.split(statistics[:, 1:], 3, axis=1)
        pairs = np.hstack([real, words]), np.hstack([made, words])
        found = [
            frechet_distances(pairs[0][half], pairs[1][half], np.ascontiguousarray(weights[:, half]))
            for half in halves
        ]
        return {self.name: np.mean(found, axis=0)}

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """What real images score beside other patients' reports: nothing but the pairing is wrong."""
        told = statistics[statistics[:, 0] > 0]
        if len(told) < 4:
            return {}
        wrong = told.copy()
        for half in (1, 2):
            here = np.flatnonzero(told[:, 0] == half)
            wrong[here, 1 + WIDTH : 1 + 2 * WIDTH] = told[np.roll(here, 1), 1 : 1 + WIDTH]
        value = self.joint(wrong, np.ones((1, len(wrong))))[self.name][0]
        return {self.name: f"n {len(told)}; real images with other patients' reports score {value:.3g}"}


class CoarseAlignment(Alignment):
    """``alignment_coarse`` and its companions: the same with coarse eyes, which need no weights."""

    name: ClassVar[str] = "alignment_coarse"
    eyes: ClassVar[Literal["lite0", "coarse"]] = "coarse"
    outputs: ClassVar[tuple[MetricOutput, ...]] = (
        MetricOutput("alignment_coarse", bounds=(-1.0, 1.0)),
        MetricOutput("alignment_gap_coarse", bounds=(-2.0, 2.0)),
        MetricOutput("alignment_real_coarse", bounds=(-2.0, 2.0)),
    )


class CoarseJointDistance(JointDistance):
    """``fjd_coarse``: the same with coarse eyes, which need no weights."""

    name: ClassVar[str] = "fjd_coarse"
    eyes: ClassVar[Literal["lite0", "coarse"]] = "coarse"
    outputs: ClassVar[tuple[MetricOutput, ...]] = (
        MetricOutput("fjd_coarse", higher_is_better=False, bounds=(0.0, np.inf)),
    )


def _gap(images: Floats, words: Floats) -> tuple[Floats, Floats]:
    cosines = _unit(images) @ _unit(words).T
    own = np.diagonal(cosines)
    rest = (cosines.sum(1) - own) / max(1, len(own) - 1)
    return own, own - rest


def _unit(x: Floats) -> Floats:
    length: Floats = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)


class _Whitened:
    """Centred, projected on principal components, scaled to unit variance."""

    def __init__(self, x: Floats, rank: int) -> None:
        self.mean = x.mean(0)
        _, values, axes = np.linalg.svd(x - self.mean, full_matrices=False)
        deviation = values / np.sqrt(max(1, len(x) - 1))
        kept = min(rank, int((deviation > 1e-9).sum()), max(1, len(x) // 4))
        floor = _RIDGE * deviation[:1]
        self.axes = axes[:kept].T / np.sqrt(deviation[:kept] ** 2 + floor**2 + 1e-12)

    def __call__(self, x: Floats) -> Floats:
        found: Floats = (x - self.mean) @ self.axes
        return found


def _space(images: Floats, texts: Floats) -> tuple[_Projected, _Projected]:
    """Canonical directions of paired rows: the singular vectors of their whitened cross-covariance."""
    first, second = _Whitened(images, IMAGE_RANK), _Whitened(texts, TEXT_RANK)
    left, strength, right = np.linalg.svd(first(images).T @ second(texts) / len(images))
    width = min(WIDTH, len(strength))
    weight = np.sqrt(strength[:width])
    return _Projected(first, left[:, :width] * weight), _Projected(second, right[:width].T * weight)


class _Projected:
    """Whitening followed by canonical directions."""

    def __init__(self, whitened: _Whitened, directions: Floats) -> None:
        self.whitened, self.directions = whitened, directions

    def __call__(self, x: Floats) -> Floats:
        found: Floats = self.whitened(x) @ self.directions
        return found


def _tfidf(texts: Sequence[str]) -> Floats:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=2000)
    try:
        return np.asarray(vectors.fit_transform(texts).toarray(), dtype=np.float64)
    except ValueError:  # no word occurs twice
        return np.zeros((len(texts), 1))


def _half(patient: str) -> bool:
    return bool(hashlib.blake2b(patient.encode(), digest_size=1).digest()[0] & 1)
