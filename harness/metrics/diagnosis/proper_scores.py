"""Brier score and negative log-likelihood: what no choice of bins can move."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from harness.core.types import Prediction, Reference
from harness.metrics.base import MetricOutput, Statistics
from harness.metrics.diagnosis.probabilities import Floats, LabelMetric, off_by_rounding, renormalised

_EPSILON = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 before a logarithm is taken, as scikit-learn does."""


class _Mean(LabelMetric):
    """A proper scoring rule.

    Statistics are ``[sum over judgements, number of judgements]``, and for exclusive classes whether the
    study's probabilities were renormalised.
    """

    name: ClassVar[str]

    @abstractmethod
    def losses(self, probabilities: Floats, labels: Floats) -> Floats:
        """Sum of the losses (n,) of each study's judgements."""

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Loss and number of judgements per study, and what was renormalised, float64 (n_studies, 2 or 3)."""
        probabilities, labels = self.arrays(predictions, references)
        columns = [self.losses(probabilities, labels)]
        columns.append(np.full(len(labels), float(labels.shape[1] if self.multilabel else 1)))
        if not self.multilabel:
            rows = [np.asarray(each.probabilities, dtype=np.float64) for each in predictions]
            columns.append(off_by_rounding(np.stack(rows)).astype(np.float64))
        return np.stack(columns, axis=1)

    def reduce(self, totals: Statistics) -> dict[str, Floats]:
        """Summed statistics (..., 2 or 3) to the mean (...); NaN of nothing."""
        count = totals[..., 1]
        mean = np.divide(totals[..., 0], count, out=np.full(count.shape, np.nan), where=count > 0)
        return {self.name: mean}

    def remarks(self, statistics: Statistics) -> dict[str, str]:
        """How many studies' probabilities missed 1 by rounding."""
        rounded = statistics[:, 2:].astype(bool)
        return {self.name: renormalised(rounded)} if rounded.any() else {}


class Brier(_Mean):
    """Brier score: squared distance of the probabilities from the outcome (Brier 1950).

    Exclusive classes: summed over classes, 0 to 2. Findings: the mean over findings, 0 to 1.
    """

    name: ClassVar[str] = "brier"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("brier", higher_is_better=False, bounds=(0.0, 2.0)),)

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return f"{self.name}|{self.setting}|over:{'pooled' if self.multilabel else 'sum'}|impl:sklearn|v:1"

    def losses(self, probabilities: Floats, labels: Floats) -> Floats:
        """Squared errors (n,)."""
        return np.asarray(((probabilities - labels) ** 2).sum(1))


class NegativeLogLikelihood(_Mean):
    """Negative log-likelihood in nats, of the true class or, as the mean over findings, of their states."""

    name: ClassVar[str] = "nll"
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("nll", higher_is_better=False, bounds=(0.0, -float(np.log(_EPSILON))), unit="nats"),
    )

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        over = "pooled" if self.multilabel else "true"
        return f"{self.name}|{self.setting}|over:{over}|eps:{_EPSILON:.1e}|impl:sklearn|v:1"

    def losses(self, probabilities: Floats, labels: Floats) -> Floats:
        """Negative log-likelihoods (n,)."""
        probabilities = np.clip(probabilities, _EPSILON, 1.0 - _EPSILON)
        if self.multilabel:
            return np.asarray(-np.log(np.where(labels == 1, probabilities, 1.0 - probabilities)).sum(1))
        return np.asarray(-np.log((probabilities * labels).sum(1)))
