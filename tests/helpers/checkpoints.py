"""Small random BERTs on disk in the Hugging Face layout, for metrics whose real weights no test can have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.reports import findings

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,-:;()'/"
PIECES = (*LETTERS, *(f"##{letter}" for letter in LETTERS))
"""With these every word is known: as itself or letter by letter."""


def write_bert(folder: Path, *, reports: int = 100, pieces: Sequence[str] = (), **sizes: Any) -> Any:
    """Write vocabulary, tokenizer and configuration into ``folder``; the weights are the caller's.

    Args:
        reports: how many real reports the vocabulary's words are taken from.
        pieces: further entries, before the words.
        sizes: fields of BertConfig.

    Returns:
        The BertConfig.
    """
    from transformers import BertConfig, BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    words = {word for text in findings(reports) for word in re.findall(r"[a-z]+|\S", text.lower())}
    vocabulary = list(dict.fromkeys([*SPECIAL, *pieces, *sorted(words)]))
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        **{
            "vocab_size": len(vocabulary),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "initializer_range": 0.5,
        }
        | sizes
    )
    config.save_pretrained(folder)
    return config
