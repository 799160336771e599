"""LLaMA-X, the report decoder, and the decoders that Table 3 puts in its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.common.layers import GroupedQueryAttention, KeyValue, RMSNorm, SwiGLU, embedding
from methods.common.text import DecoderSize, Gpt2Decoder, ReportDecoder, TransformerDecoder
from methods.dia.config import DiAConfig


class LlamaLayer(nn.Module):
    """RMS-pre-normalised grouped-query self-attention with RoPE, cross-attention, SwiGLU."""

    def __init__(self, config: DiAConfig) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.norms = nn.ModuleList(RMSNorm(width) for _ in range(3))
        self.attention = GroupedQueryAttention(
            width, heads, config.kv_heads, rotary=True, dropout=config.dropout
        )
        self.cross = GroupedQueryAttention(width, heads, heads, dropout=config.dropout)
        self.feed_forward = SwiGLU(width, config.feed_forward)
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, past: KeyValue | None, memory: KeyValue, mask: Tensor | None
    ) -> tuple[Tensor, KeyValue]:
        """x (B, S, E), which follows the positions in ``past``, to the same shape and the grown cache."""
        offset = 0 if past is None else past.keys.shape[2]
        h = self.norms[0](x)
        own = self.attention.project(h, offset)
        if past is not None:
            own = KeyValue(torch.cat([past.keys, own.keys], 2), torch.cat([past.values, own.values], 2))
        x = x + self.drop(self.attention(h, own, causal=past is None, offset=offset))
        x = x + self.drop(self.cross(self.norms[1](x), memory, mask))
        return x + self.drop(self.feed_forward(self.norms[2](x))), own


@dataclass(slots=True)
class LlamaState:
    """Decoding state: per layer the fixed cross-attention and the growing self-attention cache."""

    memory: list[KeyValue]
    past: list[KeyValue | None]
    mask: Tensor

    def select(self, rows: Tensor) -> None:
        """Keep (or repeat, or reorder) sequences."""
        for cache in (*self.memory, *self.past):
            if cache is not None:
                cache.select(rows)
        self.mask = self.mask[rows]


class LlamaXDecoder(nn.Module):
    """Report decoder with cross-attention to [F_VL; Z_v, Z_l, Z_s]."""

    def __init__(self, vocabulary: int, config: DiAConfig) -> None:
        super().__init__()
        self.embed = embedding(vocabulary, config.width)
        self.scale = math.sqrt(config.width)
        self.layers = nn.ModuleList(LlamaLayer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.head = nn.Linear(config.width, vocabulary, bias=False)

    def cross_layers(self) -> list[nn.Module]:
        """The attention on the memory, layer by layer."""
        return [layer.cross for layer in self.layers if isinstance(layer, LlamaLayer)]

    def start(self, memory: Tensor, mask: Tensor) -> LlamaState:
        """Project the memory (B, T, E) once for all steps."""
        layers = (layer for layer in self.layers if isinstance(layer, LlamaLayer))
        projected = [layer.cross.project(memory) for layer in layers]
        return LlamaState(projected, [None] * len(self.layers), mask)

    def step(self, prefix: Tensor, state: LlamaState) -> Tensor:
        """Logits (B, V) of the word after ``prefix`` (B, t), of which ``state`` knows all but the last."""
        return self._run(prefix[:, -1:], state)[:, -1]

    def forward(self, words: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Indices (B, S), memory (B, T, E), bool (B, T) to logits (B, S, V) of the next words."""
        return self._run(words, self.start(memory, mask))

    def _run(self, words: Tensor, state: LlamaState) -> Tensor:
        x = self.embed(words) * self.scale
        for number, layer in enumerate(self.layers):
            x, state.past[number] = layer(x, state.past[number], state.memory[number], state.mask)
        return self.head(self.norm(x))


def _size(config: DiAConfig) -> DecoderSize:
    width, limit = config.width, config.report_tokens
    return DecoderSize(width, config.heads, config.layers, config.feed_forward, limit, config.dropout)


DECODERS: dict[str, Callable[[int, DiAConfig], ReportDecoder]] = {
    "llama-x": LlamaXDecoder,
    "transformer": lambda vocabulary, config: TransformerDecoder(vocabulary, _size(config)),
    "gpt2": lambda vocabulary, config: Gpt2Decoder(vocabulary, _size(config)),
}
