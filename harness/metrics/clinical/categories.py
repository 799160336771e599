"""What metrics over entities say of each kind of entity alone: how much of it is matched, on either side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference

Sums = Mapping[str, Sequence[float]]
"""Category -> ``[matched of the prediction, predicted, matched of the reference, in the reference]``."""


@dataclass(frozen=True, slots=True)
class CategoryCounts:
    """What of each category is matched.

    Attributes:
        names: of C categories.
        counts: float64 (n_studies, C, 4): how much of the prediction's entities is matched, how much there
            is, and the same of the reference's.
    """

    names: tuple[str, ...]
    counts: NDArray[np.float64]

    @classmethod
    def of(cls, studies: Sequence[Sums], names: Iterable[str] = ()) -> CategoryCounts:
        """From the sums of each study.

        Args:
            studies: one mapping per study.
            names: categories in the order of the table; empty: those that occur, by their names.
        """
        order = tuple(names) or tuple(sorted({name for study in studies for name in study}))
        counts = np.zeros((len(studies), len(order), 4))
        for row, study in enumerate(studies):
            for column, name in enumerate(order):
                counts[row, column] = study.get(name, 0.0)
        return cls(order, counts)


class Categorised(ABC):
    """A metric over entities that can tell their categories apart."""

    @property
    @abstractmethod
    def category_signature(self) -> str:
        """Identity of the numbers per category."""

    @abstractmethod
    def by_category(
        self, predictions: Sequence[Prediction], references: Sequence[Reference]
    ) -> CategoryCounts:
        """What of each category is matched, study by study."""


def category_scores(totals: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall and F1 (..., C) of summed counts (..., C, 4); NaN where nothing is to be divided."""
    ours, predicted, theirs, true = np.moveaxis(totals, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = ours / predicted, theirs / true
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
    return {"precision": precision, "recall": recall, "f1": f1}
