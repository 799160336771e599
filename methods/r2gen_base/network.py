"""The network of R2Gen's base model. Batch B, views N, patches of a view S, width E."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.common.lite0 import Lite0Stages
from methods.common.pixels import ImageNetScale, resized
from methods.common.pretrained import start
from methods.common.text import DecoderSize, TransformerDecoder
from methods.common.timm_weights import NETWORKS
from methods.common.views import PositionNorm, of_present
from methods.r2gen_base.config import R2GenBaseConfig


def _grid(maps: Tensor, side: int) -> Tensor:
    """Maps (M, C, h, w) to patches (M, S, C), S at most side x side."""
    size = (min(side, maps.shape[-2]), min(side, maps.shape[-1]))
    return F.adaptive_avg_pool2d(maps, size).flatten(2).transpose(1, 2)


class FrozenPatches(nn.Module):
    """Patches of a frozen Lite0's map, standardised over the training studies."""

    def __init__(self, config: R2GenBaseConfig, views: int) -> None:
        super().__init__()
        self.config = config
        self.lite0 = Lite0Stages((config.stage,), config.grid)
        self.channels: int = self.lite0.channels[0]
        side = min(-(-config.image_size // self.lite0.strides[0]), config.grid)
        self.norm = PositionNorm(views, side**2 * self.channels)

    def frozen(self, images: Tensor, present: Tensor) -> Tensor:
        """Images (B, N, C, H, W) in [0, 1] to what no training step changes, (B, N, S, c)."""
        images = resized(images, self.config.image_size)
        return of_present(lambda flat: [_grid(self.lite0(flat)[0], self.config.grid)], images, present)[0]

    def forward(self, trunk: Tensor, present: Tensor) -> Tensor:
        """(B, N, S, c) to patches of the same shape; zeros where a view is absent."""
        return self.norm(trunk, present)


class TrainedPatches(nn.Module):
    """Patches of one trained network of timm, which reads all views."""

    def __init__(self, config: R2GenBaseConfig, views: int) -> None:
        super().__init__()
        import timm

        self.config = config
        network: Any = timm.create_model(NETWORKS[config.backbone][0], pretrained=False, num_classes=0)
        start(network, config.backbone_part)
        self.network: Any = network.to(memory_format=torch.channels_last)
        self.channels: int = network.num_features
        self.scale = ImageNetScale()

    def frozen(self, images: Tensor, present: Tensor) -> Tensor:
        """Nothing is frozen: the images themselves."""
        return resized(images, self.config.image_size)

    def forward(self, images: Tensor, present: Tensor) -> Tensor:
        """Images (B, N, C, H, W) in [0, 1] to patches (B, N, S, c); zeros where a view is absent."""

        def patches(flat: Tensor) -> list[Tensor]:
            pixels = self.scale(flat).contiguous(memory_format=torch.channels_last)
            return [_grid(self.network.forward_features(pixels), self.config.grid)]

        return of_present(patches, images, present, self.network)[0]


class R2GenBaseNetwork(nn.Module):
    """Patches of all views through a Transformer encoder into a Transformer decoder."""

    def __init__(self, vocabulary: int, config: R2GenBaseConfig, views: int) -> None:
        super().__init__()
        kind = FrozenPatches if config.backbone == "frozen-lite0" else TrainedPatches
        self.vision: FrozenPatches | TrainedPatches = kind(config, views)
        width = config.width
        self.project = nn.Linear(self.vision.channels, width)
        self.positions = nn.Parameter(0.02 * torch.randn(views, config.grid**2, width))
        self.null = nn.Parameter(0.02 * torch.randn(width))
        self.drop = nn.Dropout(config.input_dropout)
        layer = nn.TransformerEncoderLayer(
            width,
            config.heads,
            config.feed_forward,
            config.dropout,
            "relu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(
            layer, config.layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        size = DecoderSize(
            width,
            config.heads,
            config.layers,
            config.feed_forward,
            limit=config.report_words + 2,
            dropout=config.dropout,
        )
        self.decoder = TransformerDecoder(vocabulary, size)

    def encode(self, trunk: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Output of ``vision.frozen`` and bool (B, N) to memory (B, 1 + N S, E) and its mask; 0 is null."""
        patches = self.vision(trunk, present)
        count = patches.shape[2]
        tokens = self.drop(F.relu(self.project(patches))) + self.positions[:, :count]
        null = self.null.expand(len(tokens), 1, -1)
        memory = torch.cat([null, tokens.flatten(1, 2)], dim=1)
        mask = torch.cat([~present.any(1, keepdim=True), present.repeat_interleave(count, dim=1)], dim=1)
        return self.encoder(memory, src_key_padding_mask=~mask), mask
