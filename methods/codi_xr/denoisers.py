"""Stage 2: a denoiser per modality, and what a linear map expects of a condition."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from methods.codi_xr.autoencoders import groups
from methods.codi_xr.blocks import (
    POSITIONS,
    Connected,
    FullyConnected,
    ImageConnector,
    PositionAttention,
    ReportConnector,
    zeroed,
)
from methods.codi_xr.config import CoDiXRConfig


class ImageDenoiser(nn.Module):
    """UNet2DConditionModel of Stable Diffusion, with the condition as its only context token."""

    def __init__(self, config: CoDiXRConfig, side: int) -> None:
        super().__init__()
        down = ["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in config.unet_attention]
        up = ["CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(config.unet_attention)]
        self.unet = UNet2DConditionModel(
            sample_size=side,
            in_channels=config.latent_channels,
            out_channels=config.latent_channels,
            cross_attention_dim=config.embedding,
            block_out_channels=config.unet_channels,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            mid_block_type="UNetMidBlock2DCrossAttn" if config.unet_middle else None,
            layers_per_block=config.unet_blocks,
            attention_head_dim=config.unet_heads,
            norm_num_groups=groups(config.unet_channels[0], side),
            class_embed_type="simple_projection" if config.timed_condition else None,
            projection_class_embeddings_input_dim=config.embedding if config.timed_condition else None,
        )
        self.timed = config.timed_condition
        if config.joint:
            self._connect(config, side)
        self.to(memory_format=torch.channels_last)

    def _connect(self, config: CoDiXRConfig, side: int) -> None:
        """Put a connector behind every attention of the way down and up; the middle block has none."""
        middle = self.unet.mid_block
        for block in [*self.unet.down_blocks, *self.unet.up_blocks, middle]:
            attentions = getattr(block, "attentions", [])
            for number, attention in enumerate(attentions):
                size = (attention.config.in_channels, config.unet_heads, config.environment, side)
                connector = None if block is middle else ImageConnector(*size)
                attentions[number] = Connected(attention, connector)

    def clock(self, time: Tensor, like: Tensor) -> Tensor:
        """Embedding of steps (B,), with the type of ``like``."""
        return self.unet.time_embedding(self.unet.time_proj(time).to(like.dtype))

    def forward(self, noisy: Tensor, time: Tensor, context: Tensor, environment: Tensor | None) -> Tensor:
        """Noisy latents (B, c, h, w), steps (B,), condition (B, D), environments (B, M, E), to noise."""
        environments: dict[str, Any] | None = None if environment is None else {"environment": environment}
        label = context if self.timed else None
        return self.unet(
            noisy, time, context[:, None], class_labels=label, cross_attention_kwargs=environments
        ).sample


class ReportDenoiser(nn.Module):
    """A UNet whose convolutions are linear layers, on the latent of a report."""

    def __init__(self, config: CoDiXRConfig) -> None:
        super().__init__()
        base, blocks = config.report_channels, config.report_blocks
        widths = [base * multiplier for multiplier in config.report_multipliers]
        time = 4 * base
        self.steps = Timesteps(base, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(base, time)
        self.inward = nn.Linear(config.report_latent, POSITIONS * base)
        self.told = nn.Linear(config.embedding, time) if config.timed_condition else None

        def unit(inner: int, width: int, attends: bool = True, connects: bool = True) -> nn.ModuleDict:
            parts: dict[str, nn.Module] = {"fully": FullyConnected(inner, POSITIONS * width, time)}
            if attends:
                parts["attention"] = PositionAttention(width, config.unet_heads, config.embedding)
            if attends and connects and config.joint:
                parts["connector"] = ReportConnector(width, config.unet_heads, config.environment)
            return nn.ModuleDict(parts)

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, width = [POSITIONS * base], POSITIONS * base
        levels = list(zip(widths, config.report_attention, strict=True))
        for level, (channels, attends) in enumerate(levels):
            for _ in range(blocks):
                self.down.append(unit(width, channels, attends))
                width = POSITIONS * channels
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(nn.ModuleDict({"resize": nn.Linear(width, width)}))
                skips.append(width)
        self.middle = unit(width, widths[-1], connects=False)
        self.last = FullyConnected(width, width, time)
        for level, (channels, attends) in reversed(list(enumerate(levels))):
            for _ in range(blocks + 1):
                self.up.append(unit(width + skips.pop(), channels, attends))
                width = POSITIONS * channels
            if level:
                self.up.append(nn.ModuleDict({"resize": nn.Linear(width, width)}))
        last = zeroed(nn.Linear(width, config.report_latent))
        self.out = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), last)

    def forward(self, noisy: Tensor, time: Tensor, context: Tensor, environment: Tensor | None) -> Tensor:
        """Noisy latents (B, Z), steps (B,), condition (B, D), environments (B, M, E), to noise (B, Z)."""
        clock = self.clock(time, noisy)
        if self.told is not None:
            clock = clock + self.told(context)
        contexts = context[:, None], environment
        x = self.inward(noisy)
        skips = [x]
        for unit in self.down:
            x = self._through(unit, x, clock, contexts)
            skips.append(x)
        x = self.last(self._through(self.middle, x, clock, contexts), clock)
        for unit in self.up:
            assert isinstance(unit, nn.ModuleDict)
            x = x if "resize" in unit else torch.cat([x, skips.pop()], dim=1)
            x = self._through(unit, x, clock, contexts)
        return self.out(x)

    def clock(self, time: Tensor, like: Tensor) -> Tensor:
        """Embedding of steps (B,), with the type of ``like``."""
        return self.time(self.steps(time).to(like.dtype))

    @staticmethod
    def _through(unit: nn.Module, x: Tensor, clock: Tensor, contexts: tuple[Tensor, Tensor | None]) -> Tensor:
        """One unit: the layer between two levels, or a block, its attention and its connector."""
        assert isinstance(unit, nn.ModuleDict)
        if "resize" in unit:
            return unit["resize"](x)
        x = unit["fully"](x, clock)
        condition, environment = contexts
        if "attention" in unit:
            x = unit["attention"](x, condition)
        if "connector" in unit and environment is not None:
            x = unit["connector"](x, environment)
        return x


class ConditionMean(nn.Module):
    """What a linear map expects of a condition; diffusion of the rest is that around a data-dependent prior.

    With few steps of training a denoiser hears its condition faintly, and ridge regression needs none.
    """

    weight: Tensor
    RIDGE = 0.05

    def __init__(self, context: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("weight", torch.zeros(context + 1, math.prod(shape)))

    def fit(self, contexts: Tensor, latents: Tensor) -> None:
        """Learn from condition tokens (N, D) and the latents (N, ...) that belong to them."""
        inputs, outputs = self._given(contexts).double(), latents.flatten(1).double()
        spread = inputs.T @ inputs / len(inputs) + self.RIDGE * torch.eye(
            inputs.shape[1], device=inputs.device
        )
        self.weight.copy_(torch.linalg.solve(spread, inputs.T @ outputs / len(inputs)))

    def forward(self, context: Tensor) -> Tensor:
        """Tokens (B, D) to (B, ...); zeros where there is no condition."""
        return (self._given(context) @ self.weight).unflatten(1, self.shape)

    @staticmethod
    def _given(context: Tensor) -> Tensor:
        return torch.cat([context, context.any(1, keepdim=True).to(context.dtype)], dim=1)


class JointGaussian(nn.Module):
    """What two branches tell each other where their noisy latents are jointly Gaussian; needs no learning.

    Latents have unit variance and the covariance U S V^T between them; correlations that independent latents
    of as many studies would show by chance are taken for none.
    """

    left: Tensor
    right: Tensor
    strength: Tensor
    MOST = 0.98

    def __init__(self, first: tuple[int, ...], second: tuple[int, ...]) -> None:
        super().__init__()
        sizes = math.prod(first), math.prod(second)
        self.register_buffer("left", torch.zeros(sizes[0], min(sizes)))
        self.register_buffer("right", torch.zeros(sizes[1], min(sizes)))
        self.register_buffer("strength", torch.zeros(min(sizes)))

    def fit(self, first: Tensor, second: Tensor) -> None:
        """Learn from both latents (N, ...), (N, ...) of the same training studies."""
        x, y = first.flatten(1).double(), second.flatten(1).double()
        left, strength, right = torch.linalg.svd(x.T @ y / len(x), full_matrices=False)
        # Largest singular value of the covariance of independent unit Gaussians (Marchenko & Pastur 1967).
        chance = (x.shape[1] / len(x)) ** 0.5 + (y.shape[1] / len(y)) ** 0.5
        self.left.copy_(left)
        self.right.copy_(right.T)
        self.strength.copy_(torch.where(strength > chance, strength, 0.0).clamp(max=self.MOST))

    def forward(self, first: Tensor, second: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
        """What the other one changes in the noise estimates of noisy latents (B, ...), (B, ...).

        Args:
            signal: a_t of each study, (B,). The estimates sqrt(1 - a_t) x_t of latents without covariance
                become (1 - a_t)^(1/2) (a_t S + (1 - a_t) I)^-1 x_t with the whole covariance S.
        """
        with torch.autocast(first.device.type, enabled=False):
            x, y = first.flatten(1).float() @ self.left, second.flatten(1).float() @ self.right
            shared, scale = signal[:, None] * self.strength, (1.0 - signal[:, None]).sqrt()
            scale = scale / (1.0 - shared.square())
            to_first = scale * shared * (shared * x - y) @ self.left.T
            to_second = scale * shared * (shared * y - x) @ self.right.T
        return to_first.view_as(first), to_second.view_as(second)
