"""Profile ``jury`` against the packages that jury 2.3.1 wraps: NLTK's BLEU and METEOR, and rouge-score."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import numpy as np
import pytest
from nltk.translate.bleu_score import corpus_bleu
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer

from harness.metrics import Bleu, MeteorNltk, RougeScoreL
from harness.metrics.text.tokenization import tokenizer
from tests.helpers.reports import findings

CAPTIONS = [
    "Multiple ground-glass opacities (both lungs); 2.5 cm nodule, <unk> lobe.",
    "CT scan of the chest shows: no consolidation, no effusion!",
    'A "cherry-red" spot of the macula; vision 20/40, patient\'s left eye.',
    "gross, natural color , fixed tissue <unk> <unk> .",
]


def normalised(text: str) -> list[str]:
    """What jury's documentation of its default tokenizer says: punctuation becomes blanks, lower case."""
    return re.sub(f"[{re.escape(string.punctuation)}]", " ", text).lower().split()


def pairs() -> tuple[list[str], list[str]]:
    texts = [*CAPTIONS, *findings(40)]
    rng = np.random.default_rng(0)
    shuffled = [" ".join(word for word in text.split() if rng.random() < 0.8) for text in texts]
    return shuffled, texts


def weights(order: int) -> Sequence[float]:
    return [1 / order] * order


def test_tokens_are_those_of_the_package() -> None:
    for text in [*CAPTIONS, *findings(40)]:
        assert tokenizer("jury")(text) == normalised(text)
    assert tokenizer("jury")("<unk> x-ray 2.5 CM") == ["unk", "x", "ray", "2", "5", "cm"]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_is_the_corpus_score(order: int) -> None:
    ours, theirs = pairs()
    references = [[normalised(text)] for text in theirs]
    expected = corpus_bleu(references, list(map(normalised, ours)), weights=weights(order))
    assert Bleu("jury")(ours, theirs)[f"bleu_{order}"] == pytest.approx(expected, rel=1e-8)


def test_rouge_l_is_the_mean_f1_without_stemming() -> None:
    ours, theirs = pairs()
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    expected = np.mean([scorer.score(t, o)["rougeL"].fmeasure for o, t in zip(ours, theirs, strict=True)])
    assert RougeScoreL()(ours, theirs)["rouge_score_l"] == pytest.approx(float(expected), rel=1e-12)


def test_meteor_is_nltk_s() -> None:
    metric = MeteorNltk("jury")
    if reason := metric.unavailable():
        pytest.skip(reason)
    ours, theirs = pairs()
    scores = [
        single_meteor_score(normalised(reference), normalised(text))
        for text, reference in zip(ours, theirs, strict=True)
    ]
    assert metric(ours, theirs)["meteor_nltk"] == pytest.approx(float(np.mean(scores)), rel=1e-12)
