"""How sure a method was, as counts that hold no study: what confidence densities are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference
from harness.metrics.diagnosis.calibration import judgements
from harness.metrics.diagnosis.probabilities import checked_confidences, checked_probabilities

BINS = 200
"""Bins of equal width on [0, 1]; narrower than any kernel that a density is drawn with."""


def confidence_counts(
    predictions: Mapping[str, Mapping[str, Prediction]], references: Sequence[Reference], multilabel: bool
) -> dict[str, list[int]]:
    """Per modality state, how many confidences fell into each bin; empty for methods without probabilities.

    It is empty, too, where a method's values are none: the metrics say so.

    Confidences are those that a reliability diagram bins (``calibration.judgements``).

    Args:
        predictions: state -> study id -> prediction.
        references: test studies; those without labels are left out.
        multilabel: labels are independent findings.
    """
    labelled = [(one.id, one.labels) for one in references if one.labels is not None]
    labels = np.array([truth for _, truth in labelled], dtype=np.float64)
    counts = {}
    for state, by_study in predictions.items():
        probabilities = [by_study[name].probabilities for name, _ in labelled]
        if not labelled or any(each is None for each in probabilities):
            return {}
        try:
            array = np.array(probabilities, dtype=np.float64)
            values, truth, _ = checked_probabilities(array, labels, multilabel)
        except ValueError:  # rows of unequal length, too
            return {}
        confidence, _ = judgements(values, truth, multilabel)
        counts[state] = histogram(confidence)
    return counts


def histogram(confidence: NDArray[Any]) -> list[int]:
    """How many of ``confidence`` (n,) in [0, 1] fell into each bin.

    Raises:
        InvalidValuesError: NaN, logits or percent.
    """
    counts, _ = np.histogram(checked_confidences(confidence), bins=BINS, range=(0, 1))
    return [int(count) for count in counts]


def from_counts(counts: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Confidences (n,) that fall into the bins as the counts say, each in the middle of its bin."""
    middles = (np.arange(len(counts)) + 0.5) / len(counts)
    return np.repeat(middles, counts)
