"""Train, predict, score and compare medical multimodal models in one protocol.

The names of ``__all__`` are imported when they are used: ``import harness`` imports no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import (
        AuditTable,
        ComparisonTable,
        ImageFiles,
        LabelReading,
        Leaderboard,
        ReportReading,
        ScoreTable,
        add_row,
        audit,
        compare,
        evaluate,
        intervals,
        label,
        load_dataset,
        load_method,
        reward,
        score,
        score_images,
        score_probabilities,
    )

__version__ = "0.1.0"
__all__ = [
    "AuditTable",
    "ComparisonTable",
    "ImageFiles",
    "LabelReading",
    "Leaderboard",
    "ReportReading",
    "ScoreTable",
    "add_row",
    "audit",
    "compare",
    "evaluate",
    "intervals",
    "label",
    "load_dataset",
    "load_method",
    "reward",
    "score",
    "score_images",
    "score_probabilities",
]


def __getattr__(name: str) -> Any:
    """A name of the Python interface, imported now."""
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("harness.api"), name)


def __dir__() -> list[str]:
    """All names, whether they were used or not."""
    return sorted({*globals(), *__all__})
