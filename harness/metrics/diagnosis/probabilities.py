"""What diagnosis and calibration metrics share: probabilities and labels, joined and checked by study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.core.errors import HarnessError, InvalidValuesError
from harness.core.types import LabelCounts, Prediction, Reference, Task
from harness.metrics.base import Metric
from harness.metrics.common_labels import common_labels, common_remark, rare_remark

Floats = NDArray[np.float64]

_SUM_TOLERANCE = 4e-3
"""Rounding to bfloat16 moves a sum of class probabilities by up to 2**-8, to float16 by up to 2**-11."""
_EXACT = 1e-5
"""Sums that are nearer to 1 than this are left alone; those of float32 are."""
_OUTSIDE = 1e-6
"""What rounding may add beyond 0 and 1."""


class LabelMetric(Metric):
    """Base of the metrics over class or finding probabilities.

    Args:
        multilabel: labels are independent findings (True, as ``DatasetInfo.multilabel`` and the chest X-ray
            datasets have it) or exclusive classes (False). It is part of every signature.
        labels: of the test set. Without them, averages over common labels are over all.
    """

    task: ClassVar[Task] = Task.DIAGNOSE

    def __init__(self, multilabel: bool = True, labels: LabelCounts | None = None) -> None:
        self.multilabel = multilabel
        self.labels = labels

    @property
    def setting(self) -> str:
        """Field of the signature."""
        return "labels:multi" if self.multilabel else "labels:single|sum:renormalised"

    def common(self, width: int) -> NDArray[np.intp]:
        """Indices of the labels, of which there are ``width``, that averages over common labels have.

        Raises:
            HarnessError: the test set's labels are not so many.
        """
        if self.labels is None:
            return np.arange(width)
        if len(self.labels.positives) != width:
            raise HarnessError(f"{self.name}: {width} labels, but {len(self.labels.positives)} were counted")
        return np.flatnonzero(common_labels(self.labels.positives))

    def macro_remarks(self, *outputs: str) -> dict[str, str]:
        """Which labels the average over common labels (``OUTPUT_common``) leaves out, and the other not."""
        if self.labels is None:
            return {}
        remarks = {output: rare_remark(self.labels) for output in outputs}
        remarks |= {f"{output}_common": common_remark(self.labels) for output in outputs}
        return {output: remark for output, remark in remarks.items() if remark}

    def arrays(
        self, predictions: Sequence[Prediction], references: Sequence[Reference]
    ) -> tuple[Floats, Floats]:
        """Probabilities in [0, 1] and labels that are 0 or 1, each (n_studies, n_labels), in the same order.

        Rows of exclusive classes that miss 1 by rounding are renormalised.

        Raises:
            HarnessError: a study without either, or of another length.
            InvalidValuesError: values that are no probabilities or labels of this setting; names the study.
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
        probabilities, labels, _ = checked_probabilities(
            probabilities, labels, self.multilabel, [f"study {name!r}" for name in ids]
        )
        return probabilities, labels


def checked_probabilities(
    probabilities: ArrayLike, labels: ArrayLike, multilabel: bool, rows: Sequence[str] | None = None
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Probabilities (n, L) in [0, 1], labels (n, L) that are 0 or 1, and which rows were renormalised (n,).

    Args:
        probabilities: (n, L). Rows of exclusive classes add up to 1; those that miss it by no more than the
            rounding of half precision are divided by their sum.
        labels: (n, L), multi-hot findings or one-hot classes.
        multilabel: labels are independent findings.
        rows: what messages call the rows; by default ``row 0`` and so on.

    Raises:
        InvalidValuesError: another shape, or values that are no probabilities or labels of this setting; says
            what is expected.
    """
    values, truth = _numbers("probabilities", probabilities), _numbers("labels", labels)
    if values.ndim != 2 or values.shape != truth.shape:
        hint = "expected both (n, L): a row per study, a column per label"
        if truth.ndim < values.ndim or truth.shape[1:] == (1,):
            hint += "; numpy.eye(L)[classes] makes such rows of the numbers of classes"
        raise InvalidValuesError(
            f"probabilities of shape {values.shape} and labels of shape {truth.shape}", hint
        )
    names = [f"row {number}" for number in range(len(values))] if rows is None else rows
    inside = (values >= -_OUTSIDE) & (values <= 1 + _OUTSIDE)
    _require(inside, names, f"probabilities outside [0, 1]{_example(values, inside)}", _range_hint(values))
    binary = np.isin(truth, (0.0, 1.0))
    _require(binary, names, f"labels other than 0 and 1{_example(truth, binary)}", _LABEL_HINT)
    rounded = np.zeros(len(values), dtype=bool)
    values = np.clip(values, 0.0, 1.0)
    if not multilabel:
        _require(truth.sum(1) == 1, names, "labels that are not one-hot", "multilabel=True")
        total = values.sum(1)
        close = np.abs(total - 1) < _SUM_TOLERANCE
        wrong = "class probabilities that do not add up to 1"
        _require(close, names, f"{wrong}{_example(total, close)}", "exclusive classes need a softmax")
        rounded = off_by_rounding(values)
        values[rounded] /= total[rounded, None]
    return values, truth, rounded


def off_by_rounding(probabilities: ArrayLike) -> NDArray[np.bool_]:
    """Which rows (n,) of class probabilities (n, L) miss 1 by more than the rounding of float32."""
    total = np.clip(np.asarray(probabilities, dtype=np.float64), 0.0, 1.0).sum(1)
    return np.asarray(np.abs(total - 1) > _EXACT)


def renormalised(rounded: NDArray[np.bool_]) -> str:
    """A remark on rows (n,) that missed 1 by rounding."""
    return (
        f"the class probabilities of {rounded.sum():,} of {len(rounded):,} studies missed 1 by the rounding "
        "of half precision and were divided by their sum"
    )


def checked_judgements(
    confidence: ArrayLike, correct: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Floats, Floats, Floats]:
    """Confidences (n,) in [0, 1], outcomes (n,) that are 0 or 1, and weights (n,), each 1 by default.

    Raises:
        InvalidValuesError: none, or other shapes or values; says what is expected.
    """
    sure, true = _numbers("confidences", confidence), _numbers("outcomes", correct)
    weight = np.ones(sure.shape) if weights is None else _numbers("weights", weights)
    if sure.ndim != 1 or not sure.shape == true.shape == weight.shape:
        raise InvalidValuesError(
            f"confidences of shape {sure.shape}, outcomes of shape {true.shape} and weights of shape "
            f"{weight.shape}",
            "expected one axis of equal length: .ravel() of what judgements() returns",
        )
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise InvalidValuesError("weights that are negative or not finite", "expected how often each counts")
    if weight.sum() <= 0:
        raise InvalidValuesError("no judgements to bin")
    names = [f"judgement {number}" for number in range(len(sure))]
    binary = np.isin(true, (0.0, 1.0))
    _require(binary, names, f"an outcome other than 0 and 1{_example(true, binary)}", _LABEL_HINT)
    return checked_confidences(sure), true, weight


def checked_confidences(confidence: ArrayLike) -> Floats:
    """Confidences of any shape in [0, 1]; what lies beyond by rounding is moved onto the end.

    Raises:
        InvalidValuesError: NaN, logits or percent.
    """
    sure = _numbers("confidences", confidence)
    inside = (sure >= -_OUTSIDE) & (sure <= 1 + _OUTSIDE)
    if not inside.all():
        raise InvalidValuesError(f"confidences outside [0, 1]{_example(sure, inside)}", _range_hint(sure))
    return np.clip(sure, 0.0, 1.0)


def _numbers(what: str, values: ArrayLike) -> Floats:
    """Values as float64.

    Raises:
        InvalidValuesError: text, complex numbers, rows of unequal length, masked values, or tensors that
            NumPy cannot read.
    """
    hint = "expected an array of real numbers; of a tensor, .detach().float().cpu().numpy()"
    if np.ma.is_masked(values):
        raise InvalidValuesError(f"{what} with masked values", "leave out what is masked")
    try:
        plain = np.asarray(values)
        if plain.dtype.kind in "cSU":
            raise InvalidValuesError(f"{what} of type {plain.dtype}", hint)
        return np.asarray(plain, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InvalidValuesError):
            raise
        raise InvalidValuesError(f"{what} that are no array of numbers", hint) from error


_RANGE_HINT = "logits need a sigmoid or softmax, percent are divided by 100, NaN is no probability"
_PER_CENT = 100.0
_LABEL_HINT = "1: present, 0: absent; leave out what is uncertain or not known"


def _range_hint(values: Floats) -> str:
    """What to do about values that are no probabilities; percent are recognised by their range."""
    if np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= _PER_CENT:
        return f"all values lie between 0 and {values.max():.4g}, as percent do: divide them by 100"
    return _RANGE_HINT


def _example(values: Floats, fine: NDArray[np.bool_]) -> str:
    """The first value that is not fine, for a message."""
    return "" if fine.all() else f" ({values[~fine][0]:.4g})"


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


def _require(fine: NDArray[np.bool_], rows: Sequence[str], what: str, hint: str = "") -> None:
    if not fine.all():
        first = int(np.argwhere(~fine)[0, 0])
        raise InvalidValuesError(f"{rows[first]} has {what}", hint)
