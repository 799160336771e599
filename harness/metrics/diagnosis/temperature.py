"""Temperature scaling: probabilities that are right on average, without a change of any ranking.

Guo et al. (2017), "On Calibration of Modern Neural Networks".
"""

from __future__ import annotations

import numpy as np

from harness.core.errors import InvalidValuesError
from harness.metrics.diagnosis.probabilities import Floats, checked_confidences, checked_judgements

PROBABILITIES = 1e-30, 1.0 - float(np.finfo(np.float64).epsneg)
"""Where logits end. Small probabilities stay apart: a temperature must change no ranking."""
_RANGE = (0.05, 20.0)
_STEPS = 60


def scaled(probabilities: Floats, temperature: float, multilabel: bool) -> Floats:
    """Probabilities (n, L) whose logits are divided by the temperature; above 1 they get less sure.

    Args:
        probabilities: of findings, or of exclusive classes.
        temperature: above 0.
        multilabel: each finding has a logit of its own; else a study's logits go through a softmax.

    Raises:
        InvalidValuesError: logits, percent, NaN, or no such temperature.
    """
    if not 0 < temperature < np.inf:
        raise InvalidValuesError(f"a temperature of {temperature:g}", "expected a finite number above 0")
    safe = np.clip(checked_confidences(probabilities), *PROBABILITIES)
    if multilabel:
        scaled_findings: Floats = 1.0 / (1.0 + ((1.0 - safe) / safe) ** (1.0 / temperature))
        return scaled_findings
    powers = safe ** (1.0 / temperature)
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def best_temperature(probabilities: Floats, labels: Floats, multilabel: bool) -> float:
    """The temperature in [0.05, 20] with the lowest negative log-likelihood of labels (n, L).

    The loss is convex in the inverse temperature, so a golden-section search finds the minimum.

    Raises:
        InvalidValuesError: logits, percent, NaN, labels other than 0 and 1, or other shapes.
    """
    if np.ndim(probabilities) != 2 or np.shape(probabilities) != np.shape(labels):
        raise InvalidValuesError(
            f"probabilities of shape {np.shape(probabilities)} and labels of shape {np.shape(labels)}",
            "expected both (n, L): a row per study, a column per label",
        )
    checked_judgements(np.ravel(probabilities), np.ravel(labels))
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    golden = (np.sqrt(5.0) - 1.0) / 2.0
    low, high = np.log(_RANGE[0]), np.log(_RANGE[1])
    for _ in range(_STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        losses = [_loss(probabilities, labels, float(np.exp(each)), multilabel) for each in (left, right)]
        low, high = (low, right) if losses[0] <= losses[1] else (left, high)
    return float(np.exp((low + high) / 2.0))


def _loss(probabilities: Floats, labels: Floats, temperature: float, multilabel: bool) -> float:
    right = scaled(probabilities, temperature, multilabel)
    if multilabel:
        right = np.where(labels == 1, right, 1.0 - right)
        return float(-np.log(np.maximum(right, 1e-300)).sum())
    return float(-np.log(np.maximum((right * labels).sum(axis=1), 1e-300)).sum())
