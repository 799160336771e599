"""The metrics that stand for their task on curves and in one-line summaries."""

from __future__ import annotations

CURVE_METRICS = (
    "cider",
    "bleu_4",
    "chexbert_f1_micro_14",
    "chexpert_rules_f1_micro_14",
    "f1_macro",
    "auroc_macro",
)
"""A table shows the curve over missing rates of the first of these metrics that it has."""
