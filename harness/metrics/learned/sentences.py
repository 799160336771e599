"""Sentences of a report, for models that read one at a time."""

from __future__ import annotations

import re

_FIRST = re.compile(r"(?:^|(?<=[^\d][.!?]))\s*\d{1,2}\.(?!\d)\s*")
"""The number of a list's item at the beginning or after a sentence."""

_LATER = re.compile(r"(?:(?<=[a-z])|(?<=\w)\s)\d{1,2}\.(?=\s|$)")
"""The same after a word without a full stop: the item before ends there."""

_END = re.compile(r"(?<=[.!?])(?:\s+|(?=[A-Z]))")
_TITLE = re.compile(r"\b(?:dr|mr|mrs|ms|vs|e\.g|i\.e)\.$", re.IGNORECASE)
_SHORT = re.compile(r"\b(?:no|st|approx|[A-Za-z])\.$", re.IGNORECASE)
"""Ends of other abbreviations and initials, after which a small letter goes on with the sentence."""


def sentences_of(text: str) -> list[str]:
    """The sentences of a text in order, without numbers of lists; none of an empty text.

    A sentence ends with ``.``, ``!`` or ``?`` and a blank, or with a full stop before a capital letter.
    """
    line = _LATER.sub(".", _FIRST.sub(" ", " ".join(text.split())))
    sentences: list[str] = []
    for part in (part.strip() for part in _END.split(line)):
        before = sentences[-1] if sentences else ""
        if _TITLE.search(before) or (part[:1].islower() and _SHORT.search(before)):
            sentences[-1] += f" {part}"
        elif any(map(str.isalnum, part)):
            sentences.append(part)
    return [sentence if sentence.endswith((".", "!", "?")) else f"{sentence}." for sentence in sentences]
