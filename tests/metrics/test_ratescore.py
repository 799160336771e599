"""RaTEScore keeps one score per pair; its stand-in knows entities, types and negation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import UnavailableError
from harness.metrics import ratescore_lite
from harness.metrics.ratescore import RateScore
from harness.metrics.ratescore_lite import OPPOSITE, RateScoreLite, entities, similarity
from tests.metrics.reports import findings, pairs


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


class Shifting:
    """Like the package: a report without a sentence of three letters is left out, and the list is shorter."""

    def compute_score(self, said: list[str], true: list[str]) -> list[float]:
        kept = zip(
            [text for text in said if len(text.strip()) >= 3],
            [text for text in true if len(text.strip()) >= 3],
            strict=False,
        )
        return [len(a) / (len(a) + len(b)) for a, b in kept]


def test_every_pair_keeps_its_own_score(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = RateScore()
    monkeypatch.setitem(metric.__dict__, "_package", Shifting())
    rows = metric.statistics(*pairs(["abc", "", "no", "abcdef"], ["abc", "abc", "abc", "abc"]))
    assert rows[:, 0].tolist() == pytest.approx([0.5, 0.0, 0.0, 2 / 3])
    assert float(metric.reduce(rows.sum(axis=0))["ratescore"]) == pytest.approx(7 / 24)


def test_absent_package_or_weights_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.metrics import ratescore

    monkeypatch.setattr(ratescore, "missing", lambda *names: ["medspacy"])
    assert "medspacy" in str(RateScore().unavailable())
    with pytest.raises(UnavailableError, match="medspacy"):
        RateScore().statistics(*pairs(["abc"], ["abc"]))
    monkeypatch.setattr(ratescore, "missing", lambda *names: [])
    monkeypatch.setenv("HARNESS_RATESCORE", str(tmp_path))
    assert "HARNESS_RATESCORE" in str(RateScore().unavailable())
    for part in ratescore.PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "model.safetensors").write_bytes(part.encode())
    assert RateScore().unavailable() is None
    assert "weights:hub" not in RateScore().signature
