"""The harness from Python: what a notebook or a script calls. ``import harness`` has these names."""

from __future__ import annotations

from harness.api.board import Leaderboard
from harness.api.runs import audit, evaluate, load_dataset, load_method

__all__ = ["Leaderboard", "audit", "evaluate", "load_dataset", "load_method"]
