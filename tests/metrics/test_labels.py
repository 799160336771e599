"""F1 of CheXpert labels against scikit-learn, and what the policies for uncertain labels do."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import classification_report, f1_score, precision_score, recall_score

from harness.core.errors import HarnessError
from harness.metrics.clinical.labels import (
    BLANK,
    FIVE,
    LABELS,
    NEGATIVE,
    POLICIES,
    POSITIVE,
    UNCERTAIN,
    Classes,
    LabelF1,
    Policy,
    averaged_f1,
    averaged_precision_recall,
    confusion,
    label_outputs,
    label_statistics,
    precision_recall_statistics,
)
from harness.metrics.common_labels import LEAST_POSITIVES
from tests.helpers.reports import pairs


def random_classes(n: int, seed: int) -> Classes:
    """Classes (n, 14) of which the first labels never occur and the last occurs often."""
    rng = np.random.default_rng(seed)
    rare = rng.random((n, len(LABELS))) < np.linspace(-0.1, 0.8, len(LABELS))
    return np.where(rare, rng.integers(1, 4, (n, len(LABELS))), BLANK).astype(np.int8)


@pytest.mark.parametrize("policy", ["positive", "negative"])
@pytest.mark.parametrize(("n", "seed"), [(1, 0), (3, 1), (40, 2), (400, 3)])
def test_averages_equal_scikit_learn(policy: Policy, n: int, seed: int) -> None:
    said, true = random_classes(n, seed), random_classes(n, seed + 100)
    ours = averaged_f1(label_statistics(said, true, policy).sum(axis=0))
    positive = [POSITIVE, UNCERTAIN] if policy == "positive" else [POSITIVE]
    five = [LABELS.index(name) for name in FIVE]
    for size, chosen in (("14", list(range(14))), ("5", five)):
        a, b = (np.isin(side[:, chosen], positive) for side in (said, true))
        report = classification_report(b, a, output_dict=True, zero_division=0)
        for average in ("micro", "macro", "weighted"):
            assert ours[f"{average}_{size}"] == pytest.approx(report[f"{average} avg"]["f1-score"], abs=1e-12)
        expected = f1_score(b, a, average="samples", zero_division=0)
        assert ours[f"example_{size}"] == pytest.approx(expected, abs=1e-12)
    a, b = (np.isin(side[:, :-1], positive) for side in (said, true))
    assert ours["micro_13"] == pytest.approx(f1_score(b, a, average="micro", zero_division=0), abs=1e-12)


@pytest.mark.parametrize("policy", ["positive", "negative"])
@pytest.mark.parametrize(("n", "seed"), [(1, 0), (3, 1), (400, 3)])
def test_precision_and_recall_equal_scikit_learn(policy: Policy, n: int, seed: int) -> None:
    said, true = random_classes(n, seed), random_classes(n, seed + 100)
    ours = averaged_precision_recall(precision_recall_statistics(said, true, policy).sum(axis=0))
    positive = [POSITIVE, UNCERTAIN] if policy == "positive" else [POSITIVE]
    five = [LABELS.index(name) for name in FIVE]
    for size, chosen in (("14", list(range(14))), ("5", five)):
        a, b = (np.isin(side[:, chosen], positive) for side in (said, true))
        for average, theirs in (("micro", "micro"), ("macro", "macro"), ("example", "samples")):
            for name, score in (("precision", precision_score), ("recall", recall_score)):
                expected = score(b, a, average=theirs, zero_division=0)
                assert ours[f"{name}_{average}_{size}"] == pytest.approx(expected, abs=1e-12)


def test_example_f1_with_uncertain_as_negative_is_promptmrg_s() -> None:
    """Its formula: only class 1 counts, each study's TP / (TP + (FP + FN) / 2), 0 where there is nothing."""
    said, true = random_classes(200, 6), random_classes(200, 7)
    a, b = said == POSITIVE, true == POSITIVE
    tp, wrong = (a & b).sum(1), (a ^ b).sum(1)
    expected = np.divide(tp, tp + wrong / 2, out=np.zeros(200), where=tp + wrong > 0).mean()
    values = averaged_f1(label_statistics(said, true, "negative").sum(axis=0))
    assert values["example_14"] == pytest.approx(expected, abs=1e-12)


def test_a_fixed_normal_report_has_no_f1_of_findings() -> None:
    assert LABELS[-1] == "No Finding"
    normal = np.full((10, 14), BLANK, dtype=np.int8)
    normal[:, -1] = POSITIVE
    truth = normal.copy()
    truth[:4, -1], truth[:4, 0] = BLANK, POSITIVE
    values = averaged_f1(label_statistics(normal, truth, "positive").sum(axis=0))
    assert values["micro_14"] == pytest.approx(0.6)
    assert values["micro_13"] == 0.0


def test_the_macro_over_common_labels_is_of_the_same_labels_in_every_resample() -> None:
    said, true = random_classes(300, 7), random_classes(300, 8)
    positive = np.isin(true, (POSITIVE, UNCERTAIN))
    true[np.cumsum(positive, axis=0) > np.arange(14) * 2] = NEGATIVE  # 0 to 26 positive studies
    statistics = label_statistics(said, true, "positive")
    y, x = np.isin(true, (POSITIVE, UNCERTAIN)), np.isin(said, (POSITIVE, UNCERTAIN))
    common = y.sum(axis=0) >= LEAST_POSITIVES
    assert 3 < common.sum() < 14
    weights = np.random.default_rng(9).integers(0, 2, 300)
    rows = np.repeat(np.arange(300), weights)
    assert (y[rows].sum(axis=0) >= LEAST_POSITIVES).sum() < common.sum()
    expected = f1_score(y[rows][:, common], x[rows][:, common], average="macro", zero_division=0)
    assert averaged_f1(weights @ statistics)["macro_common"] == pytest.approx(expected, abs=1e-12)
    few = label_statistics(said[:9], true[:9], "positive").sum(axis=0)
    assert averaged_f1(few)["macro_common"] == averaged_f1(few)["macro_14"]


def test_ignored_labels_count_on_neither_side() -> None:
    said, true = random_classes(200, 4), random_classes(200, 5)
    kept = (said != UNCERTAIN) & (true != UNCERTAIN)
    tp, fp, fn = confusion(said, true, "ignored")
    for label in range(len(LABELS)):
        a, b = said[kept[:, label], label] == POSITIVE, true[kept[:, label], label] == POSITIVE
        counts = tp[:, label].sum(), fp[:, label].sum(), fn[:, label].sum()
        assert counts == ((a & b).sum(), (a & ~b).sum(), (~a & b).sum())


def test_empty_classes_score_zero_without_a_warning() -> None:
    blank = np.zeros((5, 14), dtype=np.int8)
    values = averaged_f1(label_statistics(blank, blank, "positive").sum(axis=0))
    assert set(map(float, values.values())) == {0.0}
    nothing = averaged_f1(np.zeros((2, 3, 59)))
    assert all((value == 0).all() and value.shape == (2, 3) for value in nothing.values())


class FirstWord(LabelF1):
    """Labels a text by its first word, and remembers what it was asked."""

    name = "first_word"
    outputs = label_outputs("first_word")
    signature = "first_word|v:1"

    def __init__(self, uncertain: str = "positive") -> None:
        super().__init__(uncertain)
        self.asked: list[str] = []

    def classes(self, texts):  # type: ignore[no-untyped-def]
        self.asked += texts
        classes = {"yes": POSITIVE, "no": NEGATIVE, "maybe": UNCERTAIN, "": BLANK}
        return np.array([[classes[text]] * 14 for text in texts], dtype=np.int8)


@pytest.mark.parametrize(("policy", "micro"), [("positive", 2 / 3), ("negative", 1.0), ("ignored", 1.0)])
def test_policies(policy: str, micro: float) -> None:
    metric = FirstWord(policy)
    statistics = metric.statistics(*pairs(["yes", "maybe", "no", ""], ["yes", "no", "no", ""]))
    assert metric.reduce(statistics.sum(axis=0))["first_word_micro_14"] == pytest.approx(micro)
    assert sorted(metric.asked) == ["", "maybe", "no", "yes"], "a text that repeats is labelled once"


def test_unknown_policy_names_the_near_ones() -> None:
    with pytest.raises(HarnessError, match="did you mean ignored"):
        FirstWord("ignore")
    assert len({FirstWord(policy).policy for policy in POLICIES}) == 3


def test_no_studies_have_no_rows() -> None:
    assert FirstWord().statistics([], []).shape == (0, 59)
