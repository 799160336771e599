"""Permutation tests on planted controls: methods that ignore their input, and methods that read it."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.metrics.base import Metric
from harness.metrics.clinical.labels import LABELS, LabelF1, label_outputs
from harness.metrics.text import bleu, cider
from harness.metrics.text.bleu import Bleu
from harness.metrics.text.cider import Cider
from harness.statistics.permutation import derangements, p_value
from tests.helpers.reports import findings

PATIENTS = [f"p{index // 3}" for index in range(60)] + [f"q{index}" for index in range(40)]


class FirstWords(LabelF1):
    """Labels that any text has: one for each word that it shares with a list."""

    name = "first_words"
    outputs = label_outputs("first_words")
    signature = "first_words|v:1"

    def classes(self, texts):
        words = (
            "the",
            "heart",
            "lungs",
            "no",
            "normal",
            "is",
            "are",
            "pleural",
            "effusion",
            "and",
            "of",
            "size",
        )
        rows = [[word in text.lower() for word in words] + [False] * (len(LABELS) - 12) for text in texts]
        return np.array(rows, dtype=np.int8).reshape(len(texts), len(LABELS))


def test_no_study_gets_its_own_patients_prediction() -> None:
    patients = np.array(PATIENTS)
    orders = derangements(PATIENTS, 200)
    assert (np.sort(orders, axis=1) == np.arange(len(PATIENTS))).all()
    assert not (patients[orders] == patients).any()
    assert (orders == derangements(PATIENTS, 200)).all()
    assert (orders != derangements(PATIENTS, 200, seed=1)).any()
    # Every other patient's study is about as likely as any other.
    counts = np.bincount(derangements(PATIENTS, 4000)[:, 0], minlength=len(PATIENTS))
    assert counts[:3].sum() == 0
    assert stats.chisquare(counts[3:]).pvalue > 1e-3


def test_half_of_the_studies_may_be_of_one_patient_and_no_more() -> None:
    derangements(["a", "a", "b", "c"], 20)
    with pytest.raises(HarnessError, match="more than half"):
        derangements(["a", "a", "a", "b", "c"], 20)


def test_a_method_that_ignores_its_input_has_uniform_p_values() -> None:
    rng = np.random.default_rng(7)
    orders = derangements(PATIENTS, 99)
    p_values = []
    for _ in range(400):
        truth, guess = rng.normal(size=(2, len(PATIENTS)))
        permuted = (guess[orders] * truth).mean(axis=1)
        p_values.append(p_value(float((guess * truth).mean()), permuted))
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    assert np.mean(np.array(p_values) <= 0.05) < 0.08


def test_a_fixed_answer_has_p_1_and_a_method_that_reads_has_the_smallest_p() -> None:
    rng = np.random.default_rng(7)
    orders = derangements(PATIENTS, 200)
    truth = rng.normal(size=len(PATIENTS))
    for guess, expected in ((np.ones_like(truth), 1.0), (truth + rng.normal(size=truth.shape), 1 / 201)):
        permuted = (guess[orders] * truth).mean(axis=1)
        assert p_value(float((guess * truth).mean()), permuted) == pytest.approx(expected)
        worse = p_value(float(-(guess * truth).mean()), -permuted, higher_is_better=False)
        assert worse == pytest.approx(expected)
    assert np.isnan(p_value(float("nan"), np.zeros(5)))


@pytest.mark.parametrize("metric", [Bleu(), Cider(), FirstWords()], ids=lambda metric: metric.name)
def test_all_pairs_at_once_equal_scoring_each_order_anew(metric: Metric) -> None:
    texts = findings(60)
    references = [Reference(f"s{index}", f"p{index}", report=text) for index, text in enumerate(texts[:30])]
    predictions = [Prediction(report=text) for text in [*texts[30:57], "", "the", "the the heart the heart"]]
    orders = np.concatenate([np.arange(30)[None], derangements([one.patient_id for one in references], 5)])
    at_once = metric.rematched(predictions, references, orders)
    anew = Metric.rematched(metric, predictions, references, orders)
    for output in metric.outputs:
        assert at_once[output.name] == pytest.approx(anew[output.name], abs=1e-12)
    assert np.ptp(at_once[metric.outputs[0].name]) > 0


@pytest.mark.parametrize("module", [bleu, cider])
def test_of_many_studies_no_table_of_all_pairs_is_made(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ALL_PAIRS", 4)
    monkeypatch.setattr(module, "clipped_matches", lambda *_: pytest.fail("all pairs"))
    texts = findings(10)
    metric: Metric = module.Bleu() if module is bleu else module.Cider()
    references = [Reference(f"s{index}", f"p{index}", report=text) for index, text in enumerate(texts[:5])]
    predictions = [Prediction(report=text) for text in texts[5:]]
    values = metric.rematched(predictions, references, np.array([[0, 1, 2, 3, 4], [1, 0, 4, 2, 3]]))
    assert values[metric.outputs[0].name].shape == (2,)
