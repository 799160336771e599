"""Where the experts of the decoder worked on a report (Fig. 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Routing:
    """Where the experts of each decoder block worked on one report (Fig. 8).

    Attributes:
        id: the study's.
        words: the report's n words, as the decoder read them.
        experts: int (blocks, n, k), the experts that a word passed, the strongest first.
        weights: float (blocks, n, k), S_top of Eq. 6.
        scores: float (blocks, n, experts), S of Eq. 6; a row sums to 1.
    """

    id: str
    words: list[str]
    experts: NDArray[np.int64]
    weights: NDArray[np.float32]
    scores: NDArray[np.float32]

    def utilisation(self) -> NDArray[np.float64]:
        """Share of each block's assignments that an expert got: (blocks, experts), rows sum to 1."""
        count = self.scores.shape[2]
        return np.stack(
            [np.bincount(row.ravel(), minlength=count) / max(1, row.size) for row in self.experts]
        )
