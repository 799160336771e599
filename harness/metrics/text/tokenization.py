"""Tokenisation profiles of the text metrics: the choice that moves BLEU more than most models do.

A profile is part of a metric's signature, so two numbers made with different profiles never share a column.
"""

from __future__ import annotations

import shutil
import string
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.children import dying_with_parent
from harness.core.errors import HarnessError, require
from harness.core.packages import lacking
from harness.core.words import MARK, words_of

Tokens = list[str]

DEFAULT_PROFILE = "r2gen-iu"
_CACHE_TEXTS = 20_000
_TEXTS_AT_ONCE = 20_000


class _Numbers(dict[str, int]):
    """Numbers of words; a word that has none gets the next one and joins ``words``."""

    def __init__(self, words: list[str]) -> None:
        super().__init__()
        self._words = words

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self._words)
        self._words.append(word)
        return number


class Tokenizer(ABC):
    """Text to tokens. A blank text has none; a token never contains white space.

    Texts recur (references for every modality state, predictions for every metric), so tokens are kept for
    the most recent ``_CACHE_TEXTS`` texts, or for three times as many as the largest batch has. They are kept
    as numbers: words in memory take thirty times as much.

    Attributes:
        words: the token of each number.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.words: list[str] = []
        self._numbers = _Numbers(self.words)
        self._cache: dict[str, NDArray[np.int32]] = {}
        self._limit = _CACHE_TEXTS

    def __call__(self, text: str) -> Tokens:
        """Tokens of one text."""
        return self.batch([text])[0]

    def batch(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokens of many texts, in order.

        Raises:
            UnavailableError: the profile needs something that is absent (see ``unavailable``).
        """
        lines = self.numbered(texts)
        return [[self.words[number] for number in line.tolist()] for line in lines]

    def numbered(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Tokens of many texts as indices into ``words``, which hold until the next call.

        The arrays are shared: do not change them.

        Raises:
            UnavailableError: as ``batch``.
        """
        distinct = dict.fromkeys(texts)
        new = [text for text in distinct if text not in self._cache]
        self._limit = max(self._limit, 3 * len(distinct))
        if len(self._cache) + len(new) > self._limit:
            self.words, self._cache = [], {}
            self._numbers = _Numbers(self.words)
            new = list(distinct)
        full = [text for text in new if text.strip()]
        for start in range(0, len(full), _TEXTS_AT_ONCE):
            some = full[start : start + _TEXTS_AT_ONCE]
            self._cache.update(zip(some, map(self._in_numbers, self._tokenise(some)), strict=True))
        self._cache.update((text, np.empty(0, np.int32)) for text in new if not text.strip())
        return [self._cache[text] for text in texts]

    def remember(
        self, texts: Sequence[str], lines: Sequence[NDArray[np.integer[Any]]], words: Sequence[str]
    ) -> None:
        """Keep the tokens of texts that another process has split.

        Args:
            texts: different ones.
            lines: of each text the tokens, as indices into ``words``.
            words: the token of each number there.
        """
        self._limit = max(self._limit, 3 * len(texts), len(self._cache) + len(texts))
        places = np.fromiter(map(self._numbers.__getitem__, words), np.int32, len(words))
        for text, line in zip(texts, lines, strict=True):
            if text not in self._cache:
                self._cache[text] = places[line]

    def _in_numbers(self, tokens: Tokens) -> NDArray[np.int32]:
        return np.fromiter(map(self._numbers.__getitem__, tokens), np.int32, len(tokens))

    def unavailable(self) -> str | None:
        """One line that says what is absent and how to get it, or None."""
        return None

    @abstractmethod
    def _tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokens of distinct texts, none of them blank."""


class AsWritten(Tokenizer):
    """The words that methods write (``harness.core.words``), without marks where the profile skips them."""

    def _tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        words = words_of(self.name)
        lines = map(words.split, texts)
        if words.marks_count:
            return list(lines)
        return [[word for word in line if word != MARK] for line in lines]


class Jury(Tokenizer):
    """What jury 2.3.1 makes of a text before BLEU and METEOR: each ASCII punctuation mark is a blank.

    Lower case. A hyphen or a decimal point splits its word, and "<unk>" is the word "unk".
    """

    _BLANKED = str.maketrans(dict.fromkeys(string.punctuation, " "))

    def _tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        return [text.translate(self._BLANKED).lower().split() for text in texts]


class PennTreebank(Tokenizer):
    """The COCO captioning tools' profile: Stanford's PTBTokenizer, lower-cased, punctuation tokens dropped.

    One Java process per batch, one text per line. Any white space inside a text becomes a space first: PTB
    starts a new line at more characters than a line feed, and one stray line would shift all later texts.
    """

    # The list of the COCO tools.
    _DROPPED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"]) | frozenset(
        ["-LRB-", "-RRB-", "-LCB-", "-RCB-"]
    )
    _SECONDS = 600

    def unavailable(self) -> str | None:
        if (reason := lacking("text", "pycocoevalcap")) is not None:
            return reason
        if shutil.which("java") is None:
            return "Java not found (profile ptb): install a JRE or choose --tokenizer r2gen-iu"
        if not _jars():
            return (
                "PTBTokenizer not found (profile ptb): reinstall pycocoevalcap or choose --tokenizer r2gen-iu"
            )
        return None

    def _tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        if not texts:
            return []
        require(self.unavailable())
        lines = self._run("\n".join(" ".join(text.split()) for text in texts) + "\n")
        if len(lines) != len(texts):
            raise HarnessError(
                f"PTBTokenizer returned {len(lines)} lines for {len(texts)} texts",
                "look for control characters in the texts, or choose --tokenizer r2gen-iu",
            )
        return [[token for token in line.split() if token not in self._DROPPED] for line in lines]

    def _run(self, text: str) -> list[str]:
        command = ["java", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", str(_jars()[0])]
        command += [
            "edu.stanford.nlp.process.PTBTokenizer",
            "-preserveLines",
            "-lowerCase",
            "-encoding",
            "utf-8",
        ]
        payload = text.encode("utf-8", errors="replace")
        try:
            done = subprocess.run(
                command,
                input=payload,
                capture_output=True,
                timeout=self._SECONDS,
                check=True,
                **dying_with_parent(),
            )
        except (subprocess.SubprocessError, OSError) as error:
            detail = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip().splitlines()
            raise HarnessError(
                f"PTBTokenizer failed: {detail[-1] if detail else error}",
                "check that `java -version` works, or choose --tokenizer r2gen-iu",
            ) from error
        return done.stdout.decode("utf-8").removesuffix("\n").split("\n")


def _jars() -> list[Path]:
    spec = find_spec("pycocoevalcap")
    folders = spec.submodule_search_locations if spec is not None else None
    return [
        jar for folder in folders or () for jar in Path(folder, "tokenizer").glob("stanford-corenlp-*.jar")
    ]


@cache
def tokenizer(name: str) -> Tokenizer:
    """The tokeniser called ``name``; the same object every time.

    Raises:
        UnknownNameError: with the nearest names.
    """
    profile = words_of(name).name
    return {"ptb": PennTreebank, "jury": Jury}.get(profile, AsWritten)(profile)
