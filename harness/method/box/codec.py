"""Studies, inputs and predictions as data for the wire, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from harness.core.types import DatasetInfo, Inputs, Prediction, Study, Task
from harness.method.box.wire import WireError

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
