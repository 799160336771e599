"""RaTEScore keeps one score per pair; its stand-in knows entities, types and negation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import UnavailableError
from harness.metrics.clinical import ratescore_lite
from harness.metrics.clinical.categories import category_scores
from harness.metrics.clinical.ratescore import RateScore
from harness.metrics.clinical.ratescore_lite import OPPOSITE, RateScoreLite, entities, similarity
from tests.helpers.checkpoints import PIECES, write_bert
from tests.helpers.reports import findings, pairs


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.delenv("HARNESS_RATESCORE", raising=False)
    monkeypatch.delenv("HARNESS_ALLOW_DOWNLOADS", raising=False)
    return tmp_path


def lite(said: str, true: str) -> float:
    return float(RateScoreLite().statistics(*pairs([said], [true]))[0, 0])


def test_entities_have_types_and_know_denial() -> None:
    assert entities("No pleural effusion. The heart is mildly enlarged; lungs are clear.") == [
        ("pleural effusion", "disease", False),
        ("heart", "anatomy", True),
        ("mildly enlarged", "abnormality", True),
        ("lungs", "anatomy", True),
        ("clear", "normal", False),
    ]


def test_similarity_is_the_harmonic_mean_of_weighted_means() -> None:
    vectors = {"a": np.array([1, 0]), "b": np.array([0, 1]), "c": np.array([0.6, 0.8])}
    said = [("a", "disease", True), ("b", "anatomy", True)]
    true = [("c", "disease", True)]
    first, second = (0.6 * 1 + 0.8 * 0.5) / 1.5, 0.8
    assert similarity(said, true, vectors) == pytest.approx(2 * first * second / (first + second))
    denied = [("a", "disease", False)]
    assert similarity([("a", "disease", True)], denied, vectors) == pytest.approx(OPPOSITE)
    assert similarity([], [], vectors) == 1.0
    assert similarity(said, [], vectors) == 0.0


def test_lite_prefers_a_paraphrase_to_a_denial() -> None:
    report = "Large pleural effusion. The heart is enlarged."
    assert lite(report, report) == pytest.approx(1.0, abs=1e-5)
    paraphrase, denial = (
        lite("Big effusion. Cardiac enlargement.", report),
        lite("No pleural effusion.", report),
    )
    assert 1.0 > paraphrase > denial > 0.0
    assert lite("", report) == 0.0
    assert lite("", "") == 1.0
    assert RateScoreLite().statistics([], []).shape == (0, 2)


def test_lite_does_no_model_work_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list(findings(12))
    first = RateScoreLite().statistics(*pairs(texts, texts[::-1]))
    monkeypatch.setattr(ratescore_lite, "Encoder", lambda: pytest.fail("model loaded"))
    assert np.array_equal(RateScoreLite().statistics(*pairs(texts, texts[::-1])), first)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random recogniser with the published one's tags, and a random encoder."""
    import torch
    from transformers import BertForTokenClassification, BertModel

    root = tmp_path_factory.mktemp("ratescore")
    names = ["Abnormality", "Non-Abnormality", "Disease", "Non-Disease", "Anatomy"]
    tags = ["O", *(f"{place}-{name.upper()}" for name in names for place in "BI")]
    torch.manual_seed(0)
    config = write_bert(root / "ner", pieces=PIECES)
    config.id2label, config.label2id = dict(enumerate(tags)), {tag: n for n, tag in enumerate(tags)}
    BertForTokenClassification(config).save_pretrained(root / "ner")
    BertModel(write_bert(root / "eval", pieces=PIECES)).save_pretrained(root / "eval")
    return root


@pytest.fixture
def package(weights: Path) -> Any:
    module = pytest.importorskip("RaTEScore", reason="ratescore and medspacy are not installed")
    return module.RaTEScore(bert_model=str(weights / "ner"), eval_model=str(weights / "eval"), use_gpu=False)


def test_scores_equal_the_package_s_on_200_reports(
    weights: Path, package: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_RATESCORE", str(weights))
    texts = list(findings(200))
    said, true = texts[:100], texts[100:]
    said[3], true[4] = "Normal.", " ".join(["Mild cardiomegaly without effusion."] * 150)
    expected = package.compute_score(said, true)
    capfd.readouterr()
    assert len(expected) == 100
    assert len({round(value, 6) for value in expected}) > 50
    metric = RateScore()
    statistics = metric.statistics(*pairs(said, true))
    assert np.allclose(statistics[:, 0], expected, rtol=0, atol=1e-6)
    assert float(metric.reduce(statistics.sum(axis=0))["ratescore"]) == pytest.approx(np.mean(expected))
    captured = capfd.readouterr()
    assert not captured.out + captured.err  # the sentence splitter would print every report


def test_a_report_that_the_package_leaves_out_moves_no_other_score(
    weights: Path, package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_RATESCORE", str(weights))
    texts = list(findings(12))
    said, true = texts[:6], texts[6:]
    whole = package.compute_score(said, true)
    said[1], said[2], true[3] = "", "X", " \n"
    assert len(package.compute_score(said, true)) < 6
    found = RateScore().statistics(*pairs(said, true))[:, 0]
    assert found[[1, 2, 3]].tolist() == [0.0, 0.0, 0.0]
    assert np.allclose(found[[0, 4, 5]], np.array(whole)[[0, 4, 5]], rtol=0, atol=1e-6)


def test_absent_package_or_weights_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.metrics.clinical import ratescore

    monkeypatch.setattr(ratescore, "absent", lambda *names: ["medspacy"])
    assert "medspacy" in str(RateScore().unavailable())
    with pytest.raises(UnavailableError, match="medspacy"):
        RateScore().statistics(*pairs(["abc"], ["abc"]))
    monkeypatch.setattr(ratescore, "absent", lambda *names: [])
    monkeypatch.setenv("HARNESS_RATESCORE", str(tmp_path))
    assert "HARNESS_RATESCORE" in str(RateScore().unavailable())
    for part in ratescore.PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "model.safetensors").write_bytes(part.encode())
    assert RateScore().unavailable() is None
    assert "weights:hub" not in RateScore().signature


def test_sums_over_types_give_the_package_s_score(
    weights: Path, package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_RATESCORE", str(weights))
    texts = list(findings(24))
    ours, true = [*texts[:12], "", "X"], [*texts[12:], texts[0], texts[1]]
    expected = package.compute_score(ours[:12], true[:12])
    by_type = RateScore().by_category(*pairs(ours, true))
    assert set(by_type.names) <= {"ABNORMALITY", "NON-ABNORMALITY", "DISEASE", "NON-DISEASE", "ANATOMY"}
    assert len(by_type.names) > 2, "the random model should find several types"
    whole = category_scores(by_type.counts.sum(axis=1))["f1"]
    both = [place for place, row in enumerate(by_type.counts[:12].sum(axis=1)) if row[1] and row[3]]
    assert len(both) > 6
    assert whole[both] == pytest.approx(np.array(expected)[both], abs=1e-6)
    assert (by_type.counts[12:, :, 0] == 0).all()
    assert by_type.counts[12:, :, 3].sum() > 0, (
        "entities of the reference count where the other text has none"
    )


def test_lite_tells_types_apart() -> None:
    by_type = RateScoreLite().by_category(
        *pairs(["Large pleural effusion.", "No pleural effusion."], ["Large pleural effusion."] * 2)
    )
    assert by_type.names == ratescore_lite.TYPES
    scores = category_scores(by_type.counts)
    disease = by_type.names.index("disease")
    assert scores["f1"][0, disease] == pytest.approx(1.0, abs=1e-5)
    assert scores["f1"][1, disease] < OPPOSITE
    assert np.isnan(scores["precision"][:, by_type.names.index("anatomy")]).all()
