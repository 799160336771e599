"""Calibration against netcal and scikit-learn, edges of bins included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from netcal.metrics import ECE
from sklearn.metrics import brier_score_loss, log_loss

from harness.leaderboard.render.figures import reliability_diagram
from harness.metrics.diagnosis.calibration import (
    ClasswiseEce,
    Ece,
    EqualMassEce,
    bin_index,
    judgements,
    mass_edges,
    reliability,
    width_edges,
)
from harness.metrics.diagnosis.confidence import histogram
from harness.metrics.diagnosis.probabilities import LabelMetric
from harness.metrics.diagnosis.proper_scores import Brier, NegativeLogLikelihood
from harness.metrics.diagnosis.temperature import best_temperature, scaled
from harness.metrics.diagnosis.tuned import best_threshold
from tests.metrics.test_diagnosis import classes, findings, score, studies

FAMILIES: list[type[LabelMetric]] = [Brier, ClasswiseEce, Ece, EqualMassEce, NegativeLogLikelihood]


def netcal(confidence: np.ndarray, correct: np.ndarray, bins: int = 15, mass: bool = False) -> float:
    """netcal's ECE of judgements: one column, binary outcomes."""
    return ECE(bins, equal_intervals=not mass).measure(confidence.ravel().copy(), correct.ravel().astype(int))


@pytest.mark.parametrize("bins", [1, 5, 10, 15, 20])
@pytest.mark.parametrize("seed", range(3))
def test_findings_equal_netcal_column_by_column(bins: int, seed: int) -> None:
    said, labels = findings(200, seed)  # rounded to tenths: many lie on an edge of 5, 10 or 20 bins
    each = [netcal(said[:, k], labels[:, k], bins) for k in range(14)]
    assert score(Ece(bins=bins), said, labels)["ece"] == pytest.approx(netcal(said, labels, bins), abs=1e-12)
    assert score(ClasswiseEce(bins=bins), said, labels)["ece_classwise"] == pytest.approx(np.mean(each))


def test_every_edge_belongs_to_the_bin_that_netcal_puts_it_in() -> None:
    rng = np.random.default_rng(0)
    for bins in range(1, 41):
        edges = np.linspace(0, 1, bins + 1)
        near = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 1), np.arange(101) / 100])
        confidence = np.clip(near, 0, 1)
        correct = rng.integers(0, 2, len(confidence)).astype(float)
        assert reliability(confidence, correct, bins).ece == pytest.approx(
            netcal(confidence, correct, bins), abs=1e-12
        )


@pytest.mark.parametrize("seed", range(3))
def test_classes_equal_netcal(seed: int) -> None:
    said, labels = classes(300, seed)
    theirs = ECE(15).measure(said.copy(), labels.argmax(1))
    assert score(Ece(False), said, labels)["ece"] == pytest.approx(theirs, abs=1e-12)


def test_top_label_error_where_netcal_raises() -> None:
    said = np.array(
        [[0.8, 0.1, 0.05, 0.03, 0.02], [0.3, 0.6, 0.05, 0.03, 0.02], [0.7, 0.2, 0.05, 0.03, 0.02]]
    )
    labels = np.eye(5)[[0, 1, 1]]
    with pytest.raises(RuntimeError):
        ECE(15).measure(said.copy(), labels.argmax(1))
    # Three bins of one study each: |.8 - 1|, |.6 - 1|, |.7 - 0|.
    assert score(Ece(False), said, labels)["ece"] == pytest.approx((0.2 + 0.4 + 0.7) / 3)


@pytest.mark.parametrize("n", [40, 301])
@pytest.mark.parametrize("bins", [4, 10, 15])
def test_equal_mass_bins_equal_netcal(n: int, bins: int) -> None:
    rng = np.random.default_rng(n)
    said = rng.random((n, 1))
    labels = (rng.random((n, 1)) < said**2).astype(float)
    assert score(EqualMassEce(bins=bins), said, labels)["ece_mass"] == pytest.approx(
        netcal(said, labels, bins, mass=True), abs=1e-12
    )
    weights = rng.integers(0, 3, n)
    copies = np.repeat(np.arange(n), weights)
    found = score(EqualMassEce(bins=bins), said, labels, weights)["ece_mass"]
    assert found == pytest.approx(score(EqualMassEce(bins=bins), said[copies], labels[copies])["ece_mass"])
    assert found == pytest.approx(reliability(said[copies, 0], labels[copies, 0], bins, "mass").ece)


def test_equal_mass_bins_of_tied_confidences() -> None:
    said, labels = findings(50, 3)
    assert 0 < score(EqualMassEce(), said, labels)["ece_mass"] < 1
    constant, half = np.full((10, 1), 0.5), np.arange(10)[:, None] % 2
    assert score(EqualMassEce(), constant, half)["ece_mass"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_proper_scores_equal_scikit_learn(seed: int) -> None:
    said, labels = findings(120, seed)
    said[:, 13] = labels[:, 13]
    brier = np.mean([brier_score_loss(labels[:, k], said[:, k]) for k in range(14)])
    loss = np.mean([log_loss(labels[:, k], said[:, k], labels=[0, 1]) for k in range(14)])
    assert score(Brier(), said, labels)["brier"] == pytest.approx(brier, abs=1e-12)
    assert score(NegativeLogLikelihood(), said, labels)["nll"] == pytest.approx(loss, abs=1e-9)
    said, labels = classes(120, seed)
    true = labels.argmax(1)
    theirs = brier_score_loss(true, said, labels=range(5), scale_by_half=False)
    assert score(Brier(False), said, labels)["brier"] == pytest.approx(theirs, abs=1e-12)
    assert score(NegativeLogLikelihood(False), said, labels)["nll"] == pytest.approx(
        log_loss(true, said, labels=range(5)), abs=1e-12
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("multilabel", [True, False])
def test_perfect_and_repeated_predictions(family: type[LabelMetric], multilabel: bool) -> None:
    said, labels = findings(60, 1) if multilabel else classes(60, 1)
    metric = family(multilabel)
    perfect = score(metric, labels, labels)[metric.name]
    assert perfect == pytest.approx(0, abs=1e-12)
    order = np.random.default_rng(0).permutation(60)
    once = score(metric, said, labels)
    assert score(metric, said[order], labels[order]) == pytest.approx(once)
    if family is not EqualMassEce:  # its quantiles interpolate, as netcal's do
        assert score(metric, said, labels, np.full(60, 2))[metric.name] == pytest.approx(once[metric.name])
    statistics = metric.statistics(*studies(said, labels))
    assert np.isnan(next(iter(metric.values(statistics, np.zeros((1, 60))).values()))).all()


def test_bins_are_part_of_the_signature() -> None:
    signatures = {Ece().signature, Ece(False).signature, Ece(bins=10).signature, EqualMassEce().signature}
    assert len(signatures) == 4
    assert "bins:15" in Ece().signature


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_reliability_diagram_is_written(tmp_path: Path, binning: str) -> None:
    confidence, correct = (part.ravel() for part in judgements(*classes(200, 0), multilabel=False))
    curve = reliability(confidence, correct, binning=binning)
    assert curve.count.sum() == 200
    reliability_diagram(curve, tmp_path / "curve.png", title="toy", interval=(0.01, 0.2))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


NO_PROBABILITIES = {
    "logits": ([-3.2, 0.4, 4.1], r"outside \[0, 1\] \(-3.2\).*sigmoid or softmax"),
    "percent": (
        [20.0, 99.0, 50.0],
        r"outside \[0, 1\] \(20\).*between 0 and 99, as percent do: divide them by 100",
    ),
    "NaN": ([0.2, np.nan, 0.5], r"outside \[0, 1\] \(nan\)"),
    "infinite": ([0.2, np.inf, 0.5], r"outside \[0, 1\] \(inf\)"),
}


@pytest.mark.parametrize("kind", NO_PROBABILITIES)
def test_what_is_no_probability_is_refused_everywhere(kind: str) -> None:
    values, message = NO_PROBABILITIES[kind]
    correct = np.array([0.0, 1.0, 1.0])
    table, labels = np.array([values, values]), np.array([[0.0, 1.0, 0.0]] * 2)
    for refuse in (
        lambda: reliability(np.array(values), correct),
        lambda: reliability(np.array(values), correct, binning="mass"),
        lambda: mass_edges(np.array(values), np.ones(3), 5),
        lambda: bin_index(np.array(values), width_edges(5)),
        lambda: histogram(np.array(values)),
        lambda: scaled(table, 2.0, multilabel=True),
        lambda: best_temperature(table, labels, multilabel=True),
        lambda: best_threshold(np.array(values), correct),
        lambda: judgements(table, labels, multilabel=True),
        lambda: judgements(table, labels, multilabel=False),
    ):
        with pytest.raises(ValueError, match=message):
            refuse()
    for family in FAMILIES:
        for multilabel in (True, False):
            with pytest.raises(ValueError, match=message) as caught:
                family(multilabel).statistics(*studies(table, labels))
            assert "study 's0'" in str(caught.value)


def test_labels_and_shapes_are_checked() -> None:
    sure = np.array([0.2, 0.7, 0.5])
    for label in (-1.0, 0.5, np.nan, 2.0):
        with pytest.raises(ValueError, match=r"judgement 1 has an outcome other than 0 and 1 .*1: present"):
            reliability(sure, np.array([0.0, label, 1.0]))
        with pytest.raises(ValueError, match="row 0 has labels other than 0 and 1"):
            judgements(sure[None], np.array([[0.0, label, 1.0]]), multilabel=True)
    for confidence, correct in ((sure, sure[:2] > 0), (sure[None], sure[None] > 0.5), (np.array(0.5), 1.0)):
        with pytest.raises(ValueError, match="expected one axis of equal length"):
            reliability(confidence, correct)
    with pytest.raises(ValueError, match=r"labels of shape \(3,\).*expected both \(n, L\)"):
        judgements(np.full((3, 2), 0.5), np.array([0.0, 1.0, 0.0]), multilabel=False)
    with pytest.raises(ValueError, match=r"row 0 has class .* do not add up to 1 \(1.4\)"):
        judgements(sure[None], np.array([[0.0, 1.0, 0.0]]), multilabel=False)
    for weights in (np.array([1.0, -1.0, 1.0]), np.array([1.0, np.nan, 1.0])):
        with pytest.raises(ValueError, match="weights that are negative or not finite"):
            reliability(sure, sure > 0.4, weights=weights)
    for options, message in (({"bins": 0}, "bins must be at least 1"), ({"binning": "size"}, "width, mass")):
        with pytest.raises(ValueError, match=message):
            reliability(sure, sure > 0.4, **options)
    for temperature in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="expected a finite number above 0"):
            scaled(sure[None], temperature, multilabel=True)
    with pytest.raises(ValueError, match="no judgements to bin"):
        reliability(np.empty(0), np.empty(0))
    assert reliability([0.0, 1.0 + 1e-9], [False, True]).ece == 0


@pytest.mark.parametrize("bits", ["float16", "bfloat16"])
def test_rows_of_half_precision_are_renormalised_and_counted(bits: str) -> None:
    import torch

    logits = torch.as_tensor(np.random.default_rng(0).normal(0, 2, (300, 40)))
    exact = logits.softmax(1)
    rounded = exact.to(getattr(torch, bits)).to(torch.float64).numpy()
    labels = np.eye(40)[np.random.default_rng(1).integers(0, 40, 300)]
    off = int((np.abs(rounded.sum(1) - 1) > 1e-5).sum())
    assert off > 200
    said, true = studies(rounded, labels)
    whole = rounded / rounded.sum(1, keepdims=True)
    for family in FAMILIES:
        metric = family(False)
        assert score(metric, rounded, labels) == pytest.approx(score(metric, whole, labels), abs=1e-6)
        assert "|sum:renormalised|" in metric.signature
    for metric in (Brier(False), NegativeLogLikelihood(False)):
        remark = metric.remarks(metric.statistics(said, true))[metric.name]
        assert f"{off} of 300 studies" in remark
        assert not metric.remarks(metric.statistics(*studies(exact.float().numpy(), labels)))
    with pytest.warns(UserWarning, match=f"{off} of 300"):
        judgements(rounded, labels, multilabel=False)
