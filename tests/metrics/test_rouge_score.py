"""rouge_score_l against the rouge-score package."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.core.types import Prediction
from harness.metrics.base import Metric
from harness.metrics.text.rouge import RougeL, RougeScoreL
from tests.helpers.reports import corpus, findings, pairs


def package(said: list[str], true: list[str], stemmer: bool) -> list[float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=stemmer)
    return [scorer.score(target, text)["rougeL"].fmeasure for text, target in zip(said, true, strict=True)]


def scores(said: list[str], true: list[str], stemmer: bool = False) -> np.ndarray:
    return RougeScoreL(stemmer=stemmer).statistics(*pairs(said, true))[:, 0]


@pytest.mark.parametrize("stemmer", [False, True])
def test_real_reports_score_as_the_package_scores_them(stemmer: bool) -> None:
    said, true = corpus(120)
    assert scores(said, true, stemmer) == pytest.approx(package(said, true, stemmer), abs=1e-12)


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), min_size=1, max_size=5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_text_scores_as_the_package_scores_it(texts: list[tuple[str, str]], stemmer: bool) -> None:
    said, true = [pair[0] for pair in texts], [pair[1] for pair in texts]
    assert scores(said, true, stemmer) == pytest.approx(package(said, true, stemmer), abs=1e-12)


def test_repeated_reports_score_one_and_empty_ones_zero() -> None:
    texts = list(findings(40))
    assert scores(texts, texts) == pytest.approx(np.ones(40))
    assert scores(["", "", "..."], ["", "clear", "..."]).tolist() == [0.0, 0.0, 0.0]


def test_order_and_doubling_of_studies_change_nothing() -> None:
    said, true = corpus(40)
    metric = RougeScoreL()

    def mean(said: list[str], true: list[str]) -> float:
        totals = metric.statistics(*pairs(said, true)).sum(axis=0)
        return float(metric.reduce(totals)["rouge_score_l"])

    assert mean(said[::-1], true[::-1]) == pytest.approx(mean(said, true), abs=1e-12)
    assert mean(said * 2, true * 2) == pytest.approx(mean(said, true), abs=1e-12)


def test_it_is_not_the_coco_rouge() -> None:
    said, true = pairs(*corpus(120))
    assert RougeL().statistics(said, true)[:, 0].mean() > RougeScoreL().statistics(said, true)[:, 0].mean()


def test_contract_and_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = RougeScoreL()
    assert isinstance(metric, Metric)
    assert not metric.tokenized, "it takes no tokenisation profile"
    assert metric.signature == (
        "rouge_score_l|beta:1|stem:none|norm:none|tok:rouge-score|ref:full|impl:rouge-score|v:1"
    )
    assert "stem:porter" in RougeScoreL(stemmer=True).signature
    assert metric.statistics([], []).shape == (0, 2)
    assert metric.unavailable() is None
    with pytest.raises(HarnessError, match="no prediction report"):
        metric.statistics([Prediction()], pairs(["a"], ["a"])[1])
    monkeypatch.setitem(sys.modules, "nltk", None)
    monkeypatch.setattr("harness.core.packages.find_spec", lambda name: None)
    assert "[text]" in str(RougeScoreL(stemmer=True).unavailable())
