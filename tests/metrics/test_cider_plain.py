"""Plain CIDEr against its formula in dense linear algebra, and what sets it apart from CIDEr-D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.words import PROFILES
from harness.metrics.base import Metric
from harness.metrics.text.cider import Cider, CiderPlain
from harness.metrics.text.tokenization import tokenizer
from tests.helpers.reports import corpus, findings, pairs

WORDS = ["the", "heart", "is", "normal", "clear", "lungs", "."]
words = st.lists(st.sampled_from(WORDS), max_size=10).map(" ".join)


def scores(said: Sequence[str], true: Sequence[str], profile: str = "r2gen-iu") -> np.ndarray:
    return CiderPlain(tokenizer=profile).statistics(*pairs(said, true))[:, 0]


def dense(said: Sequence[str], true: Sequence[str], profile: str) -> np.ndarray:
    """CIDEr by its formula: rows of term counts times log inverse document frequency, and their cosines."""
    split = tokenizer(profile)
    texts = [split(text) for text in (*said, *true)]
    total = np.zeros(len(said))
    for order in (1, 2, 3, 4):
        grams = [[tuple(text[i : i + order]) for i in range(len(text) - order + 1)] for text in texts]
        column = {gram: index for index, gram in enumerate(sorted({g for text in grams for g in text}))}
        counts = np.zeros((len(texts), max(1, len(column))))
        for row, text in enumerate(grams):
            for gram in text:
                counts[row, column[gram]] += 1
        frequency = np.maximum(1, (counts[len(said) :] > 0).sum(axis=0))
        vectors = counts * np.log(len(true) / frequency)
        ours, theirs = vectors[: len(said)], vectors[len(said) :]
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        total += np.divide((ours * theirs).sum(axis=1), norms, out=np.zeros(len(said)), where=norms > 1e-12)
    return 10 * total / 4


@pytest.mark.parametrize("profile", ["r2gen-iu", "whitespace"])
def test_real_reports_score_by_the_formula(profile: str) -> None:
    said, true = corpus(120)
    assert scores(said, true, profile) == pytest.approx(dense(said, true, profile), abs=1e-9)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_random_corpora_score_by_the_formula(texts: list[tuple[str, str]]) -> None:
    said, true = [pair[0] for pair in texts], [pair[1] for pair in texts]
    assert scores(said, true, "whitespace") == pytest.approx(dense(said, true, "whitespace"), abs=1e-9)


def test_the_coco_scorer_without_its_clip_and_penalty_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """pycocoevalcap computes CIDEr-D; an infinite sigma and a minimum that keeps the first leave CIDEr."""
    from pycocoevalcap.cider import cider_scorer

    monkeypatch.setattr(cider_scorer, "min", lambda ours, theirs: ours, raising=False)
    said, true = corpus(120)
    split = tokenizer("r2gen-iu")
    scorer = cider_scorer.CiderScorer(n=4, sigma=float("inf"))
    for hypothesis, reference in zip(said, true, strict=True):
        scorer += (" ".join(split(hypothesis)), [" ".join(split(reference))])
    mean, each = scorer.compute_score()
    assert scores(said, true) == pytest.approx(each, abs=1e-9)
    assert scores(said, true).mean() == pytest.approx(mean, abs=1e-9)


def test_repetition_pays_in_plain_cider_only() -> None:
    """What the clip and the penalty of CIDEr-D are for: a report said twice."""
    texts = [text for text in findings(60) if len(text.split()) > 8]
    twice = [f"{text} {text}" for text in texts]
    damped = Cider().statistics(*pairs(twice, texts))[:, 0].mean()
    assert scores(texts, texts) == pytest.approx(np.full(len(texts), 10.0))
    assert scores(twice, texts).mean() > 9.0
    assert damped < 5.0


def test_order_and_doubling_of_studies_change_nothing() -> None:
    said, true = corpus(40)
    assert scores(said[::-1], true[::-1]).mean() == pytest.approx(scores(said, true).mean(), abs=1e-9)
    # Twice the references also doubles every document frequency, except that of n-grams no reference has.
    known = [*true[1:], true[0]]
    assert scores(known * 2, true * 2).mean() == pytest.approx(scores(known, true).mean(), abs=1e-9)


def test_contract_and_signature() -> None:
    metric = CiderPlain()
    assert isinstance(metric, Metric)
    assert (
        metric.signature == "cider_plain|d:0|n:4|df:references|norm:none|tok:r2gen-iu|ref:full|impl:coco|v:1"
    )
    assert len({CiderPlain(tokenizer=profile).signature for profile in PROFILES}) == len(PROFILES)
    assert metric.statistics([], []).shape == (0, 2)
    said, true = corpus(30)
    statistics = metric.statistics(*pairs(said, true))
    values = metric.reduce(np.ones((2, 3, 30)) @ statistics)["cider_plain"]
    assert values.shape == (2, 3)
    assert values == pytest.approx(np.full((2, 3), statistics[:, 0].mean()))
