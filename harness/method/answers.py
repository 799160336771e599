"""What a method returns, held to its contract: one sentence says what came and what was expected.

The sentence names types, numbers and places, never a text that a method wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import PluginError
from harness.core.types import Prediction, Task
from harness.method.contract import Method

_ROUNDING = 1e-3
"""How far beyond [0, 1] a probability may lie here: the metrics of probabilities judge what is near."""


def checked_fit(method: Method[Any], returned: object) -> None:
    """Refuse what ``fit`` returned, unless it is nothing or the method itself.

    Raises:
        PluginError: it is something else, which may be the trained method that is meant to be asked.
    """
    if returned is not None and returned is not method:
        raise PluginError(
            f"fit returned {_kind(returned)}; it must train the method that it is called on, and return "
            "nothing"
        )


def checked_predictions(
    method: Method[Any], returned: object, n: int, asked: str = "predict"
) -> list[Prediction]:
    """What ``predict`` or ``synthesize`` returned for ``n`` studies, as copies.

    A method may fill the same arrays again when it is asked next.

    Args:
        method: its card and its dataset say what a prediction holds.
        returned: anything.
        n: studies of the batch.
        asked: name of the function.

    Raises:
        PluginError: it is no list of ``n`` sound predictions.
    """
    wanted = f"a list of {n} Prediction{'s' if n > 1 else ''}, one per study of the batch"
    answers = _listed(returned, n, asked, wanted)
    for number, answer in enumerate(answers, 1):
        if not isinstance(answer, Prediction):
            raise _error(asked, f"a list whose item {number} is {_kind(answer)}", wanted)
        fault, wanted_there = _fault(method, answer)
        if fault:
            raise _error(asked, f"a Prediction (item {number} of {n}) whose {fault}", wanted_there)
    if asked == "predict" and Task.REPORT in method.card.tasks & method.info.tasks:
        for number, answer in enumerate(answers, 1):
            if answer.report is None:
                raise _error(
                    asked, f"a Prediction (item {number} of {n}) without report", "one: its card says so"
                )
    return [_copied(answer) for answer in answers]


def checked_reports(returned: object, n: int, draws: int) -> list[list[str]]:
    """What ``sample`` returned for ``n`` studies and ``draws`` reports of each.

    Raises:
        PluginError: it is no list of ``n`` lists of ``draws`` reports.
    """
    wanted = f"a list of {n} lists, each of {draws} reports"
    answers = _listed(returned, n, "sample", wanted)
    for number, drawn in enumerate(answers, 1):
        if not isinstance(drawn, (list, tuple)) or len(drawn) != draws:
            raise _error("sample", f"a list whose item {number} is {_kind(drawn)}", wanted)
        for text in drawn:
            if fault := _fault_of_report(text):
                raise _error("sample", f"drawn reports (item {number} of {n}) of which one {fault}", wanted)
    return [[str.__str__(text) for text in drawn] for drawn in answers]


def _copied(answer: Prediction) -> Prediction:
    """What the store will hold of a sound answer: plain text, float64 probabilities, images as they are."""
    report, probabilities, images = answer.report, answer.probabilities, answer.images
    return Prediction(
        report=None if report is None else str.__str__(report),  # a subclass may say something else each time
        probabilities=None if probabilities is None else _row(probabilities).astype(np.float64),
        images=None if images is None else {view: np.array(each) for view, each in images.items()},
    )


def _row(values: Any) -> NDArray[Any]:
    """Probabilities as an array: tensors too, of any precision, with a gradient or without."""
    return np.asarray(values) if isinstance(values, np.ndarray) else np.array([float(v) for v in values])


def _listed(returned: object, n: int, asked: str, wanted: str) -> list[Any]:
    if isinstance(returned, (list, tuple)) and len(returned) == n:
        return list(returned)
    raise _error(asked, _kind(returned), wanted)


def _error(asked: str, came: str, wanted: str) -> PluginError:
    return PluginError(f"{asked} returned {came}; it must return {wanted}")


def _kind(value: object) -> str:
    """``None``, ``a generator``, ``a list of 3``: what came, without its content."""
    if value is None:
        return "None"
    name = type(value).__name__
    article = "an" if name[0].lower() in "aeiou" else "a"
    return f"{article} {name}" + (f" of {len(value)}" if isinstance(value, (list, tuple)) else "")


def _fault(method: Method[Any], answer: Prediction) -> tuple[str, str]:
    """What is wrong with a prediction, and what was expected; empty where nothing is."""
    if answer.report is not None and (fault := _fault_of_report(answer.report)):
        return f"report {fault}", "reports as text (str) that UTF-8 can hold, or None"
    if answer.probabilities is not None:
        names = method.info.label_names
        wanted = f"probabilities in [0, 1], one for each of the {len(names)} labels of the dataset"
        if fault := _fault_of_probabilities(answer.probabilities, len(names)):
            return f"probabilities {fault}", wanted
    if answer.images is not None and (fault := _fault_of_images(answer.images)):
        return f"images {fault}", "images as {view: uint8 array (H, W, C)}"
    return "", ""


def _fault_of_report(text: object) -> str:
    if not isinstance(text, str):
        return f"is {_kind(text)}"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has half of a pair of surrogates at character {error.start}"
    return ""


def _fault_of_probabilities(values: Any, labels: int) -> str:
    none = f"are {_kind(values)}, no row of real numbers"
    try:
        row = _row(values)
        if row.dtype.kind not in "fiub" or isinstance(next(iter(values), 0.0), (str, bytes)):
            return f"{none}, but of {row.dtype}" if isinstance(values, np.ndarray) else none
        numbers = row.astype(np.float64)
    except (TypeError, ValueError, RuntimeError):
        return none
    if numbers.ndim != 1 or (labels and len(numbers) != labels):
        return f"have the shape {numbers.shape}"
    if np.ma.is_masked(values):
        return f"are masked: {np.ma.count_masked(values)} of {len(values)}"
    if np.isnan(numbers).any():
        return f"hold {int(np.isnan(numbers).sum())} NaN"
    outside = (numbers < -_ROUNDING) | (numbers > 1 + _ROUNDING)
    return f"reach from {numbers.min():.3g} to {numbers.max():.3g}" if outside.any() else ""


def _fault_of_images(images: Any) -> str:
    if not isinstance(images, Mapping):
        return f"are {_kind(images)}"
    for pixels in images.values():
        kind = str(getattr(pixels, "dtype", "")).removeprefix("torch.")
        shape: Sequence[int] = tuple(getattr(pixels, "shape", ()))
        if not isinstance(pixels, np.ndarray) or kind != "uint8" or len(shape) != 3:
            return f"hold {_kind(pixels)}" + (f" of {kind} {shape}" if kind else "")
    return ""
