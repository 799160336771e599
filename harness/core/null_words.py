"""Words that programs write where there is nothing: ``nan``, ``None``, ``N/A``."""

from __future__ import annotations

NULL_WORDS = frozenset(
    (
        *(
            "nan",
            "-nan",
            "none",
            "null",
            "nil",
            "n/a",
            "n.a.",
            "na",
            "<na>",
            "#n/a",
            "#na",
            "#n/a n/a",
            "nat",
        ),
        *("undefined", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    )
)
"""In lower case."""


def is_null(text: str) -> bool:
    """Whether a text is empty or a null word."""
    word = text.strip().casefold()
    return not word or word in NULL_WORDS or word.rstrip(".") in NULL_WORDS
