"""Features of images: of one trained network per modality; those of a frozen one are methods.common's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.baselines.config import FusionConfig
from methods.common.backbones import view_networks


class TrainedFeatures(nn.Module):
    """One trained network per modality: images (B, N, C, H, W) to pooled features (B, N, S)."""

    def __init__(self, config: FusionConfig, views: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(view_networks(config.backbone, config.backbone_part, views))
        self.width: int = self.networks[0].width  # type: ignore[assignment]

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """The images themselves: every layer is trained."""
        return pixels

    def forward(self, pixels: Tensor, present: Tensor) -> Tensor:
        """Zeros where a modality is absent."""
        columns = [
            network(pixels[:, view : view + 1], present[:, view : view + 1])
            for view, network in enumerate(self.networks)
        ]
        return torch.cat(columns, dim=1)
