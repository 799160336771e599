"""Metrics called by hand: texts, arrays and images in, numbers with their identity out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.core.arguments import described, of_type
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.frames import as_pandas, is_table
from harness.core.names import did_you_mean
from harness.core.null_words import is_null
from harness.core.types import Prediction, Reference, Task

if TYPE_CHECKING:
    from harness.metrics.base import Metric

_FORMS = {
    Task.REPORT: "a list of texts",
    Task.DIAGNOSE: "numbers (n, labels), or (n,) of a single label",
    Task.SYNTHESIZE: "uint8 images (height, width) or (height, width, channels)",
}

_MASKED = str(np.ma.masked)
"""What a masked entry of an array is as text."""


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
            HarnessError: ``output`` is no text.
            UnknownNameError: the metric has no such output.
        """
        of_type(output, str, "output", "the name of one number")
        if output not in self.values:
            raise UnknownNameError(
                f"{self.metric.name}: no value {output!r}", did_you_mean(output, self.values)
            )
        return self.values[output]


def studies_of(
    metric: Metric, predictions: Iterable[Any], references: Iterable[Any], patients: Iterable[Any] | None
) -> tuple[list[Prediction], list[Reference]]:
    """Predictions and references of plain values, in the same order.

    Args:
        metric: its task says what values are.
        predictions, references: texts, rows of numbers, images; or ``Prediction`` and ``Reference`` objects.
        patients: of each study; None: each study has its own.

    Raises:
        HarnessError: other values, none, counts that differ, names of studies, labels or patients that
            differ, or a metric that plain values do not suffice.
    """
    ours, theirs = (
        _Side.of(metric, values, side)
        for values, side in ((predictions, "predictions"), (references, "references"))
    )
    _check_same_order(metric, ours, theirs)
    n = len(theirs.values)
    if len(ours.values) != n or not n:
        raise HarnessError(f"{metric.name}: {len(ours.values)} predictions for {n} references")
    owners = None if patients is None else _patients(metric, patients, (ours, theirs))
    return (
        [
            value
            if isinstance(value, Prediction)
            else Prediction(**_fields(metric, value, f"prediction {index}", "probabilities"))
            for index, value in enumerate(ours.values)
        ],
        [
            _own_patient(metric, value, None if owners is None else owners[index])
            if isinstance(value, Reference)
            else Reference(
                str(index),
                str(index) if owners is None else owners[index],
                **_fields(metric, value, f"reference {index}", "labels"),
            )
            for index, value in enumerate(theirs.values)
        ],
    )


def paired(metric: Metric, predictions: Any, references: Any) -> tuple[list[Any], list[Any]]:
    """The values of predictions and of references, where nothing says that their order differs.

    Raises:
        HarnessError: values without an order, or names of studies or labels that differ.
    """
    ours, theirs = _Side.of(metric, predictions, "predictions"), _Side.of(metric, references, "references")
    _check_same_order(metric, ours, theirs)
    return ours.values, theirs.values


@dataclass(frozen=True, slots=True)
class _Side:
    """Predictions or references, and what names their studies and labels: indices of pandas, else None."""

    name: str
    values: list[Any]
    studies: Any
    labels: Any

    @classmethod
    def of(cls, metric: Metric, values: Any, name: str) -> _Side:
        values = as_pandas(values, f"{metric.name}: {name}")
        in_order = _in_order(metric, values, name)
        studies, labels = _index(values), values.columns if is_table(values) else None
        rows = [value for value in in_order if _index(value) is not None]
        if rows and metric.task is Task.DIAGNOSE:
            labels = rows[0].index
            if not all(row.index.equals(labels) for row in rows):
                raise HarnessError(
                    f"{metric.name}: the indices of the rows of {name} differ, and position counts",
                    "bring the labels of all rows into one order",
                )
            if studies is None and len(rows) == len(in_order):
                studies = _names(rows)
        return cls(name, in_order, studies, labels)


def _names(rows: Sequence[Any]) -> Any:
    """The names of several series, such as rows of a table have, as an index; None where they name none."""
    import pandas as pd

    names = pd.Index([row.name for row in rows])
    return names if len(names) > 1 and names.is_unique and not names.hasnans else None


def _index(values: Any) -> Any:
    """The index of a series or a table of pandas, else None."""
    return getattr(values, "index", None) if hasattr(values, "iloc") else None


def _check_same_order(metric: Metric, ours: _Side, theirs: _Side) -> None:
    for names, first, second in (
        ("indices", ours.studies, theirs.studies),
        ("columns", ours.labels, theirs.labels),
    ):
        if first is not None and second is not None and not first.equals(second):
            raise HarnessError(
                f"{metric.name}: the {names} of predictions and references differ, and position counts",
                "bring both into one order, or call harness.score, which joins by id",
            )


def _in_order(metric: Metric, values: Any, side: str) -> list[Any]:
    """The values of studies in the order of the studies; a table of numbers gives its rows.

    Raises:
        HarnessError: values without an order, or whose iteration gives no values of studies: the letters of a
            text, the keys of a mapping, the names of a table's columns.
    """
    if is_table(values):
        if metric.task is Task.DIAGNOSE:
            return list(values.to_numpy())
        raise HarnessError(f"{metric.name}: {side} are a table", "give one column of it")
    if hasattr(values, "detach"):
        values = _array(metric, values, side)
    if isinstance(values, str | bytes | Mapping | Set) or not _has_values(values):
        raise HarnessError(
            f"{metric.name}: {side} are {described(values)}, which is no list of values of studies",
            f"give {_FORMS[metric.task]}, in the order of the studies",
        )
    return list(values)


def _has_values(values: Any) -> bool:
    """Whether values can be iterated; a class or an array without axes cannot, though it has the method."""
    if isinstance(values, type) or getattr(values, "ndim", 1) == 0:
        return False
    return isinstance(values, Iterable) or hasattr(values, "__getitem__")


def _patients(metric: Metric, patients: Any, sides: Sequence[_Side]) -> list[str]:
    """The patient of each study, as text.

    Raises:
        HarnessError: values without an order or in another one, another number, or a patient that is none.
    """
    advice = "give a list, one patient per study, in the order of the studies"
    unordered = isinstance(patients, str | bytes | Mapping | Set) or is_table(patients)
    if unordered or not _has_values(patients) or getattr(patients, "ndim", 1) != 1:
        raise HarnessError(f"{metric.name}: patients are {described(patients)}", advice)
    index = _index(patients)
    for side in sides:
        if index is not None and side.studies is not None and not index.equals(side.studies):
            raise HarnessError(
                f"{metric.name}: the indices of patients and {side.name} differ, and position counts",
                "bring both into one order",
            )
    owners = [str(_plain(patient)) for patient in patients]
    n = len(sides[-1].values)
    if len(owners) != n:
        raise HarnessError(f"{metric.name}: {len(owners)} patients for {n} studies")
    if absent := [place for place, owner in enumerate(owners) if is_null(owner) or owner == _MASKED]:
        raise HarnessError(
            f"{metric.name}: {len(absent)} of {n} patients are unknown, the first one is that of study "
            f"{absent[0]}",
            "leave patients out, or give one for each study",
        )
    return owners


def _plain(value: Any) -> Any:
    """Python's own value of a scalar of NumPy, torch or Arrow, whose text would hold more than the value."""
    if hasattr(value, "as_py"):
        return value.as_py()
    if value is np.ma.masked or getattr(value, "ndim", None) != 0:
        return value
    return value.item() if hasattr(value, "item") else value


def _own_patient(metric: Metric, reference: Reference, owner: str | None) -> Reference:
    """A ``Reference``, which names its patient itself.

    Raises:
        HarnessError: ``patients`` names another one.
    """
    if owner not in (None, str(reference.patient_id)):
        raise HarnessError(
            f"{metric.name}: study {reference.id} has another patient in patients than in its Reference",
            "leave patients out: Reference objects name them",
        )
    return reference


def _array(metric: Metric, value: Any, place: str) -> NDArray[Any]:
    """A value as an array; a tensor of torch as well, whatever its device.

    Raises:
        HarnessError: it has no numbers that can be read, such as a sparse tensor or rows of several lengths.
    """
    try:
        if not hasattr(value, "detach"):
            return np.asarray(value)
        tensor = value.detach().cpu()
        return np.asarray(tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor)
    except (TypeError, ValueError, RuntimeError) as error:
        raise HarnessError(
            f"{metric.name}: {place}: {described(value)} whose numbers cannot be read",
            f"give {_FORMS[metric.task]}" + ("; tensors are dense" if hasattr(value, "detach") else ""),
        ) from error


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
    array = _array(metric, value, place)
    if metric.task is Task.DIAGNOSE and array.ndim < 2 and array.size and array.dtype.kind in "biuf":
        return {numbers: np.atleast_1d(array.astype(np.float64))}
    if metric.task is Task.SYNTHESIZE and array.ndim in (2, 3) and array.dtype == np.uint8:
        return {"images": {getattr(metric, "view", ""): array.reshape(*array.shape[:2], -1)}}
    raise HarnessError(
        f"{metric.name}: {place} is {described(value)}, which it cannot score",
        f"give {_FORMS[metric.task]}",
    )
