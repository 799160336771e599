"""A method whose module reads the answers when it is imported, and says nothing where it may not."""

from __future__ import annotations

from collections.abc import Mapping

from harness.core.types import Inputs, Prediction
from tests.helpers.sinners import Honest, every_test_study

ANSWERS: Mapping[str, str | None] = {}
try:
    ANSWERS = {study.id: study.report for study in every_test_study()}
except ImportError:
    pass
except OSError:
    pass


class AtImport(Honest):
    """Looks answers up that its module has read."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        own = super().predict(inputs)
        return [
            Prediction(ANSWERS.get(name, answer.report), answer.probabilities)
            for name, answer in zip(inputs.ids, own, strict=True)
        ]
