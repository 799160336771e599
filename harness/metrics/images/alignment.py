"""Do generated images agree with the true report? Measured in a space that images and reports share.

The space comes from the real test pairs alone, by canonical correlation analysis, the linear relative of
contrastive learning: features of an image on one side, TF-IDF of its report on the other. It is fitted on one
half of the patients and used on the other half, both ways round: no pair is scored in a space that was fitted
on it, and no method in its own contrastive space.

There are two kinds of image features: ``lite0``, those of EfficientNet-Lite0, which small artefacts and blur
change strongly; and ``coarse``, grey levels of 16 x 16 areas, which show where an image is bright and no
texture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import UnavailableError
from harness.core.packages import lacking
from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import JointMetric, Metric, MetricOutput, Statistics, mean_of
from harness.metrics.images import shared_space
from harness.metrics.images.distances import frechet_distances
from harness.metrics.images.extractors import Floats, Image, Lite0, digest
from harness.metrics.images.features import features
from harness.metrics.images.pairs import pairs_of
from harness.metrics.images.shared_space import GRID, IMAGE_RANK, TEXT_RANK, WIDTH

Half = tuple[NDArray[np.intp], Floats, Floats, Floats]
"""Indices of m references; their real images, generated images and reports in the shared space, (m, <= 8)."""


class SharedSpaceMetric(Metric):
    """What the metrics of this file have in common: which image features, and which view.

    Attributes:
        image_features: ``lite0`` or ``coarse``.
        view: the view that is compared.
    """

    name: ClassVar[str]
    task: ClassVar[Task] = Task.SYNTHESIZE
    view: ClassVar[str] = "frontal"
    plain: ClassVar[bool] = False
    image_features: ClassVar[Literal["lite0", "coarse"]] = "lite0"

    def unavailable(self) -> str | None:
        """What is absent and how to get it, or None."""
        if (reason := lacking("images", "sklearn")) is not None:
            return reason
        if self.image_features == "coarse":
            return None
        try:
            Lite0().source()
        except UnavailableError as error:
            return str(error)
        return None

    def space(self) -> str:
        """Part of the signature that says in which space images and reports meet."""
        if self.image_features == "coarse":
            description, weights = f"grey{GRID}x{GRID}-pca{IMAGE_RANK}", "none"
        else:
            size = Lite0.preparation.partition(",")[0]
            description, weights = f"lite0@{size}-pca{IMAGE_RANK}", "absent"
            if self.unavailable() is None:
                weights = digest(Lite0().source())
        return (
            f"view:{self.view}|space:cca{WIDTH}({description},tfidf-svd{TEXT_RANK})"
            f"|fit:real-test-pairs,two-halves-of-patients|weights:{weights}"
        )

    def halves(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Iterator[Half]:
        """The two halves of the patients that have the view and a report, each in the space of the other.

        Nothing where fewer than four studies have both.

        Raises:
            HarnessError: a prediction lacks the view, or no reference has it.
        """
        indices, real, generated = pairs_of(self.view, predictions, references)
        places = [place for place, row in enumerate(indices) if (references[row].report or "").strip()]
        if len(places) < 4:
            return
        (texts,) = shared_space.tfidf([references[indices[place]].report or "" for place in places])
        real_features, generated_features = (
            self._features([images[place] for place in places]) for images in (real, generated)
        )
        half = shared_space.halves([references[indices[place]] for place in places])
        target = np.array([indices[place] for place in places])
        for one in (half, ~half):
            image_map, text_map = shared_space.space(real_features[~one], texts[~one])
            yield (
                target[one],
                image_map(real_features[one]),
                image_map(generated_features[one]),
                text_map(texts[one]),
            )

    def _features(self, images: Sequence[Image]) -> Floats:
        return shared_space.coarse(images) if self.image_features == "coarse" else features(Lite0(), images)


class Alignment(SharedSpaceMetric):
    """Cosine of generated image and true report, and by how much it beats other patients' reports.

    * ``alignment_lite0``: mean cosine of a study's generated image with its own report;
    * ``alignment_gap_lite0``: that minus the mean cosine with the reports of all other studies of the half;
      0 for images that have nothing to do with their condition;

    A remark has the gap of the real images. Images that show only what a report says can have a larger one.
    It is no number of its own: the space is fitted on each test set and moves it more than the patients do,
    so that an interval over patients contained its mean over test sets in 70 % of 400.
    """

    name: ClassVar[str] = "alignment_lite0"
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("alignment_lite0", bounds=(-1.0, 1.0)),
        MetricOutput("alignment_gap_lite0", bounds=(-2.0, 2.0)),
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
        for target, real, generated, words in self.halves(predictions, references):
            own, gap = shared_space.gap(generated, words)
            ceiling = shared_space.gap(real, words)[1]
            statistics[target] = np.stack([own, gap, ceiling, np.ones_like(own)], axis=1)
        return statistics

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """The gap of the real images."""
        totals = statistics.sum(axis=0)
        if not totals[3]:
            return {}
        return {self.outputs[1].name: f"n {totals[3]:.0f}; real images score {mean_of(totals, 2, 3):.3g}"}

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Means over studies."""
        return {output.name: mean_of(totals, column, 3) for column, output in enumerate(self.outputs)}


class JointDistance(SharedSpaceMetric, JointMetric):
    """Fréchet distance of (image, report) pairs (DeVries et al. 2019), in the space that both share.

    FID compares images alone: shuffled among the conditions they score the same. Here the generated images
    with their conditions' reports are compared with the real pairs, so images that do not agree with their
    report are far away even if they are good images. The value is the mean of the two halves, each in the
    space that was fitted on the other half.

    Attributes:
        resamples, recentred, mixed: as for FID.
    """

    name: ClassVar[str] = "fjd_lite0"
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("fjd_lite0", higher_is_better=False, bounds=(0.0, np.inf), unit="squared distance"),
    )
    resamples: ClassVar[int] = 200
    recentred: ClassVar[bool] = True
    mixed: ClassVar[bool] = False

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
        for half, (target, *parts) in enumerate(self.halves(predictions, references), 1):
            statistics[target, 0] = half
            for number, part in enumerate(parts):
                start = 1 + number * WIDTH
                statistics[target, start : start + part.shape[1]] = part
        return statistics

    def joint(self, statistics: Statistics, weights: Floats) -> dict[str, Floats]:
        """Rows under each line of ``weights`` (B, n) to values (B,); NaN below two studies a half."""
        halves = [statistics[:, 0] == half for half in (1, 2)]
        real, generated, words = np.split(statistics[:, 1:], 3, axis=1)
        pairs = np.hstack([real, words]), np.hstack([generated, words])
        distances = [
            frechet_distances(pairs[0][half], pairs[1][half], np.ascontiguousarray(weights[:, half]))
            for half in halves
        ]
        return {self.name: np.mean(distances, axis=0)}

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """What real images score beside other patients' reports: nothing but the pairing is wrong."""
        scored = statistics[statistics[:, 0] > 0]
        if len(scored) < 4:
            return {}
        mismatched = scored.copy()
        for half in (1, 2):
            here = np.flatnonzero(scored[:, 0] == half)
            mismatched[here, 1 + WIDTH : 1 + 2 * WIDTH] = scored[np.roll(here, 1), 1 : 1 + WIDTH]
        value = self.joint(mismatched, np.ones((1, len(mismatched))))[self.name][0]
        return {self.name: f"n {len(scored)}; real images with other patients' reports score {value:.3g}"}


class CoarseAlignment(Alignment):
    """``alignment_coarse`` and its companions: the same with coarse image features, which need no weights."""

    name: ClassVar[str] = "alignment_coarse"
    image_features: ClassVar[Literal["lite0", "coarse"]] = "coarse"
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("alignment_coarse", bounds=(-1.0, 1.0)),
        MetricOutput("alignment_gap_coarse", bounds=(-2.0, 2.0)),
    )


class CoarseJointDistance(JointDistance):
    """``fjd_coarse``: the same with coarse image features, which need no weights."""

    name: ClassVar[str] = "fjd_coarse"
    image_features: ClassVar[Literal["lite0", "coarse"]] = "coarse"
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("fjd_coarse", higher_is_better=False, bounds=(0.0, np.inf), unit="squared distance"),
    )
