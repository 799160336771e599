"""The multiscale vision encoder (MSVE): backbone stages C2 to C5, pyramid P2 to P5, fusion, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.common.layers import RMSNorm
from methods.common.lite0 import Lite0Stages, averaged
from methods.common.pixels import ImageNetScale, resized
from methods.common.pretrained import start
from methods.common.timm_weights import NETWORKS
from methods.common.views import PositionNorm, of_present
from methods.micar_vlmoe.config import MicarConfig


def scaled_to(x: Tensor, like: Tensor) -> Tensor:
    """lambda(x, like): ``x`` at the height and width of ``like``."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, like.shape[-2:], mode="bilinear")


class TrainedStages(nn.Module):
    """ResNet-101 or Lite0: images (B, C, H, W) in [0, 1] to C2 to C5, at H/4 to H/32.

    ResNet-101's have 256 to 2,048 channels.
    """

    def __init__(self, config: MicarConfig) -> None:
        """Raises HarnessError: no such weights, or those of another network."""
        super().__init__()
        import timm

        name, _ = NETWORKS[config.backbone]
        network: Any = timm.create_model(name, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4))
        self.network = network
        self.channels: list[int] = network.feature_info.channels()
        start(network, config.backbone_part)
        self.scale = ImageNetScale()
        self.side = config.map_side

    def forward(self, images: Tensor) -> list[Tensor]:
        """Grey images are shown in all three channels."""
        maps = self.network(self.scale(images).contiguous(memory_format=torch.channels_last))
        return [averaged(x, self.side) if self.side else x for x in maps]


def refined(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """phi (1x1) and Psi (3x3): convolution, batch normalisation, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class FeaturePyramid(nn.Module):
    """C2 to C5 (any number of maps, finest first) to F, which has the first map's height and width."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(refined(size, width, 1) for size in channels)
        self.fusion = refined(width, width, 3)

    def levels(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """P2 to P5."""
        pyramid: list[Tensor] = []
        for phi, feature in zip(reversed(self.lateral), reversed(maps), strict=True):
            level = phi(feature)
            if pyramid:
                level = level + scaled_to(pyramid[0], level)  # P_i = phi(C_i) + lambda(P_i+1, C_i)
            pyramid.insert(0, level)
        return pyramid

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (M, c_i, h_i, w_i) to F (M, d_v, h_1, w_1)."""
        finest, *coarser = self.levels(maps)
        total = finest
        for level in coarser:
            total = total + scaled_to(level, finest)
        return self.fusion(total)


class VisionEncoder(nn.Module):
    """Views to the patch features Z (B, N, s, d_v), s = grid squared."""

    def __init__(self, config: MicarConfig, views: int) -> None:
        super().__init__()
        self.config = config
        frozen = config.backbone == "frozen-lite0"
        self.frozen = Lite0Stages(config.stages, config.map_side) if frozen else None
        self.backbone = None if frozen else TrainedStages(config)
        source = self.frozen or self.backbone
        assert source is not None
        channels = source.channels
        self.norms = nn.ModuleList()
        if self.frozen is not None:
            sides = [self._side(stride) for stride in self.frozen.strides]
            self.norms.extend(
                PositionNorm(views, size * side**2) for size, side in zip(channels, sides, strict=True)
            )
        self.pyramid = FeaturePyramid(channels, config.vision_width) if config.msve else None
        self.width = config.vision_width if config.msve else channels[-1]
        self.pool = nn.AdaptiveAvgPool2d(config.grid)
        self.to(memory_format=torch.channels_last)

    def trunk(self, images: Tensor, present: Tensor) -> list[Tensor]:
        """What frozen layers make of images (B, N, C, H, W) in [0, 1]; where none is, the images."""
        images = resized(images, self.config.image_size)
        if self.frozen is None:
            return [images]
        return of_present(self.frozen, images, present)

    def forward(self, trunk: Sequence[Tensor], present: Tensor) -> Tensor:
        """Output of ``trunk`` and bool (B, N) to (B, N, s, d_v); zeros for views that are not there."""
        if self.norms:
            trunk = [norm(x, present) for norm, x in zip(self.norms, trunk, strict=True)]
        return of_present(self._patches, trunk, present, self)[0]

    def _patches(self, *flat: Tensor) -> list[Tensor]:
        maps = list(flat) if self.backbone is None else self.backbone(*flat)
        feature = maps[-1] if self.pyramid is None else self.pyramid(maps)
        return [self.pool(feature).flatten(2).mT]

    def _side(self, stride: int) -> int:
        side = -(-self.config.image_size // stride)
        return min(side, self.config.map_side) if self.config.map_side else side


class ImageTokens(nn.Module):
    """Patch features to image tokens: RMSNorm, projection, and which view they come from.

    Token N s is a learned null vector, there only where no view is.
    """

    def __init__(self, config: MicarConfig, inputs: int, views: int) -> None:
        super().__init__()
        self.project = nn.Sequential(RMSNorm(inputs), nn.Linear(inputs, config.width))
        self.view = nn.Parameter(0.02 * torch.randn(views, 1, config.width))
        self.null = nn.Parameter(0.02 * torch.randn(config.width))

    def forward(self, patches: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, s, d_v) and bool (B, N) to tokens (B, N s + 1, E) and their mask."""
        tokens = self.project(patches) + self.view
        mask = present.repeat_interleave(patches.shape[2], dim=1)
        null = self.null.to(tokens.dtype).expand(len(tokens), 1, -1)
        absent = ~present.any(1, keepdim=True)
        return torch.cat([tokens.flatten(1, 2), null], dim=1), torch.cat([mask, absent], dim=1)
