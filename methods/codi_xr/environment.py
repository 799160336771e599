"""Environment encoders of stage 3: what a branch lets the others know of its noisy latent, one token.

Each is like the way down of its branch's UNet, without attention (Tang et al. 2023, Sec. 3.3; sizes of the
public code). Batch B, width of a token E, width of the time embedding T.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from methods.codi_xr.autoencoders import groups
from methods.codi_xr.blocks import POSITIONS, FullyConnected
from methods.codi_xr.config import CoDiXRConfig
from methods.codi_xr.diffusion import token


class ImageEnvironment(nn.Module):
    """Of an image's noisy latent."""

    def __init__(self, config: CoDiXRConfig, side: int) -> None:
        super().__init__()
        first, widths = config.unet_channels[0], _attending(config.unet_channels, config.unet_attention)
        levels = [first // 2, *widths]
        self.inward = nn.Conv2d(config.latent_channels, levels[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            ResnetBlock2D(
                in_channels=inner,
                out_channels=outer,
                temb_channels=4 * first,
                groups=groups(inner, side),
                groups_out=groups(outer, side),
            )
            for inner, outer in pairwise(levels)
        )
        self.smaller = nn.ModuleList(Downsample2D(width, use_conv=True) for width in widths[:-1])
        self.outward = nn.Sequential(
            nn.GroupNorm(groups(widths[-1], side), widths[-1]),
            nn.SiLU(),
            nn.Conv2d(widths[-1], config.environment, 3, padding=1),
        )

    def forward(self, noisy: Tensor, clock: Tensor) -> Tensor:
        """Noisy latents (B, c, h, w) and their time embedding (B, T) to tokens (B, E)."""
        x = self.inward(noisy)
        for number, block in enumerate(self.blocks):
            x = self.smaller[number - 1](x) if number else x
            x = block(x, clock)
        return token(self.outward(x).mean((2, 3)))


class ReportEnvironment(nn.Module):
    """Of a report's noisy latent."""

    def __init__(self, config: CoDiXRConfig) -> None:
        super().__init__()
        base = config.report_channels
        channels = [base * multiplier for multiplier in config.report_multipliers]
        widths = [POSITIONS * width for width in _attending(channels, config.report_attention)]
        levels = [POSITIONS * (base // 2), *widths]
        self.inward = nn.Linear(config.report_latent, levels[0])
        self.blocks = nn.ModuleList(
            FullyConnected(inner, outer, 4 * base) for inner, outer in pairwise(levels)
        )
        self.between = nn.ModuleList(nn.Linear(width, width) for width in widths[:-1])
        self.outward = nn.Sequential(
            nn.GroupNorm(32, widths[-1]), nn.SiLU(), nn.Linear(widths[-1], config.environment)
        )

    def forward(self, noisy: Tensor, clock: Tensor) -> Tensor:
        """Noisy latents (B, Z) and their time embedding (B, T) to tokens (B, E)."""
        x = self.inward(noisy)
        for number, block in enumerate(self.blocks):
            x = self.between[number - 1](x) if number else x
            x = block(x, clock)
        return token(self.outward(x))


def _attending(channels: Sequence[int], attention: Sequence[bool]) -> list[int]:
    """Channels of the levels that have attention."""
    return [width for width, attends in zip(channels, attention, strict=True) if attends]
