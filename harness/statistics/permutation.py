"""Permutation tests of whether predictions belong to their studies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.statistics.bootstrap import FloatArray, clusters

_ROUNDING = 1e-12


def derangements(patient_ids: Sequence[str], count: int, seed: int = 0) -> NDArray[np.intp]:
    """Random orders of studies in which no study stands in the place of its own patient's study.

    Each is a random order in which studies in a forbidden place change places with others drawn at random.

    Args:
        patient_ids: the patient of each study, n of them.
        count: P.
        seed: the same seed and patients give the same orders.

    Returns:
        intp (P, n); study i gets what belongs to study ``[p, i]``.

    Raises:
        HarnessError: more than half of the studies are of one patient.
    """
    _, patient = clusters(patient_ids)
    if 2 * np.bincount(patient).max() > len(patient):
        raise HarnessError(
            "one patient has more than half of the studies", "there is no other patient's study for each"
        )
    rng = np.random.default_rng([seed, 2])  # neither the stream of the bootstrap nor of paired tests
    return np.stack([_derangement(patient, rng) for _ in range(count)])


def _derangement(patient: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    n = len(patient)
    order = rng.permutation(n)
    while True:
        forbidden = np.flatnonzero(patient[order] == patient)
        if not len(forbidden):
            return order
        place = forbidden[0]
        # Both studies have to be allowed in their new places.
        allowed = (patient[order] != patient[place]) & (patient[order[place]] != patient)
        partner = rng.choice(np.flatnonzero(allowed))
        order[[place, partner]] = order[[partner, place]]


def p_value(observed: float, permuted: FloatArray, higher_is_better: bool = True) -> float:
    """(1 + number of permuted values at least as good) / (1 + P), never 0; NaN where a value is undefined.

    Args:
        observed: with each study's own prediction.
        permuted: (P,), with other patients' predictions.
        higher_is_better: direction.
    """
    if np.isnan(observed) or np.isnan(permuted).any():
        return float("nan")
    sign = 1.0 if higher_is_better else -1.0
    as_good = int((sign * permuted >= sign * observed - _ROUNDING).sum())
    return (1 + as_good) / (1 + len(permuted))
