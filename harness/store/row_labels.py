"""What the labels of rows are made of, and what they say about the row."""

from __future__ import annotations

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
