"""Vocabularies of the three text parts, their own tokenizers where these parts are pretrained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tokenizers import Tokenizer
from transformers import BertTokenizer, CLIPTokenizer, GPT2Tokenizer

from harness.core.errors import HarnessError
from harness.core.words import Words
from methods.common.pretrained import load_model
from methods.common.text import EOS, SPECIALS, Vocabulary

FILES = ("tokenizer.json", "vocab.txt", "vocab.json")
"""Of a tokenizer, at least one; without any, transformers would give an empty one."""

OPTIMUS_MARKS = {"pad_token": "<PAD>", "bos_token": "<BOS>", "eos_token": "<EOS>"}
"""What Optimus adds to GPT-2's tokens, in this order."""


class Subwords(Vocabulary):
    """A pretrained tokenizer as a vocabulary: marks at 0-3, and its own tokens, in order, from 4 on.

    Attributes:
        rows: of the pretrained embedding, one per index.
    """

    def __init__(self, serialised: str, marks: Iterable[int], words: Words) -> None:
        self.words = words
        self.tokenizer = Tokenizer.from_str(serialised)
        self.rows = [*marks, *range(self.tokenizer.get_vocab_size())]

    @classmethod
    def of(cls, artifact: Mapping[str, Any], words: Words) -> Self:
        """What ``serialised`` gave, for texts that are split so before pieces are cut."""
        return cls(artifact["tokenizer"], artifact["marks"], words)

    def __len__(self) -> int:
        return len(self.rows)

    def encode(self, text: str, limit: int, *, marks: bool = True) -> list[int]:
        """At most ``limit`` indices of the text's words, without begin and end.

        Args:
            marks: must be True: a piece of a word counts as much as a mark.
        """
        assert marks
        tokens = self.tokenizer.encode(self.words.join(self.words.split(text)), add_special_tokens=False).ids
        return [token + len(SPECIALS) for token in tokens[:limit]]

    def decode(self, indices: Iterable[int]) -> str:
        """Text up to the first end mark."""
        tokens = []
        for index in indices:
            if index == EOS:
                break
            if index >= len(SPECIALS):
                tokens.append(index - len(SPECIALS))
        return str(self.tokenizer.decode(tokens)).strip()


@dataclass(frozen=True, slots=True)
class Vocabularies:
    """What reports become for each text part; one vocabulary of whole words where nothing is pretrained.

    Attributes:
        context: of CLIP's Transformer; read: of BERT; written: of GPT-2.
    """

    context: Vocabulary
    read: Vocabulary
    written: Vocabulary

    @classmethod
    def of(cls, artifacts: Mapping[str, Any], words: Words) -> Self:
        """From the artifact ``words`` and, for each pretrained part, what ``serialised`` gave."""
        whole = Vocabulary(artifacts["words"], words)
        parts = (Subwords.of(artifacts[name], words) if name in artifacts else whole for name in PARTS)
        return cls(*parts)


PARTS = ("clip", "bert", "gpt2")
"""Names of the artifacts, in the order of the fields of ``Vocabularies``."""


def serialised(part: str, folder: Path, optimus: bool = False) -> dict[str, Any]:
    """The tokenizer of a pretrained part, from its folder, as an artifact.

    Args:
        part: one of ``PARTS``.
        optimus: the folder is of Optimus' decoder, which has marks of its own.

    Raises:
        HarnessError: the folder has no such tokenizer.
    """
    if not any((folder / name).is_file() for name in FILES):
        raise HarnessError(
            f"{folder}: no tokenizer of {part}: none of {', '.join(FILES)}", "copy the model's files again"
        )
    kinds: dict[str, Any] = {"clip": CLIPTokenizer, "bert": BertTokenizer, "gpt2": GPT2Tokenizer}
    tokenizer = load_model(kinds[part].from_pretrained, folder, f"a tokenizer of {part}")
    if optimus:
        tokenizer.add_special_tokens(OPTIMUS_MARKS)
    begin, end = (
        first if first is not None else second
        for first, second in (
            (tokenizer.bos_token_id, tokenizer.cls_token_id),
            (tokenizer.eos_token_id, tokenizer.sep_token_id),
        )
    )
    padding, unknown = (
        end if mark is None else mark for mark in (tokenizer.pad_token_id, tokenizer.unk_token_id)
    )
    marks = [padding, begin, end, unknown]
    return {"tokenizer": tokenizer.backend_tokenizer.to_str(), "marks": [int(mark) for mark in marks]}
