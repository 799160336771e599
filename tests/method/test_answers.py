"""What a method returns is copied: what it does with its arrays and texts afterwards changes no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.core.errors import PluginError
from harness.core.types import Prediction
from harness.evaluation.run import run_serially
from harness.method.answers import checked_predictions, checked_reports
from tests.evaluation.test_evaluate import toy_config
from tests.evaluation.test_report_samples import LabelledData
from tests.helpers.odd import Odd, OddConfig
from tests.helpers.toys import Quiet

LABELS = 14


@pytest.fixture(scope="module")
def method() -> Odd:
    return Odd(OddConfig(), LabelledData().info)


def test_arrays_that_are_filled_again_later(method: Odd) -> None:
    buffer, pixels = np.full((2, LABELS), 0.25, np.float32), np.zeros((8, 8, 1), np.uint8)
    images = {"frontal": pixels}
    answers = [Prediction("none", row, images) for row in buffer]
    copies = checked_predictions(method, answers, 2)
    buffer[:] = 0.75
    pixels[:] = 255
    images.clear()
    for each in answers:
        object.__setattr__(each, "report", "an effusion")
    for copy in copies:
        assert copy.report == "none"
        assert copy.probabilities is not None
        assert copy.images is not None
        assert copy.probabilities.tolist() == [0.25] * LABELS
        assert not copy.images["frontal"].any()


@pytest.mark.parametrize(
    "values",
    [
        torch.full((LABELS,), 0.5, requires_grad=True),
        torch.full((LABELS,), 0.5, dtype=torch.bfloat16),
        [torch.tensor(0.5)] * LABELS,
        np.full(LABELS, 0.5, np.float16),
        np.full(LABELS, 0.5, ">f8"),
    ],
    ids=["gradient", "bfloat16", "tensors", "half", "big-endian"],
)
def test_probabilities_of_any_kind_are_what_the_store_holds(method: Odd, values: Any) -> None:
    (copy,) = checked_predictions(method, [Prediction("none", values)], 1)
    assert copy.probabilities is not None
    assert type(copy.probabilities) is np.ndarray
    assert copy.probabilities.dtype == np.float64
    assert copy.probabilities.tolist() == [0.5] * LABELS


class Moody(str):
    """Says something else than it holds."""

    def __str__(self) -> str:
        return "an effusion"

    def split(self, *_: Any) -> Any:
        return ["an", "effusion"]


def test_a_text_is_plain_text(method: Odd) -> None:
    (copy,) = checked_predictions(method, [Prediction(Moody("none"))], 1)
    assert type(copy.report) is str
    assert copy.report.split() == ["none"]
    ((drawn,),) = checked_reports([[Moody("none")]], 1, 1)
    assert type(drawn) is str
    with pytest.raises(PluginError, match="a list whose item 1 is a Moody"):
        checked_predictions(method, [Moody("none")], 1)


def test_metrics_score_what_is_stored(toy_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One array for the answers of every batch and state, as networks with preallocated outputs have it."""
    from harness.core import registry

    monkeypatch.setitem(registry.DATASETS, "labelled", "tests.evaluation.test_report_samples:LabelledData")
    monkeypatch.setitem(registry.METHODS, "odd", "tests.helpers.odd:Odd")
    registry._table.cache_clear()
    numbers = []
    for gives in ("fresh", "reused"):
        settings = toy_config(
            toy_world, ("odd",), drop="frontal", metrics=("brier",), set={"odd": {"gives": gives}}
        )
        rows, succeeded = run_serially(settings.replaced(dataset="labelled"), Quiet())
        assert succeeded
        numbers.append({(row.metric, row.drop, row.rate): row.value for row in rows})
    assert numbers[0] == numbers[1]
    assert len(set(numbers[0].values())) > 1
