"""Methods that cheat out of an audit's sight, and honest ones of unusual kinds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness.core import registry
from harness.core.types import CONTEXT, Inputs, Prediction, Study
from harness.method.contract import FitRun
from tests.helpers.sinners import Honest, SinData

SALT = os.urandom(4)
"""As the salt of ``hash`` does, it differs between processes."""


class TwoFaced(Honest):
    """Looks the answers up unless it believes that it is audited."""

    def is_audited(self, inputs: Inputs) -> bool:
        raise NotImplementedError

    def predict(self, inputs: Inputs) -> list[Prediction]:
        answers = super().predict(inputs)
        if self.is_audited(inputs):
            return answers
        truth = {study.id: study for study in SinData.open().studies("test")}
        return [
            Prediction(truth[name].report, answer.probabilities)
            for name, answer in zip(inputs.ids, answers, strict=True)
        ]


class StackReader(TwoFaced):
    """Looks for the audit among its callers."""

    def is_audited(self, inputs: Inputs) -> bool:
        frame: Any = sys._getframe()
        while frame is not None:
            if "/audits/" in frame.f_code.co_filename:
                return True
            frame = frame.f_back
        return False


class FolderReader(TwoFaced):
    """Looks at the names of the folders in which it is trained and from which it is loaded."""

    audited = False

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        self.audited = "harness-audit-" in str(run.directory)

    def load(self, directory: Path) -> None:
        super().load(directory)
        self.audited = "harness-audit-" in str(directory)

    def is_audited(self, inputs: Inputs) -> bool:
        return self.audited


class BatchCounter(TwoFaced):
    """Knows the size of a run's batches."""

    def is_audited(self, inputs: Inputs) -> bool:
        return len(inputs) <= 16


class FirstQuestion(TwoFaced):
    """A run's first question is about the study with the shortest text; an audit's is not."""

    audited: bool | None = None

    def is_audited(self, inputs: Inputs) -> bool:
        if self.audited is None:
            self.audited = bool(inputs.present[CONTEXT][0]) or len(inputs) <= 16
        return self.audited


class Salted(Honest):
    """Draws from a hash that is another one in every process."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        own = torch.tensor([hash((SALT, name)) % 1000 / 1000 for name in inputs.ids])
        return self.answer((self.features(inputs) @ self.weights + own[:, None]).sigmoid())


class Dated(Honest):
    """Answers otherwise tomorrow."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        day = time.time() // 86_400 % 7
        return self.answer((self.features(inputs) @ self.weights + day).sigmoid())


OTHER_ANSWERS = (
    r"study test\d+: .* from what the run stored to what its checkpoint says \(seed 0, state full\)"
)
TWO_FACED: dict[str, tuple[type[Honest], str]] = {
    "stack-reader": (StackReader, OTHER_ANSWERS),
    "folder-reader": (
        FolderReader,
        r"study test\d+: its report was read from the dataset, by the checkpoint of cells/sin-data/.*",
    ),
    "batch-counter": (BatchCounter, OTHER_ANSWERS),
    "first-question": (FirstQuestion, OTHER_ANSWERS),
}
"""They behave while they are audited: name -> method, what the check on the run's answers says."""

OTHERS: dict[str, type[Honest]] = {"salted": Salted, "dated": Dated}


def register(setitem: Any) -> None:
    """Put data and methods into the registry."""
    setitem(registry.DATASETS, "sin-data", "tests.helpers.sinners:SinData")
    two_faced = {name: family for name, (family, _) in TWO_FACED.items()}
    for name, family in {**two_faced, **OTHERS, "honest": Honest}.items():
        place = "sinners" if family is Honest else "doubles"
        setitem(registry.METHODS, name, f"tests.helpers.{place}:{family.__name__}")
