"""How a number is written, in every format."""

from __future__ import annotations

from harness.results import ResultRow


def number(row: ResultRow | None, *, interval: bool = True) -> str:
    """``0.174 [0.151, 0.199]``; what has no value says why in one word, and an absent cell is blank."""
    if row is None:
        return ""
    if row.value is None:
        return row.status
    text = f"{row.value:.3f}"
    if interval and row.ci95 is not None:
        text += f" [{row.ci95[0]:.3f}, {row.ci95[1]:.3f}]"
    return text
