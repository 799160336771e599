"""Decoding: caches, beams, draws, and that a study's words do not depend on its company."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.common.generation import Decoding, draw_seeds, generate, write
from methods.common.text import (
    BOS,
    EOS,
    PAD,
    UNK,
    DecoderSize,
    PrefixDecoder,
    PrefixState,
    TransformerDecoder,
)
from methods.dia.config import DiAConfig
from methods.dia.decoder import LlamaXDecoder

CPU = torch.device("cpu")
VOCABULARY, WIDTH, LIMIT = 12, 16, 14


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Uncached(PrefixDecoder):
    """A decoder that forgets everything between steps and reads the prefix again."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, words: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        return self.decoder(words, memory, mask)


def llama_x() -> LlamaXDecoder:
    """Weights large enough for decisive logits, end marks included."""
    torch.manual_seed(3)
    config = DiAConfig(width=WIDTH, heads=2, kv_heads=1, layers=2, feed_forward=32, dropout=0.0)
    decoder = LlamaXDecoder(VOCABULARY, config).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2.5)
    return decoder


def memory_of(studies: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    memory = torch.randn(studies, 6, WIDTH, generator=generator)
    mask = torch.rand(studies, 6, generator=generator) > 0.3
    mask[:, 0] = True
    return memory, mask


def decode(decoder: Any, rows: list[int], **options: Any) -> dict[int, list[int]]:
    """Words of the given studies, decoded as one batch in this order."""
    memory, mask = memory_of(100)
    state = decoder.start(memory[rows], mask[rows])
    with torch.inference_mode():
        found = generate(
            lambda prefix: decoder.step(prefix, state), state, len(rows), Decoding(LIMIT, **options), CPU
        )
    assert found.shape[0] == len(rows)
    assert found.shape[1] <= LIMIT
    return {
        row: words[: words.index(EOS) + 1] if EOS in words else words
        for row, words in zip(rows, padded(found), strict=True)
    }


def padded(found: Tensor) -> list[list[int]]:
    """Words as lists without the padding that batches differ in."""
    return [[word for word in row if word != PAD] for row in found.tolist()]


class Table:
    """Next-word logits that depend on the study and the last word; records which studies it is asked for."""

    def __init__(self, logits: Tensor) -> None:
        """``logits`` (studies, V, V): study, last word, next word."""
        self.logits, self.rows = logits, torch.arange(len(logits))
        self.asked: list[list[int]] = []
        self.prefixes: list[Tensor] = []

    def select(self, rows: Tensor) -> None:
        self.rows = self.rows[rows]

    def step(self, prefix: Tensor) -> Tensor:
        assert len(prefix) == len(self.rows)
        self.asked.append(self.rows.tolist())
        self.prefixes.append(prefix)
        return self.logits[self.rows, prefix[:, -1]]

    def run(self, limit: int, **options: Any) -> Tensor:
        return generate(self.step, self, len(self.logits), Decoding(limit, **options), CPU)


def tables(studies: int, vocabulary: int = 7, seed: int = 0) -> Tensor:
    return 2 * torch.randn(studies, vocabulary, vocabulary, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- how a search prefers reports


def test_the_end_mark_waits_for_the_least_number_of_words() -> None:
    logits = tables(40)
    free, long = (padded(Table(logits).run(12, min_new_tokens=least)) for least in (0, 6))
    assert min(map(len, free)) < 6
    assert all(len(words) >= 7 for words in long if EOS in words)
    assert any(EOS in words for words in long)


@pytest.mark.parametrize("beams", [1, 3])
def test_no_sequence_of_words_is_written_twice(beams: int) -> None:
    logits = tables(40)
    free, once = (padded(Table(logits).run(12, beams=beams, no_repeat_ngram=size)) for size in (0, 2))

    def repeats(words: list[int]) -> bool:
        pairs = list(itertools.pairwise(words))
        return len(set(pairs)) < len(pairs)

    assert any(map(repeats, free))
    assert not any(map(repeats, once))


def test_words_that_were_written_are_penalised() -> None:
    logits = tables(20)
    penalised = padded(Table(logits).run(8, repetition_penalty=2.0))
    for study, words in enumerate(penalised):
        written: list[int] = [BOS]
        for word in words:
            scores = logits[study, written[-1]].clone()
            scores[[PAD, BOS, UNK]] = float("-inf")
            for before in set(written):
                scores[before] = scores[before] / 2 if scores[before] > 0 else scores[before] * 2
            assert word == int(scores.argmax())
            written.append(word)


def test_a_length_penalty_prefers_longer_reports() -> None:
    logits = tables(60)
    runs = (Table(logits).run(12, beams=3, length_penalty=power) for power in (0.0, 1.0, 3.0))
    lengths = [sum(map(len, padded(words))) for words in runs]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2]


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 9 and at most 8 words"):
        Table(tables(2)).run(8, min_new_tokens=9)


# ---------------------------------------------------------------- caches


@pytest.mark.parametrize("beams", [1, 3])
def test_cached_search_equals_uncached_word_for_word(beams: int) -> None:
    decoder, rows = llama_x(), list(range(100))
    cached = decode(decoder, rows, beams=beams)
    assert cached == decode(Uncached(decoder), rows, beams=beams)
    assert len({len(words) for words in cached.values()}) > 3, "lengths differ, so sequences leave the batch"


def test_cached_draws_equal_uncached_ones() -> None:
    decoder, rows = llama_x(), list(range(30))
    assert decode(decoder, rows, seeds=rows) == decode(Uncached(decoder), rows, seeds=rows)


def test_write_starts_the_decoder_and_repeats_its_state_for_several_draws() -> None:
    decoder, rows = llama_x(), list(range(10))
    memory, mask = (each[:10] for each in memory_of(100))
    with torch.inference_mode():
        greedy = write(decoder, memory, mask, Decoding(LIMIT))
        once = write(decoder, memory, mask, Decoding(LIMIT, seeds=draw_seeds(rows, 1)))
        thrice = write(decoder, memory, mask, Decoding(LIMIT, seeds=draw_seeds(rows, 3)))
    assert padded(greedy) == list(decode(decoder, rows).values())
    assert padded(thrice)[::3] == padded(once)
    assert len(thrice) == 30


def test_decoder_of_the_text_module_follows_the_same_contract() -> None:
    torch.manual_seed(0)
    decoder = TransformerDecoder(VOCABULARY, DecoderSize(WIDTH, 2, 1, 32, LIMIT)).eval()
    assert len(decode(decoder, [0, 1, 2], beams=2)) == 3


# ---------------------------------------------------------------- company and order


@pytest.mark.parametrize("options", [{}, {"beams": 3}, {"seeds": True}])
def test_words_do_not_depend_on_company_or_order(options: dict[str, Any]) -> None:
    decoder, rows = llama_x(), list(range(20))

    def words(rows: list[int]) -> dict[int, list[int]]:
        return decode(
            decoder, rows, **({"seeds": [row + 7 for row in rows]} if "seeds" in options else options)
        )

    together = words(rows)
    assert together == words(rows[::-1])
    assert together == {row: words([row])[row] for row in rows}
    assert together == words([*rows[7:], *rows[:7]])


# ---------------------------------------------------------------- greedy and beams


def test_greedy_takes_the_most_probable_allowed_word() -> None:
    logits = tables(50)
    logits[..., [PAD, BOS, UNK]] = 50.0
    for row, words in enumerate(Table(logits).run(10).tolist()):
        last = BOS
        for word in words:
            if last == EOS:
                assert word == PAD
                continue
            allowed = logits[row, last].clone()
            allowed[[PAD, BOS, UNK]] = -math.inf
            assert word == int(allowed.argmax())
            last = word


def scores_of(logits: Tensor, limit: int) -> dict[tuple[int, ...], float]:
    """Mean log-probability of every sequence that ends, or reaches the limit."""
    allowed = logits.clone()
    allowed[:, [PAD, BOS, UNK]] = -math.inf
    log_probs = allowed.log_softmax(-1)
    words = [word for word in range(len(logits)) if word not in (PAD, BOS, UNK)]
    found = {}
    for length in range(1, limit + 1):
        for sequence in itertools.product(words, repeat=length):
            if EOS in sequence[:-1] or (length < limit and sequence[-1] != EOS):
                continue
            steps = zip((BOS, *sequence), sequence, strict=False)
            found[sequence] = sum(float(log_probs[last, word]) for last, word in steps) / length
    return found


def test_beams_that_cover_the_space_find_the_best_sequence() -> None:
    logits = tables(20, vocabulary=6, seed=1)
    found = padded(Table(logits).run(3, beams=16))
    better_than_greedy = 0
    greedy = padded(Table(logits).run(3))
    for row in range(20):
        scores = scores_of(logits[row], 3)
        assert scores[tuple(found[row])] == pytest.approx(max(scores.values()), abs=1e-5)
        better_than_greedy += scores[tuple(found[row])] > scores[tuple(greedy[row])] + 1e-6
    assert better_than_greedy > 0


def test_a_beam_search_is_won_by_the_mean_not_the_sum() -> None:
    logits = torch.full((1, 6, 6), -20.0)
    logits[0, BOS, EOS], logits[0, BOS, 4] = math.log(0.6), math.log(0.4)
    logits[0, 4, 5] = logits[0, 5, EOS] = 0.0
    assert padded(Table(logits).run(5, beams=3)) == [[4, 5, EOS]]
    assert padded(Table(logits).run(5)) == [[EOS]]


@pytest.mark.parametrize("beams", [1, 4])
def test_finished_sequences_are_not_extended(beams: int) -> None:
    table = Table(tables(60))
    found = table.run(12, beams=beams)
    for prefix in table.prefixes:
        assert not (prefix == EOS).any(), "a finished hypothesis was fed to the decoder"
    ended = (found == EOS).any(1)
    assert ended.any()
    for words in found[ended].tolist():
        assert set(words[words.index(EOS) + 1 :]) <= {PAD}


@pytest.mark.parametrize("beams", [1, 4])
def test_studies_that_are_done_cost_no_further_steps(beams: int) -> None:
    logits = tables(12)
    logits[:6, :, EOS] = 30.0
    logits[6:, :, EOS] = -30.0
    table = Table(logits)
    found = table.run(9, beams=beams)
    assert (found[:6, 0] == EOS).all()
    assert (found[6:] != EOS).all(), "a sequence that never ends is cut at the limit"
    assert found.shape == (12, 9)
    assert set(table.asked[0]) == set(range(12))
    assert set(table.asked[-1]) == set(range(6, 12))


@pytest.mark.parametrize("options", [{}, {"beams": 3}, {"seeds": list(range(5))}])
def test_a_limit_of_one_word(options: dict[str, Any]) -> None:
    assert Table(tables(5)).run(1, **options).shape == (5, 1)


# ---------------------------------------------------------------- draws


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    logits = torch.zeros(8, 8)
    logits[BOS] = torch.tensor([9.0, 9.0, -1.0, 9.0, 0.0, 0.7, 1.4, -2.0])
    draws = 20_000
    seeds = draw_seeds([11, 12], draws // 2)
    state = PrefixState(torch.zeros(draws, 1, 1), None)
    decoding = Decoding(1, seeds=seeds, temperature=temperature)
    words = generate(lambda prefix: logits[prefix[:, -1]], state, draws, decoding, CPU).flatten()
    allowed = logits[BOS].clone()
    allowed[[PAD, BOS, UNK]] = -math.inf
    expected = (allowed / temperature).softmax(-1) * draws
    counts = torch.bincount(words, minlength=8)
    assert counts[[PAD, BOS, UNK]].sum() == 0
    seen = expected > 0
    chi_square = ((counts - expected)[seen].square() / expected[seen]).sum()
    assert chi_square < 18.5, "99.9 % quantile with four degrees of freedom"


def test_a_seed_decides_the_words() -> None:
    logits = 0.3 * tables(1).expand(40, -1, -1)
    same = Table(logits).run(8, seeds=[5] * 40)
    assert (same == same[0]).all()
    other = padded(Table(logits).run(8, seeds=list(range(40))))
    assert len({tuple(words) for words in other}) > 20


def test_seeds_of_draws_are_distinct_and_repeatable() -> None:
    seeds = draw_seeds([1, 2, 3], 50)
    assert len(set(seeds)) == 150
    assert seeds[50:100] == draw_seeds([2], 50)
    assert draw_seeds([2], 3) == seeds[50:53], "more draws leave the first ones as they were"


@pytest.mark.parametrize(
    "options", [{"beams": 2, "seeds": [1, 2]}, {"seeds": [1]}, {"seeds": [1, 2], "temperature": 0.0}]
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="drawing takes"):
        Table(tables(2)).run(4, **options)
