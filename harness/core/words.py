"""How report text is split into words and joined again: one rule for each tokenisation profile.

A method writes the words that its dataset's profile sees (``DatasetInfo.words``), so what it writes can equal
a reference. The text metrics rest on the same rule: to split joined words again changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.core.errors import UnknownNameError
from harness.core.names import did_you_mean

MARK = "."
"""The word that closes a sentence."""


@dataclass(frozen=True, slots=True)
class Words:
    """A rule of splitting.

    Attributes:
        name: of the tokenisation profile.
        split: text to words, none of which holds white space; sentences end in ``MARK`` where the profile's
            texts have such ends.
        marks_count: the profile's metrics count ``MARK`` as a word; False where they skip it.
    """

    name: str
    split: Callable[[str], list[str]]
    marks_count: bool = True

    def join(self, words: Iterable[str]) -> str:
        """Words to text; ``split`` of it gives the same words."""
        return " ".join(words)


# Between ":" and "[" lie ; < = > ? @ and the capitals: the range is the original's, by accident or not.
# "[" stays for the moment: it stands for the end of a sentence by then.
_DELETED = str.maketrans("", "", ".,?;*!%^&_+():<=>@ABCDEFGHIJKLMNOPQRSTUVWXYZ]{}\"'/\\")
_ENUMERATION = [("1. ", ""), *((f"{before}{n}. ", ". ") for before in (". ", " ") for n in (2, 3, 4, 5))]


def _r2gen(*collapse: tuple[str, str, int]) -> Callable[[str], list[str]]:
    """What R2Gen's report cleaners do (Chen et al. 2020): most printed IU and MIMIC scores rest on it.

    Sentences end at ". "; each loses its punctuation; "." closes each sentence again. Oddities of the
    original are kept, since scores depend on them: enumeration marks other than the first turn into a full
    stop, runs of dots are halved a fixed number of times, a sentence of punctuation alone leaves a lone ".",
    hyphens stay, and a sentence that ends in a line break is not split there (IU). One thing differs: a
    blank text has no words, where the original gives a lone ".".

    Args:
        collapse: what is replaced before anything else: old text, new text, how many times.
    """
    replaced = [(old, new) for old, new, times in collapse for _ in range(times)] + _ENUMERATION

    def split(text: str) -> list[str]:
        if not text.strip():
            return []
        for old, new in replaced:
            text = text.replace(old, new)
        # All "[" are deleted, like "]", so that one can mark what a sentence ends with.
        marked = text.strip().lower().replace("[", "]").replace(". ", "[")
        # Lower-cased twice, as in the original.
        return (marked.translate(_DELETED).lower().replace("[", " . ") + " .").split()

    return split


_SPACED = re.compile(r"(?<!\S)([(\[{\"]+)|([)\]}\".,;:!?]+)(?!\S)")


def _spaced(text: str) -> list[str]:
    """Lower-cased words; punctuation at their ends stands alone, as Penn Treebank tokenisers have it."""
    return _SPACED.sub(lambda match: " " + " ".join(match[0]) + " ", text.lower()).split()


_RULES = (
    Words("r2gen-iu", _r2gen(("..", ".", 3))),
    Words("r2gen-mimic", _r2gen(("\n", " ", 1), ("__", "_", 7), ("  ", " ", 6), ("..", ".", 8))),
    Words("ptb", _spaced, marks_count=False),
    Words("whitespace", str.split),
    Words("without-marks", str.split, marks_count=False),
    Words("jury", str.split, marks_count=False),
)
_BY_NAME = {rule.name: rule for rule in _RULES}
PROFILES = tuple(_BY_NAME)
"""Names of the tokenisation profiles."""


def words_of(profile: str) -> Words:
    """How texts of a tokenisation profile are split and joined.

    Raises:
        UnknownNameError: with the nearest names.
    """
    if profile not in _BY_NAME:
        raise UnknownNameError(f"unknown tokenizer {profile!r}", did_you_mean(profile, PROFILES))
    return _BY_NAME[profile]


def frequent_words(texts: Iterable[Sequence[str]], min_count: int = 3, most: int | None = None) -> list[str]:
    """Words of split texts that occur at least ``min_count`` times.

    Args:
        most: so many of them at most; None: all.

    Returns:
        The most frequent first, ties alphabetical.
    """
    counts: dict[str, int] = {}
    for text in texts:
        for word in text:
            counts[word] = counts.get(word, 0) + 1
    words = [word for word, count in counts.items() if count >= min_count]
    return sorted(words, key=lambda word: (-counts[word], word))[:most]
