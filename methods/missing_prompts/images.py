"""Tokens of views: patches of pixels, or cells of a frozen network's map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.common.backbones import FrozenFeatures
from methods.common.pixels import ImageNetScale
from methods.missing_prompts.config import MissingPromptsConfig


class PatchTokens(nn.Module):
    """ViLT's patches: one linear map of their pixels. An absent view is a white image, the paper's dummy.

    Attributes:
        count: P.
    """

    def __init__(self, config: MissingPromptsConfig, views: int) -> None:
        super().__init__()
        self.count = (config.image_size // config.patch) ** 2
        self.scale = ImageNetScale()
        self.map = nn.Conv2d(3, config.width, config.patch, config.patch)

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """The images themselves: the map is trained in the first stage."""
        return pixels

    def forward(self, pixels: Tensor, present: Tensor) -> Tensor:
        """Images (B, N, C, H, W) to tokens (B, N, P, E)."""
        seen = torch.where(present[..., None, None, None], pixels, torch.ones_like(pixels))
        tokens = self.map(self.scale(seen.flatten(0, 1))).flatten(2).transpose(1, 2)
        return tokens.unflatten(0, present.shape)


class CellTokens(nn.Module):
    """Cells of a frozen Lite0's map, through a linear map per view.

    An absent view has the mean features of the training studies.

    Attributes:
        count: P.
    """

    def __init__(self, config: MissingPromptsConfig, views: int) -> None:
        super().__init__()
        self.features = FrozenFeatures(views, config.stage, config.grid)
        self.cells, self.side = config.cells, config.grid // config.cells
        self.count = config.cells**2
        size = self.features.channels * self.side**2
        self.dropout = nn.Dropout(config.feature_dropout)
        self.maps = nn.ModuleList(nn.Linear(size, config.width) for _ in range(views))

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """Images (B, N, C, H, W) to what no training step changes, (B, N, S)."""
        return self.features.trunk(pixels, present)

    def forward(self, trunk: Tensor, present: Tensor) -> Tensor:
        """(B, N, S) to tokens (B, N, P, E)."""
        shape = (self.features.channels, self.cells, self.side, self.cells, self.side)
        cells = self.features(trunk, present).unflatten(2, shape).permute(0, 1, 3, 5, 2, 4, 6)
        cells = self.dropout(cells.flatten(4).flatten(2, 3))
        return torch.stack([each(cells[:, view]) for view, each in enumerate(self.maps)], dim=1)
