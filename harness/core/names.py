"""Helping with names that a user mistyped."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SHOWN = 40
"""Names that a message lists at most."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``did you mean dia?`` for a near miss, else what exists, of many names the first ``SHOWN``."""
    names = sorted(names)
    close = get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if not names:
        return "none exist"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"known: {', '.join(names[:SHOWN])}{more}"
