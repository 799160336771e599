"""Rewrites: a pattern and its replacement, tried only on texts that hold a sign of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

Replacement = str | Callable[[re.Match[str]], str]


class Rewrite(NamedTuple):
    """A pattern and what replaces it, for texts that hold one of ``signs`` (lower case)."""

    signs: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: Replacement


def rewrite(signs: str, pattern: str, replacement: Replacement) -> Rewrite:
    """A rewrite whose pattern ignores case.

    Args:
        signs: parts of texts between blanks, in lower case.
        pattern: a regular expression; ``^`` and ``$`` match at lines.
        replacement: as ``re.sub`` takes it.
    """
    return Rewrite(tuple(signs.split()), re.compile(pattern, re.IGNORECASE | re.MULTILINE), replacement)


def rewritten(text: str, rewrites: Sequence[Rewrite]) -> str:
    """``text`` after all rewrites, one after the other."""
    lower = text.lower()
    for signs, pattern, replacement in rewrites:
        if any(sign in lower for sign in signs):
            changed = pattern.sub(replacement, text)
            if changed != text:
                text, lower = changed, changed.lower()
    return text
