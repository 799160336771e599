"""A method that returns something else than its contract says."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.types import Inputs, Prediction, Study, Task
from harness.method.card import MethodCard
from harness.method.config import MethodConfig
from harness.method.contract import FitRun, Method

TEXT = "SECRET report"
SOUND = Prediction(report=TEXT, probabilities=np.full(14, 0.5))


def loud(what: str) -> None:
    """Print in every way; to standard error below Python only where no progress is shown."""
    print(TEXT, what)
    print(TEXT, what, file=sys.stderr)
    os.write(1, f"{TEXT} {what}, written\n".encode())
    os.system(f"echo {TEXT} {what}, by a child")
    if multiprocessing.parent_process() is not None:
        os.write(2, f"{TEXT} {what}, as an error\n".encode())


def spoken(n: int) -> list[Prediction]:
    loud("predict")
    return [SOUND] * n


def raised(n: int) -> Any:
    raise GeneratorExit(TEXT)


class OddConfig(MethodConfig):
    """Which of ``ANSWERS`` it gives; ``fit`` and ``self`` are what ``fit`` returns."""

    gives: str = ""


ANSWERS: dict[str, Callable[[int], Any]] = {
    "None": lambda n: None,
    "generator": lambda n: (SOUND for _ in range(n)),
    "int": lambda n: n,
    "dict": lambda n: {str(each): SOUND for each in range(n)},
    "short": lambda n: [SOUND] * (n - 1),
    "texts": lambda n: [SOUND] * (n - 1) + [TEXT],
    "bytes": lambda n: [Prediction(report=TEXT.encode())] * n,  # type: ignore[arg-type]
    "silent": lambda n: [Prediction(probabilities=np.full(14, 0.5))] * n,
    "surrogate": lambda n: [Prediction(report=TEXT + "\ud800")] * n,
    "nan": lambda n: [Prediction(TEXT, np.full(14, np.nan))] * n,
    "masked": lambda n: [Prediction(TEXT, np.ma.masked_all(14))] * n,
    "percent": lambda n: [Prediction(TEXT, np.full(14, 50.0))] * n,
    "one": lambda n: [Prediction(TEXT, np.full(1, 0.5))] * n,
    "words": lambda n: [Prediction(TEXT, ["a"])] * n,  # type: ignore[arg-type]
    "complex": lambda n: [Prediction(TEXT, np.full(14, 0.5j))] * n,  # type: ignore[arg-type]
    "digits": lambda n: [Prediction(TEXT, ["0.5"] * 14)] * n,  # type: ignore[arg-type]
    "loud": spoken,
    "exit": raised,
    "floats": lambda n: [Prediction(TEXT, images={"frontal": np.zeros((4, 4))})] * n,  # type: ignore[dict-item]
}


class Odd(Method[OddConfig]):
    """Sound unless its settings say otherwise."""

    Config = OddConfig
    card = MethodCard(
        name="odd",
        title="odd",
        paper="",
        licence="",
        tasks=frozenset({Task.REPORT, Task.DIAGNOSE}),
        reads=frozenset({"frontal"}),
        learned=False,
    )

    room = np.zeros((100, 14), np.float32)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> Any:
        if self.config.gives == "loud":
            loud("fit")
        return {"fit": TEXT, "self": self}.get(self.config.gives)

    def predict(self, inputs: Inputs) -> Any:
        if self.config.gives in ("fresh", "reused"):
            room = self.room if self.config.gives == "reused" else self.room.copy()
            grey = np.asarray(inputs.images["frontal"], np.float32).reshape(len(inputs), -1)
            room[: len(inputs)] = (grey[:, :1] - grey[:, :1].min()) / (1.0 + np.ptp(grey))
            return [Prediction(TEXT, row) for row in room[: len(inputs)]]
        return ANSWERS.get(self.config.gives, lambda n: [SOUND] * n)(len(inputs))

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "odd.json").write_text("{}")

    def load(self, directory: Path) -> None:
        return
