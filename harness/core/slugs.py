"""File names for the names of methods and datasets."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 220
"""Characters of a file name; with suffixes and those of temporaries it stays below the usual 255."""


def slug(name: str) -> str:
    """A file name for a method or dataset name (``dia:no-alignment`` -> ``dia@no-alignment``)."""
    safe = re.sub(r"[^A-Za-z0-9._+@=-]|^\.+", "_", name.replace(":", "@"))
    if len(safe) <= _LONGEST:
        return safe
    return f"{safe[: _LONGEST - 11]}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"
