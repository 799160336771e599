"""Names: which one a user meant, and which ones a plugin may not take."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

_OUTPUT = re.compile(r"\w{1,60}", re.ASCII)
SHOWN = 40
"""Names that a message lists at most."""
_LONGEST = 60
"""Letters of a plugin's name that a message shows."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``did you mean dia?`` for a near miss, else what exists, of many names the first ``SHOWN``."""
    names = sorted(names)
    close = get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if not names:
        return "none exist"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"known: {', '.join(names[:SHOWN])}{more}"


def not_its_own(name: str, metric: Any, owners: dict[str, str]) -> str:
    """Which name of a plugin's metric is another one's, so that its numbers would stand in their place.

    Args:
        name: under which it is registered.
        owners: output -> family; the outputs of the metric join them.

    Returns:
        A few words; empty where all its names are its own.
    """
    if metric.name != name:
        return f"it is registered as {name}, and its name is {str(metric.name)[:_LONGEST]!r}"
    begins = str(metric.signature).partition("|")[0]
    if begins != name:
        return f"its signature begins with {begins[:_LONGEST]!r}, not with its name"
    outputs = [output.name for output in metric.outputs]
    if not outputs:
        return "it has no outputs"
    if len(set(outputs)) < len(outputs):
        return "two of its outputs have one name"
    for output in metric.outputs:
        if not _OUTPUT.fullmatch(str(output.name)):
            return "the name of an output is no word of letters, digits and underscores"
        owner = owners.setdefault(output.name, name)
        if owner != name:
            return f"its output {output.name} is one of metric {owner}"
    return ""
