"""What the labels of rows are made of, and what they say about the row."""

from __future__ import annotations

SHUFFLED = "+shuffled-image"
"""Suffix of the label of a learned method's control."""


IMPUTED = "+imputed-"
"""Between a method's label and the label of the method that generates the views which its studies lack."""


TRAINED_ON = ("synthetic", "both", "real")
"""Training images of the classifiers of ``harness downstream``; the others are compared with the last."""


DOWNSTREAM = tuple(f"downstream_{score}_{on}" for score in ("auroc", "f1") for on in TRAINED_ON)
"""Metric names of ``harness downstream``."""


def trained(label: str) -> str:
    """The label of the row whose checkpoint a row uses: without what a rerun on other inputs adds."""
    return label.removesuffix(SHUFFLED).partition(IMPUTED)[0]
