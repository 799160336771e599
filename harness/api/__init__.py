"""The harness from Python: what a notebook or a script calls. ``import harness`` has these names."""

from __future__ import annotations

from harness.api.audits import AuditTable
from harness.api.board import Leaderboard
from harness.api.rows import add_row
from harness.api.runs import audit, evaluate, load_dataset, load_method
from harness.api.scores import (
    ComparisonTable,
    ScoreTable,
    compare,
    intervals,
    label,
    reward,
    score,
    score_images,
    score_probabilities,
)
from harness.evaluation.image_files.scoring import ImageFiles
from harness.evaluation.probability_files.tables import LabelReading
from harness.evaluation.report_files.pairing import ReportReading

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
