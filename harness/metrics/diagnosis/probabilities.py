"""What diagnosis and calibration metrics share: probabilities and labels, joined and checked by study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import Metric

Floats = NDArray[np.float64]

# Half-precision softmaxes add up to 1 only to about three digits.
_SUM_TOLERANCE = 2e-3


class LabelMetric(Metric):
    """Base of the metrics over class or finding probabilities.

    Args:
        multilabel: labels are independent findings (True, as ``DatasetInfo.multilabel`` and the chest X-ray
            datasets have it) or exclusive classes (False). It is part of every signature.
    """

    task: ClassVar[Task] = Task.DIAGNOSE

    def __init__(self, multilabel: bool = True) -> None:
        self.multilabel = multilabel

    @property
    def setting(self) -> str:
        """Field of the signature."""
        return "labels:multi" if self.multilabel else "labels:single"

    def arrays(
        self, predictions: Sequence[Prediction], references: Sequence[Reference]
    ) -> tuple[Floats, Floats]:
        """Probabilities in [0, 1] and labels that are 0 or 1, each (n_studies, n_labels), in the same order.

        Raises:
            HarnessError: a study without either, of another length, or with values that are no probabilities
                or labels of this setting; the message names the study.
        """
        if len(predictions) != len(references) or not references:
            raise HarnessError(
                f"{len(predictions)} predictions for {len(references)} references", "join them by id first"
            )
        ids = [reference.id for reference in references]
        labels = _stacked("reference labels", ids, [reference.labels for reference in references])
        probabilities = _stacked(
            "predicted probabilities", ids, [prediction.probabilities for prediction in predictions]
        )
        if probabilities.shape != labels.shape:
            raise HarnessError(
                f"{probabilities.shape[1]} probabilities per study for {labels.shape[1]} labels",
                "a method predicts one probability per label name of the dataset",
            )
        _require((probabilities >= -1e-6) & (probabilities <= 1 + 1e-6), ids, "probabilities outside [0, 1]")
        _require(np.isin(labels, (0.0, 1.0)), ids, "labels other than 0 and 1")
        if not self.multilabel:
            _require(labels.sum(1, keepdims=True) == 1, ids, "labels that are not one-hot", "multilabel=True")
            total = probabilities.sum(1, keepdims=True)
            _require(np.abs(total - 1) < _SUM_TOLERANCE, ids, "class probabilities that do not add up to 1")
        return np.clip(probabilities, 0.0, 1.0), labels


def _stacked(what: str, ids: Sequence[str], values: Sequence[NDArray[np.generic] | None]) -> Floats:
    rows: list[Floats] = []
    for study, value in zip(ids, values, strict=True):
        if value is None:
            raise HarnessError(f"study {study!r} has no {what}")
        row = np.asarray(value, dtype=np.float64)
        if row.ndim != 1 or (rows and row.shape != rows[0].shape):
            expected = rows[0].shape if rows else "one axis"
            raise HarnessError(f"study {study!r}: {what} have shape {row.shape}, expected {expected}")
        rows.append(row)
    return np.stack(rows)


def _require(fine: NDArray[np.bool_], ids: Sequence[str], what: str, hint: str = "") -> None:
    if not fine.all():
        first = int(np.argwhere(~fine)[0, 0])
        raise HarnessError(f"study {ids[first]!r} has {what}", hint)
