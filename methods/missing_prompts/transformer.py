"""A multimodal transformer of ViLT's shape whose layers take prompts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.missing_prompts.config import MissingPromptsConfig
from methods.missing_prompts.images import CellTokens, PatchTokens
from methods.missing_prompts.words import Words


@dataclass(frozen=True, slots=True)
class Sequence:
    """Tokens (B, T, E) and which of them are read, bool (B, T)."""

    tokens: Tensor
    mask: Tensor

    def behind(self, prompts: Tensor) -> Sequence:
        """The sequence behind prompts (B, K, E)."""
        read = torch.ones(prompts.shape[:2], dtype=torch.bool, device=prompts.device)
        return Sequence(torch.cat([prompts, self.tokens], dim=1), torch.cat([read, self.mask], dim=1))


class Layer(nn.Module):
    """Attention and two-layer perceptron, each behind a layer normalisation and with a residual."""

    def __init__(self, config: MissingPromptsConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.dropout = config.heads, config.dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, config.hidden * width), nn.GELU(), nn.Linear(config.hidden * width, width)
        )

    def forward(self, sequence: Sequence, beside: Tensor | None = None) -> Sequence:
        """Attend and transform.

        Args:
            beside: prompts (B, K, E) of the attention level, whose first half stands before the keys and
                whose second half before the values.
        """
        x = sequence.tokens
        x = x + self._drop(self.out(self._attended(self.norm1(x), sequence.mask, beside)))
        return Sequence(x + self._drop(self.perceptron(self.norm2(x))), sequence.mask)

    def _attended(self, x: Tensor, mask: Tensor, beside: Tensor | None) -> Tensor:
        queries, keys, values = self.queries_keys_values(x).chunk(3, dim=-1)
        if beside is not None:
            first, second = beside.chunk(2, dim=1)
            keys, values = torch.cat([first, keys], dim=1), torch.cat([second, values], dim=1)
            mask = torch.cat([torch.ones_like(first[..., 0], dtype=torch.bool), mask], dim=1)
        mixed = F.scaled_dot_product_attention(
            self._split(queries), self._split(keys), self._split(values), attn_mask=mask[:, None, None]
        )
        return mixed.transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class Transformer(nn.Module):
    """Embeddings and layers: all that is trained first and then frozen."""

    def __init__(self, config: MissingPromptsConfig, views: int, pieces: list[int] | None) -> None:
        """``pieces``: word pieces of training contexts; None for a dataset without context."""
        super().__init__()
        width = config.width
        self.images = (PatchTokens if config.images == "patches" else CellTokens)(config, views)
        self.words = None if pieces is None else Words(pieces, width, config.words == "minilm")
        self.start = nn.Parameter(torch.zeros(width))
        self.word_positions = nn.Parameter(torch.zeros(config.text_length, width))
        self.patch_positions = nn.Parameter(torch.zeros(self.images.count, width))
        self.kinds = nn.Parameter(torch.zeros(1 + views, width))
        for parameter in (self.start, self.word_positions, self.patch_positions, self.kinds):
            nn.init.normal_(parameter, std=0.02)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)

    def fixed_parts(self) -> list[nn.Module]:
        """Parts that no stage trains: a frozen image network, frozen word vectors."""
        parts: list[nn.Module] = []
        if isinstance(self.images, CellTokens):
            parts.append(self.images.features)
        if self.words is not None and self.words.frozen:
            parts.append(self.words.table)
        return parts

    def embed(self, trunk: Tensor, present: Tensor, rows: Tensor | None) -> Sequence:
        """One sequence: start token, words of the context, patches of each view.

        Args:
            trunk: output of ``images.trunk`` (B, N, ...).
            present: which views are there, bool (B, N).
            rows: of the table of words (B, S), padding only where the context is absent; None without words.
        """
        views = self.images(trunk, present) + self.patch_positions + self.kinds[1:, None]
        tokens = [(self.start + self.kinds[0]).expand(len(present), 1, -1)]
        masks = [torch.ones(len(present), 1, dtype=torch.bool, device=present.device)]
        if rows is not None and self.words is not None:
            tokens.append(self.words(rows) + self.word_positions[: rows.shape[1]] + self.kinds[0])
            masks.append(rows != 0)
        tokens.append(views.flatten(1, 2))
        masks.append(torch.ones_like(tokens[-1][..., 0], dtype=torch.bool))
        return Sequence(torch.cat(tokens, dim=1), torch.cat(masks, dim=1))

    def forward(self, sequence: Sequence, prompts: Tensor | None, level: str) -> Tensor:
        """What stands at the start token after all layers, (B, E).

        Args:
            prompts: (B, layers, K, E), for the first layers; None for none.
            level: ``input`` puts a layer's prompts before the sequence, where they stay; ``attention`` puts
                them beside keys and values of that layer.
        """
        start = 0
        for number, layer in enumerate(self.layers):
            own = prompts[:, number] if prompts is not None and number < prompts.shape[1] else None
            if own is not None and level == "input":
                sequence, start = sequence.behind(own), start + own.shape[1]
                own = None
            sequence = layer(sequence, own)
        return self.norm(sequence.tokens[:, start])
