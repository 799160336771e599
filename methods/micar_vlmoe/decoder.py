"""The latent encoder, and the report decoder with gated fusion and mixture of experts (Eq. 1 and 4 to 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.common.layers import RMSNorm, SwiGLU, embedding, sinusoids
from methods.micar_vlmoe.attention import LatentAttention, LatentCache
from methods.micar_vlmoe.config import MicarConfig

ACTIVATIONS = {"silu": nn.SiLU, "gelu": nn.GELU}


def latent_attention(config: MicarConfig, *, cross: bool = False) -> LatentAttention:
    """MDLA of the configured size."""
    return LatentAttention(
        config.width, config.heads, config.latent, config.rope_width, config.attention_dropout, cross=cross
    )


class FeedForward(nn.Module):
    """Gated feed-forward network, an expert of Eq. 6: (..., E) to (..., E)."""

    def __init__(self, config: MicarConfig) -> None:
        super().__init__()
        self.swiglu = SwiGLU(config.width, config.feed_forward, ACTIVATIONS[config.activation]())
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """SwiGLU, then dropout."""
        return self.drop(self.swiglu(x))


class EncoderBlock(nn.Module):
    """MDLA and feed-forward network, each pre-normalised with a residual."""

    def __init__(self, config: MicarConfig) -> None:
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(config.width), latent_attention(config)
        self.feed_forward_norm, self.feed_forward = RMSNorm(config.width), FeedForward(config)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, E), bool (B, T), to (B, T, E)."""
        x = self.attention(self.attention_norm(x), mask=mask) + x  # Eq. (1)
        return self.feed_forward(self.feed_forward_norm(x)) + x  # Eq. (1)


@dataclass(slots=True)
class ImageState:
    """What gated fusion keeps of a study's image tokens: keys and values in latent width, G (B, 1, E)."""

    cache: LatentCache
    context: Tensor

    def select(self, rows: Tensor) -> None:
        """Keep (or repeat, or reorder) batch rows."""
        self.cache.select(rows)
        self.context = self.context[rows]


class GatedFusion(nn.Module):
    """Text attends to the image; a gate blends the two; a global image context joins (Eq. 5)."""

    def __init__(self, config: MicarConfig) -> None:
        super().__init__()
        width = config.width
        self.image_norm, self.text_norm, self.attended_norm = (RMSNorm(width) for _ in range(3))
        self.cross = latent_attention(config, cross=True)
        self.context = nn.Linear(2 * width, width)
        activation = ACTIVATIONS[config.activation]
        self.gate = nn.Sequential(nn.Linear(2 * width, width), activation(), nn.Linear(width, width))
        self.fusion = nn.Sequential(
            nn.Linear(3 * width, width),
            activation(),
            nn.Dropout(config.dropout),
            nn.Linear(width, width),
            nn.Dropout(config.dropout),
        )

    def forward(self, x: Tensor, image: Tensor, mask: Tensor | None = None) -> Tensor:
        """Text (B, S, E), image tokens (B, T, E) and bool (B, T) to Z (B, S, E)."""
        image, text = self.image_norm(image), self.text_norm(x)
        attended = self.cross(text, image, mask) + x  # Eq. (5): I_att
        return self._fused(text, attended, self._global(image, mask))

    def start(self, image: Tensor, mask: Tensor | None = None) -> ImageState:
        """What ``step`` needs of the image tokens (B, T, E), computed once per study."""
        image = self.image_norm(image)
        return ImageState(self.cross.compress(image), self._global(image, mask))

    def step(self, x: Tensor, position: int, state: ImageState, mask: Tensor | None = None) -> Tensor:
        """``forward`` for one word per row, (B, 1, E), at ``position``."""
        text = self.text_norm(x)
        attended = self.cross.attend(text, position, state.cache, mask) + x
        return self._fused(text, attended, state.context)

    def _global(self, image: Tensor, mask: Tensor | None) -> Tensor:
        """G (B, 1, E): mean and maximum over the tokens that are there, projected."""
        if mask is None:
            mean, top = image.mean(1), image.amax(1)
        else:
            here = mask[..., None]
            mean = (image * here).sum(1) / here.sum(1)
            top = image.masked_fill(~here, float("-inf")).amax(1)
        return self.context(torch.cat([mean, top], dim=-1))[:, None]  # Eq. (5): G

    def _fused(self, text: Tensor, attended: Tensor, context: Tensor) -> Tensor:
        normed = self.attended_norm(attended)
        gate = torch.sigmoid(self.gate(torch.cat([normed, text], dim=-1)))  # Eq. (5): G_gate
        gated = gate * normed + (1 - gate) * text  # Eq. (5): F_gated
        context = context.expand_as(text)
        return self.fusion(torch.cat([gated, attended, context], dim=-1)) + attended  # Eq. (5): Z


@dataclass(frozen=True, slots=True)
class Routes:
    """Where experts got N tokens from: scores S (N, experts), the top k weights and experts (N, k)."""

    scores: Tensor
    weights: Tensor
    experts: Tensor


class MixtureOfExperts(nn.Module):
    """Top-k of the experts for each token, weighted by the softmax gate (Eq. 6)."""

    def __init__(self, config: MicarConfig) -> None:
        super().__init__()
        if not 1 <= config.top_k <= config.experts:
            raise ValueError(f"top_k {config.top_k}: expected 1 to {config.experts} (experts)")
        self.top_k = config.top_k
        self.gate = nn.Linear(config.width, config.experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(config) for _ in range(config.experts))

    def route(self, x: Tensor) -> Routes:
        """Tokens (N, E) to their experts."""
        scores = self.gate(x).float().softmax(-1)  # Eq. (6): S
        weights, experts = scores.topk(self.top_k, dim=-1)  # Eq. (6): S_top, I_top
        return Routes(scores, weights, experts)

    def forward(self, x: Tensor) -> tuple[Tensor, Routes]:
        """Tokens (N, E) to Z (N, E). Each expert reads the tokens that chose it and no others."""
        routes = self.route(x)
        order = routes.experts.flatten().argsort(stable=True)
        tokens = order // self.top_k
        count = len(self.experts)
        if x.is_meta:  # no tensor says how many tokens an expert has: as many as any other
            sizes = [len(tokens) // count + (number < len(tokens) % count) for number in range(count)]
        else:
            sizes = routes.experts.flatten().bincount(minlength=count).tolist()
        parts = zip(self.experts, x[tokens].split(sizes), strict=True)
        outputs = torch.cat([expert(part) for expert, part in parts])
        outputs = torch.zeros_like(outputs).index_copy(0, order, outputs).unflatten(0, (-1, self.top_k))
        return (routes.weights[..., None].to(outputs.dtype) * outputs).sum(1), routes  # Eq. (6): Z


class DecoderBlock(nn.Module):
    """MDLA self-attention, gated fusion and mixture of experts, each with a residual (Eq. 4)."""

    def __init__(self, config: MicarConfig) -> None:
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(config.width), latent_attention(config)
        self.fusion = GatedFusion(config)
        self.experts_norm = RMSNorm(config.width)
        self.experts = MixtureOfExperts(config) if config.moe else FeedForward(config)

    def forward(
        self, x: Tensor, image: Tensor, mask: Tensor | None, words: Tensor | None
    ) -> tuple[Tensor, Routes | None]:
        """Text (B, S, E), image tokens (B, T, E) and bool (B, T) to (B, S, E) and the words' routes.

        Args:
            words: bool (B, S), which positions are words and not padding; None for all.
        """
        x = self.attention(self.attention_norm(x), causal=True) + x  # Eq. (4): H_sa
        x = self.fusion(x, image, mask) + x  # Eq. (4): H_gf
        return self._mixed(x, words)

    def step(
        self, x: Tensor, position: int, past: LatentCache | None, image: ImageState, mask: Tensor | None
    ) -> tuple[Tensor, LatentCache]:
        """``forward`` for one word per row, (B, 1, E), at ``position``, and the grown cache."""
        normed = self.attention_norm(x)
        own = self.attention.compress(normed, position)
        past = own if past is None else past.followed_by(own)
        x = self.attention.attend(normed, position, past) + x
        x = self.fusion.step(x, position, image, mask) + x
        return self._mixed(x, None)[0], past

    def _mixed(self, x: Tensor, words: Tensor | None) -> tuple[Tensor, Routes | None]:
        normed = self.experts_norm(x)
        if not isinstance(self.experts, MixtureOfExperts):
            return self.experts(normed) + x, None
        if words is None or x.is_meta:
            output, routes = self.experts(normed.flatten(0, 1))
            return output.view_as(x) + x, routes  # Eq. (4): H_moe
        output, routes = self.experts(normed[words])
        return torch.zeros_like(x).masked_scatter(words[..., None], output.to(x.dtype)) + x, routes


@dataclass(slots=True)
class DecodingState:
    """Per layer the fixed image state and the growing cache of words; bool (B, T) of the image tokens."""

    images: list[ImageState]
    past: list[LatentCache | None]
    mask: Tensor | None

    def select(self, rows: Tensor) -> None:
        """Keep (or repeat, or reorder) sequences."""
        for cache in (*self.images, *self.past):
            if cache is not None:
                cache.select(rows)
        self.mask = None if self.mask is None else self.mask[rows]


class Decoder(nn.Module):
    """Report embedding, decoder blocks, projection to the vocabulary."""

    positions: Tensor

    def __init__(self, vocabulary: int, config: MicarConfig) -> None:
        super().__init__()
        self.embed, self.scale = embedding(vocabulary, config.width), math.sqrt(config.width)
        positions = sinusoids(config.report_words + 2, config.width)  # begin, words, a word past the limit
        self.register_buffer("positions", positions, persistent=False)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.head = nn.Linear(config.width, vocabulary, bias=False)

    def forward(
        self, indices: Tensor, image: Tensor, mask: Tensor | None = None, words: Tensor | None = None
    ) -> tuple[Tensor, list[Routes]]:
        """Indices (B, S) and image tokens (B, T, E) to logits (B, S, V) and each block's routes.

        Args:
            mask: bool (B, T), which image tokens are there.
            words: bool (B, S), which indices are not padding: only these pass the experts. None for all.
        """
        x = self._embedded(indices, 0)
        routes = []
        for block in self.blocks:
            x, route = block(x, image, mask, words)
            routes += [route] if route is not None else []
        return self.head(self.norm(x)), routes

    def cross_layers(self) -> list[nn.Module]:
        """The attention of text on the image tokens, block by block."""
        return [block.fusion.cross for block in self._blocks()]

    def start(self, image: Tensor, mask: Tensor | None = None) -> DecodingState:
        """State before the first word; keys and values of the image tokens are made here, once."""
        images = [block.fusion.start(image, mask) for block in self._blocks()]
        return DecodingState(images, [None] * len(self.blocks), mask)

    def step(self, prefix: Tensor, state: DecodingState) -> Tensor:
        """Logits (B, V) of the word after ``prefix`` (B, t), of which ``state`` knows all but the last."""
        position = prefix.shape[1] - 1
        x = self._embedded(prefix[:, -1:], position)
        for number, block in enumerate(self._blocks()):
            x, state.past[number] = block.step(
                x, position, state.past[number], state.images[number], state.mask
            )
        return self.head(self.norm(x))[:, -1]

    def _blocks(self) -> list[DecoderBlock]:
        return [block for block in self.blocks if isinstance(block, DecoderBlock)]

    def _embedded(self, indices: Tensor, offset: int) -> Tensor:
        positions = self.positions[offset : offset + indices.shape[1]]
        return self.drop(self.embed(indices) * self.scale + positions)
