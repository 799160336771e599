"""The image's side: visual encoders, and the second view of an image that VSE compares with the first."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SwinConfig, SwinModel

from harness.core.weights import model_folder
from methods.common.lite0 import Lite0Stages
from methods.common.pixels import ImageNetScale
from methods.common.views import PositionNorm, of_present
from methods.vdgen.config import VDGenConfig
from methods.vdgen.pretrained import FILES, load_swin


def augmented(images: Tensor) -> Tensor:
    """Another image of the same chests: (M, C, H, W) in [0, 1] to the same.

    Turned by up to 10 degrees, scaled by up to 10 %, shifted by up to 5 %, contrast and brightness changed by
    up to 20 % and 10 %; never mirrored.
    """

    def uniform(reach: float) -> Tensor:
        return reach * (2 * torch.rand(len(images), device=images.device) - 1)

    angle, scale = uniform(math.pi / 18), 1 + uniform(0.1)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = torch.stack([cos, -sin, uniform(0.1), sin, cos, uniform(0.1)], dim=1)  # the image's side is 2
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain, lift = 1 + uniform(0.2), uniform(0.1)
    return (moved * gain[:, None, None, None] + lift[:, None, None, None]).clamp(0, 1)


class SwinEncoder(nn.Module):
    """Swin Transformer (Liu et al. 2021c), trained; S is 49 at 224 pixels."""

    def __init__(self, config: VDGenConfig, views: int) -> None:
        super().__init__()
        if config.swin and torch.get_default_device().type != "meta":
            self.model = load_swin(model_folder(config.swin, "vdgen.swin", FILES))
        else:
            sizes = SwinConfig(
                image_size=config.image_size,
                embed_dim=config.swin_width,
                depths=list(config.swin_depths),
                num_heads=list(config.swin_heads),
                window_size=config.swin_window,
            )
            self.model = SwinModel(sizes, add_pooling_layer=False)
        self.width: int = self.model.num_features
        self.scale = ImageNetScale()

    def frozen(self, images: Tensor, present: Tensor) -> Tensor:
        """Nothing is frozen: the images themselves."""
        return images

    def forward(self, images: Tensor, present: Tensor) -> Tensor:
        """Images (B, N, C, H, W) in [0, 1] and bool (B, N) to features (B, N, S, D)."""
        return of_present(lambda flat: [self._features(flat)], images, present)[0]

    def seen(self, images: Tensor, present: Tensor) -> Tensor:
        """What the trained part is given: the pixels of each image as one vector (B, N, 1, C H W)."""
        return images.flatten(2)[:, :, None] * present[..., None, None]

    def second_view(self, images: Tensor, present: Tensor) -> Tensor:
        """Features of augmented images, drawn anew at each call; in evaluation of the images themselves."""

        def features(flat: Tensor) -> list[Tensor]:
            return [self._features(augmented(flat) if self.training else flat)]

        return of_present(features, images, present)[0]

    def _features(self, flat: Tensor) -> Tensor:
        return self.model(self.scale(flat)).last_hidden_state


class Lite0Encoder(nn.Module):
    """Frozen EfficientNet-Lite0 features, standardised, then a trained linear map."""

    def __init__(self, config: VDGenConfig, views: int) -> None:
        super().__init__()
        self.stages = Lite0Stages((config.lite0_stage,))
        side = math.ceil(math.ceil(config.image_size / self.stages.strides[0]) / config.token_pool)
        self.pool = nn.AvgPool2d(config.token_pool, ceil_mode=True)
        self.norm = PositionNorm(views, side**2 * self.stages.channels[0])
        self.project = nn.Linear(self.stages.channels[0], config.visual_width)
        self.dropout = config.vse_dropout
        self.width = config.visual_width

    def frozen(self, images: Tensor, present: Tensor) -> Tensor:
        """Images (B, N, C, H, W) in [0, 1] and bool (B, N) to pooled features (B, N, S, c)."""
        return of_present(
            lambda flat: [self.pool(self.stages(flat)[0]).flatten(2).transpose(1, 2)], images, present
        )[0]

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """What ``frozen`` gives, and bool (B, N), to features (B, N, S, D)."""
        return self.project(self.seen(features, present))

    def seen(self, features: Tensor, present: Tensor) -> Tensor:
        """What the trained part is given: standardised features (B, N, S, c)."""
        return self.norm(features, present)

    def second_view(self, features: Tensor, present: Tensor) -> Tensor:
        """As ``forward``, with a random part of the standardised features set to zero."""
        return self.project(F.dropout(self.seen(features, present), self.dropout, self.training))


ENCODERS: dict[str, type[SwinEncoder | Lite0Encoder]] = {"swin": SwinEncoder, "lite0": Lite0Encoder}
