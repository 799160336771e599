"""SembScore: how alike CheXbert reads two reports, as the cosine of its vectors (Yu et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import require
from harness.core.types import Prediction, Reference, Task
from harness.metrics.annotation_cache import annotated_pairs
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.clinical import chexbert
from harness.metrics.pretrained import Recurring
from harness.metrics.text.base import plain_report_texts
from harness.metrics.text.characters import NORM

Vector = NDArray[np.float32]


class SembScore(Metric):
    """Mean over studies of the cosine of CheXbert's [CLS] vectors of both texts.

    It reads the checkpoint of ``chexbert_f1`` (``HARNESS_CHEXBERT``). An empty text has a vector too, that of
    [CLS] and [SEP] alone. Statistics are ``[cosine, 1]``.
    """

    name: ClassVar[str] = "sembscore"
    task: ClassVar[Task] = Task.REPORT
    group = "report findings"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("sembscore", bounds=(-1.0, 1.0)),)
    by_default: ClassVar[bool] = False
    on_request: ClassVar[bool] = True
    best_by: ClassVar[str] = "columns"

    @property
    def signature(self) -> str:
        """Identity of the numbers; ``weights`` is a digest of the checkpoint."""
        return f"{self.name}|vector:cls|{NORM}|weights:{chexbert.checkpoint_digest()}|impl:harness|v:1"

    def unavailable(self) -> str | None:
        """One line if a package or the weights are absent."""
        return chexbert.lacking_files(self.name)

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Cosine and 1 per study, float64 (n_studies, 2).

        Raises:
            UnavailableError: the weights are absent.
        """
        hypotheses, targets = plain_report_texts(predictions, references)
        statistics = np.ones((len(hypotheses), 2))
        if not hypotheses:
            return statistics
        require(self.unavailable())
        if chexbert.checkpoint_digest() == "absent":
            _ = self._vectors  # fetches the weights: the cache is keyed by their digest
        statistics[:, 0] = annotated_pairs(self.signature, hypotheses, targets, self._cosines)
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean cosine (...)."""
        return {self.name: mean_of(totals)}

    def cut(self, texts: Sequence[str]) -> tuple[int, list[bool]]:
        """Which texts have more tokens than BERT reads."""
        return chexbert.longer(texts)

    def _cosines(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        vectors = self._vectors(text for both in pairs for text in both)
        return [cosine(vectors[ours], vectors[theirs]) for ours, theirs in pairs]

    @cached_property
    def _vectors(self) -> Recurring[Vector]:
        labeler = chexbert.load(self.name)
        return Recurring(lambda texts: list(labeler.vectors(texts)), lambda vector: vector.nbytes)


def cosine(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Cosine in [-1, 1] of two vectors, 0 where either is zero."""
    one, other = (np.asarray(vector, dtype=np.float64) for vector in (first, second))
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return min(1.0, max(-1.0, float(one @ other) / length)) if length else 0.0
