"""Late and early fusion of features."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from methods.baselines.config import FusionConfig
from methods.baselines.features import TrainedFeatures
from methods.common.backbones import FrozenFeatures


class Head(nn.Sequential):
    """Features (B, S) to logits (B, L): one hidden layer."""

    def __init__(self, width: int, hidden: int, labels: int, dropout: float) -> None:
        super().__init__(
            nn.Dropout(dropout),
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, labels),
        )


class FusionNetwork(nn.Module):
    """Features of every modality, and a rule that makes one vector of logits of them."""

    prior: Tensor

    def __init__(self, config: FusionConfig, views: int, prior: Tensor) -> None:
        """``prior``: logits (L,) of the training studies' label frequencies."""
        super().__init__()
        self.features = (
            FrozenFeatures(views, config.stage, config.grid)
            if config.frozen
            else TrainedFeatures(config, views)
        )
        self.register_buffer("prior", prior)

    def forward(self, trunk: Tensor, present: Tensor) -> Tensor:
        """Output of ``features.trunk`` and bool (B, N) to logits (B, L)."""
        return self.fuse(self.features(trunk, present), present)

    @abstractmethod
    def fuse(self, features: Tensor, present: Tensor) -> Tensor:
        """Features (B, N, S) to logits (B, L)."""


class LateFusionNetwork(FusionNetwork):
    """A head per modality; the logits of those present are averaged, and with none are the priors."""

    def __init__(self, config: FusionConfig, views: int, prior: Tensor) -> None:
        super().__init__(config, views, prior)
        width, labels = self.features.width, len(prior)
        self.heads = nn.ModuleList(Head(width, config.hidden, labels, config.dropout) for _ in range(views))

    def fuse(self, features: Tensor, present: Tensor) -> Tensor:
        """Mean over present modalities."""
        logits = torch.stack([head(features[:, view]) for view, head in enumerate(self.heads)], dim=1)
        count = present.sum(1, keepdim=True)
        mean = (logits * present[..., None]).sum(1) / count.clamp(min=1)
        return torch.where(count > 0, mean, self.prior)


class EarlyFusionNetwork(FusionNetwork):
    """One head on the concatenated features, zeros where a modality is absent."""

    def __init__(self, config: FusionConfig, views: int, prior: Tensor) -> None:
        super().__init__(config, views, prior)
        self.head = Head(views * self.features.width, config.hidden, len(prior), config.dropout)

    def fuse(self, features: Tensor, present: Tensor) -> Tensor:
        """With no modality present the logits are the priors."""
        logits = self.head((features * present[..., None]).flatten(1))
        return torch.where(present.any(1, keepdim=True), logits, self.prior)
