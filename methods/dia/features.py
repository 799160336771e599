"""Feature extraction and fusion: F_V, F_L and the modality abstractor's F_VL."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.common.layers import embedding, sinusoids
from methods.common.lite0 import Lite0Stages
from methods.common.pretrained import start
from methods.common.text import PAD
from methods.common.views import PositionNorm, of_present
from methods.dia.config import DiAConfig

STRIDES = (2, 4, 8, 16, 16, 32, 32)
"""Pixels per feature after each EfficientNet stage."""


def standardised(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] less ImageNet's mean over channels, in units of its deviation."""
    return (pixels - 0.449) / 0.226


def pooled(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, S, E) over the positions where ``mask`` (B, S) holds."""
    weights = mask[..., None].to(tokens.dtype)
    return (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)


class GuidedContextAttention(nn.Module):
    """Spatial gate guided by a global context vector (arXiv 2406.13126): (B, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(8, channels // 8)
        self.score = nn.Conv2d(channels, 1, 1)
        self.reduce, self.norm = nn.Linear(channels, inner), nn.LayerNorm(inner)
        self.expand = nn.Linear(inner, channels)
        self.of_feature = nn.Conv2d(channels, inner, 1, bias=False)
        self.of_guide = nn.Conv2d(channels, inner, 1)
        self.gate = nn.Conv2d(inner, 1, 1)

    def forward(self, feature: Tensor) -> Tensor:
        """Gate every position of ``feature`` by alpha in [0, 1]."""
        weights = self.score(feature).flatten(2).softmax(-1)  # over H x W
        context = (feature.flatten(2) * weights).sum(-1)
        context = self.expand(self.norm(F.relu(self.reduce(context))))
        guide = feature + context[:, :, None, None]
        alpha = torch.sigmoid(self.gate(F.relu(self.of_feature(feature) + self.of_guide(guide))))
        return alpha * feature


class Backbone(nn.Module):
    """EfficientNet cut after ``backbone_stages`` stages: (B, C, H, W) to (B, channels, h, w)."""

    def __init__(self, config: DiAConfig, channels: int) -> None:
        super().__init__()
        import timm

        net: Any = timm.create_model(config.backbone, pretrained=False)
        start(net, config.backbone_part)
        frozen = config.freeze_stages
        if channels == 1 and not frozen:  # a grey image is three equal channels: the stem's kernels add up
            net.conv_stem.weight = nn.Parameter(net.conv_stem.weight.detach().sum(1, keepdim=True))
            net.conv_stem.in_channels = 1
        parts = [nn.Sequential(net.conv_stem, net.bn1), *list(net.blocks)[: config.backbone_stages]]
        if config.backbone_stages >= len(net.blocks):
            parts.append(nn.Sequential(net.conv_head, net.bn2))
        self.channels = [m for m in nn.Sequential(*parts).modules() if isinstance(m, nn.Conv2d)][
            -1
        ].out_channels
        self.frozen = Lite0Stages((frozen,)) if frozen else None
        self.trained = nn.Sequential(*parts[frozen + 1 if frozen else 0 :])
        self.freeze_norm = config.freeze_norm
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> Backbone:
        """Frozen stages, and with ``freeze_norm`` every normalisation, stay in eval mode."""
        super().train(mode)
        if self.freeze_norm:
            for module in self.trained.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def trunk(self, x: Tensor) -> Tensor:
        """Pixels (B, C, H, W) in [0, 1] to the output of the frozen stages; where none is, standardised."""
        return standardised(x) if self.frozen is None else self.frozen(x)[0]

    def forward(self, trunk: Tensor) -> Tensor:
        """Output of ``trunk`` to features (B, channels, h, w)."""
        return self.trained(trunk.contiguous(memory_format=torch.channels_last))


class VisionExtractor(nn.Module):
    """Views to F_V: EfficientNet, guided context attention, projection to E (one token per position)."""

    def __init__(self, config: DiAConfig, views: int, channels: int) -> None:
        super().__init__()
        self.backbone = Backbone(config, channels)
        self.attention = GuidedContextAttention(self.backbone.channels)
        self.project = nn.Linear(self.backbone.channels, config.width)
        side = math.ceil(config.image_size / STRIDES[config.backbone_stages - 1])
        side = math.ceil(side / config.token_pool)
        size = self.backbone.channels * side**2
        self.norm = PositionNorm(views, size) if config.position_norm else None
        self.pool = nn.AvgPool2d(config.token_pool, ceil_mode=True)
        self.positions = nn.Parameter(0.02 * torch.randn(views, side**2, config.width))
        self.null = nn.Parameter(0.02 * torch.randn(config.width))

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """What the frozen stages make of (B, N, C, H, W), zeros where bool (B, N) ``present`` is False."""
        return of_present(lambda x: [self.backbone.trunk(x)], pixels, present)[0]

    def forward(self, trunk: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Output of ``trunk``, bool (B, N), to F_V (B, 1 + N S, E) and its mask; token 0 is null."""
        feature = of_present(
            lambda x: [self.pool(self.attention(self.backbone(x)))], trunk, present, self.backbone
        )[0]
        if self.norm is not None:
            feature = self.norm(feature, present)
        tokens = self.project(feature.flatten(3).transpose(2, 3)) + self.positions
        null = self.null.expand(len(tokens), 1, -1)
        absent = ~present.any(1, keepdim=True)
        mask = present.repeat_interleave(tokens.shape[2], dim=1)
        return torch.cat([null, tokens.flatten(1, 2)], dim=1), torch.cat([absent, mask], dim=1)


class ContextEncoder(nn.Module):
    """Context words to vectors: a Transformer encoder; an absent context is one learned null token."""

    positions: Tensor

    def __init__(self, vocabulary: int, config: DiAConfig, layers: int, hidden: int) -> None:
        super().__init__()
        self.embed = embedding(vocabulary, config.width)
        self.register_buffer("positions", sinusoids(config.context_tokens, config.width), persistent=False)
        self.null = nn.Parameter(0.02 * torch.randn(config.width))
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, hidden, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(config.width), enable_nested_tensor=False
        )

    def forward(self, words: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Indices (B, S) and bool (B,) to F_L (B, S, E) and its mask (B, S)."""
        x = self.embed(words) * math.sqrt(self.embed.embedding_dim) + self.positions[: words.shape[1]]
        x = torch.where(present[:, None, None], x, self.null)
        first = torch.ones_like(present)[:, None]
        mask = torch.cat([first, ((words != PAD) & present[:, None])[:, 1:]], dim=1)
        if present.is_meta or bool(present.all()):
            return self.layers(x, src_key_padding_mask=~mask), mask
        result = torch.zeros_like(x)  # an absent context is one token: the others of its row cost nothing
        if bool(present.any()):
            result[present] = self.layers(x[present], src_key_padding_mask=~mask[present])
        result[~present, :1] = self.layers(x[~present, :1])
        return result, mask


class AbstractorLayer(nn.Module):
    """One layer of bidirectional cross-attention, then a feed-forward block per modality."""

    def __init__(self, config: DiAConfig) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.to_language = nn.MultiheadAttention(width, heads, config.dropout, batch_first=True)
        self.to_vision = nn.MultiheadAttention(width, heads, config.dropout, batch_first=True)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, config.abstractor_hidden),
                nn.GELU(),
                nn.Linear(config.abstractor_hidden, width),
                nn.Dropout(config.dropout),
            )
            for _ in range(2)
        )

    def forward(
        self, vision: Tensor, language: Tensor, masks: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """F_V (B, S_V, E) and F_L (B, S_L, E) to F_V2L and F_L2V of the same shapes."""
        no_v, no_l = ~masks[0], ~masks[1]
        v2l = vision + self.to_language(vision, language, language, no_l, need_weights=False)[0]  # Eq. (1)
        l2v = language + self.to_vision(language, vision, vision, no_v, need_weights=False)[0]  # Eq. (2)
        return v2l + self.blocks[0](v2l), l2v + self.blocks[1](l2v)


class ModalityAbstractor(nn.Module):
    """F_V and F_L to the fused sequence F_VL."""

    def __init__(self, config: DiAConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(AbstractorLayer(config) for _ in range(config.abstractor_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self, vision: Tensor, language: Tensor, masks: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """To F_VL (B, S_V + S_L, E) and its mask."""
        for layer in self.layers:
            vision, language = layer(vision, language, masks)
        return self.norm(torch.cat([vision, language], dim=1)), torch.cat(masks, dim=1)
