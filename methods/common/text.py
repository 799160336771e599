"""Words in, words out: the vocabulary and plain decoders that report generators share."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness.core.words import MARK, Words
from methods.common.layers import embedding, sinusoids

PAD, BOS, EOS, UNK = range(4)
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")

EAGER: dict[str, Any] = {"attn_implementation": "eager"}
"""For transformers' configurations: attention that also runs on tensors without data."""

_ENUMERATION = re.compile(r"(?:^|(?<=\s))\d+\.(?=\s|$)")
_SENTENCE_END = re.compile(r"\.+(?:\s+|$)")
_DROPPED = re.compile(r"[^a-z0-9\s-]")


def _plain(text: str) -> list[str]:
    """Lower-cased words with "." closing each sentence.

    Numbering ("1. ") and punctuation go; hyphens and de-identification marks ("xxxx") stay. Applied to its
    own joined output it changes nothing.
    """
    result: list[str] = []
    for sentence in _SENTENCE_END.split(_ENUMERATION.sub(" ", text.lower())):
        tokens = [token for token in _DROPPED.sub("", sentence).split() if token.strip("-")]
        if tokens:
            result += [*tokens, MARK]
    return result


CONTEXT_WORDS = Words("context", _plain)
"""How contexts are read, whatever the dataset's profile: it cleans reports alone."""


def cut(tokens: Sequence[str], limit: int) -> list[str]:
    """Words up to the ``limit``-th and the mark after it; the marks "." are not counted."""
    result: list[str] = []
    count = 0
    for token in tokens:
        count += token != MARK
        if count > limit:
            break
        result.append(token)
    return result


class Vocabulary:
    """Word <-> index. Indices 0-3 are padding, begin, end and unknown.

    Args:
        entries: the words, such as ``harness.core.words.frequent_words`` gives.
        words: how texts are split and joined: ``info.words`` for reports.
    """

    def __init__(self, entries: Sequence[str], words: Words) -> None:
        self.entries, self.words = list(entries), words
        self.index = {word: number for number, word in enumerate([*SPECIALS, *self.entries])}

    def __len__(self) -> int:
        # A profile that replaces rare words has "<unk>" among its words, too.
        return len(SPECIALS) + len(self.entries)

    def encode(self, text: str, limit: int, *, marks: bool = True) -> list[int]:
        """At most ``limit`` word indices, without begin and end; ``marks``: whether "." counts."""
        tokens = self.words.split(text)
        return [self.index.get(word, UNK) for word in (tokens[:limit] if marks else cut(tokens, limit))]

    def decode(self, indices: Iterable[int]) -> str:
        """Text up to the first end mark."""
        result: list[str] = []
        for index in indices:
            if index == EOS:
                break
            if index >= len(SPECIALS):
                result.append(self.entries[index - len(SPECIALS)])
        return self.words.join(result)

    def batch(
        self, texts: Sequence[str | None], limit: int, *, framed: bool = False, marks: bool = True
    ) -> Tensor:
        """Padded indices (B, S) of texts cut at ``limit`` words, S >= 1; None and "" are padding only.

        Args:
            framed: put begin and end around every text (then a text's end mark follows a cut, too).
            marks: whether "." counts as a word.
        """
        rows = [self.encode(text or "", limit, marks=marks) for text in texts]
        if framed:
            rows = [[BOS, *row, EOS] for row in rows]
        result = torch.full((len(rows), max([1, *map(len, rows)])), PAD)
        for number, row in enumerate(rows):
            result[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        return result


class DecodingState(Protocol):
    """What a decoder keeps between steps for each sequence."""

    def select(self, rows: Tensor) -> None:
        """Keep (or repeat, or reorder) sequences."""


class ReportDecoder(Protocol):
    """A decoder that ``generate`` can search with, one step after another."""

    def __call__(self, words: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Indices (B, S), memory (B, T, E), bool (B, T), to logits (B, S, V) of the next words."""

    def start(self, memory: Tensor, mask: Any) -> Any:
        """The ``DecodingState`` before the first word; ``mask`` as in ``__call__``, or None where it is."""

    def step(self, prefix: Tensor, state: Any) -> Tensor:
        """Logits (B, V) of the word after ``prefix`` (B, t)."""


@dataclass(slots=True)
class PrefixState:
    """State of a decoder without a cache: its memory (B, T, E) and mask (B, T)."""

    memory: Tensor
    mask: Tensor | None

    def select(self, rows: Tensor) -> None:
        """Keep (or repeat, or reorder) sequences."""
        self.memory = self.memory[rows]
        self.mask = None if self.mask is None else self.mask[rows]


class PrefixDecoder(nn.Module):
    """A decoder that reads the whole prefix again at every step."""

    def start(self, memory: Tensor, mask: Tensor | None) -> PrefixState:
        """State before the first word."""
        return PrefixState(memory, mask)

    def step(self, prefix: Tensor, state: PrefixState) -> Tensor:
        """Logits (B, V) of the word after ``prefix`` (B, t)."""
        return self(prefix, state.memory, state.mask)[:, -1]


@dataclass(frozen=True, slots=True)
class DecoderSize:
    """Sizes of a Transformer decoder.

    Attributes:
        width: of its vectors, E.
        heads, layers: attention heads of each layer, and layers.
        hidden: width of its feed-forward networks.
        limit: longest sequence, in words.
    """

    width: int
    heads: int
    layers: int
    hidden: int
    limit: int
    dropout: float = 0.0


class TransformerDecoder(PrefixDecoder):
    """Decoder of Vaswani et al. 2017, pre-normalised, with sinusoidal positions."""

    positions: Tensor

    def __init__(self, vocabulary: int, size: DecoderSize) -> None:
        super().__init__()
        width = size.width
        self.embed = embedding(vocabulary, width)
        self.scale = math.sqrt(width)
        self.register_buffer("positions", sinusoids(size.limit, width), persistent=False)
        layer = nn.TransformerDecoderLayer(
            width, size.heads, size.hidden, size.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, size.layers, nn.LayerNorm(width))
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, words: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Indices (B, S), S <= limit, memory (B, T, E), bool (B, T) or None, to logits (B, S, V)."""
        size = words.shape[1]
        x = self.embed(words) * self.scale + self.positions[:size]
        causal = torch.ones(size, size, dtype=torch.bool, device=words.device).triu(1)
        hidden = None if mask is None else ~mask
        x = self.layers(x, memory, causal, memory_key_padding_mask=hidden, tgt_is_causal=True)
        return self.head(x)

    def cross_layers(self) -> list[nn.Module]:
        """The attention on the memory, layer by layer."""
        return [module for name, module in self.layers.named_modules() if name.endswith("multihead_attn")]


class Gpt2Decoder(PrefixDecoder):
    """GPT-2 with cross-attention, from random initialisation (Radford et al. 2019)."""

    def __init__(self, vocabulary: int, size: DecoderSize) -> None:
        """``size.hidden`` is not read: GPT-2's feed-forward networks are four times ``width``."""
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=vocabulary,
            n_positions=size.limit,
            n_embd=size.width,
            n_layer=size.layers,
            n_head=size.heads,
            resid_pdrop=size.dropout,
            embd_pdrop=size.dropout,
            attn_pdrop=size.dropout,
            add_cross_attention=True,
            use_cache=False,
            bos_token_id=BOS,
            eos_token_id=EOS,
            tie_word_embeddings=False,
            **EAGER,
        )
        self.model = GPT2LMHeadModel(config)

    def forward(self, words: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Indices (B, S), S <= limit, memory (B, T, E), bool (B, T) or None, to logits (B, S, V)."""
        additive = None
        if mask is not None:  # four-dimensional: passed on as it is, also for tensors without data
            additive = torch.zeros_like(memory[:, None, None, :, 0]).masked_fill(~mask[:, None, None], -1e4)
        return self.model(
            input_ids=words,
            attention_mask=torch.ones_like(words),
            encoder_hidden_states=memory,
            encoder_attention_mask=additive,
            use_cache=False,
        ).logits
