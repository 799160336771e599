"""Helping with names that a user mistyped."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SHUFFLED = "+shuffled-image"
"""What the label of a learned method's control ends in."""

IMPUTED = "+imputed-"
"""Stands between a method's label and that of the method which generates what its studies lack."""

TRAINED_ON = ("synthetic", "both", "real")
"""What ``harness downstream`` trains its classifier on; what the others are compared with comes last."""

DOWNSTREAM = tuple(f"downstream_{score}_{on}" for score in ("auroc", "f1") for on in TRAINED_ON)
"""Names of its numbers."""


def trained(label: str) -> str:
    """The label of the row whose checkpoint a row uses: without what a rerun on other inputs adds."""
    return label.removesuffix(SHUFFLED).partition(IMPUTED)[0]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean dia?`` for a near miss, else the list of what exists."""
    known = sorted(known)
    close = get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(known)}" if known else "none exist"
