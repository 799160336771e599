"""The metrics that stand for their task on curves, in one-line summaries and in ablations."""

from __future__ import annotations

CURVE_METRICS = (
    "bleu_4",
    "cider",
    "chexbert_f1_micro_13",
    "chexpert_rules_f1_micro_13",
    "chexbert_f1_micro_14",
    "chexpert_rules_f1_micro_14",
    "f1_macro_common",
    "auroc_macro_common",
)
"""A table shows the curve over missing rates of the first of these metrics that it has. BLEU-4 stands before
CIDEr: its paired differences told six pairs of report methods of ``iu-phantom`` apart, those of CIDEr one.

F1 of the 13 findings stands before F1 of the 14 labels: No Finding is the fourteenth, and a fixed normal
report has a high F1 of all 14 without a look at any image.
"""

SUBGROUP_METRICS = (
    *CURVE_METRICS,
    "bleu_1",
    "rouge_l",
    "chexbert_f1_example_14",
    "chexpert_rules_f1_example_14",
    "auprc_macro_common",
    "f1_macro_tuned",
    "f1_micro",
    "accuracy",
    "subset_accuracy",
    "ece",
    "brier",
    "aurc",
)
"""``--by`` shows these in groups of studies."""

ABLATION_METRICS = (
    "bleu_4",
    "cider",
    "chexbert_f1_macro_common",
    "chexpert_rules_f1_macro_common",
    "auroc_macro_common",
    "f1_macro_common",
    "ece",
    "fid_lite0",
    "alignment_lite0",
)
"""``harness ablate`` compares variants by those of these metrics that were measured."""
