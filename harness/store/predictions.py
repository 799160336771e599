"""Prediction files: one JSON line per study, and how a part of the studies has a file of its own."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.core.types import Prediction


@dataclass(frozen=True, slots=True)
class Part:
    """Every ``count``-th test study, from the one with this number on."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number + 1}/{self.count}"

    def path(self, whole: Path) -> Path:
        """Its file, below the one of all studies; the folder's ``.lock`` keeps it to one process."""
        return whole.parent / f"part-{self.number}-of-{self.count}" / whole.name


def timing_path(path: Path) -> Path:
    """Where the time that answers took is kept: seconds in the method, and the studies of that session.

    ``batch_size`` is there where memory did not suffice for the usual one.
    """
    return path.with_name(path.stem + ".seconds.json")


def encode(study_id: str, prediction: Prediction) -> dict[str, Any]:
    """One JSONL line: exact floats, images as PNG."""
    line: dict[str, Any] = {"id": study_id}
    if prediction.report is not None:
        line["report"] = prediction.report
    if prediction.probabilities is not None:
        line["probabilities"] = [float(p) for p in prediction.probabilities]
    if prediction.images is not None:
        line["images"] = {view: _to_png(pixels) for view, pixels in prediction.images.items()}
    return line


def decode(line: Mapping[str, Any]) -> tuple[str, Prediction]:
    """The inverse of ``encode``."""
    probabilities = line.get("probabilities")
    images = line.get("images")
    return str(line["id"]), Prediction(
        report=line.get("report"),
        probabilities=None if probabilities is None else np.asarray(probabilities, dtype=np.float64),
        images=None if images is None else {view: _from_png(text) for view, text in images.items()},
    )


def _encode_reports(study_id: str, reports: list[str]) -> dict[str, Any]:
    return {"id": study_id, "reports": reports}


def _decode_reports(line: Mapping[str, Any]) -> tuple[str, list[str]]:
    return str(line["id"]), list(line["reports"])


def _to_png(pixels: np.ndarray[Any, Any]) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _from_png(text: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), dtype=np.uint8)
    return pixels if pixels.ndim == 3 else pixels[..., None]
