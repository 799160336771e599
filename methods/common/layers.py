"""Blocks that at least two of the papers share. Batch B, sequence S, width E, heads H, head width D."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Autocast is off inside, on the device of ``x``: a product of two float32 tensors stays float32.

    Inputs must be made float32 by the caller. A tensor without data needs nothing.
    """
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) times a learned gain (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) to (..., E), computed in float32."""
        high = x.float()
        return (high * torch.rsqrt(high.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


class SwiGLU(nn.Module):
    """(x W1 ⊙ f(x W2)) W3 without biases (Shazeer 2020); f is SiLU, or GELU as in GEGLU."""

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor] = F.silu) -> None:
        super().__init__()
        self.activation = activation
        self.value = nn.Linear(width, hidden, bias=False)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) to (..., E)."""
        return self.out(self.value(x) * self.activation(self.gate(x)))


def rope(x: Tensor, offset: int = 0, base: float = 10000.0) -> Tensor:
    """Rotary position encoding (Su et al. 2021).

    Args:
        x: queries or keys (B, H, S, D), D even; the pairs are (i, i + D/2).
        offset: position of the first of the S vectors.

    Returns:
        The rotated vectors; a dot product of two of them depends on their positions' difference only.
    """
    half = x.shape[-1] // 2
    rates = base ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    positions = torch.arange(offset, offset + x.shape[-2], device=x.device, dtype=torch.float32)
    angles = positions[:, None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


@dataclass(slots=True)
class KeyValue:
    """Keys and values (B, kv heads, S, D) of one attention layer, kept between decoding steps."""

    keys: Tensor
    values: Tensor

    def select(self, rows: Tensor) -> None:
        """Keep (or repeat, or reorder) batch rows."""
        self.keys, self.values = self.keys[rows], self.values[rows]


class GroupedQueryAttention(nn.Module):
    """Multi-head attention whose queries share keys and values in groups (Ainslie et al. 2023).

    With ``kv_heads == heads`` it is ordinary multi-head attention. No biases.
    """

    def __init__(
        self, width: int, heads: int, kv_heads: int, *, rotary: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if width % heads or heads % kv_heads:
            raise ValueError(
                f"width {width}, heads {heads}, kv_heads {kv_heads}: each must divide the former"
            )
        self.heads, self.kv_heads, self.rotary, self.dropout = heads, kv_heads, rotary, dropout
        self.head_width = width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, kv_heads * self.head_width, bias=False)
        self.value = nn.Linear(width, kv_heads * self.head_width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def project(self, source: Tensor, offset: int = 0) -> KeyValue:
        """Keys and values of ``source`` (B, S, E) whose first vector stands at ``offset``."""
        keys, values = self._split(self.key(source)), self._split(self.value(source))
        return KeyValue(rope(keys, offset) if self.rotary else keys, values)

    def forward(
        self,
        x: Tensor,
        memory: KeyValue,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        offset: int = 0,
    ) -> Tensor:
        """Attend from ``x`` to projected keys and values.

        Args:
            x: queries' source (B, S, E); its first vector stands at ``offset``.
            memory: keys and values of T positions.
            mask: bool (B, T), True where a position may be attended.
            causal: position i attends to positions <= i (S == T).

        Returns:
            (B, S, E).
        """
        queries = self._split(self.query(x))
        if self.rotary:
            queries = rope(queries, offset)
        groups = self.heads // self.kv_heads
        keys = memory.keys.repeat_interleave(groups, dim=1)
        values = memory.values.repeat_interleave(groups, dim=1)
        mixed = F.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=None if mask is None else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, memory: KeyValue, mask: Tensor | None = None) -> Tensor:
        """The weights (B, heads, S, T) of ``forward`` without positions and causal mask; rows sum to 1."""
        keys = memory.keys.repeat_interleave(self.heads // self.kv_heads, dim=1)
        scores = self._split(self.query(x)) @ keys.mT * self.head_width**-0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
        return scores.softmax(-1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_width)).transpose(1, 2)


def sinusoids(length: int, width: int) -> Tensor:
    """Sinusoidal position encodings (length, width) (Vaswani et al. 2017)."""
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    angles = torch.arange(length, dtype=torch.float32)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


def embedding(vocabulary: int, width: int) -> nn.Embedding:
    """Word vectors of expected norm 1."""
    table = nn.Embedding(vocabulary, width)
    nn.init.normal_(table.weight, std=width**-0.5)
    return table


def info_nce(
    anchors: Tensor, positives: Tensor, temperature: float | Tensor, rows: Tensor | None = None
) -> Tensor:
    """InfoNCE with in-batch negatives and cosine similarity (van den Oord et al. 2018).

    Args:
        anchors, positives: (B, D); row i of one belongs to row i of the other.
        rows: bool (B,), the rows that take part; all where None.

    Returns:
        Scalar; 0 where fewer than two rows take part, for there is no negative.
    """
    with full_precision(anchors):  # rounded to bfloat16, cosines near 1 would all be equal
        cosines = F.normalize(anchors.float(), dim=-1) @ F.normalize(positives.float(), dim=-1).T
        similarity = cosines / temperature
    if rows is None:
        rows = torch.ones_like(similarity[0], dtype=torch.bool)
    similarity = similarity.masked_fill(~rows, -1e4)
    each = torch.logsumexp(similarity, dim=1) - similarity.diagonal()
    weights = rows.to(each.dtype)
    return (each * weights).sum() / weights.sum().clamp(min=1.0)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) per dimension, like ``mean`` (Kingma & Welling 2014)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)


def log_normal(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(x; mean, exp(log_variance)) of each value."""
    residual = (x - mean).square() * (-log_variance).exp()
    return -0.5 * (residual + log_variance + math.log(2 * math.pi))


def reparameterise(mean: Tensor, log_variance: Tensor) -> Tensor:
    """mean + sigma * eps, eps ~ N(0, I): a sample that gradients flow through (Kingma & Welling 2014)."""
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
