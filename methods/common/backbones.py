"""Image backbones: a frozen EfficientNet-Lite0 for all views, or trained networks of timm.

Shapes: batch B, views N, values of one view S.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.method.pretrained import PretrainedPart
from methods.common.lite0 import Lite0Stages
from methods.common.pixels import ImageNetScale
from methods.common.pretrained import start
from methods.common.timm_weights import NETWORKS
from methods.common.views import PositionNorm, of_present


class FrozenFeatures(nn.Module):
    """A frozen Lite0's map after one stage, averaged to a grid and standardised over training studies.

    Attributes:
        channels: of the map.
        width: S, all values of a view: channels x grid x grid.
    """

    def __init__(self, views: int, stage: int, grid: int) -> None:
        super().__init__()
        self.lite0 = Lite0Stages((stage,), grid)
        self.grid = grid
        self.channels = self.lite0.channels[0]
        self.width = self.channels * grid**2
        self.norm = PositionNorm(views, self.width)

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """Images (B, N, C, H, W) to what no training step changes, (B, N, S)."""

        def pooled(images: Tensor) -> list[Tensor]:
            return [F.adaptive_avg_pool2d(self.lite0(images)[0], self.grid).flatten(1)]

        return of_present(pooled, pixels, present)[0]

    def forward(self, trunk: Tensor, present: Tensor) -> Tensor:
        """(B, N, S) to features (B, N, S); zeros where a modality is absent."""
        return self.norm(trunk, present)


class ViewNetwork(nn.Module):
    """One trained network: images of any views (B, N, C, H, W) to pooled features (B, N, S).

    Attributes:
        width: S.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.width: int = network.num_features  # type: ignore[assignment]
        self.scale = ImageNetScale()

    def forward(self, pixels: Tensor, present: Tensor) -> Tensor:
        """Zeros where a modality is absent, which does not reach the running statistics."""

        def features(images: Tensor) -> list[Tensor]:
            return [self.network(self.scale(images).contiguous(memory_format=torch.channels_last))]

        return of_present(features, pixels, present, self.network)[0]


def view_networks(backbone: str, part: PretrainedPart, count: int) -> list[ViewNetwork]:
    """Networks of timm that start from the same weights; without memory under ``torch.device("meta")``.

    Args:
        backbone: a key of ``NETWORKS``.

    Raises:
        HarnessError: the file is absent or no state dict, or the package has no weights of this backbone.
    """
    import timm

    networks = [
        timm.create_model(NETWORKS[backbone][0], pretrained=False, num_classes=0) for _ in range(count)
    ]
    for network in networks:
        start(network, part)
    return [ViewNetwork(network) for network in networks]
