"""Metrics called by hand: texts, arrays and images in, numbers with their identity out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import Prediction, Reference, Task

if TYPE_CHECKING:
    from harness.metrics.base import Metric

_FORMS = {
    Task.REPORT: "a list of texts",
    Task.DIAGNOSE: "numbers (n, labels), or (n,) of a single label",
    Task.SYNTHESIZE: "uint8 images (height, width) or (height, width, channels)",
}


@dataclass(frozen=True, slots=True)
class MetricResult:
    """What a metric that is called by hand returns; ``result["bleu_4"]`` is one number.

    Attributes:
        metric: the metric itself.
        values: output name -> value on all studies; NaN where it is undefined.
        statistics: (n, k), one row per study. ``harness.intervals`` computes intervals from them.
        patients: of each study; intervals resample patients.
    """

    metric: Metric
    values: Mapping[str, float]
    statistics: NDArray[np.float64]
    patients: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of studies."""
        return len(self.statistics)

    @property
    def signature(self) -> str:
        """Identity of the numbers: only numbers with equal signatures are comparable."""
        return self.metric.signature

    def __getitem__(self, output: str) -> float:
        """One number.

        Raises:
            UnknownNameError: the metric has no such output.
        """
        if output not in self.values:
            raise UnknownNameError(
                f"{self.metric.name}: no value {output!r}", did_you_mean(output, self.values)
            )
        return self.values[output]


def studies_of(
    metric: Metric, predictions: Iterable[Any], references: Iterable[Any], patients: Sequence[str] | None
) -> tuple[list[Prediction], list[Reference]]:
    """Predictions and references of plain values, in the same order.

    Args:
        metric: its task says what values are.
        predictions, references: texts, rows of numbers, images; or ``Prediction`` and ``Reference`` objects.
        patients: of each study; None: each study has its own.

    Raises:
        HarnessError: other values, none, counts that differ, or a metric that plain values do not suffice.
    """
    for axis, names in (("index", "indices"), ("columns", "columns")):
        first, second = (_names(values, axis) for values in (predictions, references))
        if first is not None and second is not None and not first.equals(second):
            raise HarnessError(
                f"{metric.name}: the {names} of predictions and references differ, and position counts",
                "bring both into one order, or call harness.score, which joins by id",
            )
    ours, theirs = in_order(metric, predictions, "predictions"), in_order(metric, references, "references")
    if len(ours) != len(theirs) or not theirs:
        raise HarnessError(f"{metric.name}: {len(ours)} predictions for {len(theirs)} references")
    owners = [str(index) for index in range(len(theirs))] if patients is None else list(map(str, patients))
    if len(owners) != len(theirs):
        raise HarnessError(f"{metric.name}: {len(owners)} patients for {len(theirs)} studies")
    return (
        [
            value
            if isinstance(value, Prediction)
            else Prediction(**_fields(metric, value, f"prediction {index}", "probabilities"))
            for index, value in enumerate(ours)
        ],
        [
            value
            if isinstance(value, Reference)
            else Reference(str(index), owner, **_fields(metric, value, f"reference {index}", "labels"))
            for index, (value, owner) in enumerate(zip(theirs, owners, strict=True))
        ],
    )


def _names(values: Any, axis: str) -> Any:
    """The index or the columns of a series or a table of pandas, else None."""
    return getattr(values, axis, None) if hasattr(values, "iloc") else None


def in_order(metric: Metric, values: Any, side: str) -> list[Any]:
    """The values of studies in the order of the studies; a table of numbers gives its rows.

    Raises:
        HarnessError: values without an order, or whose iteration gives no values of studies: the letters of a
            text, the keys of a mapping, the names of a table's columns.
    """
    if hasattr(values, "columns") and hasattr(values, "to_numpy"):
        if metric.task is Task.DIAGNOSE:
            return list(values.to_numpy())
        raise HarnessError(f"{metric.name}: {side} are a table", "give one column of it")
    if isinstance(values, str | bytes | Mapping | Set):
        raise HarnessError(
            f"{metric.name}: {side} are a {type(values).__name__}, which is no list of values of studies",
            f"give {_FORMS[metric.task]}, in the order of the studies",
        )
    return list(values)


def _fields(metric: Metric, value: Any, place: str, numbers: str) -> dict[str, Any]:
    """The field of a study's object that holds a plain value; ``numbers`` names the one for numbers."""
    if not metric.plain:
        raise HarnessError(
            f"{metric.name}: it reads more than one thing of a study",
            "give Prediction and Reference objects (harness.core.types)",
        )
    if metric.task is Task.REPORT and isinstance(value, str):
        return {"report": value}
    if np.ma.is_masked(value):
        raise HarnessError(
            f"{metric.name}: {place} has masked numbers, which are none", "fill or leave them out"
        )
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if metric.task is Task.DIAGNOSE and array.ndim < 2 and array.dtype.kind in "biuf":
        return {numbers: np.atleast_1d(array.astype(np.float64))}
    if metric.task is Task.SYNTHESIZE and array.ndim in (2, 3) and array.dtype == np.uint8:
        return {"images": {getattr(metric, "view", ""): array.reshape(*array.shape[:2], -1)}}
    raise HarnessError(
        f"{metric.name}: {place} is a {type(value).__name__} that it cannot score",
        f"give {_FORMS[metric.task]}",
    )
