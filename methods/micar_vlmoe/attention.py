"""Multihead dual-branch latent attention (MDLA, Eq. 2 and 3) and its cache in latent width.

Shapes: batch B, queries S, keys T, width E (d_model), heads H, latent L (d_latent), bottleneck C. A head has
L/H dimensions, of which the first ones carry no position (NoPE) and the last ``rope`` are rotated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.common.layers import RMSNorm, rope


class Bottleneck(nn.Module):
    """RMSNorm(X W_down) W_up for ``parts`` of query, key and value at once (Eq. 2)."""

    def __init__(self, width: int, heads: int, latent: int, parts: int) -> None:
        super().__init__()
        size = parts * (width // heads)
        self.down = nn.Linear(width, size, bias=False)
        self.norm = RMSNorm(size)
        self.up = nn.Linear(size, parts * latent, bias=False)

    def compress(self, x: Tensor) -> Tensor:
        """(B, S, E) to the bottleneck (B, S, C)."""
        return self.norm(self.down(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, S, E) to (B, S, parts L)."""
        return self.up(self.compress(x))


@dataclass(slots=True)
class LatentCache:
    """What is kept of T positions: the bottleneck (B, T, C) and the keys' rotated part (B, H, T, rope)."""

    latent: Tensor
    rotated: Tensor

    def select(self, rows: Tensor) -> None:
        """Keep (or repeat, or reorder) batch rows."""
        self.latent, self.rotated = self.latent[rows], self.rotated[rows]

    def followed_by(self, new: LatentCache) -> LatentCache:
        """Both, ``new`` last."""
        return LatentCache(
            torch.cat([self.latent, new.latent], dim=1), torch.cat([self.rotated, new.rotated], dim=2)
        )


class LatentAttention(nn.Module):
    """MDLA as self-attention, or as cross-attention whose queries have a bottleneck of their own."""

    def __init__(
        self, width: int, heads: int, latent: int, rope_width: int, dropout: float, *, cross: bool = False
    ) -> None:
        super().__init__()
        head = latent // heads
        if width % heads or latent % heads or rope_width % 2 or not 0 <= rope_width <= head:
            raise ValueError(
                f"heads {heads} must divide width {width} and latent {latent}; rope_width {rope_width} must "
                f"be even and at most {head}"
            )
        self.heads, self.latent, self.dropout = heads, latent, dropout
        self.nope, self.scale = head - rope_width, latent**-0.5
        self.query = Bottleneck(width, heads, latent, 1) if cross else None
        self.source = Bottleneck(width, heads, latent, 2 if cross else 3)
        self.out = nn.Linear(latent, width, bias=False)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None, *, causal: bool = False
    ) -> Tensor:
        """Attend from ``x`` to itself or, as cross-attention, to ``memory``.

        Args:
            x: (B, S, E); memory: (B, T, E).
            mask: bool (B, T), True where a position may be attended.
            causal: position i attends to positions <= i.

        Returns:
            (B, S, E).
        """
        if self.query is None:
            query, key, value = self.source(x).chunk(3, dim=-1)
        else:
            assert memory is not None
            query, (key, value) = self.query(x), self.source(memory).chunk(2, dim=-1)
        # Eq. (3): q_n k_n + q_r k_r is one dot product of the branches side by side.
        mixed = F.scaled_dot_product_attention(
            self._branches(self._split(query)),
            self._branches(self._split(key)),
            self._split(value),
            attn_mask=None if mask is None else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
            scale=self.scale,
        )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weights (B, H, S, T) of cross-attention from ``x`` to ``memory``; rows sum to 1."""
        assert self.query is not None
        query, key = self.query(x), self.source(memory).chunk(2, dim=-1)[0]
        scores = self._branches(self._split(query)) @ self._branches(self._split(key)).mT * self.scale
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
        return scores.softmax(-1)

    def compress(self, source: Tensor, offset: int = 0) -> LatentCache:
        """What a cache keeps of ``source`` (B, T, E), whose first vector stands at ``offset``."""
        latent = self.source.compress(source)
        rotated = torch.einsum("btc,hrc->bhtr", latent, self._up_rows(-2)[:, self.nope :])
        return LatentCache(latent, rope(rotated, offset))

    def attend(self, x: Tensor, position: int, cache: LatentCache, mask: Tensor | None = None) -> Tensor:
        """``forward`` for one query per row, over a cache and without its expansion to full heads.

        q_n k_n = q_n W_up c, so the query is taken into the bottleneck once and meets every c there; values
        are mixed there, too, and expanded after.

        Args:
            x: (B, 1, E), at ``position``; as self-attention it is the last that the cache knows.
            mask: bool (B, T).
        """
        if self.query is None:
            query = F.linear(cache.latent[:, -1:], self.source.up.weight[: self.latent])
        else:
            query = self.query(x)
        query, latent = self._split(query), cache.latent[:, None]
        plain, rotary = query[..., : self.nope], rope(query[..., self.nope :], position)
        inside = torch.einsum("bhsn,hnc->bhsc", plain, self._up_rows(-2)[:, : self.nope])
        scores = (inside @ latent.mT + rotary @ cache.rotated.mT) * self.scale
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
        mixed = torch.einsum("bhsc,hdc->bhsd", scores.softmax(-1) @ latent, self._up_rows(-1))
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _branches(self, x: Tensor) -> Tensor:
        return torch.cat([x[..., : self.nope], rope(x[..., self.nope :])], dim=-1)

    def _up_rows(self, part: int) -> Tensor:
        """Rows (H, L/H, C) of W_up that make keys (-2) or values (-1)."""
        weight = self.source.up.weight
        stop = len(weight) + (part + 1) * self.latent
        return weight[stop - self.latent : stop].unflatten(0, (self.heads, -1))
