"""Several references or predictions of one study: the best pair, the mean of all, or the metric's own way.

BLEU, ROUGE-L, CIDEr and METEOR have a way of their own to take several references, that of the COCO tools.
Every other metric scores each pair of a prediction and a reference of the study. ``max`` keeps the best pair;
``mean`` gives each pair an equal share of its study, so that counts are averaged before they are added up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.metrics.base import JointMetric, Metric, Statistics, checked_statistics

WAYS = ("max", "mean")

Side = TypeVar("Side", Prediction, Reference)


class SeveralReferences(ABC):
    """A metric with a way of its own to take several references of a study."""

    @abstractmethod
    def statistics_of_several(
        self, predictions: Sequence[Prediction], references: Sequence[Sequence[Reference]]
    ) -> Statistics:
        """As ``Metric.statistics``, of one prediction and one or more references per study."""


@dataclass(frozen=True, slots=True)
class SeveralTexts:
    """Predictions and references of studies, at least one of each per study.

    Attributes:
        way: one of ``WAYS``.
    """

    predictions: tuple[tuple[Prediction, ...], ...]
    references: tuple[tuple[Reference, ...], ...]
    way: str

    @property
    def several_predictions(self) -> bool:
        """Whether a study has several predictions."""
        return any(len(own) > 1 for own in self.predictions)

    @property
    def several_references(self) -> bool:
        """Whether a study has several references."""
        return any(len(own) > 1 for own in self.references)

    def refused(self, metric: Metric) -> str | None:
        """Why a metric cannot score these texts, or None."""
        own = isinstance(metric, SeveralReferences)
        if isinstance(metric, JointMetric):
            return f"takes one text per study ({metric.name}): it compares all studies at once"
        if self.several_references and metric.one_reference:
            return f"takes one reference per study ({metric.name}): its words weigh by all references"
        pairs = self.several_predictions or (self.several_references and not own)
        if pairs and self.way == "max" and not metric.best_by:
            return f"has no best pair ({metric.name}): it adds up counts over studies; --several mean"
        return None

    def signature(self, metric: Metric) -> str:
        """The metric's signature, and how several texts count."""
        own = isinstance(metric, SeveralReferences)
        references = f"|refs:{'coco' if own else self.way}" if self.several_references else ""
        return metric.signature + references + (f"|preds:{self.way}" if self.several_predictions else "")

    def statistics(self, metric: Metric) -> Statistics:
        """One row per study, as ``Metric.statistics`` has them."""
        if self.several_references and isinstance(metric, SeveralReferences):
            layers = [
                (valid, metric.statistics_of_several(predictions, self.references))
                for predictions, valid in _layers(self.predictions)
            ]
        else:
            layers = [
                (ours & theirs, checked_statistics(metric, predictions, references))
                for predictions, ours in _layers(self.predictions)
                for references, theirs in _layers(self.references)
            ]
        valid, rows = (np.stack(part) for part in zip(*layers, strict=True))
        if len(rows) == 1:
            return np.asarray(rows[0])
        return _mean(rows, valid) if self.way == "mean" else _best(metric, rows, valid)


def known_way(name: str) -> str:
    """``name`` as one of ``WAYS``.

    Raises:
        HarnessError: it is none.
    """
    if name not in WAYS:
        raise HarnessError(f"--several {name}: no such way", " or ".join(WAYS))
    return name


def _layers(texts: Sequence[tuple[Side, ...]]) -> list[tuple[list[Side], NDArray[np.bool_]]]:
    """The first text of each study, the second of each, and so on, and which studies have so many.

    A study with fewer repeats its last one: what is learned from all references needs one of each.
    """
    most = max(len(own) for own in texts)
    return [
        (
            [own[min(place, len(own) - 1)] for own in texts],
            np.array([place < len(own) for own in texts]),
        )
        for place in range(most)
    ]


def _mean(rows: NDArray[np.float64], valid: NDArray[np.bool_]) -> Statistics:
    """Mean (n, k) of the rows (P, n, k) that are valid (P, n)."""
    shares = valid / valid.sum(axis=0)
    mean: Statistics = np.einsum("pnk,pn->nk", rows, shares)
    return mean


def _best(metric: Metric, rows: NDArray[np.float64], valid: NDArray[np.bool_]) -> Statistics:
    """The best (n, k) of the rows (P, n, k) that are valid (P, n): column by column, or the whole row."""
    signs = np.array([-1.0 if each.higher_is_better is False else 1.0 for each in metric.outputs])
    places = np.arange(rows.shape[1])
    if metric.best_by == "row":
        value = np.stack([metric.alone(each)[metric.outputs[0].name] for each in rows])
        chosen = np.where(valid, signs[0] * value, -np.inf).argmax(axis=0)
        return np.asarray(rows[chosen, places])
    best = rows[0].copy()
    for column, sign in enumerate(signs):
        chosen = np.where(valid, sign * rows[:, :, column], -np.inf).argmax(axis=0)
        best[:, column] = rows[chosen, places, column]
    return best
