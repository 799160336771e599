"""Shared blocks against their formulas, and the vocabulary of report generators."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.weights import fold_norms
from harness.core.words import frequent_words, words_of
from methods.common.attention import Positions, cross_weights
from methods.common.layers import (
    GroupedQueryAttention,
    KeyValue,
    RMSNorm,
    SwiGLU,
    gaussian_kl,
    info_nce,
    log_normal,
    rope,
    sinusoids,
)
from methods.common.text import (
    BOS,
    CONTEXT_WORDS,
    EOS,
    PAD,
    UNK,
    DecoderSize,
    TransformerDecoder,
    Vocabulary,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_rms_norm_is_its_formula() -> None:
    norm, x = RMSNorm(6), torch.randn(2, 3, 6)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(6))
    expected = x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected)


def test_swiglu_is_its_formula() -> None:
    block, x = SwiGLU(4, 6), torch.randn(3, 4)
    gate = x @ block.gate.weight.T
    expected = ((x @ block.value.weight.T) * gate * torch.sigmoid(gate)) @ block.out.weight.T
    torch.testing.assert_close(block(x), expected)


def test_rope_scores_depend_on_the_offset_only() -> None:
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(i: int, j: int) -> Tensor:
        return (rope(query, i) * rope(key, j)).sum()

    torch.testing.assert_close(score(7, 3), score(24, 20), atol=1e-5, rtol=1e-5)
    assert not torch.isclose(score(7, 3), score(7, 4))


def test_rope_keeps_length_and_leaves_position_zero() -> None:
    x = torch.randn(2, 3, 5, 8)
    torch.testing.assert_close(rope(x).norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(rope(x)[:, :, 0], x[:, :, 0])


def test_rope_of_a_slice_is_the_slice_of_rope() -> None:
    x = torch.randn(1, 2, 9, 8)
    torch.testing.assert_close(rope(x[:, :, 4:], offset=4), rope(x)[:, :, 4:])


def test_grouped_attention_equals_multi_head_attention_with_repeated_heads() -> None:
    grouped = GroupedQueryAttention(16, 4, 2, rotary=True)
    full = GroupedQueryAttention(16, 4, 4, rotary=True)
    full.load_state_dict(
        grouped.state_dict()
        | {
            f"{name}.weight": getattr(grouped, name)
            .weight.unflatten(0, (2, 4))
            .repeat_interleave(2, 0)
            .flatten(0, 1)
            for name in ("key", "value")
        }
    )
    x = torch.randn(2, 5, 16)
    one = grouped(x, grouped.project(x), causal=True)
    torch.testing.assert_close(one, full(x, full.project(x), causal=True))


def test_attention_ignores_masked_positions() -> None:
    layer = GroupedQueryAttention(8, 2, 1)
    x, source = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    mask = torch.tensor([[True, True, False, True], [True, False, False, True]])
    changed = torch.where(mask[..., None], source, torch.randn_like(source))
    torch.testing.assert_close(layer(x, layer.project(source), mask), layer(x, layer.project(changed), mask))


def test_weights_of_attention_are_those_that_it_mixes_values_with() -> None:
    layer = GroupedQueryAttention(16, 4, 2)
    x, memory = torch.randn(2, 3, 16), layer.project(torch.randn(2, 4, 16))
    mask = torch.tensor([[True, True, False, True], [True, False, False, True]])
    weights = layer.weights(x, memory, mask)
    mixed = weights @ memory.values.repeat_interleave(2, dim=1)
    torch.testing.assert_close(layer.out(mixed.transpose(1, 2).flatten(2)), layer(x, memory, mask))
    recorded = cross_weights([layer], lambda: layer(x, memory, mask))
    torch.testing.assert_close(recorded, weights.mean(1))
    of_images = Positions(1, 2, 1).of(recorded)  # positions 1 and 2 of 4 are two views of one position
    assert of_images.shape == (2, 3, 2, 1, 1)
    assert of_images[0].flatten(1).tolist() == [[1.0, 0.0]] * 3
    assert not of_images[1].any()


def test_recorded_weights_of_a_transformer_are_a_mean_over_heads_and_layers() -> None:
    decoder = TransformerDecoder(9, DecoderSize(width=8, heads=2, layers=3, hidden=16, limit=5)).eval()
    memory, words = torch.randn(2, 4, 8), torch.randint(4, 9, (2, 5))
    mask = torch.tensor([[True, True, True, False]] * 2)
    weights = cross_weights(decoder.cross_layers(), lambda: decoder(words, memory, mask))
    assert len(decoder.cross_layers()) == 3
    assert weights.shape == (2, 5, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 5))
    assert not weights[..., 3].any()


def test_attention_refuses_widths_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="must divide"):
        GroupedQueryAttention(10, 4, 2)


def test_key_value_select_reorders_rows() -> None:
    cache = KeyValue(torch.arange(3.0).view(3, 1, 1, 1), torch.arange(3.0).view(3, 1, 1, 1))
    cache.select(torch.tensor([2, 0]))
    assert cache.keys.flatten().tolist() == [2.0, 0.0]


def test_gaussian_kl_and_log_prob_match_torch_distributions() -> None:
    mean, log_variance, x = torch.randn(3, 5), torch.randn(3, 5), torch.randn(3, 5)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    standard = torch.distributions.Normal(torch.zeros(5), torch.ones(5))
    torch.testing.assert_close(
        gaussian_kl(mean, log_variance), torch.distributions.kl_divergence(normal, standard)
    )
    torch.testing.assert_close(log_normal(x, mean, log_variance), normal.log_prob(x))


def test_info_nce_is_cross_entropy_and_ignores_rows_that_do_not_count() -> None:
    a, b = torch.randn(4, 6), torch.randn(4, 6)
    similarity = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T / 0.1
    torch.testing.assert_close(info_nce(a, b, 0.1), F.cross_entropy(similarity, torch.arange(4)))
    rows = torch.tensor([True, False, True, True])
    torch.testing.assert_close(info_nce(a, b, 0.1, rows), info_nce(a[rows], b[rows], 0.1))
    assert info_nce(a, b, 0.1, torch.tensor([True, False, False, False])) == 0


def test_info_nce_is_computed_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    a = torch.randn(4, 64)
    b = a + 1e-3 * torch.randn(4, 64)
    plain = info_nce(a, b, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(info_nce(a, b, 1.0), plain, atol=1e-6, rtol=1e-6)


def test_info_nce_falls_as_positives_come_closer() -> None:
    a = torch.randn(8, 6)
    far = info_nce(a, torch.randn(8, 6), 0.07)
    assert info_nce(a, a, 0.07) < info_nce(a, a + torch.randn(8, 6), 0.07) < far


def test_sinusoids_are_the_papers() -> None:
    table = sinusoids(10, 8)
    assert table.shape == (10, 8)
    torch.testing.assert_close(table[3, 2], torch.tensor(math.sin(3 / 10000 ** (2 / 8))))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("The heart is normal. No effusion.", "the heart is normal . no effusion ."),
        ("1. Clear lungs. 2. XXXX-year-old", "clear lungs . xxxx-year-old ."),
        ("Heart size 1.5, and/or (mild)!", "heart size 15 andor mild ."),
        ("No edema..  Stable", "no edema . stable ."),
        ("", ""),
        (" . - .", ""),
    ],
)
def test_contexts_are_cleaned_and_cleaning_twice_changes_nothing(raw: str, clean: str) -> None:
    words = CONTEXT_WORDS
    assert words.join(words.split(raw)) == clean
    assert words.split(clean) == words.split(raw)


def test_vocabulary_keeps_frequent_words_and_round_trips() -> None:
    words = words_of("r2gen-iu")
    entries = frequent_words(map(words.split, ["No effusion. No edema.", "No effusion."]), min_count=2)
    assert entries == [".", "no", "effusion"]
    vocabulary = Vocabulary(entries, words)
    assert vocabulary.decode([*vocabulary.encode("no effusion.", 9), EOS, 5]) == "no effusion ."
    assert vocabulary.encode("edema", 5) == [UNK, 4]
    assert len(vocabulary) == 7
    assert frequent_words([["a", "b", "b", "."]], min_count=1, most=1) == ["b"]


def test_vocabulary_batches_pad_cut_and_frame() -> None:
    vocabulary = Vocabulary(["a", "b"], words_of("whitespace"))
    assert vocabulary.batch(["a b a", None], 2).tolist() == [[4, 5], [PAD, PAD]]
    assert vocabulary.batch(["a", ""], 5, framed=True).tolist() == [[BOS, 4, EOS], [BOS, EOS, PAD]]
    assert vocabulary.batch(["a c"], 5).tolist() == [[4, UNK]]
    assert vocabulary.batch([None], 5).shape == (1, 1)
    replaced = Vocabulary(["a", "<unk>"], words_of("jury"))
    assert (len(replaced), replaced.encode("a <unk>", 5)) == (6, [4, 5])
    assert replaced.decode([4, 5]) == "a <unk>"


def test_folded_norms_give_the_same_features() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1, bias=False))
    net.append(nn.Sequential(nn.BatchNorm2d(3)))  # follows no convolution in its own container: stays
    net(torch.randn(8, 2, 9, 9))
    net.eval()
    x = torch.randn(3, 2, 9, 9)
    with torch.no_grad():
        before = net(x)
        assert isinstance(fold_norms(net)[1], nn.Identity)
        torch.testing.assert_close(net(x), before)
