"""MicarVLMoE's equations: properties of each, and parity with numbers recorded from the official modules.

``data/micar_official.safetensors`` holds random weights, inputs and outputs of the official modules at width
16, latent 24, two heads. There a head has 4 NoPE and 8 RoPE dimensions, of which 4 rotate as interleaved
pairs, and scores are divided by the root of a head's width; ``attention_weights`` says the same in this
module's layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from methods.common.layers import RMSNorm, SwiGLU, rope
from methods.micar_vlmoe.attention import Bottleneck, LatentAttention
from methods.micar_vlmoe.config import MicarConfig
from methods.micar_vlmoe.decoder import (
    Decoder,
    DecoderBlock,
    EncoderBlock,
    GatedFusion,
    MixtureOfExperts,
)
from methods.micar_vlmoe.losses import balancing
from methods.micar_vlmoe.vision import FeaturePyramid, scaled_to

WIDTH, HEADS, LATENT, ROTATED = 16, 2, 24, 4
CONFIG = MicarConfig(
    width=WIDTH,
    heads=HEADS,
    latent=LATENT,
    rope_width=ROTATED,
    feed_forward=12,
    experts=4,
    report_words=12,
    dropout=0.0,
    attention_dropout=0.0,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tiny tensors: a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    return load_file(Path(__file__).parent / "data" / "micar_official.safetensors")


def close(first: Tensor, second: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(first, second, atol=tolerance, rtol=tolerance)


def part(official: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name[len(prefix) + 1 :]: value for name, value in official.items() if name.startswith(prefix + ".")
    }


# ---------------------------------------------------------------- parity


def up_rows(weight: Tensor, kinds: str) -> Tensor:
    """Official W_up rows (parts x D x heads) in this module's order (parts x heads x D)."""
    order = [0, 1, 2, 3, 8, 9, 10, 11, 4, 6, 5, 7]
    rows = []
    for kind, block in zip(kinds, weight.chunk(len(kinds)), strict=True):
        heads = block.unflatten(0, (-1, HEADS)).transpose(0, 1)
        if kind in "qk":
            heads = heads[:, order]
        rows.append((heads * math.sqrt(HEADS) if kind == "q" else heads).flatten(0, 1))
    return torch.cat(rows)


def bottleneck(weights: dict[str, Tensor], prefix: str, kinds: str) -> dict[str, Tensor]:
    return {
        "down.weight": weights[f"{prefix}.0.weight"],
        "norm.weight": weights[f"{prefix}.1.weight"],
        "up.weight": up_rows(weights[f"{prefix}.2.weight"], kinds),
    }


def attention_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {"out.weight": weights["wo.weight"]}
    if "qkv_down_norm_up.0.weight" in weights:
        parts = {"source": bottleneck(weights, "qkv_down_norm_up", "qkv")}
    else:
        parts = {
            "query": bottleneck(weights, "q_down_norm_up", "q"),
            "source": bottleneck(weights, "kv_down_norm_up", "kv"),
        }
    return found | {f"{name}.{key}": value for name, each in parts.items() for key, value in each.items()}


def swiglu_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {"gate": "w1", "out": "w2", "value": "w3"}
    return {f"{own}.weight": weights[f"{theirs}.weight"] for own, theirs in names.items()}


def attention(cross: bool = False) -> LatentAttention:
    return LatentAttention(WIDTH, HEADS, LATENT, ROTATED, 0.0, cross=cross).eval()


def prefixed(name: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{key}": value for key, value in weights.items()}


def test_rms_norm_and_expert_equal_the_official_ones(official: dict[str, Tensor]) -> None:
    norm = RMSNorm(WIDTH)
    norm.load_state_dict({"weight": official["norm.weight"]})
    close(norm(official["x"]), official["norm.output"])
    expert = SwiGLU(WIDTH, 12)
    expert.load_state_dict(swiglu_weights(part(official, "expert")))
    close(expert(official["x"]), official["expert.output"])


def test_self_attention_equals_the_official_one(official: dict[str, Tensor]) -> None:
    mdla = attention()
    mdla.load_state_dict(attention_weights(part(official, "self")))
    close(mdla(official["x"]), official["self.output"])
    close(mdla(official["x"], causal=True), official["self.causal"])


def test_weights_of_cross_attention_are_those_that_it_mixes_values_with() -> None:
    layer = attention(cross=True)
    x, memory = torch.randn(2, 3, WIDTH), torch.randn(2, 5, WIDTH)
    mask = torch.tensor([[True, True, False, True, True], [True, False, False, True, False]])
    with torch.no_grad():
        values = layer._split(layer.source(memory).chunk(2, dim=-1)[1])
        mixed = layer.weights(x, memory, mask) @ values
        close = torch.testing.assert_close
        close(layer.out(mixed.transpose(1, 2).flatten(2)), layer(x, memory, mask), atol=1e-5, rtol=1e-4)


def test_cross_attention_equals_the_official_one(official: dict[str, Tensor]) -> None:
    mdla = attention(cross=True)
    mdla.load_state_dict(attention_weights(part(official, "cross")))
    close(mdla(official["x"], official["image"]), official["cross.output"])


def test_encoder_block_equals_the_official_one(official: dict[str, Tensor]) -> None:
    weights, block = part(official, "block"), EncoderBlock(CONFIG).eval()
    block.load_state_dict(
        prefixed("attention", attention_weights(part(weights, "self_attention")))
        | prefixed("feed_forward.swiglu", swiglu_weights(part(weights, "ff")))
        | {
            "attention_norm.weight": weights["norm_sa.weight"],
            "feed_forward_norm.weight": weights["norm_ff.weight"],
        }
    )
    close(block(official["image"]), official["block.output"])


def test_gated_fusion_equals_the_official_one(official: dict[str, Tensor]) -> None:
    """Recorded with no weight on the fusion's second input, which the paper does not normalise."""
    weights, fusion = part(official, "fusion"), GatedFusion(CONFIG).eval()
    names = {
        "norm1": "text_norm",
        "norm2": "image_norm",
        "norm3": "attended_norm",
        "global_proj": "context",
        "gate.0": "gate.0",
        "gate.2": "gate.2",
        "fusion.0": "fusion.0",
        "fusion.3": "fusion.3",
    }
    fusion.load_state_dict(
        prefixed("cross", attention_weights(part(weights, "cross_attention")))
        | {
            f"{own}.{kind}": weights[f"{theirs}.{kind}"]
            for theirs, own in names.items()
            for kind in ("weight", "bias")
            if f"{theirs}.{kind}" in weights
        }
    )
    close(fusion(official["x"], official["image"]), official["fusion.output"])


def test_report_embedding_equals_the_official_one(official: dict[str, Tensor]) -> None:
    decoder = Decoder(11, CONFIG).eval()
    decoder.embed.load_state_dict({"weight": official["text.embedding.weight"]})
    close(decoder._embedded(official["text.ids"], 0), official["text.output"])


def test_gate_chooses_the_official_experts_and_balances_alike(official: dict[str, Tensor]) -> None:
    mixture = MixtureOfExperts(CONFIG).eval()
    mixture.gate.load_state_dict({"weight": official["gate.gate.weight"]})
    routes = mixture.route(official["x"].flatten(0, 1))
    assert torch.equal(routes.experts, official["gate.indices"])
    close(routes.weights / routes.weights.sum(1, keepdim=True), official["gate.scores"])
    close(balancing(routes.scores), official["gate.loss"])


def test_pyramid_equals_the_official_one(official: dict[str, Tensor]) -> None:
    weights, pyramid = part(official, "pyramid"), FeaturePyramid((4, 5, 6, 7), 6).eval()
    names = {f"fpn_c{level + 2}": f"lateral.{level}" for level in range(4)} | {"fusion": "fusion"}
    pyramid.load_state_dict(
        {
            f"{own}.{name}": value
            for theirs, own in names.items()
            for name, value in part(weights, theirs).items()
        },
        strict=False,
    )
    feature = pyramid([weights[f"map{level}"] for level in range(4)])
    close(nn.AdaptiveAvgPool2d(7)(feature).flatten(2).mT, weights["output"])


# ---------------------------------------------------------------- pyramid


def test_pyramid_levels_add_the_coarser_level() -> None:
    pyramid = FeaturePyramid((3, 4), 5).eval()
    fine, coarse = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4)
    p2, p3 = pyramid.levels([fine, coarse])
    close(p3, pyramid.lateral[1](coarse))
    close(p2, pyramid.lateral[0](fine) + scaled_to(p3, p2))
    close(pyramid([fine, coarse]), pyramid.fusion(p2 + scaled_to(p3, p2)))
    assert pyramid([fine, coarse]).shape == (2, 5, 8, 8)


# ---------------------------------------------------------------- Eq. 1


def test_encoder_block_is_two_residual_steps() -> None:
    block, x = EncoderBlock(CONFIG).eval(), torch.randn(2, 5, WIDTH)
    middle = block.attention(block.attention_norm(x)) + x
    close(block(x), block.feed_forward(block.feed_forward_norm(middle)) + middle)
    nn.init.zeros_(block.attention.out.weight)
    nn.init.zeros_(block.feed_forward.swiglu.out.weight)
    close(block(x), x)


# ---------------------------------------------------------------- Eq. 2


def test_bottleneck_has_low_rank_and_forgets_scale() -> None:
    module, x = Bottleneck(WIDTH, HEADS, LATENT, 1), torch.randn(1, 40, WIDTH)
    assert torch.linalg.matrix_rank(module(x)[0]) == WIDTH // HEADS
    close(module(3 * x), module(x), 1e-4)
    close(module(x), module.norm(x @ module.down.weight.T) @ module.up.weight.T)


# ---------------------------------------------------------------- Eq. 3


def test_attention_is_the_two_branches_over_the_root_of_d_latent() -> None:
    mdla, x, memory = attention(cross=True), torch.randn(1, 4, WIDTH), torch.randn(1, 6, WIDTH)
    heads = LATENT // HEADS
    query = mdla.query(x).view(4, HEADS, heads).transpose(0, 1)
    key, value = (each.view(6, HEADS, heads).transpose(0, 1) for each in mdla.source(memory).chunk(2, -1))
    plain = heads - ROTATED
    rotary = rope(query[None, ..., plain:])[0] @ rope(key[None, ..., plain:])[0].mT
    scores = (query[..., :plain] @ key[..., :plain].mT + rotary) / math.sqrt(LATENT)
    mixed = (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)
    close(mdla(x, memory)[0], mixed @ mdla.out.weight.T)


def test_only_the_rope_branch_knows_the_order() -> None:
    memory, x = torch.randn(2, 6, WIDTH), torch.randn(2, 3, WIDTH)
    without = LatentAttention(WIDTH, HEADS, LATENT, 0, 0.0, cross=True)
    close(without(x, memory.flip(1)), without(x, memory))
    ordered = attention(cross=True)
    assert (ordered(x, memory.flip(1)) - ordered(x, memory)).abs().max() > 1e-4


def test_self_attention_depends_on_distances_only() -> None:
    """Positions before the sequence, masked, shift everything and change nothing."""
    mdla, x = attention(), torch.randn(1, 5, WIDTH)
    shifted = torch.cat([torch.randn(1, 3, WIDTH), x], dim=1)
    mask = torch.tensor([[False] * 3 + [True] * 5])
    close(mdla(shifted, mask=mask)[:, 3:], mdla(x))


def test_heads_must_divide_and_rope_must_fit() -> None:
    for width, heads, latent, rotated in ((16, 3, 24, 4), (16, 2, 25, 4), (16, 2, 24, 3), (16, 2, 24, 14)):
        with pytest.raises(ValueError, match="heads"):
            LatentAttention(width, heads, latent, rotated, 0.0)


@pytest.mark.parametrize("cross", [False, True])
def test_absorbed_attention_over_the_cache_equals_the_expanded_one(cross: bool) -> None:
    mdla, x, memory = attention(cross), torch.randn(3, 6, WIDTH), torch.randn(3, 5, WIDTH)
    mask = torch.tensor([[True] * 5, [True, False, True, False, True], [False] * 4 + [True]])
    if cross:
        whole, fixed = mdla(x, memory, mask), mdla.compress(memory)
        steps = [mdla.attend(x[:, t : t + 1], t, fixed, mask) for t in range(6)]
    else:
        whole, steps, past = mdla(x, causal=True), [], None
        for t in range(6):
            own = mdla.compress(x[:, t : t + 1], t)
            past = own if past is None else past.followed_by(own)
            steps.append(mdla.attend(x[:, t : t + 1], t, past))
    close(torch.cat(steps, dim=1), whole)


@pytest.mark.parametrize(("cross", "bottleneck_width"), [(False, 24), (True, 16)])
def test_cache_is_as_wide_as_the_bottleneck_and_the_rotated_keys(cross: bool, bottleneck_width: int) -> None:
    cache = attention(cross).compress(torch.randn(2, 7, WIDTH))
    assert cache.latent.shape == (2, 7, bottleneck_width)
    assert cache.rotated.shape == (2, HEADS, 7, ROTATED)
    rows = torch.tensor([1, 1, 0])
    before = cache.latent.clone()
    cache.select(rows)
    assert torch.equal(cache.latent, before[rows])
    assert len(cache.rotated) == 3


# ---------------------------------------------------------------- Eq. 4


def test_decoder_block_without_its_layers_leaves_the_two_residuals_of_the_fusion() -> None:
    block, x, image = DecoderBlock(CONFIG).eval(), torch.randn(2, 5, WIDTH), torch.randn(2, 3, WIDTH)
    for layer in (block.attention.out, block.fusion.cross.out, block.fusion.fusion[3]):
        nn.init.zeros_(layer.weight)
    nn.init.zeros_(block.fusion.fusion[3].bias)
    for expert in block.experts.experts:
        nn.init.zeros_(expert.swiglu.out.weight)
    output, _ = block(x, image, None, None)
    close(output, 2 * x)


def test_decoder_is_causal() -> None:
    decoder, image = Decoder(30, CONFIG).eval(), torch.randn(1, 4, WIDTH)
    words = torch.randint(4, 30, (1, 8))
    changed = words.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 30
    close(decoder(words, image)[0][:, :5], decoder(changed, image)[0][:, :5])
    assert not torch.allclose(decoder(words, image)[0][:, 5:], decoder(changed, image)[0][:, 5:])


def test_cached_decoding_equals_uncached() -> None:
    decoder, image = Decoder(30, CONFIG).eval(), torch.randn(4, 6, WIDTH)
    mask = torch.rand(4, 6) > 0.4
    mask[:, 0] = True
    words = torch.randint(4, 30, (4, 9))
    state = decoder.start(image, mask)
    steps = [decoder.step(words[:, : t + 1], state) for t in range(9)]
    close(torch.stack(steps, dim=1), decoder(words, image, mask)[0])


def test_selected_rows_go_on_as_if_they_had_been_alone() -> None:
    decoder, image, words = Decoder(30, CONFIG).eval(), torch.randn(3, 6, WIDTH), torch.randint(4, 30, (3, 4))
    state = decoder.start(image)
    for t in range(3):
        decoder.step(words[:, : t + 1], state)
    rows = torch.tensor([2, 0, 2])
    state.select(rows)
    close(decoder.step(words[rows], state), decoder(words, image)[0][rows, -1])


# ---------------------------------------------------------------- Eq. 5


def fusion_with_gate(bias: float) -> GatedFusion:
    fusion = GatedFusion(CONFIG).eval()
    nn.init.zeros_(fusion.gate[2].weight)
    nn.init.constant_(fusion.gate[2].bias, bias)
    return fusion


@pytest.mark.parametrize("bias", [-40.0, 0.0, 40.0])
def test_gated_fusion_is_the_printed_formula(bias: float) -> None:
    fusion, x, image = fusion_with_gate(bias), torch.randn(2, 4, WIDTH), torch.randn(2, 5, WIDTH)
    text, normed_image = fusion.text_norm(x), fusion.image_norm(image)
    attended = fusion.cross(text, normed_image) + x
    context = fusion.context(torch.cat([normed_image.mean(1), normed_image.amax(1)], -1))
    share = 1 / (1 + math.exp(-bias))
    gated = share * fusion.attended_norm(attended) + (1 - share) * text
    inputs = torch.cat([gated, attended, context[:, None].expand(-1, 4, -1)], dim=-1)
    close(fusion(x, image), fusion.fusion(inputs) + attended)


def test_gate_decides_between_text_and_image() -> None:
    text, attended = torch.randn(1, 3, WIDTH), torch.randn(1, 3, WIDTH)
    for bias, shown in ((40.0, "image"), (-40.0, "text")):
        fusion = fusion_with_gate(bias)
        seen: list[Tensor] = []
        fusion.fusion.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        fusion._fused(text, attended, torch.zeros(1, 1, WIDTH))
        close(seen[0][..., :WIDTH], fusion.attended_norm(attended) if shown == "image" else text)


def test_masked_image_tokens_reach_neither_attention_nor_context() -> None:
    fusion, x, image = GatedFusion(CONFIG).eval(), torch.randn(2, 4, WIDTH), torch.randn(2, 5, WIDTH)
    mask = torch.tensor([[True, True, True, False, False]] * 2)
    other = torch.cat([image[:, :3], 50 * torch.randn(2, 2, WIDTH)], dim=1)
    close(fusion(x, image, mask), fusion(x, other, mask))
    close(fusion(x, image, mask), fusion(x, image[:, :3]))


# ---------------------------------------------------------------- Eq. 6


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_gathered_experts_equal_dense_ones(top_k: int) -> None:
    mixture, x = MixtureOfExperts(CONFIG.model_copy(update={"top_k": top_k})).eval(), torch.randn(50, WIDTH)
    output, routes = mixture(x)
    dense = torch.stack([expert(x) for expert in mixture.experts], dim=1)
    weights = torch.zeros_like(routes.scores).scatter(1, routes.experts, routes.weights)
    close(output, (weights[..., None] * dense).sum(1))


def test_weights_are_the_largest_softmax_scores() -> None:
    mixture, x = MixtureOfExperts(CONFIG), torch.randn(20, WIDTH)
    routes = mixture.route(x)
    close(routes.scores, (x @ mixture.gate.weight.T).softmax(-1))
    close(routes.weights, routes.scores.sort(dim=1, descending=True).values[:, :2])
    assert (routes.experts[:, 0] != routes.experts[:, 1]).all()


def test_an_expert_that_nobody_chose_takes_part_without_effect() -> None:
    mixture = MixtureOfExperts(CONFIG)
    with torch.no_grad():
        mixture.gate.weight.zero_()
        mixture.gate.weight[:2] = 5.0
    output, routes = mixture(torch.rand(6, WIDTH) + 0.1)
    assert set(routes.experts.flatten().tolist()) == {0, 1}
    output.sum().backward()
    idle = mixture.experts[3].swiglu.out.weight.grad
    assert idle is not None
    assert idle.eq(0).all()


def test_the_output_trains_the_gate() -> None:
    mixture = MixtureOfExperts(CONFIG)
    output, _ = mixture(torch.randn(12, WIDTH))
    output.square().sum().backward()
    assert mixture.gate.weight.grad is not None
    assert mixture.gate.weight.grad.abs().max() > 1e-4


def test_balancing_loss_is_smallest_for_uniform_use() -> None:
    uniform = torch.full((8, 4), 0.25)
    assert balancing(uniform).item() == pytest.approx(-math.log(4))
    specialised = torch.eye(4).repeat(2, 1)  # each token sure of its expert, experts used alike
    assert balancing(specialised).item() == pytest.approx(-math.log(4), abs=1e-5)
    one_sided = torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 8)
    assert balancing(one_sided).item() == pytest.approx(0.0, abs=1e-6)
    logits = torch.randn(8, 4, requires_grad=True)
    before = balancing(logits.softmax(-1))
    before.backward()
    assert -math.log(4) < before.item() < 0
    assert balancing((logits - 0.5 * logits.grad).softmax(-1)) < before


def test_top_k_must_fit() -> None:
    for top_k in (0, 5):
        with pytest.raises(ValueError, match="top_k"):
            MixtureOfExperts(CONFIG.model_copy(update={"top_k": top_k}))


def test_padding_passes_no_expert() -> None:
    block, image = DecoderBlock(CONFIG).eval(), torch.randn(2, 3, WIDTH)
    x, words = torch.randn(2, 6, WIDTH), torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    masked, routes = block(x, image, None, words)
    whole, all_routes = block(x, image, None, None)
    close(masked[words], whole[words])
    assert len(routes.scores) == 10
    assert len(all_routes.scores) == 12


def fields(**values: Any) -> MicarConfig:
    return CONFIG.model_copy(update=values)


def test_sweeps_of_figure_6_are_fields() -> None:
    for config in (fields(experts=2, top_k=1), fields(layers=3), fields(experts=16, top_k=4)):
        decoder = Decoder(20, config).eval()
        _, routes = decoder(torch.randint(4, 20, (2, 5)), torch.randn(2, 3, WIDTH))
        assert len(routes) == config.layers
        assert routes[0].weights.shape == (10, config.top_k)
        assert routes[0].scores.shape == (10, config.experts)
