"""FID and KID of generated images, over one of four feature extractors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError, UnavailableError
from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import JointMetric, MetricOutput, Statistics
from harness.metrics.images.extractors import (
    Extractor,
    Inception,
    Lite0,
    RadDino,
    XrayDenseNet,
    digest,
)
from harness.metrics.images.features import features
from harness.metrics.images.pairs import pairs_of

Floats = NDArray[np.float64]
Centred = tuple[Floats, Floats]
"""Mean (d,) of features, and A (n, d) with A^T A their unbiased covariance."""

RESAMPLES = 200
"""Bootstrap resamples behind an interval: every one of them costs a singular value decomposition."""

_MOST_ROWS, _ROWS_AT_ONCE = 10_000, 2_048
_BLOCK_CELLS = 4_000_000
"""Cells of one block of a kernel matrix: 32 MB of float64."""


class ImageMetric(JointMetric):
    """Distance of the generated from the real images of one view, in the features of one extractor.

    * ``fid_<extractor>``: Fréchet distance of two Gaussians (Heusel et al. 2017). It falls with n, so compare
      only at equal n and beside ``real_floor``.
    * ``kid_<extractor>``: unbiased squared MMD under the kernel (x.y / d + 1)^3 (Bińkowski et al. 2018), over
      all images at once rather than over random subsets. It may be slightly negative.

    Statistics are ``[1, real features (d), generated features (d)]``, all 0 where a study has no real image
    of the view. A weight is a share of the evidence, not a number of images: weights of 2 change nothing, and
    a study is never paired with its own copy, which would pull every bootstrap resample's KID up.

    Args:
        view: the view that is compared; one number over several views would mix two distributions.

    Attributes:
        resamples: the interval uses so many bootstrap resamples.
        recentred: replicates are moved onto the value (see ``statistics.bootstrap.centred``).
    """

    task: ClassVar[Task] = Task.SYNTHESIZE
    resamples: ClassVar[int] = RESAMPLES
    recentred: ClassVar[bool] = True
    mixed: ClassVar[bool] = False
    name: ClassVar[str]
    outputs: tuple[MetricOutput, ...]
    extractor: ClassVar[Extractor]

    def __init__(self, view: str = "frontal") -> None:
        self.view = view

    @property
    def signature(self) -> str:
        """Identity of the numbers, down to the weights."""
        try:
            weights = digest(self.extractor.source())
        except UnavailableError:
            weights = "absent"
        fields = [
            self.name,
            f"view:{self.view}",
            f"d:{self.extractor.width}",
            f"input:{self.extractor.preparation}",
            f"weights:{weights}",
            "kid:poly3-all",
            f"resamples:{self.resamples},recentred",
            "v:1",
        ]
        return "|".join(fields)

    def unavailable(self) -> str | None:
        """What is absent and how to get it, or None."""
        try:
            self.extractor.source()
        except UnavailableError as error:
            return str(error)
        return None

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Features per study, float64 (n_studies, 1 + 2 * d).

        Raises:
            HarnessError: a prediction lacks the view, or no reference has it.
        """
        indices, real, generated = pairs_of(self.view, predictions, references)
        width = self.extractor.width
        statistics = np.zeros((len(references), 1 + 2 * width))
        statistics[indices, 0] = 1.0
        statistics[indices, 1 : 1 + width] = features(self.extractor, real)
        statistics[indices, 1 + width :] = features(self.extractor, generated)
        return statistics

    def joint(self, statistics: Statistics, weights: Floats) -> dict[str, Floats]:
        """Values (B,) of statistics (n, 1 + 2 * d) under ``weights`` (B, n); NaN below two images."""
        used = (statistics[:, 0] == 1) & (weights > 0).any(axis=0)
        real, generated = np.split(statistics[used, 1:], 2, axis=1)
        weights = weights[:, used]
        fid = frechet_distances(real, generated, weights)
        return dict(
            zip((output.name for output in self.outputs), (fid, kid(real, generated, weights)), strict=True)
        )

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """Beside each number: how many images it compares, and what two halves of the real ones score."""
        n = int((statistics[:, 0] == 1).sum())
        if n < 4:
            return {}
        floor = real_floor(self, statistics)
        half = int(floor.pop("n"))
        return {
            name: f"n {n} real and {n} generated; two halves of the real ones (n {half}) score {value:.3g}"
            for name, value in floor.items()
        }


def frechet_distance(real: Floats, generated: Floats, weights: Floats | None = None) -> float:
    """Squared Fréchet distance between Gaussians fitted to features (n, d) and (n, d).

    |mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1 S_2)^(1/2), with weighted unbiased moments.

    Args:
        real, generated: features, at least two rows with weight.
        weights: (n,) shared by both sides; 1 by default. NaN results where fewer than two are positive.
    """
    return distance_of(centred_features(real, weights), centred_features(generated, weights))


def distance_of(first: Centred | None, second: Centred | None) -> float:
    """``frechet_distance`` of two sets, each as ``centred_features`` gives it; NaN where one has none."""
    if first is None or second is None:
        return float("nan")
    (mean_1, scaled_1), (mean_2, scaled_2) = first, second
    spread = np.square(scaled_1).sum() + np.square(scaled_2).sum()
    distance = np.square(mean_1 - mean_2).sum() + spread - 2.0 * trace_of_root(scaled_1, scaled_2)
    return max(0.0, float(distance))


def frechet_distances(real: Floats, generated: Floats, weights: Floats) -> Floats:
    """``frechet_distance`` (B,) of features (n, d) and (n, d) under each line of ``weights`` (B, n).

    Of fewer images than features all resamples share the inner products of the images: a resample then costs
    the singular values of the part of an (n, n) matrix that it drew, whatever d is.
    """
    if len(weights) == 1 or len(real) > real.shape[1]:
        return np.array([frechet_distance(real, generated, line) for line in weights])
    if not len(real):
        return np.full(len(weights), np.nan)
    centre = real.mean(axis=0)  # distances do not depend on it, rounding does
    real, generated = real - centre, generated - centre
    squares = np.square(real).sum(axis=1) + np.square(generated).sum(axis=1)
    across = real @ generated.T
    between = real @ real.T - across - across.T + generated @ generated.T
    norms = real @ real.T + generated @ generated.T
    total = weights.sum(axis=1, keepdims=True)
    shares = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    freedoms = 1.0 - np.square(shares).sum(axis=1)
    # What is quadratic in the shares alone is one product for all lines.
    spreads = shares @ squares - ((shares @ norms) * shares).sum(axis=1)
    means = ((shares @ between) * shares).sum(axis=1)
    distances = np.full(len(weights), np.nan)
    for line, freedom in enumerate(freedoms):
        indices = np.flatnonzero(weights[line] > 0)
        if len(indices) < 2 or freedom <= 0:
            continue
        share = shares[line, indices]
        cross = across[np.ix_(indices, indices)]
        cross -= share @ cross
        cross -= (cross @ share)[:, None]
        root = np.sqrt(share / freedom)
        cross *= root[:, None]
        cross *= root
        shared = np.linalg.svd(cross, compute_uv=False).sum()
        distances[line] = max(0.0, float(means[line] + spreads[line] / freedom - 2.0 * shared))
    return distances


def centred_features(features: Floats, weights: Floats | None = None) -> Centred | None:
    """Mean (d,), and A (n, d) with A^T A the unbiased covariance; studies without weight are left out.

    Of very many studies A is (d, d): the covariance is added up some rows at a time, so that memory does not
    grow with them.
    """
    weight = np.ones(len(features)) if weights is None else weights
    weighted = weight > 0
    share = weight[weighted] / weight[weighted].sum() if weighted.any() else weight[weighted]
    # Equals n - 1 over n for equal weights, and does not change when all of them double.
    freedom = 1.0 - np.square(share).sum()
    if weighted.sum() < 2 or freedom <= 0:
        return None
    if len(share) > _MOST_ROWS:
        return _moments(features, np.flatnonzero(weighted), share, freedom)
    mean = share @ features[weighted]
    return mean, np.sqrt(share / freedom)[:, None] * (features[weighted] - mean)


def _moments(features: Floats, rows: NDArray[np.intp], share: Floats, freedom: float) -> Centred:
    """``centred_features`` of the features in ``rows``, whose shares of the weight are ``share``."""
    width = features.shape[1]
    mean, covariance = np.zeros(width), np.zeros((width, width))
    blocks = [slice(start, start + _ROWS_AT_ONCE) for start in range(0, len(rows), _ROWS_AT_ONCE)]
    for block in blocks:
        mean += share[block] @ features[rows[block]]
    for block in blocks:
        part = np.sqrt(share[block] / freedom)[:, None] * (features[rows[block]] - mean)
        covariance += part.T @ part
    return mean, _root(covariance)


def trace_of_root(first: Floats, second: Floats) -> float:
    """tr (S_1 S_2)^(1/2) for S_i = A_i^T A_i, given A_1 (n, d) and A_2 (m, d); never forms a matrix root.

    With few images it is the sum of the singular values of A_1 A_2^T, an (n, m) matrix. With many, S_1 S_2
    has the eigenvalues of the symmetric R S_2 R^T where S_1 = R^T R.
    """
    if min(len(first), len(second)) <= first.shape[1]:
        return float(np.linalg.svd(first @ second.T, compute_uv=False).sum())
    half = second @ _root(first.T @ first).T
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(half.T @ half), 0.0)).sum())


def _root(covariance: Floats) -> Floats:
    """R (d, d) with R^T R the covariance."""
    try:
        return np.asarray(np.linalg.cholesky(covariance).T)
    except np.linalg.LinAlgError:  # features that depend on one another
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def kid(real: Floats, generated: Floats, weights: Floats) -> Floats:
    """Unbiased squared MMD (B,) of features (n, d) and (n, d) under each line of ``weights`` (B, n).

    All resamples are one product with each block of the kernel matrices, which are never held whole.
    """
    total = weights.sum(axis=1)
    pairs = total**2 - np.square(weights).sum(axis=1)
    within = np.zeros(len(weights))
    across = np.zeros(len(weights))
    for side in (real, generated):
        for block, kernel in kernel_blocks(side, side):
            columns = np.arange(len(side))[block]
            kernel[columns, columns - columns[0]] = 0.0
            within += ((weights @ kernel) * weights[:, block]).sum(axis=1)
    for block, kernel in kernel_blocks(real, generated):
        across += ((weights @ kernel) * weights[:, block]).sum(axis=1)
    undefined = np.full(len(weights), np.nan)
    inner = np.divide(within, pairs, out=undefined, where=pairs > 0)
    distance: Floats = inner - 2.0 * np.divide(across, total**2, out=np.zeros(len(weights)), where=total > 0)
    return distance


def kernel_blocks(first: Floats, second: Floats) -> Iterator[tuple[slice, Floats]]:
    """Rows of ``second`` with KID's kernel (n, rows) between all of ``first`` and them."""
    step = max(1, _BLOCK_CELLS // max(1, len(first)))
    for start in range(0, len(second), step):
        block = slice(start, start + step)
        yield block, _kernel(first, second[block])


def _kernel(first: Floats, second: Floats) -> Floats:
    base: Floats = first @ second.T / first.shape[1] + 1.0
    return base * base * base


def real_floor(
    metric: ImageMetric, statistics: Statistics, splits: int = 10, seed: int = 0
) -> dict[str, float]:
    """What the metric gives two halves of the real images: how far apart n / 2 images of one source come out.

    FID's bias falls roughly with 1 / n, so the floor at n is about half of this; a score below it is noise.

    Args:
        metric: the metric that made ``statistics``.
        statistics: (n, 1 + 2 * d); only the real side is read.
        splits: random halvings that are averaged.
        seed: of the halvings.

    Returns:
        A value per output of the metric, and ``n``, the images in a half.

    Raises:
        HarnessError: fewer than four real images.
    """
    width = (statistics.shape[1] - 1) // 2
    real = statistics[statistics[:, 0] == 1, 1 : 1 + width]
    half = len(real) // 2
    if half < 2:
        raise HarnessError(f"{len(real)} real images cannot be halved", "at least four are needed")
    rng = np.random.default_rng(seed)
    floors: dict[str, list[float]] = {output.name: [] for output in metric.outputs}
    for _ in range(splits):
        order = rng.permutation(len(real))
        first, second = real[order[:half]], real[order[half : 2 * half]]
        halves = np.concatenate([np.ones((half, 1)), first, second], axis=1)
        for name, value in metric.joint(halves, np.ones((1, half))).items():
            floors[name].append(float(value[0]))
    return {"n": float(half), **{name: float(np.mean(values)) for name, values in floors.items()}}


def _outputs(extractor: str) -> tuple[MetricOutput, ...]:
    return (
        MetricOutput(
            f"fid_{extractor}", higher_is_better=False, bounds=(0.0, float("inf")), unit="squared distance"
        ),
        MetricOutput(
            f"kid_{extractor}",
            higher_is_better=False,
            bounds=(-float("inf"), float("inf")),
            unit="squared distance",
        ),
    )


class InceptionDistance(ImageMetric):
    """FID and KID as most papers print them."""

    name, outputs, extractor = "images_inception", _outputs("inception"), Inception()


class XrayDistance(ImageMetric):
    """FID and KID in the features of a chest X-ray classifier."""

    name, outputs, extractor = "images_xrv", _outputs("xrv"), XrayDenseNet()


class RadDinoDistance(ImageMetric):
    """FID and KID in the features of a self-supervised chest X-ray model."""

    name, outputs, extractor = "images_raddino", _outputs("raddino"), RadDino()


class Lite0Distance(ImageMetric):
    """FID and KID in ImageNet features that need no download."""

    name, outputs, extractor = "images_lite0", _outputs("lite0"), Lite0()


class Lite0LateralDistance(ImageMetric):
    """The same of lateral views."""

    name, outputs, extractor = "images_lite0_lateral", _outputs("lite0_lateral"), Lite0()

    def __init__(self, view: str = "lateral") -> None:
        super().__init__(view)


class CompletedDistance(Lite0Distance):
    """FID and KID of a test set whose missing frontal views are replaced by generated ones.

    In the state that lacks the view, a study counts with its generated image, in every other state with its
    real image. Over missing rates it is the distance of the completed set from the real one; 0 if nothing is
    missing.
    """

    name, outputs = "images_completed", _outputs("lite0_completed")
    by_default: ClassVar[bool] = False
    completes: ClassVar[bool] = True
    mixed: ClassVar[bool] = True


class CompletedLateralDistance(Lite0LateralDistance):
    """The same of lateral views."""

    name, outputs = "images_completed_lateral", _outputs("lite0_completed_lateral")
    by_default: ClassVar[bool] = False
    completes: ClassVar[bool] = True
    mixed: ClassVar[bool] = True
