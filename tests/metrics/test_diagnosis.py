"""Diagnosis metrics against scikit-learn, on random and on degenerate sets."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from harness.core.errors import HarnessError
from harness.core.types import LabelCounts, Prediction, Reference
from harness.metrics.base import Metric
from harness.metrics.common_labels import LEAST_POSITIVES
from harness.metrics.diagnosis.decisions import Auroc, Diagnosis


def studies(said: np.ndarray, labels: np.ndarray) -> tuple[list[Prediction], list[Reference]]:
    references = [Reference(f"s{i}", f"p{i}", labels=row.astype(np.float32)) for i, row in enumerate(labels)]
    return [Prediction(probabilities=row) for row in said], references


def score(metric: Metric, said: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> dict:
    statistics = metric.statistics(*studies(said, labels))
    once = np.ones((1, len(statistics))) if weights is None else weights[None].astype(float)
    return {name: float(value[0]) for name, value in metric.values(statistics, once).items()}


def findings(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """14 findings from rare to common, rounded probabilities so that ties are many."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 14)) < np.linspace(0.02, 0.6, 14)).astype(float)
    return np.round(np.clip(0.3 * labels + 0.7 * rng.random((n, 14)), 0, 1), 1), labels


def classes(n: int, seed: int, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.choice(count, n, p=np.arange(count, 0, -1) / (count * (count + 1) / 2))
    said = rng.dirichlet(np.ones(count), n) + 0.3 * np.eye(count)[true]
    return said / said.sum(1, keepdims=True), np.eye(count)[true]


@pytest.mark.parametrize("n", [1, 2, 7, 60, 590])
@pytest.mark.parametrize("seed", range(3))
def test_findings_equal_scikit_learn(n: int, seed: int) -> None:
    said, labels = findings(n, seed)
    called = (said >= 0.5).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kappas = [sk.cohen_kappa_score(labels[:, k], called[:, k]) for k in range(14)]
        both = [k for k in range(14) if len(np.unique(labels[:, k])) == 2]
        areas = [sk.roc_auc_score(labels[:, k], said[:, k]) for k in both]
        f1 = sk.f1_score(labels, called, average="macro", zero_division=0)
    found = score(Diagnosis(), said, labels) | score(Auroc(), said, labels)
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(labels, called), abs=1e-12)
    micro = sk.f1_score(labels, called, average="micro", zero_division=0)
    assert found["f1_micro"] == pytest.approx(micro, abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(labels.ravel(), called.ravel()), abs=1e-12)
    assert found["f1_macro"] == pytest.approx(f1, abs=1e-12)
    mean_kappa = np.nan if np.isnan(kappas).all() else np.nanmean(kappas)
    assert found["kappa"] == pytest.approx(mean_kappa, abs=1e-12, nan_ok=True)
    assert found["auroc_macro"] == pytest.approx(np.mean(areas) if areas else np.nan, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("n", [1, 2, 7, 60, 590])
@pytest.mark.parametrize("seed", range(3))
def test_classes_equal_scikit_learn(n: int, seed: int) -> None:
    said, labels = classes(n, seed)
    true, chosen = labels.argmax(1), said.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kappa = sk.cohen_kappa_score(true, chosen)
        f1 = sk.f1_score(true, chosen, average="macro", zero_division=0)
        both = [k for k in range(5) if len(np.unique(labels[:, k])) == 2]
        area = np.mean([sk.roc_auc_score(labels[:, k], said[:, k]) for k in both]) if both else np.nan
        if len(both) == 5:
            assert area == pytest.approx(sk.roc_auc_score(true, said, multi_class="ovr"))
    found = score(Diagnosis(False), said, labels) | score(Auroc(False), said, labels)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(true, chosen), abs=1e-12)
    assert found["f1_macro"] == pytest.approx(f1, abs=1e-12)
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(true, chosen), abs=1e-12)
    assert found["kappa"] == pytest.approx(kappa, abs=1e-12, nan_ok=True)
    assert found["auroc_macro"] == pytest.approx(area, abs=1e-12, nan_ok=True)


def test_common_labels_are_those_of_the_test_set_and_not_of_a_resample() -> None:
    said, labels = findings(80, 3)
    positives = labels.sum(0)
    counts = LabelCounts(tuple(f"label {k}" for k in range(14)), tuple(int(each) for each in positives))
    common = positives >= LEAST_POSITIVES
    assert 3 < common.sum() < 14
    weights = np.random.default_rng(0).integers(0, 5, 80) // 3
    rows = np.repeat(np.arange(80), weights)
    assert (labels[rows].sum(0) >= LEAST_POSITIVES).sum() < common.sum()
    diagnosis, auroc = Diagnosis(labels=counts), Auroc(labels=counts)
    found = score(diagnosis, said, labels, weights) | score(auroc, said, labels, weights)
    y, p = labels[rows][:, common], said[rows][:, common]
    f1 = sk.f1_score(y, p >= 0.5, average="macro", zero_division=0)
    assert found["f1_macro_common"] == pytest.approx(f1, abs=1e-12)
    assert found["auroc_macro_common"] == pytest.approx(sk.roc_auc_score(y, p), abs=1e-12)
    kappa = [sk.cohen_kappa_score(y[:, k], p[:, k] >= 0.5) for k in range(y.shape[1])]
    assert found["kappa"] == pytest.approx(np.mean(kappa), abs=1e-12)
    for metric in (diagnosis, auroc):
        assert f"common:{common.sum()}of14,positives>=10" in metric.signature
        remarks = metric.remarks(np.empty((0, 0)))
        assert len(remarks) == 2
        assert all(f"label 0 {counts.positives[0]}" in remark for remark in remarks.values())


def test_where_no_label_is_common_the_average_is_over_all() -> None:
    said, labels = findings(12, 3)
    counts = LabelCounts(tuple("abcdefghijklmn"), tuple(int(each) for each in np.minimum(labels.sum(0), 9)))
    found = score(Diagnosis(labels=counts), said, labels)
    assert found["f1_macro_common"] == found["f1_macro"]
    assert "common:14of14" in Diagnosis(labels=counts).signature


@pytest.mark.parametrize("multilabel", [True, False])
def test_weights_are_copies(multilabel: bool) -> None:
    said, labels = findings(80, 5) if multilabel else classes(80, 5)
    weights = np.random.default_rng(0).integers(0, 4, 80)
    for metric in (Diagnosis(multilabel), Auroc(multilabel)):
        copies = np.repeat(np.arange(80), weights)
        assert score(metric, said, labels, weights) == pytest.approx(
            score(metric, said[copies], labels[copies])
        )
        doubled = score(metric, said, labels, np.full(80, 2))
        order = np.random.default_rng(1).permutation(80)
        assert doubled == pytest.approx(score(metric, said[order], labels[order]))


@pytest.mark.parametrize("multilabel", [True, False])
def test_perfect_prediction_scores_one(multilabel: bool) -> None:
    labels = findings(200, 1)[1] if multilabel else classes(200, 1)[1]
    for metric in (Diagnosis(multilabel), Auroc(multilabel)):
        assert set(score(metric, labels, labels).values()) == {1.0}


def test_study_without_weight_may_hold_anything() -> None:
    statistics = Auroc().statistics(*studies(*findings(30, 2)))
    weights = np.ones((1, 30))
    weights[0, 4] = 0
    spoiled = statistics.copy()
    spoiled[4] = np.nan
    assert Auroc().joint(spoiled, weights) == Auroc().joint(statistics, weights)


@pytest.mark.parametrize(
    ("said", "labels", "multilabel", "says"),
    [
        ([[0.5, 0.5], [0.2, 1.4]], [[1, 0], [0, 1]], True, "'s1' has probabilities outside"),
        ([[0.5, np.nan]], [[1, 0]], True, "'s0' has probabilities outside"),
        ([[0.5, 0.5]], [[1, 0.5]], True, "'s0' has labels other than 0 and 1"),
        ([[0.5, 0.5]], [[1, 1]], False, "'s0' has labels that are not one-hot"),
        ([[0.9, 0.9]], [[1, 0]], False, "do not add up to 1"),
        ([[0.5, 0.5]], [[1, 0, 0]], True, "2 probabilities per study for 3 labels"),
    ],
)
def test_impossible_input_is_named(said: list, labels: list, multilabel: bool, says: str) -> None:
    with pytest.raises(HarnessError, match=says):
        Diagnosis(multilabel).statistics(*studies(np.array(said, float), np.array(labels, float)))


def test_absent_probabilities_are_named() -> None:
    with pytest.raises(HarnessError, match="'s0' has no predicted probabilities"):
        Diagnosis().statistics([Prediction()], [Reference("s0", "p", labels=np.ones(2, np.float32))])
