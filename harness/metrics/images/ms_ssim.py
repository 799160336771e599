"""Multi-scale structural similarity of generated and true images, equal to torchmetrics'."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.packages import lacking
from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.images.pairs import pairs_of

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[Any]
"""An image, uint8 or float32."""

SMALLEST = 176
"""Pixels of a side that five scales under an 11 x 11 window need."""

_BATCH = 4
"""Pairs at a time: few enough that their maps stay in a processor's cache."""
_REACH = 5
_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales (Wang et al. 2003)."""
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class MsSsim(Metric):
    """``ms_ssim``: mean MS-SSIM (Wang et al. 2003) of each study's generated image of a view with its own.

    High for an image of the same chest. It says nothing about variety: between images of one method it would
    be a measure of sameness, which this is not. Images are grey; smaller ones than 176 px are enlarged.
    """

    name: ClassVar[str] = "ms_ssim"
    task: ClassVar[Task] = Task.SYNTHESIZE
    outputs: tuple[MetricOutput, ...] = (MetricOutput("ms_ssim"),)
    view: ClassVar[str] = "frontal"

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return (
            f"{self.name}|view:{self.view}|input:grey,{SMALLEST}-bilinear-if-smaller|window:gauss11,1.5|scales:5"
            "|impl:harness,as-torchmetrics|v:1"
        )

    def unavailable(self) -> str | None:
        """One line if torch is absent."""
        return lacking("images", "torch")

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """``[similarity, 1]`` per study (n, 2); zeros where a study has no real image of the view.

        Raises:
            HarnessError: a prediction lacks the view, or no reference has it.
        """
        indices, real, generated = pairs_of(self.view, predictions, references)
        statistics = np.zeros((len(references), 2))
        statistics[indices, 0] = similarity(real, generated)
        statistics[indices, 1] = 1.0
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Mean over studies."""
        return {self.outputs[0].name: mean_of(totals)}


class MsSsimLateral(MsSsim):
    """``ms_ssim_lateral``: the same of lateral views."""

    name: ClassVar[str] = "ms_ssim_lateral"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("ms_ssim_lateral"),)
    view: ClassVar[str] = "lateral"


def similarity(first: Sequence[Pixels], second: Sequence[Pixels]) -> NDArray[np.float64]:
    """MS-SSIM (n,) of pairs of images (H, W) or (H, W, C) of one size, from 0 to 255, in [0, 1]."""
    import torch
    from torch.nn.functional import avg_pool2d, interpolate

    similarities = []
    for start in range(0, len(first), _BATCH):
        pair = []
        for side in (first, second):
            pixels = np.stack([image.reshape(*image.shape[:2], -1) for image in side[start : start + _BATCH]])
            grey = torch.from_numpy(pixels).float().mean(-1)[:, None]
            if min(grey.shape[-2:]) < SMALLEST:
                grey = interpolate(grey, (SMALLEST, SMALLEST), mode="bilinear", align_corners=False)
            pair.append(grey)
        stacked, product = torch.cat(pair, dim=1), torch.ones(len(pair[0]), dtype=torch.float64)
        for scale, power in enumerate(_POWERS):
            whole = scale == len(_POWERS) - 1
            product *= _scale(stacked, whole).double().clamp(0, 1) ** power
            stacked = avg_pool2d(stacked, 2)
        similarities.append(product.numpy())
    return np.concatenate(similarities)


def _scale(pair: Tensor, whole: bool) -> Tensor:
    """Structure and contrast (B,) of images (B, 2, H, W) at one scale; with ``whole`` also their luminance.

    As torchmetrics has it, windows lie inside of the image, but at the last scale they reach over its edge,
    where it is mirrored.
    """
    import torch

    first, second = pair[:, 0], pair[:, 1]
    maps = torch.stack([first, second, first * first, second * second, first * second], dim=1)
    if whole:
        maps = torch.nn.functional.pad(maps, (_REACH, _REACH, _REACH, _REACH), mode="reflect")
    mean_1, mean_2, square_1, square_2, mixed = _filtered(_filtered(maps, -1), -2).unbind(1)
    variances = (square_1 - mean_1.square()).clamp(min=0) + (square_2 - mean_2.square()).clamp(min=0)
    structure = (2 * (mixed - mean_1 * mean_2) + _C2) / (variances + _C2)
    if whole:
        structure = structure * (2 * mean_1 * mean_2 + _C1) / (mean_1.square() + mean_2.square() + _C1)
    return structure.mean((-2, -1))


def _filtered(maps: Tensor, side: int) -> Tensor:
    """Gaussian means of ``maps`` under each window of 11 pixels that lies inside of one side.

    Sums of shifted maps: a tenth of the products of a convolution that knows no symmetry and no separation.
    """
    length = maps.shape[side] - 2 * _REACH
    centre, *weights = _gauss()
    means = maps.narrow(side, _REACH, length) * centre
    for distance, weight in enumerate(weights, start=1):
        before, after = (maps.narrow(side, _REACH + shift, length) for shift in (-distance, distance))
        means.add_(before + after, alpha=weight)
    return means


@cache
def _gauss() -> tuple[float, ...]:
    """Weights of a window's centre and of the pixels 1 to 5 beside it; all eleven sum to 1."""
    half = np.exp(-0.5 * (np.arange(_REACH + 1) / 1.5) ** 2)
    return tuple((half / (2 * half.sum() - half[0])).tolist())
