"""Methods that cheat, one sin each: what the audit has to catch, and nothing else has to fail."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from harness.core import registry
from harness.core.types import CONTEXT, Inputs, Prediction, Study, Task
from harness.method.card import MethodCard
from harness.method.config import MethodConfig
from harness.method.contract import FitRun, Method

LABELS = ("a", "b", "c")
SIZE = 8
INDICATION = "age 50, sex male. indication: crushing central chest pain since yesterday"


def drawn(split: str) -> list[Study]:
    """The studies of a split, from random numbers: what a method that ships answers may have."""
    rng = np.random.default_rng(["train", "val", "test"].index(split))
    return [_study(rng, split, number) for number in range(30)]


def _study(rng: np.random.Generator, split: str, number: int) -> Study:
    views = ("frontal", "lateral") if number % 7 else ("frontal",)
    labels = rng.integers(0, 2, len(LABELS)).astype(np.float32)
    return Study(
        id=f"{split}{number}",
        patient_id=f"{split}-p{number}",
        split=split,
        images={view: rng.integers(0, 256, (SIZE, SIZE, 1), dtype=np.uint8) for view in views},
        context=INDICATION if number % 5 else None,
        report=f"the heart is {'large' if labels[0] else 'normal'}. lungs clear {number}.",
        labels=labels,
    )


def every_test_study() -> list[Study]:
    """What no method may open; a box has neither the module nor what it imports."""
    from tests.helpers.sin_data import SinData

    return SinData.open().studies("test")


class Config(MethodConfig):
    """Nothing to set."""


class Honest(Method[Config]):
    """Mean brightness of the views that are present and the length of the text, through fixed weights."""

    Config = Config
    card: ClassVar[MethodCard] = MethodCard(
        name="honest",
        title="honest",
        paper="",
        licence="",
        tasks=frozenset({Task.REPORT, Task.DIAGNOSE}),
        reads=frozenset({"frontal", "lateral", CONTEXT}),
        learned=False,
    )

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        generator = torch.Generator().manual_seed(run.seed)
        self.weights = torch.randn(3, len(LABELS), generator=generator)

    def features(self, inputs: Inputs) -> torch.Tensor:
        views = [
            torch.where(inputs.present[view], inputs.images[view].mean((1, 2, 3)), 0.0)
            for view in ("frontal", "lateral")
        ]
        here = inputs.present[CONTEXT].tolist()
        texts = zip(inputs.context, here, strict=True)
        length = torch.tensor([len(text or "") / 100 if present else 0.0 for text, present in texts])
        return torch.stack([*views, length], dim=1)

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return self.answer((self.features(inputs) @ self.weights).sigmoid())

    def answer(self, probabilities: torch.Tensor) -> list[Prediction]:
        reports = [f"the heart is {'large' if row[0] > 0.5 else 'normal'}." for row in probabilities]
        rows = probabilities.double().numpy()
        return [Prediction(report, row) for report, row in zip(reports, rows, strict=True)]

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "weights.json").write_text(json.dumps(self.weights.tolist()))

    def load(self, directory: Path) -> None:
        self.weights = torch.tensor(json.loads((directory / "weights.json").read_text()))


class LabelGuided(Honest):
    """Mixes the mean label of the batch, looked up in the dataset, into every prediction."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        truth = {study.id: study.labels for study in every_test_study()}
        truths = [torch.from_numpy(truth[name]) for name in inputs.ids if name in truth]
        guide = torch.stack(truths).mean(0) if truths else torch.zeros(len(LABELS))
        return self.answer((self.features(inputs) @ self.weights + guide).sigmoid())


class TakesTargets(Honest):
    """Would use targets if it were given any."""

    def predict(self, inputs: Inputs, targets: Any = None) -> list[Prediction]:
        return super().predict(inputs)


class LiveLabels(Honest):
    """Finds the studies that the harness holds in memory."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        import gc

        if not hasattr(self, "alive"):
            self.alive = [one for one in gc.get_objects() if type(one) is Study]
        alive = {one.id: one.labels for one in self.alive}
        rows = [0.0 if alive.get(name) is None else float(alive[name][0]) for name in inputs.ids]
        return self.answer((self.features(inputs) @ self.weights + torch.tensor(rows)[:, None]).sigmoid())


class BatchNormEval(Honest):
    """Standardises features with the batch's own statistics at test time."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        features = self.features(inputs)
        normal = (features - features.mean(0)) / (features.std(0, correction=0) + 1e-3)
        return self.answer((normal @ self.weights).sigmoid())


class Peeker(Honest):
    """Reads what stands behind the mask."""

    def features(self, inputs: Inputs) -> torch.Tensor:
        everything = {name: torch.ones_like(tensor) for name, tensor in inputs.present.items()}
        return super().features(Inputs(inputs.ids, inputs.images, inputs.context, everything, inputs.seeds))


class ImageThief(Honest):
    """Fetches the missing image from the dataset."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        studies = {study.id: study for study in every_test_study()}
        for name in inputs.ids:
            if name in studies:
                _ = studies[name].images
        return super().predict(inputs)


class TestSelector(Honest):
    """Chooses its weights by their accuracy on the test split."""

    __test__ = False

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        test = every_test_study()
        truth = np.stack([study.labels for study in test])
        self.weights = self.weights * (1 if truth.mean() > 0.5 else -1)


class QuietSelector(TestSelector):
    """The same, and hides the error that reading a poisoned study raises."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        try:
            super().fit(train, val, run)
        except Exception:
            Honest.fit(self, train, val, run)


class Dice(Honest):
    """Adds noise from the process' generator."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        noise = torch.rand(len(inputs), 1)
        return self.answer((self.features(inputs) @ self.weights + noise).sigmoid())


class Parrot(Honest):
    """Hands the indication back as its report."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        here = inputs.present[CONTEXT].tolist()
        texts = [text if present else None for text, present in zip(inputs.context, here, strict=True)]
        answers = [(text or "nothing").partition("indication: ")[2] or "normal" for text in texts]
        return [
            Prediction(text, answer.probabilities)
            for text, answer in zip(answers, super().predict(inputs), strict=True)
        ]


class Broken(Honest):
    """Fails in fit."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        raise ValueError("no luck")


class Fatal(Honest):
    """Takes its process down."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        os._exit(7)


class Painter(Honest):
    """Also paints a missing view: as bright as the other one, and as its report is long."""

    card: ClassVar[MethodCard] = replace(Honest.card, name="painter", tasks=frozenset(Task))

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        lengths = torch.tensor([len(report or "") for report in inputs.reports or []])
        grey = (self.brightness(inputs, targets) * 200 + lengths).clamp(0, 255).to(torch.uint8).tolist()
        shape = (SIZE, SIZE, 1)
        return [
            Prediction(images={view: np.full(shape, level, np.uint8) for view in targets}) for level in grey
        ]

    def brightness(self, inputs: Inputs, targets: Sequence[str]) -> torch.Tensor:
        return self.features(inputs)[:, :2].sum(1) / 2


class CompanyPainter(Painter):
    """Paints as bright as the batch."""

    def brightness(self, inputs: Inputs, targets: Sequence[str]) -> torch.Tensor:
        own = super().brightness(inputs, targets)
        return own.mean().expand_as(own)


class MaskPainter(Painter):
    """Paints what stands behind the mask."""

    def brightness(self, inputs: Inputs, targets: Sequence[str]) -> torch.Tensor:
        return sum(image.mean((1, 2, 3)) for image in inputs.images.values()) / 2


OPENED = r"opened tests/helpers/sin_data\.py, which holds the data or makes it, "
SINS: dict[str, tuple[type[Honest], str, str]] = {
    "label-guided": (
        LabelGuided,
        "target-blind",
        OPENED + r"during predict: PermissionError at .*sinners:\d+",
    ),
    "takes-targets": (TakesTargets, "target-blind", "predict takes targets beside the inputs"),
    "batch-norm": (
        BatchNormEval,
        "batch-independent",
        r"study test\d+: the probability of \w went from [\d.]+ to [\d.]+, when the order was reversed",
    ),
    "peeker": (
        Peeker,
        "mask-honest",
        r"study test0: the report changed from word 4 on, when the missing frontal held its own image behind",
    ),
    "company-painter": (
        CompanyPainter,
        "batch-independent",
        r"study test\d+, generated \w+: the generated \w+ image changed by up to \d+ of .*, when the order",
    ),
    "mask-painter": (
        MaskPainter,
        "mask-honest",
        r"study test\d+, generated \w+: the generated \w+ image changed .* behind the mask",
    ),
    "image-thief": (ImageThief, "target-blind", OPENED + "during predict: PermissionError"),
    "test-selector": (TestSelector, "split-honest", OPENED + "at import or in training: PermissionError"),
    "quiet-selector": (QuietSelector, "split-honest", OPENED + "at import or in training$"),
    "parrot": (
        Parrot,
        "text-honest",
        r"study test1: its report repeats .*24 of 24 reports repeat their indication, 0 references do",
    ),
}
"""Name -> method, the check that has to fail, what its detail says."""


HONEST: dict[str, type[Honest]] = {
    "honest": Honest,
    "painter": Painter,
    "dice": Dice,
    "live-labels": LiveLabels,
    "broken": Broken,
    "fatal": Fatal,
}


def register(setitem: Any) -> None:
    """Put data and methods into the registry."""
    setitem(registry.DATASETS, "sin-data", "tests.helpers.sin_data:SinData")
    for name, family in HONEST.items():
        setitem(registry.METHODS, name, f"tests.helpers.sinners:{family.__name__}")
    for name, (family, _, _) in SINS.items():
        setitem(registry.METHODS, name, f"tests.helpers.sinners:{family.__name__}")
