"""One spelling for texts that look alike: what is done to characters before a label or a vector is sought."""

from __future__ import annotations

import re
import unicodedata

_HYPHENS = re.compile("[\u2010-\u2012\u2212]")
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})


NORM, NO_NORM = "norm:nfkc", "norm:none"
"""Fields of a signature: texts pass through ``plain_characters``, or are taken as they are written."""


_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u034f\u115f\u1160\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]"
)
"""What shows nothing and is neither white space nor a format character of Unicode: controls, fillers."""


def plain_characters(text: str) -> str:
    """``text`` in Unicode form NFKC, without format characters, with ASCII hyphens and quotes.

    Ligatures become letters, full-width letters become ordinary ones, and a no-break space becomes a space.
    Soft hyphens, zero-width characters, byte order marks, controls and other characters that show nothing go.
    """
    text = _INVISIBLE.sub("", text)
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    return _HYPHENS.sub("-", "".join(c for c in folded if unicodedata.category(c) != "Cf"))
