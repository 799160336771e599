"""Average precision, sensitivity at high specificity and tuned thresholds, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from harness.core.errors import HarnessError
from harness.core.types import LabelCounts
from harness.metrics.diagnosis.operating_points import OperatingPoints
from harness.metrics.diagnosis.tuned import TunedF1, best_threshold
from tests.metrics.test_diagnosis import classes, findings, score, studies


def sensitivity(labels: np.ndarray, said: np.ndarray) -> float:
    false, true, _ = sk.roc_curve(labels, said, drop_intermediate=False)
    return float(true[false <= 0.1 + 1e-12].max())


@pytest.mark.parametrize("n", [7, 60, 590])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("multilabel", [True, False])
def test_they_equal_scikit_learn(n: int, seed: int, multilabel: bool) -> None:
    said, labels = findings(n, seed) if multilabel else classes(n, seed)
    weights = np.random.default_rng(seed).integers(0, 4, n)
    found = score(OperatingPoints(multilabel), said, labels, weights)
    rows = np.repeat(np.arange(n), weights)
    said, labels = said[rows], labels[rows]
    positive = [k for k in range(labels.shape[1]) if labels[:, k].any()]
    both = [k for k in positive if not labels[:, k].all()]
    areas = [sk.average_precision_score(labels[:, k], said[:, k]) for k in positive]
    assert found["auprc_macro_common"] == pytest.approx(np.mean(areas), abs=1e-12)
    each = [sensitivity(labels[:, k], said[:, k]) for k in both]
    assert found["sensitivity_at_90_specificity"] == pytest.approx(np.mean(each), abs=1e-12)


def test_a_study_without_weight_may_hold_anything() -> None:
    statistics = OperatingPoints().statistics(*studies(*findings(60, 2)))
    weights = np.ones((3, 60))
    weights[:, 4] = 0
    spoiled = statistics.copy()
    spoiled[4] = np.nan
    assert OperatingPoints().joint(spoiled, weights).keys() == {o.name for o in OperatingPoints.outputs}
    for name, values in OperatingPoints().joint(spoiled, weights).items():
        assert np.array_equal(values, OperatingPoints().joint(statistics, weights)[name])


def test_nothing_to_find_has_no_value() -> None:
    said, labels = findings(20, 1)
    found = score(OperatingPoints(), said, np.zeros_like(labels))
    assert all(np.isnan(value) for value in found.values())


def test_the_threshold_of_a_finding_has_the_best_f1_on_validation() -> None:
    said, labels = findings(120, 5)
    for k in range(14):
        chosen = best_threshold(said[:, k], labels[:, k])
        if not labels[:, k].any():
            assert chosen == 0.5
            continue
        each = [
            sk.f1_score(labels[:, k], said[:, k] >= threshold, zero_division=0)
            for threshold in np.linspace(-0.01, 1.01, 400)
        ]
        assert sk.f1_score(labels[:, k], said[:, k] >= chosen) == pytest.approx(max(each), abs=1e-12)
        assert chosen == 0 or chosen not in said[:, k]


def test_tuned_f1_takes_its_thresholds_from_validation_and_scores_the_test_set() -> None:
    (said, labels), validation = findings(200, 3), findings(120, 5)
    counts = LabelCounts(tuple("abcdefghijklmn"), tuple(int(each) for each in labels.sum(0)))
    metric = TunedF1(labels=counts)
    with pytest.raises(HarnessError, match="no thresholds"):
        score(metric, said, labels)
    tuned = metric.fitted(*studies(*validation))
    common = labels.sum(0) >= 10
    expected = sk.f1_score(labels, said >= np.array(tuned.thresholds), average=None, zero_division=0)
    assert score(tuned, said, labels)["f1_macro_tuned"] == pytest.approx(expected[common].mean(), abs=1e-12)
    assert tuned.signature == metric.signature
    assert metric.thresholds == ()


def test_exclusive_classes_have_no_thresholds() -> None:
    assert TunedF1(multilabel=False).unavailable()
