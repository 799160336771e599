"""Blocks of the denoisers and of the environment encoders. Batch B, tokens of a context M, their width D."""

from __future__ import annotations

from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from methods.codi_xr.autoencoders import groups

POSITIONS = 4
"""Of the report UNet's hidden vector, between which its attention looks."""


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The same layer with weights and biases of zero: what ends in it adds nothing at first."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


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
    """A Transformer block over the four positions of a hidden vector; zero at first."""

    def __init__(self, channels: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels)
        self.inward = nn.Linear(channels, channels)
        self.block = BasicTransformerBlock(channels, heads, channels // heads, cross_attention_dim=context)
        self.outward = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, 4 C), context (B, M, D), to (B, 4 C)."""
        places = x.unflatten(1, (-1, POSITIONS))
        y = self.inward(self.norm(places).transpose(1, 2))
        y = self.block(y, encoder_hidden_states=context)
        return x + self.outward(y).transpose(1, 2).flatten(1)


class ImageConnector(nn.Module):
    """A Transformer block that follows one of the image UNet's, and reads the other branches' environments.

    It adds nothing at first, so that stage 3 begins at what stage 2 learned.
    """

    def __init__(self, channels: int, heads: int, environment: int, side: int) -> None:
        super().__init__()
        self.block = Transformer2DModel(
            heads,
            channels // heads,
            in_channels=channels,
            cross_attention_dim=environment,
            norm_num_groups=groups(channels, side),
        )
        for parameter in self.block.proj_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, environment: Tensor) -> Tensor:
        """(B, C, h, w) and environments (B, M, E) to (B, C, h, w)."""
        (connected,) = self.block(x, encoder_hidden_states=environment, return_dict=False)
        return connected


class ReportConnector(PositionAttention):
    """The same of the report's UNet."""


class Connected(nn.Module):
    """The attention of one of diffusers' UNet blocks, and after it the connector where the block has one."""

    def __init__(self, attention: Transformer2DModel, connector: ImageConnector | None) -> None:
        super().__init__()
        self.attention, self.connector = attention, connector

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        cross_attention_kwargs: dict[str, Tensor] | None = None,
        **rest: object,
    ) -> tuple[Tensor]:
        """Hidden states (B, C, h, w) and condition (B, 1, D) to (B, C, h, w), alone in a tuple.

        Among the keywords, ``environment`` has the other branches' tokens (B, M, E).
        """
        (x,) = self.attention(hidden_states, encoder_hidden_states=encoder_hidden_states, **rest)
        environment = (cross_attention_kwargs or {}).get("environment")
        return (x if environment is None or self.connector is None else self.connector(x, environment),)
