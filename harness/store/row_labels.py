"""What the labels of rows are made of, and what they say about the row."""

from __future__ import annotations

import re

SHUFFLED = "+shuffled-image"
"""Suffix of the label of a learned method's control."""


TEMPERATURE = "+temperature"
"""Suffix of the label of a row whose probabilities were rescaled by one temperature."""


IMPUTED = "+imputed-"
"""Between a method's label and the label of the method that generates the views which its studies lack."""


TRAIN_MISSING = "train-missing"
"""In the brackets of a label, the missing rate of the training studies: ``kedr[train-missing=0.3]``."""


TRAINED_ON = ("synthetic", "permuted", "both", "real")
"""What the classifiers of ``harness downstream`` learn from; the others are compared with the last.

``permuted`` is the control: the synthetic images, their labels dealt out anew.
"""


DOWNSTREAM_SCORES = ("auroc", "f1", "coarse_auroc", "coarse_f1")
"""What ``harness downstream`` measures: the last two with classifiers of coarse image features."""


DOWNSTREAM = tuple(f"downstream_{score}_{on}" for score in DOWNSTREAM_SCORES for on in TRAINED_ON)
"""Metric names of ``harness downstream``."""


def training_rate(label: str) -> tuple[str, float]:
    """A label without its missing rate of the training studies, and this rate."""
    pattern = rf"(?<=[\[,]){TRAIN_MISSING}=([0-9.e-]+),?"
    match = re.search(pattern, label)
    if match is None:
        return label, 0.0
    rest = label[: match.start()] + label[match.end() :]
    return rest.replace(",]", "]").replace("[]", ""), float(match[1])


def trained(label: str) -> str:
    """The label of the row whose checkpoint a row uses: without what a rerun on other inputs adds."""
    return label.removesuffix(SHUFFLED).removesuffix(TEMPERATURE).partition(IMPUTED)[0]
