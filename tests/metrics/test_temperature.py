"""Temperature scaling and selective diagnosis: against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from harness.metrics.diagnosis.selective import COVERAGES, RiskCoverage, risk_at_coverages
from harness.metrics.diagnosis.temperature import best_temperature, scaled
from tests.metrics.test_diagnosis import classes, findings, score, studies


def loss(said: np.ndarray, labels: np.ndarray, multilabel: bool) -> float:
    right = np.where(labels == 1, said, 1 - said) if multilabel else (said * labels).sum(1)
    return float(-np.log(right).sum())


@pytest.mark.parametrize("multilabel", [True, False])
def test_the_temperature_has_the_lowest_loss_and_changes_no_ranking(multilabel: bool) -> None:
    said, labels = findings(300, 2) if multilabel else classes(300, 2)
    said = np.clip(said, 0.01, 0.99)
    best = best_temperature(said, labels, multilabel)
    outside = minimize_scalar(
        lambda log: loss(scaled(said, float(np.exp(log)), multilabel), labels, multilabel), bounds=(-3, 3)
    )
    assert best == pytest.approx(np.exp(outside.x), rel=1e-3)
    rescaled = scaled(said, best, multilabel)
    if multilabel:
        assert np.array_equal(rescaled.ravel().argsort(kind="stable"), said.ravel().argsort(kind="stable"))
        assert np.array_equal(rescaled >= 0.5, said >= 0.5)
    else:
        assert np.array_equal(rescaled.argmax(1), said.argmax(1))
        assert np.allclose(rescaled.sum(1), 1)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_temperature_undoes_what_made_a_method_too_sure(factor: float) -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(size=(4000, 5))
    labels = (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(float)
    said = 1 / (1 + np.exp(-odds / factor))
    assert best_temperature(said, labels, True) == pytest.approx(1 / factor, rel=0.06)


def test_certain_probabilities_have_a_temperature_too() -> None:
    labels = np.eye(2)[[0, 1, 0, 1]]
    assert np.isfinite(best_temperature(np.eye(2)[[0, 1, 1, 1]], labels, True))
    assert np.isfinite(scaled(np.eye(2), 3.0, False)).all()


@pytest.mark.parametrize("multilabel", [True, False])
def test_the_area_is_the_mean_risk_over_coverages(multilabel: bool) -> None:
    said, labels = findings(90, 4) if multilabel else classes(90, 4)
    said = np.clip(said + 1e-4 * np.random.default_rng(0).random(said.shape), 0, 1)
    if not multilabel:
        said /= said.sum(1, keepdims=True)
    confidence = np.maximum(said, 1 - said).mean(1) if multilabel else said.max(1)
    wrong = ((said >= 0.5) != (labels == 1)).mean(1) if multilabel else said.argmax(1) != labels.argmax(1)
    order = np.argsort(-confidence)
    risks = np.cumsum(wrong[order]) / np.arange(1, 91)
    assert score(RiskCoverage(multilabel), said, labels)["aurc"] == pytest.approx(risks.mean(), abs=1e-12)
    curve = risk_at_coverages(RiskCoverage(multilabel).statistics(*studies(said, labels)))
    assert curve == pytest.approx([risks[int(np.ceil(c * 90 - 1e-9)) - 1] for c in COVERAGES], abs=1e-12)


def test_confidence_that_says_nothing_has_the_error_rate() -> None:
    _, labels = findings(200, 1)
    said = np.full(labels.shape, 0.3)
    found = score(RiskCoverage(), said, labels)["aurc"]
    assert found == pytest.approx(((said >= 0.5) != (labels == 1)).mean(), abs=1e-12)


def test_weights_of_studies_are_copies() -> None:
    said, labels = findings(60, 3)
    weights = np.random.default_rng(0).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), weights)
    found = score(RiskCoverage(), said, labels, weights)["aurc"]
    assert found == pytest.approx(score(RiskCoverage(), said[rows], labels[rows])["aurc"], abs=1e-12)
