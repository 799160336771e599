"""MicarVLMoE behind the harness' interface: masks, losses, decoding, routing, presets, variants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Inputs, Study, Task
from harness.method.batching import collate, targets_of
from harness.method.probes import Probe
from methods.common.generation import Decoding, generate
from methods.common.text import EOS
from methods.micar_vlmoe.card import VARIANTS
from methods.micar_vlmoe.method import MicarVLMoE
from methods.micar_vlmoe.vision import FeaturePyramid, TrainedStages, VisionEncoder

INFO = DatasetInfo("toy", frozenset({Task.REPORT}), ("frontal", "lateral"), True, 32)
SMALL: dict[str, Any] = {
    "image_size": 32,
    "stages": (2, 3),
    "map_side": 4,
    "vision_width": 16,
    "grid": 2,
    "width": 32,
    "latent": 48,
    "rope_width": 6,
    "layers": 2,
    "feed_forward": 24,
    "experts": 4,
    "report_words": 12,
    "min_count": 1,
}
REPORTS = (
    "The heart is normal. No effusion.",
    "The heart is enlarged.",
    "No pneumothorax. The lungs are clear. No effusion.",
    "Left effusion.",
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tiny tensors: a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def studies(count: int = 4) -> list[Study]:
    noise = np.random.default_rng(0)
    result = []
    for row in range(count):
        views = ("frontal", "lateral") if row % 3 != 1 else ("frontal",)
        images = {view: noise.integers(0, 256, (32, 32, 1), dtype=np.uint8) for view in views}
        labels = np.zeros(14, "float32")
        result.append(Study(f"s{row}", f"p{row}", "train", images, "cough", REPORTS[row % 4], labels))
    return result


def method(variant: str | None = None, **overrides: Any) -> MicarVLMoE:
    torch.manual_seed(0)
    made = MicarVLMoE.create(INFO, variant=variant, overrides=SMALL | overrides)
    made.prepare(made.artifacts(studies()))
    made.network.eval()
    return made


def inputs_of(batch: list[Study], **options: Any) -> Inputs:
    return collate(batch, INFO, reads=MicarVLMoE.card.reads, **options)


def encoded(made: MicarVLMoE, inputs: Inputs) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return made._encoded(inputs)


def reports(made: MicarVLMoE, batch: list[Study]) -> dict[str, str | None]:
    return {s.id: p.report for s, p in zip(batch, made.predict(inputs_of(batch)), strict=True)}


def close(first: Tensor, second: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(first, second, atol=tolerance, rtol=tolerance)


# ---------------------------------------------------------------- views


def test_tokens_of_present_views_are_concatenated() -> None:
    made, batch = method(), studies()
    image, mask = encoded(made, inputs_of(batch))
    assert image.shape == (4, 2 * 4 + 1, 32)
    assert mask[0].tolist() == [True] * 8 + [False]
    assert mask[1].tolist() == [True] * 4 + [False] * 5


def test_without_any_view_only_the_null_token_is_left() -> None:
    made = method()
    batch = [Study("bare", "bare", "test", {}), *studies(2)]
    image, mask = encoded(made, inputs_of(batch))
    assert mask[0].tolist() == [False] * 8 + [True]
    assert torch.isfinite(image).all()
    assert len(reports(made, batch)) == 3


def test_a_batch_without_any_view_moves_no_statistics() -> None:
    made = method()
    made.network.train()
    before = {name: buffer.clone() for name, buffer in made.network.named_buffers()}
    bare = [Study(f"b{row}", "b", "train", {}, report=REPORTS[row]) for row in range(2)]
    made.losses(inputs_of(bare), targets_of(bare))["loss"].backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in made.network.named_buffers())
    made.losses(inputs_of(studies()), targets_of(studies()))
    assert any(not torch.equal(buffer, before[name]) for name, buffer in made.network.named_buffers())


def test_content_of_an_absent_view_changes_nothing() -> None:
    made, inputs = method(), inputs_of(studies())
    inputs.present["lateral"].zero_()
    before = encoded(made, inputs)
    inputs.images["lateral"].uniform_()
    after = encoded(made, inputs)
    words = torch.randint(4, len(made.vocabulary), (4, 5))
    with torch.no_grad():
        close(made.network.decoder(words, *before)[0], made.network.decoder(words, *after)[0])


def test_a_present_view_changes_the_logits() -> None:
    made, inputs = method(), inputs_of(studies())
    words = torch.randint(4, len(made.vocabulary), (4, 5))
    with torch.no_grad():
        before = made.network.decoder(words, *encoded(made, inputs))[0]
        inputs.images["frontal"].uniform_()
        after = made.network.decoder(words, *encoded(made, inputs))[0]
    assert ((before - after).abs().amax((1, 2)) > 1e-4).all()


def test_context_is_not_read() -> None:
    made, inputs = method(), collate(studies(), INFO)
    before = encoded(made, inputs)[0]
    inputs.context = ["something else"] * 4
    close(encoded(made, inputs)[0], before)


# ---------------------------------------------------------------- decoding


@pytest.mark.parametrize("beams", [1, 3])
def test_reports_do_not_depend_on_the_batch(beams: int) -> None:
    made, batch = method(num_beams=beams), studies(5)
    together = reports(made, batch)
    alone = {study.id: reports(made, [study])[study.id] for study in batch}
    permuted = reports(made, [batch[row] for row in (4, 0, 2, 1, 3)])
    assert together == alone == permuted == reports(made, batch)


class Uncached:
    """The decoder read from the start at every step."""

    def __init__(self, decoder: Any, image: Tensor, mask: Tensor) -> None:
        self.decoder, self.image, self.mask = decoder, image, mask

    def select(self, rows: Tensor) -> None:
        self.image, self.mask = self.image[rows], self.mask[rows]

    def step(self, prefix: Tensor) -> Tensor:
        return self.decoder(prefix, self.image, self.mask)[0][:, -1]


@pytest.mark.parametrize("beams", [1, 3])
def test_cached_search_equals_uncached_search_word_for_word_on_100_studies(beams: int) -> None:
    made = method()
    image, mask = 4 * torch.randn(100, 9, 32), torch.rand(100, 9) > 0.3
    mask[:, 0] = True
    with torch.inference_mode():
        for parameter in made.network.decoder.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2.0)  # decisive logits: reports differ, and end at different lengths
        made.network.decoder.head.weight[EOS] *= 2
        state = Uncached(made.network.decoder, image, mask)
        expected = generate(state.step, state, 100, Decoding(13, beams=beams), torch.device("cpu"))
        found = made.search(image, mask, Decoding(13, beams=beams))
    assert torch.equal(found, expected)
    assert len({tuple(row) for row in found.tolist()}) > 20
    assert len({int((row == EOS).nonzero()[0]) for row in found if (row == EOS).any()}) >= 3


def test_drawn_reports_follow_from_the_study_its_seed_and_their_number() -> None:
    made, batch = method(draw_temperature=3.0), studies(3)

    def drawn(chosen: list[Study], draws: int) -> dict[str, list[str]]:
        with torch.inference_mode():
            found = made.draw_reports(inputs_of(chosen), draws)
        return {study.id: reports for study, reports in zip(chosen, found, strict=True)}

    many = drawn(batch, 4)
    assert len(set(many["s0"])) > 1
    assert many == drawn(batch[::-1], 4)
    assert {name: reports[:2] for name, reports in many.items()} == drawn(batch, 2)


def test_unknown_words_are_never_generated() -> None:
    made = method()
    with torch.no_grad():
        made.network.decoder.head.weight.zero_()
        made.network.decoder.head.weight[3] = 10.0
    assert all("<" not in (report or "") for report in reports(made, studies()).values())


# ---------------------------------------------------------------- routing


def test_routing_says_which_experts_every_word_passed() -> None:
    made, batch = method(), studies()
    records = made.routing(inputs_of(batch))
    assert [record.id for record in records] == [study.id for study in batch]
    for record, report in zip(records, reports(made, batch).values(), strict=True):
        count = len(record.words)
        assert " ".join(record.words) == report
        assert record.experts.shape == record.weights.shape == (2, count, 2)
        assert record.scores.shape == (2, count, 4)
        assert np.allclose(record.scores.sum(-1), 1, atol=1e-5)
        assert np.allclose(np.take_along_axis(record.scores, record.experts, -1), record.weights)
        assert np.allclose(record.utilisation().sum(1), 1 if count else 0)


def test_routing_is_that_of_the_cached_steps() -> None:
    made, inputs = method(), inputs_of(studies(1))
    record = made.routing(inputs)[0]
    block = made.network.decoder.blocks[1].experts
    steps: list[list[int]] = []
    block.register_forward_hook(lambda module, args, output: steps.append(output[1].experts[0].tolist()))
    made.predict(inputs)
    assert len(record.words) > 0
    assert steps[1:] == record.experts[1].tolist()[: len(steps) - 1]


def test_without_experts_there_is_no_routing() -> None:
    with pytest.raises(HarnessError, match="without experts"):
        method("no-moe").routing(inputs_of(studies(1)))


# ---------------------------------------------------------------- training


def test_the_loss_is_eq_7() -> None:
    made, batch = method(balance=0.3), studies()
    parts = made.losses(inputs_of(batch), targets_of(batch))
    close(parts["loss"], parts["ce"] + 0.3 * parts["balance"])
    assert -np.log(4) <= parts["balance"].item() < 0
    assert parts["select"] is parts["ce"]


def test_losses_do_not_depend_on_padding() -> None:
    made, batch = method(), studies()
    with torch.no_grad():
        together = made.losses(inputs_of(batch), targets_of(batch))["ce"]
        alone = [made.losses(inputs_of([s]), targets_of([s]))["ce"] for s in batch]
    sizes = [len(made.vocabulary.encode(s.report or "", 12)) + 1 for s in batch]
    close(together, sum(ce * size for ce, size in zip(alone, sizes, strict=True)) / sum(sizes))


def probed(made: MicarVLMoE) -> dict[tuple[str, str], Probe]:
    batch = studies(8)
    with torch.no_grad():
        return {(p.part, p.quantity): p for p in made.probes(inputs_of(batch), targets_of(batch))}


@pytest.mark.parametrize("variant", [None, *VARIANTS])
def test_probes_are_finite_and_loss_terms_add_up(variant: str | None) -> None:
    made, batch = method(variant), studies(8)
    probes = probed(made)
    assert all(np.isfinite(probe.value) for probe in probes.values())
    assert any(part.startswith("experts") for part, _ in probes) == (variant != "no-moe")
    losses = made.losses(inputs_of(batch), targets_of(batch))
    close(sum(made.loss_terms(losses).values()), losses["loss"])


def test_a_decoder_that_ignores_the_image_and_idle_experts_are_seen() -> None:
    made = method()
    with torch.no_grad():
        for block in made.network.decoder.blocks:
            block.fusion.cross.out.weight.zero_()
            block.fusion.context.weight.zero_()
            block.experts.gate.weight.zero_()
    probes = probed(made)
    for (part, quantity), probe in probes.items():
        strength = (probe.value - probe.dead) / (probe.alive - probe.dead)
        assert strength == pytest.approx(0.0, abs=1e-3), (part, quantity)
    assert len(probes) == 2 + 2 * 3


@pytest.mark.parametrize("variant", [None, *VARIANTS])
def test_every_variant_trains_all_its_parameters_and_predicts(variant: str | None) -> None:
    made, batch = method(variant), studies(8)
    made.network.train()
    parts = made.losses(inputs_of(batch), targets_of(batch))
    assert all(torch.isfinite(value) for value in parts.values())
    parts["loss"].backward()
    idle = [name for name, p in made.network.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []
    if variant == "no-balance":
        close(parts["loss"], parts["ce"])
    assert ("balance" in parts) == (variant != "no-moe")
    assert (len(made.network.encoder) == 0) == (variant == "no-latent-encoder")
    assert (made.network.vision.pyramid is None) == (variant == "no-msve")
    assert len(reports(made, batch)) == 8


def test_a_few_steps_overfit_four_studies() -> None:
    made, batch = method(), studies()
    optimizer, _ = made.optimizer(100)
    for group in optimizer.param_groups:
        group["lr"] = 5e-3
    made.network.train()
    for _ in range(40):
        loss = made.losses(inputs_of(batch), targets_of(batch))["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.network.parameters(), 1.0)
        optimizer.step()
    assert list(reports(made, batch).values()) == [
        "the heart is normal . no effusion .",
        "the heart is enlarged .",
        "no pneumothorax . the lungs are clear . no effusion .",
        "left effusion .",
    ]


def test_kept_maps_give_the_same_loss() -> None:
    made, batch = method(), studies()
    inputs, targets = inputs_of(batch), targets_of(batch)
    with torch.no_grad(), made._cache.keeping():
        first, second = made.losses(inputs, targets)["ce"], made.losses(inputs, targets)["ce"]
        made._cache._features = None
        plain = made.losses(inputs, targets)["ce"]
    assert first == second
    torch.testing.assert_close(first, plain, atol=1e-3, rtol=1e-3)


def test_the_vision_encoder_has_its_own_rate_and_the_step_comes_half_way() -> None:
    made = method(learning_rate=1e-4, vision_rate=0.5, weight_decay=5e-5, schedule="step")
    optimizer, schedule = made.optimizer(10)
    vision, rest = optimizer.param_groups
    assert (vision["lr"], rest["lr"]) == (5e-5, 1e-4)
    assert all(group["amsgrad"] and group["weight_decay"] == 5e-5 for group in (vision, rest))
    trained = {id(p) for p in made.network.vision.parameters() if p.requires_grad}
    assert {id(p) for p in vision["params"]} == trained
    rates = []
    for _ in range(10):
        rates.append(schedule.get_last_lr()[1])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1e-4] * 5 + [1e-5] * 5)


def test_linear_schedule_ends_at_zero() -> None:
    made = method(learning_rate=1.0, schedule="linear")
    _, schedule = made.optimizer(4)
    assert [schedule.lr_lambdas[0](step) for step in range(5)] == [1, 0.75, 0.5, 0.25, 0]


def test_bfloat16_autocast_gives_nearly_the_same_loss() -> None:
    made, batch = method(), studies()
    plain = made.losses(inputs_of(batch), targets_of(batch))["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made.losses(inputs_of(batch), targets_of(batch))["loss"]
    torch.testing.assert_close(rounded, plain, atol=0.05, rtol=0.05)
    rounded.backward()


def test_save_and_load_give_the_same_reports(tmp_path: Path) -> None:
    made, batch = method(), studies()
    made.save(tmp_path)
    again = MicarVLMoE.create(INFO, overrides=SMALL)
    again.load(tmp_path)
    assert reports(made, batch) == reports(again, batch)


# ---------------------------------------------------------------- ResNet-101 and sizes


def test_resnet_pyramid_trains_on_present_views(tmp_path: Path) -> None:
    made, batch = method(backbone="resnet101"), studies()
    assert made.network.vision.backbone.channels == [256, 512, 1024, 2048]
    made.network.train()
    made.losses(inputs_of(batch), targets_of(batch))["loss"].backward()
    stem = made.network.vision.backbone.network.conv1.weight
    assert stem.grad is not None
    assert stem.grad.abs().max() > 0
    assert len(reports(made, batch)) == 4
    weights = tmp_path / "resnet.pth"
    state = made.network.vision.backbone.network.state_dict()
    torch.save(state | {"fc.weight": torch.zeros(2, 2)}, weights)
    named = made.config.model_copy(update={"backbone_weights": str(weights)})
    assert torch.equal(TrainedStages(named).network.conv1.weight, stem)
    torch.save({"conv1.weight": stem}, weights)
    with pytest.raises(HarnessError, match="not the weights"):
        TrainedStages(named)


def test_no_msve_reads_the_last_map() -> None:
    assert isinstance(method().network.vision.pyramid, FeaturePyramid)
    vision = method("no-msve").network.vision
    assert isinstance(vision, VisionEncoder)
    assert vision.width == 40
    last = torch.randn(1, 1, 40, 4, 4)
    present = torch.ones(1, 1, dtype=torch.bool)
    vision.norms = torch.nn.ModuleList()
    patches = vision([torch.randn(1, 1, 24, 4, 4), last], present)
    close(patches[0, 0], torch.nn.functional.adaptive_avg_pool2d(last[0, 0], 2).flatten(1).T)


def on_meta(preset: str, variant: str | None = None) -> MicarVLMoE:
    info = DatasetInfo("paper", frozenset({Task.REPORT}), ("frontal",), True, 224, channels=3)
    made = MicarVLMoE.create(info, preset=preset, variant=variant)
    with torch.device("meta"):
        made.prepare(made.reference_artifacts())
    return made


@pytest.mark.parametrize(
    ("preset", "variant", "parameters"),
    [
        ("paper", None, 156_794_048),
        ("paper", "no-moe", 112_745_664),
        ("paper", "no-latent-encoder", 148_632_384),
        ("paper", "no-msve", 111_150_272),
        ("base", None, 71_410_304),
    ],
)
def test_parameter_counts_are_the_recorded_ones(preset: str, variant: str | None, parameters: int) -> None:
    assert sum(p.numel() for p in on_meta(preset, variant).network.parameters()) == parameters


def test_the_paper_preset_has_the_published_size() -> None:
    made = on_meta("paper")
    size = sum(parameter.numel() for parameter in made.network.parameters())
    assert abs(size / made.card.released["parameters"] - 1) < 0.001
    sizes = {n: sum(p.numel() for p in m.parameters()) / 1e6 for n, m in made.network.named_children()}
    assert sizes["vision"] == pytest.approx(88.1, abs=0.1)
    assert sizes["encoder"] == pytest.approx(8.2, abs=0.1)
    words = 2 * 1000 * 512 / 1e6  # counted apart from the decoder in the published split
    assert sizes["decoder"] - words == pytest.approx(58.4, abs=0.1)


def test_flops_can_be_counted_without_data() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    made = on_meta("paper")
    made.network.eval()
    inputs, targets = made.example_batch()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        made.losses(inputs.to("meta"), targets)
    assert counter.get_total_flops() == 261_944_707_072
