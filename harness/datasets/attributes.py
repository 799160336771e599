"""Groups of studies by an attribute, such as sex, age or view position."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import Study

UNKNOWN = "unknown"
WITH, WITHOUT = "with", "without"
"""Groups by a modality: the studies that have it by nature, and the others."""
AGES = ((18, "under 18"), (40, "18-39"), (65, "40-64"), (math.inf, "65 and older"))
"""Upper ends, exclusive, and names of bands of age in years."""


def check_attributes(names: Sequence[str], studies: Sequence[Study]) -> None:
    """Raise for a name of ``--by`` that is no attribute of the studies.

    Raises:
        UnknownNameError: with the nearest attributes.
    """
    attributes = attributes_of(studies)
    for name in names:
        if name not in attributes:
            raise UnknownNameError(f"--by {name}: no test study has it", did_you_mean(name, attributes))


def attributes_of(studies: Sequence[Study]) -> list[str]:
    """Attributes and modalities that at least one of the studies has."""
    named = {name for study in studies for name, value in study.attributes.items() if value is not None}
    return sorted(named.union(*(study.modalities for study in studies)))


def groups_of(attribute: str, studies: Sequence[Study]) -> dict[str, NDArray[np.bool_]]:
    """Group -> which studies are in it, (n,).

    A category is a group. Ages form the bands of ``AGES``, other numbers three groups of like size. Studies
    without a value are a group of their own, the last one. A modality, where no attribute has its name,
    makes the groups ``with`` and ``without`` it.
    """
    if not any(attribute in study.attributes for study in studies):
        here = np.array([attribute in study.modalities for study in studies], dtype=bool)
        return {name: members for name, members in ((WITH, here), (WITHOUT, ~here)) if members.any()}
    values = [study.attributes.get(attribute) for study in studies]
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    ends = AGES if attribute == "age" else _thirds(numbers)
    names = [
        UNKNOWN
        if value is None
        else next(name for end, name in ends if value < end)
        if isinstance(value, (int, float))
        else str(value)
        for value in values
    ]
    order = [name for _, name in ends] if numbers else sorted({*names} - {UNKNOWN})
    return {name: np.array([each == name for each in names]) for name in [*order, UNKNOWN] if name in names}


def _thirds(numbers: Sequence[float]) -> tuple[tuple[float, str], ...]:
    if not numbers:
        return ()
    low, high = np.quantile(numbers, [1 / 3, 2 / 3])
    return (low, f"below {low:g}"), (high, f"{low:g} to {high:g}"), (math.inf, f"{high:g} and more")
