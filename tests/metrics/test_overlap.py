"""BLEU, ROUGE-L and CIDEr-D against the COCO tools, and the statistics contract."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.words import PROFILES
from harness.metrics.base import Metric, Statistics
from harness.metrics.text import base, cider, numbered, rouge, subsequences, tokenization
from harness.metrics.text.bleu import Bleu
from harness.metrics.text.cider import Cider, CiderPlain
from harness.metrics.text.ngrams import lcs_length
from harness.metrics.text.rouge import RougeL, RougeScoreL
from harness.metrics.text.subsequences import lcs_lengths
from harness.metrics.text.tokenization import tokenizer
from tests.helpers.reports import corpus, findings, pairs

METRICS: list[Callable[..., Metric]] = [Bleu, RougeL, Cider]
WORDS = ["the", "heart", "is", "normal", "clear", "lungs", "no", "effusion", ".", "xxxx"]
words = st.lists(st.sampled_from(WORDS), max_size=12)
text_pairs = st.lists(st.tuples(words.map(" ".join), words.map(" ".join)), min_size=1, max_size=8)


def score(metric: Metric, said: Sequence[str], true: Sequence[str]) -> dict[str, float]:
    totals = metric.statistics(*pairs(said, true)).sum(axis=0)
    return {name: float(value) for name, value in metric.reduce(totals).items()}


def coco(said: Sequence[str], true: Sequence[str], profile: str) -> dict[str, float]:
    """The COCO tools' own values on the same tokens."""
    from pycocoevalcap.bleu.bleu import Bleu as CocoBleu
    from pycocoevalcap.cider.cider import Cider as CocoCider
    from pycocoevalcap.rouge.rouge import Rouge as CocoRouge

    given_to = {index: [" ".join(tokenizer(profile)(text))] for index, text in enumerate(true)}
    result = {index: [" ".join(tokenizer(profile)(text))] for index, text in enumerate(said)}
    bleu, _ = CocoBleu(4).compute_score(given_to, result, verbose=0)
    values = {f"bleu_{order}": value for order, value in enumerate(bleu, start=1)}
    values["rouge_l"] = CocoRouge().compute_score(given_to, result)[0]
    # Their CIDEr raises where no reference has a token.
    has_tokens = any(reference[0] for reference in given_to.values())
    values["cider"] = CocoCider().compute_score(given_to, result)[0] if has_tokens else 0.0
    return values


def ours(said: Sequence[str], true: Sequence[str], profile: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for metric in METRICS:
        values |= score(metric(tokenizer=profile), said, true)
    return values


@pytest.mark.parametrize("profile", ["r2gen-iu", "r2gen-mimic", "whitespace"])
def test_real_reports_score_as_the_coco_tools_score_them(profile: str) -> None:
    said, true = corpus()
    assert ours(said, true, profile) == pytest.approx(coco(said, true, profile), abs=1e-6)


@pytest.mark.parametrize(
    ("said", "true"),
    [
        ([""], [""]),
        (["", ""], ["a b c", "d"]),
        (["a b c"], [""]),
        (["a"], ["a"]),
        (["a b"], ["a b"]),
        (["a b c"], ["d e f"]),
        (["a b x c d"], ["a b c d e"]),
        (["a b c d"] * 3, ["a b c d"] * 3),
        (["a b c d e", "x", ""], ["a b c d e f", "x y", "z"]),
        (["a a a a a a", "b"], ["a a", "b c d e"]),
        ([" ".join("ab" * 300)], [" ".join("ba" * 200)]),
    ],
)
def test_degenerate_corpora_score_as_the_coco_tools_score_them(said: list[str], true: list[str]) -> None:
    expected = coco(said, true, "whitespace")
    assert ours(said, true, "whitespace") == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(text_pairs)
@settings(max_examples=60, deadline=None)
def test_random_corpora_score_as_the_coco_tools_score_them(texts: list[tuple[str, str]]) -> None:
    said, true = [pair[0] for pair in texts], [pair[1] for pair in texts]
    assert ours(said, true, "whitespace") == pytest.approx(coco(said, true, "whitespace"), abs=1e-9)


@given(text_pairs, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_values_stay_in_bounds_and_ignore_the_order_of_studies(texts, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample(texts, len(texts))
    for metric in (make() for make in METRICS):
        straight = score(metric, [a for a, _ in texts], [b for _, b in texts])
        other = score(metric, [a for a, _ in shuffled], [b for _, b in shuffled])
        assert other == pytest.approx(straight, abs=1e-12)
        for output in metric.outputs:
            low, high = output.bounds
            assert low - 1e-12 <= straight[output.name] <= high + 1e-9


@given(words, words)
def test_lcs_equals_the_table(first: list[str], second: list[str]) -> None:
    table = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
    for i, a in enumerate(first, start=1):
        for j, b in enumerate(second, start=1):
            table[i, j] = table[i - 1, j - 1] + 1 if a == b else max(table[i - 1, j], table[i, j - 1])
    assert lcs_length(first, second) == lcs_length(second, first) == table[-1, -1]


@pytest.mark.parametrize("most", [3, 64, 65, 200])
def test_lcs_of_many_pairs_equals_that_of_each(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subsequences, "_MOST_TOKENS", 150)
    rng, count = np.random.default_rng(most), 40
    lengths = rng.integers(0, most + 1, 2 * count)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    words = tuple("abcdef")
    texts = numbered.NumberedTexts(rng.integers(0, len(words), starts[-1]), starts, words)
    sides = np.arange(2 * count).reshape(2, count)
    alone = [lcs_length(texts.text(first), texts.text(second)) for first, second in sides.T]
    assert lcs_lengths(numbered.NumberedPairs(texts, *sides, np.arange(count))).tolist() == alone


@pytest.mark.parametrize("bound", [1, 60, 1 << 16, (1 << 16) + 1, 1 << 40])
def test_stable_order_is_that_of_a_stable_sort(bound: int) -> None:
    numbers = np.random.default_rng(0).integers(0, bound, 500)
    numbers = np.concatenate([numbers, numbers[::3]])
    assert (numbered.stable_order(numbers, bound) == np.argsort(numbers, kind="stable")).all()


def test_a_perfect_system_scores_the_upper_bound() -> None:
    texts = [text for text in findings(80) if len(text.split()) > 8]
    assert score(Bleu(), texts, texts) == pytest.approx({f"bleu_{n}": 1.0 for n in range(1, 5)})
    assert score(RougeL(), texts, texts) == pytest.approx({"rouge_l": 1.0})
    assert score(Cider(), texts, texts)["cider"] == pytest.approx(10.0)


@pytest.mark.parametrize("make", METRICS)
def test_sums_of_rows_score_any_subset_and_any_mixture(make: Callable[..., Metric]) -> None:
    said, true = corpus(60)
    metric = make()
    statistics = metric.statistics(*pairs(said, true))
    assert statistics.dtype == np.float64
    assert statistics.shape[0] == 60
    parts = statistics[:20].sum(axis=0) + statistics[20:].sum(axis=0)
    whole = metric.reduce(statistics.sum(axis=0))
    assert {name: float(v) for name, v in metric.reduce(parts).items()} == pytest.approx(
        {name: float(v) for name, v in whole.items()}, abs=1e-12
    )
    weights = np.random.default_rng(0).integers(0, 3, size=(4, 5, 60)).astype(float)
    stacked = metric.reduce(weights @ statistics)
    for name, values in stacked.items():
        assert values.shape == (4, 5)
        one: Statistics = weights[2, 3] @ statistics
        assert values[2, 3] == pytest.approx(float(metric.reduce(one)[name]), abs=1e-12)
    assert list(stacked) == [output.name for output in metric.outputs]


def test_cider_of_a_subset_keeps_the_frequencies_of_all_references() -> None:
    said, true = corpus(40)
    frozen = Cider().statistics(*pairs(said, true))[:10].mean(axis=0)[0]
    alone = Cider().statistics(*pairs(said[:10], true[:10])).mean(axis=0)[0]
    assert frozen != pytest.approx(alone)


@pytest.mark.parametrize("make", METRICS)
def test_contract_and_signature(make: Callable[..., Metric]) -> None:
    signatures = {make(tokenizer=profile).signature for profile in PROFILES}
    assert len(signatures) == len(PROFILES)
    metric = make()
    assert isinstance(metric, Metric)
    family, *fields = metric.signature.split("|")
    assert family == metric.name
    assert all(field.count(":") == 1 for field in fields)
    assert "tok:r2gen-iu" in fields
    assert metric.statistics([], []).shape[0] == 0


def test_signatures_are_stable() -> None:
    assert Bleu().signature == "bleu|order:4|norm:none|tok:r2gen-iu|ref:full|len:closest|impl:coco|v:1"
    assert RougeL().signature == "rouge_l|beta:1.2|norm:none|tok:r2gen-iu|ref:full|impl:coco|v:1"
    assert (
        Cider().signature
        == "cider|d:1|n:4|sigma:6|df:references|norm:none|tok:r2gen-iu|ref:full|impl:coco|v:1"
    )


@pytest.mark.parametrize("make", [*METRICS, CiderPlain])
def test_blocks_and_what_was_read_before_change_no_digit(
    make: Callable[..., Metric], monkeypatch: pytest.MonkeyPatch
) -> None:
    said, true = corpus(60)
    whole = make(tokenizer="whitespace").statistics(*pairs(said, true))
    monkeypatch.setattr(tokenization, "_TEXTS_AT_ONCE", 7)
    monkeypatch.setattr(numbered, "_TEXTS_AT_ONCE", 11)
    fresh = tokenization.AsWritten("whitespace")
    fresh.batch([" ".join(sorted({word for text in true for word in text.split()}, reverse=True))])
    monkeypatch.setattr(base, "tokenizer", lambda name: fresh)
    monkeypatch.setattr(numbered, "_BLOCKS_FOR_THREADS", 2)
    monkeypatch.setattr(numbered, "_MOST_BITS", 24)
    assert (make(tokenizer="whitespace").statistics(*pairs(said, true)) == whole).all()


def test_inside_numbered_once_metrics_share_the_numbers_of_the_same_lists() -> None:
    predictions, references = pairs(*corpus(60))
    with base.numbered_once():
        shared = Bleu().numbered(predictions, references)
        assert Cider().numbered(predictions, references) is shared
        assert Cider(reference_words=3).numbered(predictions, references) is not shared
        assert Cider(tokenizer="whitespace").numbered(predictions, references) is not shared
        assert Cider().numbered(list(reversed(predictions)), references) is not shared
    assert Cider().numbered(predictions, references) is not shared


@pytest.mark.parametrize("make", [Cider, CiderPlain])
def test_inside_numbered_once_systems_share_what_the_references_teach(make: Callable[..., Metric]) -> None:
    predictions, references = pairs(*corpus(60))
    others, _ = pairs([f"zz {text} aa zz" for text in corpus(60)[0][::-1]], corpus(60)[1])
    alone = [make().statistics(each, references) for each in (predictions, others)]
    with base.numbered_once(), pytest.MonkeyPatch.context() as patch:
        first = make().statistics(predictions, references)
        patch.setattr(cider._DocumentFrequencies, "of", None)
        again = make().statistics(others, references)
    assert (first == alone[0]).all()
    assert (again == alone[1]).all()


def test_equal_pairs_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(rouge, "lcs_length", lambda *both: sizes.append(1) or lcs_length(*both))
    monkeypatch.setattr(
        rouge, "lcs_lengths", lambda pairs: sizes.append(len(pairs.targets)) or lcs_lengths(pairs)
    )
    said, true = ["a b", "a b", "c", "a b"], ["a c", "a c", "a c", "b"]
    for metric in (RougeL(tokenizer="whitespace"), RougeScoreL()):
        sizes.clear()
        rows = metric.statistics(*pairs(said, true))
        assert sum(sizes) == 3
        alone = [metric.statistics(*pairs([one], [other]))[0] for one, other in zip(said, true, strict=True)]
        assert (rows == np.array(alone)).all()


def test_memory_grows_with_pairs_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenization, "_TEXTS_AT_ONCE", 256)
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"word{number}" for number in range(500)])
    said, true = ([" ".join(vocabulary[line]) for line in rng.integers(0, 500, (3000, 40))] for _ in range(2))
    predictions, references = pairs(said, true)
    tracemalloc.start()
    try:
        for make in METRICS:
            make(tokenizer="whitespace").statistics(predictions, references)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000 * 3000, f"{peak:,}"


def test_a_test_split_is_scored_in_well_under_a_second() -> None:
    texts = findings(1180)
    predictions, references = pairs(texts[:590], texts[590:])
    started = time.process_time()
    for make in METRICS:
        make().statistics(predictions, references)
    assert time.process_time() - started < 1.5  # .35 s on an idle core; the margin is for a shared one
