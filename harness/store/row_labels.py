"""What the labels of rows are made of, and what they say about the row."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.content import by_content, content_digest, is_local_path

SHUFFLED = "+shuffled-image"
"""Suffix of the label of a learned method's control."""


TEMPERATURE = "+temperature"
"""Suffix of the label of a row whose probabilities were rescaled by one temperature."""


IMPUTED = "+imputed-"
"""Between a method's label and the label of the method that generates the views which its studies lack."""


_FROM_FILES = " (from files)"
"""Suffix of the label of a system whose answers were read from files."""


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


_READABLE = 60
"""Characters of settings that a label shows; longer ones stand there as a digest."""


def row_title(label: str, seed: int, seeds: Sequence[int]) -> str:
    """A row's label, with its seed where the run has several seeds."""
    return f"{label} (seed {seed})" if len(seeds) > 1 else label


def label_of(name: str, settings: Mapping[str, Any], train_missing: float = 0.0) -> str:
    """The label of a row: its method, and how ``--set`` changes it.

    A path never stands in a label, but the digest of what lies there: the same file is the same row on every
    machine. Settings too long to read are one digest, too.

    Args:
        name: ``NAME`` or ``NAME:VARIANT``.
        settings: of ``--set``, without the method's name.
        train_missing: missing rate of the training studies.
    """
    shown = ",".join(f"{key}={_shown(value)}" for key, value in sorted(settings.items()))
    if len(shown) > _READABLE:
        text = json.dumps(by_content(dict(settings)), sort_keys=True, default=str)
        shown = f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    rate = f"{TRAIN_MISSING}={train_missing}" if train_missing else ""
    inside = ",".join(filter(None, (shown, rate)))
    return f"{name}[{inside}]" if inside else name


def _shown(value: Any) -> Any:
    return content_digest(value)[: len("sha256:") + 8] if is_local_path(value) else value


def method_of(label: str) -> str:
    """``NAME`` or ``NAME:VARIANT`` of a row: its label without settings and what a rerun adds."""
    return trained(label).partition("[")[0]


def training_rate(label: str) -> tuple[str, float]:
    """A label without its missing rate of the training studies, and this rate."""
    pattern = rf"(?<=[\[,]){TRAIN_MISSING}=([0-9.e-]+),?"
    match = re.search(pattern, label)
    if match is None:
        return label, 0.0
    rest = label[: match.start()] + label[match.end() :]
    return rest.replace(",]", "]").replace("[]", ""), float(match[1])


def from_files(name: str) -> str:
    """The label of a system whose answers were read from files; no method has one like it."""
    return name + _FROM_FILES


def trained(label: str) -> str:
    """The label of the row whose checkpoint a row uses: without what a rerun on other inputs adds."""
    return label.removesuffix(SHUFFLED).removesuffix(TEMPERATURE).partition(IMPUTED)[0]
