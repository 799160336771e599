"""What the labels of rows are made of, and what they say about the row."""

from __future__ import annotations

SHUFFLED = "+shuffled-image"
"""Suffix of the label of a learned method's control."""


IMPUTED = "+imputed-"
"""Between a method's label and the label of the method that generates the views which its studies lack."""


TRAINED_ON = ("synthetic", "permuted", "both", "real")
"""What the classifiers of ``harness downstream`` learn from; the others are compared with the last.

``permuted`` is the control: the synthetic images, their labels dealt out anew.
"""


DOWNSTREAM_SCORES = ("auroc", "f1", "coarse_auroc", "coarse_f1")
"""What ``harness downstream`` measures: the last two with classifiers of coarse image features."""


DOWNSTREAM = tuple(f"downstream_{score}_{on}" for score in DOWNSTREAM_SCORES for on in TRAINED_ON)
"""Metric names of ``harness downstream``."""


def trained(label: str) -> str:
    """The label of the row whose checkpoint a row uses: without what a rerun on other inputs adds."""
    return label.removesuffix(SHUFFLED).partition(IMPUTED)[0]
