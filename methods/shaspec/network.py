"""ShaSpec's network: encoders, residual fusion, generation of absent features, classifiers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.common.backbones import FrozenFeatures, ViewNetwork, view_networks
from methods.shaspec.config import ShaSpecConfig


@dataclass(frozen=True, slots=True)
class Reading:
    """What the network makes of a batch.

    Attributes:
        shared: r, outputs of the shared encoder (B, N, W); zeros where a modality is absent.
        specific: s, outputs of the specific encoders (B, N, W); zeros where a modality is absent.
        fused: f, features that the classifier reads (B, N, W), of present and of absent modalities.
        logits: (B, L).
        present: bool (B, N).
    """

    shared: Tensor
    specific: Tensor
    fused: Tensor
    logits: Tensor
    present: Tensor


class FeatureEncoder(nn.Sequential):
    """Frozen features (..., S) to (..., W): two layers."""

    def __init__(self, size: int, width: int, dropout: float) -> None:
        super().__init__(
            nn.Dropout(dropout),
            nn.Linear(size, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )


class FrozenEncoders(nn.Module):
    """Shared and specific encoders on the features of one frozen Lite0."""

    def __init__(self, config: ShaSpecConfig, views: int) -> None:
        super().__init__()
        self.features = FrozenFeatures(views, config.stage, config.grid)
        size, width = self.features.width, config.width
        self.shared = FeatureEncoder(size, width, config.dropout)
        self.specific = nn.ModuleList(FeatureEncoder(size, width, config.dropout) for _ in range(views))

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """Images (B, N, C, H, W) to what no training step changes, (B, N, S)."""
        return self.features.trunk(pixels, present)

    def forward(self, trunk: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, S) to shared and specific features (B, N, W)."""
        features = self.features(trunk, present)
        columns = [encoder(features[:, view]) for view, encoder in enumerate(self.specific)]
        return self.shared(features), torch.stack(columns, dim=1)


class ImageEncoders(nn.Module):
    """Shared and specific encoders that are trained networks, each with a linear map to the width."""

    def __init__(self, config: ShaSpecConfig, views: int) -> None:
        super().__init__()
        networks = view_networks(config.backbone, config.backbone_part, views + 1)
        self.shared, self.specific = networks[0], nn.ModuleList(networks[1:])
        self.maps = nn.ModuleList(nn.Linear(network.width, config.width) for network in networks)

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """The images themselves: every layer is trained."""
        return pixels

    def forward(self, pixels: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, N, C, H, W) to shared and specific features (B, N, W)."""
        columns = []
        for view, (network, linear) in enumerate(zip(self.specific, self.maps[1:], strict=True)):
            assert isinstance(network, ViewNetwork)
            one = slice(view, view + 1)
            columns.append(linear(network(pixels[:, one], present[:, one])))
        return self.maps[0](self.shared(pixels, present)), torch.cat(columns, dim=1)


class ShaSpecNetwork(nn.Module):
    """Encoders, fusion and the two classifiers: of the labels, and of the domain (the modality)."""

    prior: Tensor

    def __init__(self, config: ShaSpecConfig, views: int, prior: Tensor) -> None:
        """``prior``: logits (L,) of the training studies' label frequencies."""
        super().__init__()
        kind = FrozenEncoders if config.backbone == "frozen-lite0" else ImageEncoders
        self.encoders = kind(config, views)
        self.projection = nn.Linear(2 * config.width, config.width)
        self.domain = nn.Linear(config.width, views)
        last = nn.Linear(views * config.width, len(prior))
        last.bias.data.copy_(prior)
        self.classifier = nn.Sequential(nn.GELU(), nn.Dropout(config.dropout), last)
        self.residual, self.generation = config.residual, config.generation
        self.register_buffer("prior", prior)

    def forward(self, trunk: Tensor, present: Tensor) -> Reading:
        """Output of ``encoders.trunk`` and bool (B, N) to features and logits."""
        shared, specific = self.encoders(trunk, present)
        here = present[..., None]
        shared, specific = shared * here, specific * here
        fused = self.fuse(shared, specific, present)
        return Reading(shared, specific, fused, self.classify(fused, present), present)

    def fuse(self, shared: Tensor, specific: Tensor, present: Tensor) -> Tensor:
        """Features f (B, N, W): residual fusion where a modality is present, generated where it is absent."""
        projected = self.projection(torch.cat([shared, specific], dim=-1))
        own = shared + projected if self.residual else projected
        absent = generated(shared, present)[:, None] if self.generation else torch.zeros_like(own)
        return torch.where(present[..., None], own, absent)

    def classify(self, fused: Tensor, present: Tensor) -> Tensor:
        """Logits (B, L) from all modalities' features; the priors for a study without any modality."""
        return torch.where(present.any(1, keepdim=True), self.classifier(fused.flatten(1)), self.prior)


def generated(shared: Tensor, present: Tensor) -> Tensor:
    """An absent modality's feature (B, W): the mean of the shared features (B, N, W) of the present ones."""
    count = present.sum(1, keepdim=True)
    return (shared * present[..., None]).sum(1) / count.clamp(min=1)
