"""Where the words of a report look: the weights of a decoder's cross-attention on the positions of images.

Shapes: batch B, words S, positions T of the memory, views N.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.method.attention import WordAttention


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the positions of images stand in a memory.

    Attributes:
        first: index of the first view's first position.
        views: number of views, one after another, each a square of positions row by row.
        count: positions of a view.
    """

    first: int
    views: int
    count: int

    def of(self, weights: Tensor) -> Tensor:
        """Weights (B, S, T) to those of image positions (B, S, N, h, w), which sum to 1 for each word."""
        side = math.isqrt(self.count)
        part = weights[..., self.first : self.first + self.views * self.count]
        part = part / part.sum(-1, keepdim=True).clamp(min=torch.finfo(part.dtype).tiny)
        return part.unflatten(-1, (self.views, side, side))


def cross_weights(layers: Iterable[nn.Module], run: Callable[[], object]) -> Tensor:
    """Mean over heads and layers of attention weights (B, S, T), while ``run`` calls each layer once.

    Args:
        layers: ``nn.MultiheadAttention``, or modules whose ``weights`` takes what their ``forward`` takes and
            gives (B, heads, S, T).
    """
    calls: list[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = []
    handles = [
        layer.register_forward_pre_hook(
            lambda module, args, options: calls.append((module, args, options)), with_kwargs=True
        )
        for layer in layers
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack([_weights(*call) for call in calls]).mean(0)


def _weights(layer: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    if isinstance(layer, nn.MultiheadAttention):
        mean: Tensor = layer(*args, **{**options, "need_weights": True})[1]
        return mean.float()
    weights: Tensor = layer.weights(*args, **options)
    return weights.float().mean(1)


def of_words(words: Sequence[Sequence[str]], weights: Tensor) -> list[WordAttention]:
    """Each study's words with their weights (B, S, N, h, w); rows after the last word are left out."""
    arrays = weights.float().cpu().numpy()
    return [WordAttention(tuple(each), array[: len(each)]) for each, array in zip(words, arrays, strict=True)]
