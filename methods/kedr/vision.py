"""Image backbones and the encoders on top of them (Eq. 1-4). Batch B, two modalities, width d."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.common.lite0 import Lite0Stages
from methods.common.pixels import ImageNetScale
from methods.common.pretrained import start
from methods.common.timm_weights import NETWORKS
from methods.common.views import PositionNorm, of_present
from methods.kedr.config import KEDRConfig

MODALITIES = 2
ANGLE, BRIGHTNESS = math.pi / 6, 0.2
"""Widest turn in radians, and widest change of brightness, of an augmented image."""


class Tower(nn.Module):
    """A trained backbone: images (M, C, H, W) in [0, 1] to features (M, d)."""

    def __init__(self, config: KEDRConfig) -> None:
        super().__init__()
        import timm

        network: Any = timm.create_model(NETWORKS[config.vision][0], pretrained=False)
        self.network = network
        start(network, config.backbone_part)
        network.reset_classifier(0)
        size: int = network.num_features
        self.project = nn.Identity() if size == config.width else nn.Linear(size, config.width)
        self.scale = ImageNetScale()
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Grey images are shown in all three channels."""
        x = self.scale(images).contiguous(memory_format=torch.channels_last)
        return [self.project(self.network(x))]


class TrainedVision(nn.Module):
    """One tower per modality."""

    def __init__(self, config: KEDRConfig) -> None:
        super().__init__()
        self.towers = nn.ModuleList(Tower(config) for _ in range(MODALITIES))
        self.augment = config.augment

    def trunk(self, images: Tensor, present: Tensor) -> list[Tensor]:
        """No layer is frozen: the images (B, 2, C, H, W) themselves."""
        return [images]

    def forward(self, trunk: Sequence[Tensor], present: Tensor) -> Tensor:
        """Images (B, 2, C, H, W) and bool (B, 2) to x (B, 2, d); zeros where a modality is absent."""
        (images,) = trunk
        columns = []
        for number, tower in enumerate(self.towers):
            view = images[:, number]
            if self.training and self.augment and not view.is_meta:
                view = augmented(view)
            (x,) = of_present(tower, view[:, None], present[:, number : number + 1], tower)
            columns.append(x[:, 0])
        return torch.stack(columns, dim=1)


class FrozenVision(nn.Module):
    """Frozen EfficientNet-Lite0 for both modalities, standardised, and one projection each."""

    def __init__(self, config: KEDRConfig) -> None:
        super().__init__()
        self.backbone = Lite0Stages(config.stages, config.grid)
        self.grid = config.grid
        size = sum(self.backbone.channels) * config.grid**2
        self.norm = PositionNorm(MODALITIES, size)
        self.project = nn.ModuleList(nn.Linear(size, config.width) for _ in range(MODALITIES))
        self.dropout = nn.Dropout(config.dropout)

    def trunk(self, images: Tensor, present: Tensor) -> list[Tensor]:
        """Images (B, 2, C, H, W) to pooled maps (B, 2, F)."""
        return of_present(self._pooled, images, present)

    def forward(self, trunk: Sequence[Tensor], present: Tensor) -> Tensor:
        """Pooled maps (B, 2, F) and bool (B, 2) to x (B, 2, d); zeros where a modality is absent."""
        x = self.dropout(self.norm(trunk[0], present))
        columns = [project(x[:, number]) for number, project in enumerate(self.project)]
        return torch.stack(columns, dim=1) * present[..., None]

    def _pooled(self, images: Tensor) -> list[Tensor]:
        maps = self.backbone(images)
        return [torch.cat([F.adaptive_avg_pool2d(x, self.grid).flatten(1) for x in maps], dim=1)]


def augmented(images: Tensor) -> Tensor:
    """Each of (B, C, H, W) in [0, 1] flipped or not on both axes, turned by up to 30 degrees, brightened."""
    size = (len(images), 1)
    draw: dict[str, Any] = {"device": images.device, "dtype": images.dtype}
    angle = (torch.rand(size, **draw) * 2 - 1) * ANGLE
    flips = (torch.rand(len(images), 2, **draw) < 0.5).to(images.dtype) * 2 - 1
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(size, **draw)
    rows = torch.stack([torch.cat([cos, -sin, zero], dim=1), torch.cat([sin, cos, zero], dim=1)], dim=1)
    grid = F.affine_grid(rows * flips[..., None], list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    gain = 1 + (torch.rand(len(images), 1, 1, 1, **draw) * 2 - 1) * BRIGHTNESS
    return (turned * gain).clamp(0.0, 1.0)


class Block(nn.Module):
    """LayerNorm(x + W2 ReLU(W1 x)), half as wide inside: (B, d) to (B, d)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width // 2), nn.Linear(width // 2, width)
        self.dropout, self.norm = nn.Dropout(dropout), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d) to (B, d)."""
        return self.norm(x + self.outer(self.dropout(F.relu(self.inner(x)))))


class SpecificEncoder(nn.Module):
    """f_m of one modality: what its backbone gives, or a residual block on top."""

    def __init__(self, config: KEDRConfig) -> None:
        super().__init__()
        self.block = Block(config.width, config.dropout) if config.specific == "block" else nn.Identity()

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """x (B, d) and bool (B,) to f_m (B, d), zeros where absent."""
        return self.block(x) * present[:, None]


class SharedEncoder(nn.Module):
    """f_s by cross-modal co-attention."""

    def __init__(self, config: KEDRConfig) -> None:
        super().__init__()
        self.maps = nn.ModuleList(Block(config.width, config.dropout) for _ in range(MODALITIES))
        self.gates = nn.ModuleList(nn.Linear(config.width, 1) for _ in range(MODALITIES))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """x (B, 2, d) and bool (B, 2) to f_s (B, d); an absent modality contributes zeros."""
        mapped = [phi(x[:, number]) * present[:, number, None] for number, phi in enumerate(self.maps)]
        interaction = mapped[0] * mapped[1]  # Eq. (3)
        gates = [torch.sigmoid(gate(interaction)) for gate in self.gates]
        return gates[0] * mapped[0] + gates[1] * mapped[1]  # Eq. (4)
