"""Studies, inputs and predictions as data for the wire, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch

from harness.core.types import DatasetInfo, Inputs, Prediction, Study, Task
from harness.method.box.wire import WireError
from harness.method.card import Deviation, MethodCard

_STUDY = tuple(field.name for field in fields(Study))


def studies_out(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """Studies with copies of their images."""
    return [
        {
            **{name: getattr(study, name) for name in _STUDY},
            "images": {view: np.array(study.images[view]) for view in study.images},
            "attributes": dict(study.attributes),
        }
        for study in studies
    ]


def studies_in(content: Sequence[Mapping[str, Any]]) -> list[Study]:
    """What ``studies_out`` gave."""
    return [Study(**each) for each in content]


def info_out(info: DatasetInfo) -> dict[str, Any]:
    """What a method may know about a dataset."""
    values = {field.name: getattr(info, field.name) for field in fields(info)}
    return {**values, "tasks": sorted(info.tasks), "roles": dict(info.roles)}


def info_in(content: Mapping[str, Any]) -> DatasetInfo:
    """What ``info_out`` gave."""
    values: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each for name, each in content.items()
    }
    values["tasks"] = frozenset(map(Task, content["tasks"]))
    return DatasetInfo(**values)


def inputs_out(inputs: Inputs) -> dict[str, Any]:
    """A batch; its tensors are on the CPU."""
    return {
        "ids": inputs.ids,
        "images": {view: tensor.numpy() for view, tensor in inputs.images.items()},
        "context": inputs.context,
        "present": {name: tensor.numpy() for name, tensor in inputs.present.items()},
        "seeds": inputs.seeds,
        "reports": inputs.reports,
    }


def inputs_in(content: Mapping[str, Any]) -> Inputs:
    """What ``inputs_out`` gave."""
    tensors = {
        name: {key: torch.from_numpy(array) for key, array in content[name].items()}
        for name in ("images", "present")
    }
    return Inputs(**{**content, **tensors})


def predictions_out(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Predictions as numbers and text, whatever arrays a method made them of."""
    return [
        {
            "report": each.report,
            "probabilities": None if each.probabilities is None else np.asarray(each.probabilities),
            "images": None
            if each.images is None
            else {view: np.asarray(image) for view, image in each.images.items()},
        }
        for each in predictions
    ]


def predictions_in(content: Any) -> list[Prediction]:
    """What ``predictions_out`` gave.

    Raises:
        WireError: it is something else.
    """
    try:
        return [_prediction(**each) for each in content]
    except (TypeError, AttributeError) as error:
        raise WireError("what arrived are no predictions") from error


def _prediction(report: Any, probabilities: Any, images: Any) -> Prediction:
    if not (report is None or isinstance(report, str)):
        raise TypeError("report")
    if not (probabilities is None or isinstance(probabilities, np.ndarray)):
        raise TypeError("probabilities")
    if not all(isinstance(image, np.ndarray) for image in (images or {}).values()):
        raise TypeError("images")
    return Prediction(report, probabilities, images)


def array(values: Any) -> np.ndarray:
    """Numbers of a method, whether they are a tensor or an array, on whatever device."""
    return np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)


def plain(value: Any) -> Any:
    """The value as JSON has it; what JSON does not have is its text."""
    return json.loads(json.dumps(value, default=_as_text))


def _as_text(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def card_out(card: MethodCard) -> dict[str, Any]:
    """A card as JSON."""
    content = {field.name: getattr(card, field.name) for field in fields(card)}
    content |= {name: sorted(content[name]) for name in ("tasks", "reads")}
    content["deviations"] = [asdict(each) for each in card.deviations]
    facts: dict[str, Any] = plain(content)
    return facts


def card_in(content: Any) -> MethodCard:
    """What ``card_out`` gave.

    Raises:
        WireError: it is something else.
    """
    try:
        values = dict(content)
        values["tasks"] = frozenset(map(Task, values["tasks"]))
        values["reads"] = frozenset(map(str, values["reads"]))
        values["opponents"] = tuple(map(str, values["opponents"]))
        values["deviations"] = tuple(Deviation(**each) for each in values["deviations"])
        values["variants"] = {name: (str(text), own) for name, (text, own) in values["variants"].items()}
        values["memory_gib"] = float(values["memory_gib"])
        return MethodCard(**values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise WireError("what arrived is no card") from error
