"""Features of images: of a frozen EfficientNet-Lite0, or of one trained network per modality."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.core.weights import lite0_weights
from methods.baselines.config import FusionConfig
from methods.common.lite0 import Lite0Stages
from methods.common.pixels import ImageNetScale
from methods.common.pretrained import Source, fill, read_weights
from methods.common.views import PositionNorm, of_present


class FrozenFeatures(nn.Module):
    """A frozen Lite0's map after one stage, averaged to a grid and standardised over training studies."""

    def __init__(self, config: FusionConfig, views: int) -> None:
        super().__init__()
        self.lite0 = Lite0Stages((config.stage,), config.grid)
        self.grid = config.grid
        self.width = self.lite0.channels[0] * config.grid**2
        self.norm = PositionNorm(views, self.width)

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """Images (B, N, C, H, W) to what no training step changes, (B, N, S)."""

        def pooled(images: Tensor) -> list[Tensor]:
            return [F.adaptive_avg_pool2d(self.lite0(images)[0], self.grid).flatten(1)]

        return of_present(pooled, pixels, present)[0]

    def forward(self, trunk: Tensor, present: Tensor) -> Tensor:
        """(B, N, S) to features (B, N, S); zeros where a modality is absent."""
        return self.norm(trunk, present)


class TrainedFeatures(nn.Module):
    """One trained network per modality: images (B, N, C, H, W) to pooled features (B, N, S)."""

    NAMES: ClassVar[dict[str, str]] = {"lite0": "efficientnet_lite0", "resnet50": "resnet50"}

    def __init__(self, config: FusionConfig, views: int) -> None:
        super().__init__()
        import timm

        networks = [
            timm.create_model(self.NAMES[config.backbone], pretrained=False, num_classes=0)
            for _ in range(views)
        ]
        self.width: int = networks[0].num_features  # type: ignore[assignment]
        if not next(networks[0].parameters()).is_meta:
            name = self.NAMES[config.backbone]
            source = Source(config.backbone_weights, "backbone_weights", f"timm's {name}")
            weights = backbone_weights(config, source)
            for network in networks if weights else ():
                fill(network, weights, source)
        self.networks = nn.ModuleList(networks).to(memory_format=torch.channels_last)
        self.scale = ImageNetScale()

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """The images themselves: every layer is trained."""
        return pixels

    def forward(self, pixels: Tensor, present: Tensor) -> Tensor:
        """Zeros where a modality is absent."""
        columns = []
        for view, network in enumerate(self.networks):

            def features(images: Tensor, network: nn.Module = network) -> list[Tensor]:
                return [network(self.scale(images).contiguous(memory_format=torch.channels_last))]

            one = slice(view, view + 1)
            columns.append(of_present(features, pixels[:, one], present[:, one], network)[0][:, 0])
        return torch.stack(columns, dim=1)


def backbone_weights(config: FusionConfig, source: Source) -> dict[str, Tensor]:
    """Weights for the configured backbone; none for random initialisation.

    Raises:
        HarnessError: the file is absent or no state dict, or the package has no weights of this backbone.
    """
    if not config.backbone_weights:
        return {}
    if config.backbone_weights != "package":
        return read_weights(source)
    if config.backbone != "lite0":
        raise HarnessError(
            f"no package ships weights of {config.backbone}", "set backbone_weights to a state-dict file"
        )
    return lite0_weights()
