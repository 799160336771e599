"""Toy dataset, methods and a killing metric, used in process and by scripts that get killed."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core import registry
from harness.core.config import RunSettings
from harness.core.types import CONTEXT, DatasetInfo, Inputs, Prediction, Study, Targets, Task
from harness.evaluation import run as executors
from harness.method.card import MethodCard
from harness.method.config import MethodConfig, TrainingConfig
from harness.method.contract import FitRun, Method
from harness.method.torch_method import TorchMethod
from harness.metrics.text.bleu import Bleu
from harness.store.results import Measurement

SIZE = 12
FAST_METRICS = ("bleu", "rouge_l", "cider")
"""What tests of the flow score with: no Java, no language model."""
WORDS = ["heart", "lungs", "normal", "clear", "effusion", "left", "right", "mild", "opacity", "no"]


def log(*what: object) -> None:
    """One line per piece of work, in a file that survives a kill."""
    path = os.environ.get("TOY_LOG")
    if path:
        with open(path, "a") as stream:
            stream.write(" ".join(map(str, what)) + "\n")


def die_once(point: str) -> None:
    """kill -9 this process the first time it gets to ``point``, if ``TOY_KILL`` asks for it."""
    if os.environ.get("TOY_KILL") == point:
        log("killed at", point)
        os.kill(os.getpid(), signal.SIGKILL)


class ToyData:
    """40 studies per split; every fifth has no context, every seventh no lateral view."""

    def __init__(self) -> None:
        self.info = DatasetInfo(
            "toy", frozenset({Task.REPORT}), ("frontal", "lateral"), True, SIZE, fingerprint="toy-1"
        )

    @classmethod
    def open(cls, root: Path | None = None, *, image_size: int | None = None) -> ToyData:
        return cls()

    def studies(self, split: str) -> list[Study]:
        rng = np.random.default_rng(["train", "val", "test"].index(split))
        return [self._study(rng, split, number) for number in range(40)]

    def _study(self, rng: np.random.Generator, split: str, number: int) -> Study:
        views = ("frontal", "lateral") if number % 7 else ("frontal",)
        images = {view: rng.integers(0, 256, (SIZE, SIZE, 1), dtype=np.uint8) for view in views}
        words = rng.choice(WORDS, size=int(rng.integers(3, 9)))
        return Study(
            id=f"{split}{number}",
            patient_id=f"{split}-p{number // 2}",
            split=split,
            images=images,
            context=f"indication {number}" if number % 5 else None,
            report=" ".join(words) + ".",
        )


class EchoConfig(MethodConfig):
    """Nothing to set but a flag that makes it fail."""

    fail: str = ""


class Echo(Method[EchoConfig]):
    """Says which modalities it saw; counts how often it was asked."""

    Config = EchoConfig
    card = MethodCard(
        name="echo",
        title="echo",
        paper="",
        licence="",
        tasks=frozenset({Task.REPORT}),
        reads=frozenset({"frontal", "lateral", CONTEXT}),
        learned=False,
    )

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        log("fit echo")
        if os.environ.get("TOY_SLOW"):
            log("slow", os.getpid())
            time.sleep(60)
        if self.config.fail == "fit":
            raise ValueError("no luck")
        if self.config.fail == "exit":
            sys.exit("no luck")

    def predict(self, inputs: Inputs) -> list[Prediction]:
        predictions = []
        for row, study_id in enumerate(inputs.ids):
            log("predict", study_id)
            if study_id == "test20":
                die_once("predict")
            seen = [m for m in sorted(inputs.present) if bool(inputs.present[m][row])]
            brightness = int(inputs.images["frontal"][row].mean() * 1000)
            picked = [WORDS[(brightness + step * len(seen)) % len(WORDS)] for step in range(6)]
            predictions.append(Prediction(report=" ".join(picked) + "."))
        return predictions

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "echo.json").write_text("{}")

    def load(self, directory: Path) -> None:
        json.loads((directory / "echo.json").read_text())


class LearnerConfig(MethodConfig):
    """A few epochs."""

    rate: float = 1e-2
    dropout: float = 0.3
    training: TrainingConfig = TrainingConfig(epochs=4, batch_size=8)


class Learner(TorchMethod[LearnerConfig]):
    """Learns how long a report is from the frontal view, with dropout so that noise matters."""

    Config = LearnerConfig
    card = MethodCard(
        name="learner",
        title="learner",
        paper="",
        licence="",
        tasks=frozenset({Task.REPORT}),
        reads=frozenset({"frontal"}),
        presets={"tiny": {}},
        variants={"slow": ("a tenth of the rate", {"rate": 1e-3})},
    )

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        return {"words": WORDS}

    def build(self, artifacts: dict[str, Any]) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(SIZE * SIZE, 8),
            torch.nn.Dropout(self.config.dropout),
            torch.nn.Linear(8, 1),
        )

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        lengths = torch.tensor([float(len(report.split())) for report in targets.reports])
        log("step", "train" if self.network.training else "val")
        return {"loss": (self.network(inputs.images["frontal"])[:, 0] - lengths).square().mean()}

    def optimizer(self, steps: int) -> tuple[torch.optim.Optimizer, Any]:
        optimizer = torch.optim.AdamW(self.network.parameters(), self.config.rate)
        return optimizer, torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)

    def generate(self, inputs: Inputs) -> list[Prediction]:
        lengths = self.network(inputs.images["frontal"])[:, 0]
        return [Prediction(report=" ".join(WORDS[: max(1, round(float(n)))]) + ".") for n in lengths]


class KillingBleu(Bleu):
    """BLEU that logs, and dies on request."""

    def statistics(self, predictions: Any, references: Any) -> Any:
        rows = super().statistics(predictions, references)
        log("score bleu")
        die_once("score")
        return rows


def register(setitem: Callable[[dict[str, str], str, str], object]) -> None:
    """Put the toys into the registry."""
    setitem(registry.DATASETS, "toy", "tests.helpers.toys:ToyData")
    setitem(registry.METHODS, "echo", "tests.helpers.toys:Echo")
    setitem(registry.METHODS, "learner", "tests.helpers.toys:Learner")
    setitem(registry.METRICS, "bleu", "tests.helpers.toys:KillingBleu")


class Quiet:
    """A reporter that remembers; it dies in the given epoch if asked to."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}

    def phase(self, label: str, phase: str) -> Callable[[float, str], None]:
        def update(fraction: float, status: str) -> None:
            if phase == "train" and status.startswith("epoch 3/"):
                die_once("train")

        return update

    def done(self, label: str, summary: str) -> None:
        log("done", label)

    def failed(self, label: str, reason: str) -> None:
        self.failures[label] = reason


def run(
    store: Path, methods: tuple[str, ...], workers: int = 1, devices: int = 1
) -> tuple[list[Measurement], bool]:
    """The toys through the real flow, in a process that may be killed."""
    register(dict.__setitem__)
    config = RunSettings.of(
        methods=methods,
        dataset="toy",
        missing=(0.4, 0.8),
        drop="any",
        mask_seeds=3,
        metrics=FAST_METRICS,
        store=store,
        workers=workers,
        devices=devices,
    )
    return executors.run(config, Quiet())


if __name__ == "__main__":  # a run in a process of its own, so that it can be killed
    import sys

    rows, succeeded = run(Path(sys.argv[1]), tuple(sys.argv[2].split(",")), *map(int, sys.argv[3:]))
    print(json.dumps([(row.method, row.rate, row.metric, row.value, row.ci95) for row in rows]))
    sys.exit(not succeeded)
