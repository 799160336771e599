"""How answers of a method differ: the first difference, and how far two trainings lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.audits.noise import EXACT, Tolerance
from harness.core.types import Prediction

LEVELS = 1
"""Largest difference of a pixel, of 255."""

Answers = dict[str, Prediction]
"""Study id -> prediction. Drawn reports and generated views stand under ``ID, drawn reports`` and so on."""


def first_difference(
    before: Answers, after: Answers, labels: Sequence[str], tolerance: Tolerance = EXACT
) -> str:
    """``study X: ...`` for the first answer of ``after`` that is not the one of ``before``; empty if none.

    Reports are not quoted: verdicts leave the machine that the data may not leave.
    """
    turned = sum(before[name].report != answer.report for name, answer in after.items())
    too_many = turned > tolerance.reports * len(after)
    for name, answer in after.items():
        own = answer if too_many else replace(answer, report=before[name].report)
        difference = _difference(before[name], own, labels, tolerance.probabilities)
        if difference:
            return f"study {name}: {difference}"
    return ""


def _difference(one: Prediction, other: Prediction, labels: Sequence[str], most: float) -> str:
    if one.report != other.report:
        words = [(prediction.report or "").split() for prediction in (one, other)]
        pairs = zip(*words, strict=False)
        place = next((at for at, (a, b) in enumerate(pairs, 1) if a != b), min(map(len, words)) + 1)
        return f"the report changed from word {place} on"
    if (one.probabilities is None) != (other.probabilities is None):
        return "probabilities are there once and not again"
    if one.probabilities is not None and other.probabilities is not None:
        gap = np.abs(np.asarray(one.probabilities) - np.asarray(other.probabilities))
        if not (gap <= most).all():
            place = int(np.argmax(np.nan_to_num(gap, nan=np.inf)))
            name = labels[place] if place < len(labels) else str(place)
            before, after = float(one.probabilities[place]), float(other.probabilities[place])
            return f"the probability of {name} went from {before:.6f} to {after:.6f}"
    return _image_difference(one.images or {}, other.images or {})


def _image_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    if set(one) != set(other):
        return "other images were generated"
    for view, pixels in one.items():
        gap = np.abs(pixels.astype(np.int16) - other[view].astype(np.int16)).max()
        if gap > LEVELS:
            return f"the generated {view} image changed by up to {gap} of 255 levels"
    return ""
