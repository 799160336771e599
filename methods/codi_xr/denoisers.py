"""Stages 2 and 3: a denoiser per modality, environment encoders, and the connectors between branches."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from methods.codi_xr.autoencoders import groups
from methods.codi_xr.config import CoDiXRConfig
from methods.codi_xr.diffusion import token

POSITIONS = 4
"""Of the report UNet's hidden vector, between which its attention looks."""


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The same layer with weights and biases of zero: what ends in it adds nothing at first."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class SelfAttention(AttnProcessor2_0):
    """The library's attention; environments are none of its business."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        environment: Tensor | None = None,
    ) -> Tensor:
        """Hidden states (B, S, C) to (B, S, C)."""
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)


class Connector(nn.Module):
    """A second cross-attention beside the one to the condition: to the other branches' environments.

    Starts as nothing (zero output), so that stage 3 begins at what stage 2 learned.
    """

    def __init__(self, width: int, environment: int) -> None:
        super().__init__()
        self.key = nn.Linear(environment, width, bias=False)
        self.value = nn.Linear(environment, width, bias=False)
        self.out = zeroed(nn.Linear(width, width))
        self.plain = AttnProcessor2_0()

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        environment: Tensor | None = None,
    ) -> Tensor:
        """Hidden states (B, S, C), condition (B, 1, D), environments (B, M, E) or None, to (B, S, C)."""
        attended = self.plain(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        if environment is None:
            return attended
        query, key, value = (
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for x in (attn.to_q(hidden_states), self.key(environment), self.value(environment))
        )
        others = F.scaled_dot_product_attention(query, key, value)
        return attended + self.out(others.transpose(1, 2).flatten(2))


def connect(denoiser: nn.Module, environment: int) -> list[Connector]:
    """Put a connector on every attention to the condition."""
    connectors = []
    for module in list(denoiser.modules()):
        if not isinstance(module, Attention):
            continue
        if module.is_cross_attention:
            processor: Any = Connector(module.to_q.out_features, environment)
            connectors.append(processor)
        else:
            processor = SelfAttention()
        module.set_processor(processor)  # typed for the library's own processors alone
    return connectors


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
        self.to(memory_format=torch.channels_last)

    def forward(self, noisy: Tensor, time: Tensor, context: Tensor, environment: Tensor | None) -> Tensor:
        """Noisy latents (B, c, h, w), steps (B,), condition (B, D), environments (B, M, E), to noise."""
        environments: dict[str, Any] | None = None if environment is None else {"environment": environment}
        label = context if self.timed else None
        return self.unet(
            noisy, time, context[:, None], class_labels=label, cross_attention_kwargs=environments
        ).sample


class FullyConnected(nn.Module):
    """GroupNorm, SiLU, linear, + time, GroupNorm, SiLU, linear from zero, + input."""

    def __init__(self, inner: int, width: int, time: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(32, inner), nn.SiLU(), nn.Linear(inner, width))
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(time, width))
        self.second = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), zeroed(nn.Linear(width, width)))
        self.skip = nn.Identity() if inner == width else nn.Linear(inner, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, inner) and time embedding to (B, width)."""
        return self.skip(x) + self.second(self.first(x) + self.time(time))


class PositionAttention(nn.Module):
    """A Transformer block over the four positions of a hidden vector, with the condition as context."""

    def __init__(self, channels: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels)
        self.inward = nn.Linear(channels, channels)
        self.block = BasicTransformerBlock(channels, heads, channels // heads, cross_attention_dim=context)
        self.outward = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor, environments: dict[str, Any] | None) -> Tensor:
        """(B, 4 C), context (B, 1, D), to (B, 4 C)."""
        places = x.unflatten(1, (-1, POSITIONS))
        y = self.inward(self.norm(places).transpose(1, 2))
        y = self.block(y, encoder_hidden_states=context, cross_attention_kwargs=environments)
        return x + self.outward(y).transpose(1, 2).flatten(1)


class ReportDenoiser(nn.Module):
    """A UNet whose convolutions are linear layers, on the latent of a report."""

    def __init__(self, config: CoDiXRConfig) -> None:
        super().__init__()
        base, blocks = config.report_channels, config.report_blocks
        widths = [base * multiplier for multiplier in config.report_multipliers]
        time = 4 * base
        self.clock = Timesteps(base, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(base, time)
        self.inward = nn.Linear(config.report_latent, POSITIONS * base)
        self.told = nn.Linear(config.embedding, time) if config.timed_condition else None

        def unit(inner: int, width: int) -> nn.ModuleList:
            attention = PositionAttention(width, config.unet_heads, config.embedding)
            return nn.ModuleList([FullyConnected(inner, POSITIONS * width, time), attention])

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, width = [POSITIONS * base], POSITIONS * base
        for level, channels in enumerate(widths):
            for _ in range(blocks):
                self.down.append(unit(width, channels))
                width = POSITIONS * channels
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(nn.ModuleList([nn.Linear(width, width)]))
                skips.append(width)
        self.middle = unit(width, widths[-1])
        self.last = FullyConnected(width, width, time)
        for level, channels in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(unit(width + skips.pop(), channels))
                width = POSITIONS * channels
            if level:
                self.up.append(nn.ModuleList([nn.Linear(width, width)]))
        last = zeroed(nn.Linear(width, config.report_latent))
        self.out = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), last)

    def forward(self, noisy: Tensor, time: Tensor, context: Tensor, environment: Tensor | None) -> Tensor:
        """Noisy latents (B, Z), steps (B,), condition (B, D), environments (B, M, E), to noise (B, Z)."""
        environments = None if environment is None else {"environment": environment}
        clock = self.time(self.clock(time).to(noisy.dtype))
        if self.told is not None:
            clock = clock + self.told(context)
        context = context[:, None]
        x = self.inward(noisy)
        skips = [x]
        for unit in self.down:
            x = self._through(unit, x, clock, context, environments)
            skips.append(x)
        x = self.last(self._through(self.middle, x, clock, context, environments), clock)
        for unit in self.up:
            x = x if _resizes(unit) else torch.cat([x, skips.pop()], dim=1)
            x = self._through(unit, x, clock, context, environments)
        return self.out(x)

    @staticmethod
    def _through(
        unit: nn.Module, x: Tensor, clock: Tensor, context: Tensor, environments: dict[str, Any] | None
    ) -> Tensor:
        assert isinstance(unit, nn.ModuleList)
        if _resizes(unit):
            return unit[0](x)
        return unit[1](unit[0](x, clock), context, environments)


def _resizes(unit: nn.Module) -> bool:
    """Whether a unit is one linear layer between two levels."""
    assert isinstance(unit, nn.ModuleList)
    return len(unit) == 1


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


class EnvironmentEncoder(nn.Module):
    """What a branch tells the others about its noisy latent: one token (Tang et al. 2023, Sec. 3.3)."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        if len(shape) == 1:
            self.body = nn.Sequential(nn.Linear(shape[0], width), nn.SiLU(), nn.Linear(width, width))
        else:
            self.body = nn.Sequential(
                nn.Conv2d(shape[0], width // 2, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
                nn.SiLU(),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(4 * width, width),
            )

    def forward(self, noisy: Tensor) -> Tensor:
        """Noisy latents to tokens (B, E)."""
        return token(self.body(noisy))
