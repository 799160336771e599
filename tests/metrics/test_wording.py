"""Length, repetition, distinct n-grams and copies equal their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.types import Prediction, Reference
from harness.leaderboard.render.blocks import directed
from harness.metrics.text.wording import Wording
from harness.statistics.bootstrap import bootstrap_weights, estimate
from tests.helpers.reports import corpus


def values(*texts: str) -> dict[str, float]:
    metric = Wording()
    references = [Reference(str(number), str(number), "") for number in range(len(texts))]
    statistics = metric.statistics([Prediction(text) for text in texts], references)
    return {name: float(value) for name, value in metric.reduce(statistics.sum(axis=0)).items()}


def test_small_reports_by_hand() -> None:
    given = values("No e\ufb00usion. No edema.", "no effusion no edema", "Clear.", "")
    assert given["words_mean"] == (4 + 4 + 1) / 4
    assert given["distinct_1"] == pytest.approx(4 / 9)  # no, effusion, edema, clear
    assert given["distinct_2"] == pytest.approx(3 / 6)  # no effusion, effusion no, no edema
    assert given["identical_share"] == 2 / 4
    assert given["repetition_4"] == 0.0
    assert values("a b c d " * 3)["repetition_4"] == pytest.approx(5 / 9)
    assert values("", "") == {
        "words_mean": 0.0,
        "repetition_4": 0.0,
        "distinct_1": 0.0,
        "distinct_2": 0.0,
        "identical_share": 1.0,
    }


def test_a_number_of_words_has_no_better_direction() -> None:
    (words, *_) = Wording().outputs
    assert words.higher_is_better is None
    assert directed(words.name, words.higher_is_better) == "words_mean"


def test_intervals_surround_the_values_of_real_reports() -> None:
    texts = corpus(150)[1]
    metric = Wording()
    references = [Reference(str(number), str(number), text) for number, text in enumerate(texts)]
    statistics = metric.statistics([Prediction(text) for text in texts], references)
    assert np.isfinite(statistics).all()
    estimates = estimate(metric, statistics, bootstrap_weights([one.patient_id for one in references], 200))
    for name, each in estimates.items():
        assert each.lo <= each.value <= each.hi, name
    words = [word for text in texts for word in text.lower().split()]
    assert estimates["words_mean"].value == pytest.approx(len(words) / len(texts), rel=0.05)
