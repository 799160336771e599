"""VDGen: Eq. 1-8, the prompt, decoding, absent views, a pretrained language model on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.core.errors import CorruptFileError, HarnessError, UnavailableError
from harness.core.types import DatasetInfo, Study, Targets, Task
from harness.core.words import words_of
from harness.method.batching import collate, targets_of
from harness.method.contract import FitRun
from harness.store.manifest import ProbeFacts
from methods.common.generation import GumbelNoise
from methods.vdgen.card import VARIANTS
from methods.vdgen.language import PROMPT, ReportTokenizer, train_tokenizer
from methods.vdgen.losses import DiseaseInformationDistillation, VisionSelfEquilibration
from methods.vdgen.method import VDGen
from methods.vdgen.network import mean_of
from methods.vdgen.pretrained import fingerprint
from methods.vdgen.vision import augmented

INFO = DatasetInfo("toy", frozenset({Task.REPORT}), ("frontal", "lateral"), True, 64)

SMALL: dict[str, Any] = {
    "image_size": 64,
    "visual_width": 32,
    "vse_width": 64,
    "llm_width": 32,
    "llm_heads": 2,
    "llm_kv_heads": 2,
    "llm_hidden": 64,
    "llm_vocabulary": 200,
    "report_tokens": 16,
    "min_new_tokens": 0,
    "image_guidance": 1.0,
}
SWIN: dict[str, Any] = {
    "vision": "swin",
    "swin": "",
    "keep_features": False,
    "swin_width": 8,
    "swin_depths": (1, 1, 1, 1),
    "swin_heads": (1, 2, 2, 2),
    "swin_window": 2,
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
    """Studies with both views, the frontal, the lateral or (every sixth) none."""
    noise = np.random.default_rng(0)
    kinds = (("frontal", "lateral"), ("frontal",), ("frontal", "lateral"), ("lateral",), ("frontal",), ())
    result = []
    for row in range(count):
        images = {view: noise.integers(0, 256, (64, 64, 1), dtype=np.uint8) for view in kinds[row % 6]}
        result.append(Study(f"s{row}", f"p{row}", "train", images, "cough", REPORTS[row % 4]))
    return result


def method(variant: str | None = None, **overrides: Any) -> VDGen:
    torch.manual_seed(0)
    made = VDGen.create(INFO, variant=variant, overrides=SMALL | overrides)
    made.prepare(made.artifacts(studies(12)))  # words that come three times are one token
    made.network.eval()
    return made


def losses(made: VDGen, batch: list[Study]) -> dict[str, Tensor]:
    return made.losses(collate(batch, INFO, reads=made.card.reads), targets_of(batch))


def reports(made: VDGen, batch: list[Study], **options: Any) -> dict[str, str | None]:
    inputs = collate(batch, INFO, reads=made.card.reads, **options)
    return {name: each.report for name, each in zip(inputs.ids, made.predict(inputs), strict=True)}


def close(first: Tensor, second: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(first, second, atol=tolerance, rtol=10 * tolerance)


def prompted(made: VDGen, batch: list[Study]) -> tuple[Tensor, Tensor]:
    features, present = made._read(collate(batch, INFO, reads=made.card.reads))
    with torch.no_grad():
        return made.network.prompt(made.network.encode(features, present), present)


def train_a_little(made: VDGen, batch: list[Study], steps: int, rate: float = 3e-3) -> None:
    optimizer, _ = made.optimizer(steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    made.network.train()
    for _ in range(steps):
        optimizer.zero_grad()
        losses(made, batch)["loss"].backward()
        optimizer.step()
    made.network.eval()


# ---------------------------------------------------------------- Eq. 1, 2, 7: the report's likelihood


def test_report_loss_is_the_mean_over_tokens_of_each_given_those_before() -> None:
    made, batch = method(), studies()
    with torch.no_grad():
        loss = losses(made, batch)["report"]
        total, count = torch.zeros(()), 0
        for study in batch:
            start, _ = prompted(made, [study])
            tokens, _ = made.tokenizer.batch([study.report or ""], made.config.report_tokens)
            for position, token in enumerate(tokens[0]):
                words = made.network.llm.get_input_embeddings()(tokens[:, :position])
                logits = made.network.llm(inputs_embeds=torch.cat([start, words], dim=1)).logits[0, -1]
                total = total - logits.log_softmax(-1)[token]
                count += 1
    close(loss, total / count)


def test_a_token_depends_on_the_image_and_on_earlier_tokens_only() -> None:
    made, batch = method(), studies(1)
    features, present = made._read(collate(batch, INFO, reads=made.card.reads))
    tokens, said = made.tokenizer.batch([batch[0].report or ""], 16)
    with torch.no_grad():
        encoded = made.network.encode(features, present)
        before = made.network.logits(encoded, present, tokens, said)
        changed = tokens.clone()
        changed[:, 4] = (changed[:, 4] + 1) % len(made.tokenizer)
        after = made.network.logits(encoded, present, changed, said)
        moved = made.network.logits(encoded.flip(-1), present, tokens, said)
    assert len(before) == tokens.shape[1]
    close(before[:5], after[:5])
    assert not torch.allclose(before[5:], after[5:], atol=1e-4)
    assert not torch.allclose(before[0], moved[0], atol=1e-4)


# ---------------------------------------------------------------- Eq. 3: VSE


def vse(width: int = 8) -> VisionSelfEquilibration:
    torch.manual_seed(0)
    return VisionSelfEquilibration(width, 4 * width, 0.07)


ALL = torch.ones(6, dtype=torch.bool)


def test_vse_is_eq_3_with_unit_vectors_and_second_views_on_the_diagonal() -> None:
    module = vse()
    first, second = torch.randn(2, 6, 8)
    z, other = (torch.nn.functional.normalize(module.map(h), dim=-1) for h in (first, second))
    similarity = z @ other.T / 0.07
    exact = -(similarity.diagonal().exp() / similarity.exp().sum(1)).log().mean()
    close(module(first, second, ALL), exact)


def test_vse_with_itself_leaves_the_diagonal_out_of_the_sum_alone() -> None:
    module, h = vse(), torch.randn(6, 8)
    z = torch.nn.functional.normalize(module.map(h), dim=-1)
    odds = (z @ z.T / 0.07).exp()
    exact = -(odds.diagonal() / (odds.sum(1) - odds.diagonal())).log().mean()  # S_ii = -inf in the sum
    close(module(h, None, ALL), exact, 1e-4)
    rows = torch.tensor([True] * 4 + [False] * 2)
    close(module(h, None, rows), module(h[:4], None, ALL[:4]))
    one_point = module(h[:1].expand(6, -1), None, ALL)
    close(one_point, torch.tensor(math.log(5)))
    assert module(h, None, ALL) < one_point


def test_vse_with_itself_still_pushes_where_second_views_are_told_apart() -> None:
    """At the first step each second view is nearest to its own image: that reading has nothing to learn."""
    module = vse(64)
    gradients = []
    for reading in ("itself", "second view"):
        h = torch.randn(6, 64, generator=torch.Generator().manual_seed(1), requires_grad=True)
        module(h, None if reading == "itself" else h, ALL).backward()
        gradients.append(float(h.grad.norm()))
    assert gradients[0] > 20 * gradients[1]


def test_studies_alone_have_no_vse_and_no_broken_gradient() -> None:
    module = vse()
    for rows in (torch.tensor([True] + [False] * 5), ALL & False):
        h = torch.randn(6, 8, requires_grad=True)
        loss = module(h, None, rows)
        loss.backward()
        assert loss == 0
        assert h.grad.eq(0).all()


def test_only_second_views_cost_a_second_pass_and_flops_count_it(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[VDGen] = []
    flops = {}
    for reading in ("itself", "second view"):
        made = method(**SWIN, vse_pairs=reading)
        original = made.network.vision._features

        def counted(flat: Tensor, made: VDGen = made, original: Any = original) -> Tensor:
            passes.append(made)
            return original(flat)

        monkeypatch.setattr(made.network.vision, "_features", counted)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            losses(made, studies())
        flops[reading] = counter.get_total_flops()
    assert len(passes) == 1 + 2
    with FlopCounterMode(display=False) as one, torch.no_grad():
        features, present = made._read(collate(studies(), INFO, reads=made.card.reads))
        made.network.vision(features, present)
    assert 1.0 <= (flops["second view"] - flops["itself"]) / one.get_total_flops() < 1.2


def test_vse_pulls_views_together_and_pushes_images_apart() -> None:
    module = vse()
    h = torch.randn(6, 8)
    swapped = h[torch.tensor([1, 0, 3, 2, 5, 4])]
    assert module(h, h, ALL) < module(h, h + torch.randn(6, 8), ALL) < module(h, swapped, ALL)
    close(module(h[:1].expand(6, -1), h[:1].expand(6, -1), ALL), torch.tensor(math.log(6)))
    free = h[:1] + 0.1 * torch.randn(6, 8)
    free.requires_grad_(True)
    optimizer = torch.optim.Adam([free], 0.05)
    spread = [torch.pdist(free).mean().item()]
    for _ in range(20):
        optimizer.zero_grad()
        module(free, free, ALL).backward()
        optimizer.step()
        spread.append(torch.pdist(free).mean().item())
    assert spread[-1] > 2 * spread[0]


def test_vse_does_not_depend_on_the_order_or_on_studies_without_views() -> None:
    module = vse()
    first, second = torch.randn(2, 6, 8)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    close(module(first[order], second[order], ALL), module(first, second, ALL))
    rows = torch.tensor([True] * 4 + [False] * 2)
    close(module(first, second, rows), module(first[:4], second[:4], ALL[:4]))
    assert module(first, second, ALL & False) == 0


def test_second_views_differ_in_training_and_not_in_evaluation() -> None:
    for made in (method(), method(**SWIN)):
        features, present = made._read(collate(studies(), INFO, reads=made.card.reads))
        made.network.train()
        plain, other = (
            made.network.vision(features, present),
            made.network.vision.second_view(features, present),
        )
        assert plain.shape == other.shape
        assert not torch.allclose(plain[0], other[0], atol=1e-3)
        made.network.eval()
        with torch.no_grad():
            close(made.network.vision.second_view(features, present), made.network.vision(features, present))
            first, second = losses(made, studies()), losses(made, studies())
        assert first == second


def test_augmented_images_keep_their_side() -> None:
    left = torch.zeros(64, 1, 32, 32)
    left[..., :10] = 1.0
    other = augmented(left)
    assert other.shape == left.shape
    assert ((other >= 0) & (other <= 1)).all()
    assert (other[..., :10].mean((1, 2, 3)) > other[..., 22:].mean((1, 2, 3)) + 0.3).all()
    assert (other - left).abs().mean() > 0.01


# ---------------------------------------------------------------- Eq. 4-6: DID


def did() -> DiseaseInformationDistillation:
    torch.manual_seed(0)
    return DiseaseInformationDistillation(12, 8, 0.07)


def test_did_aligns_to_unit_length_in_the_image_space() -> None:
    module = did()
    image, text = torch.randn(6, 8), torch.randn(6, 12)
    z_image, z_text = module.aligned(image, text)
    assert z_image.shape == z_text.shape == (6, 8)
    close(z_image.norm(dim=-1), torch.ones(6))
    close(z_text.norm(dim=-1), torch.ones(6))
    close(z_image, image / image.norm(dim=-1, keepdim=True))
    close(module.aligned(5 * image, text)[0], z_image)


def test_did_is_the_mean_of_both_directions() -> None:
    module = did()
    image, text = torch.randn(6, 8), torch.randn(6, 12)
    z_image, z_text = module.aligned(image, text)
    odds = (z_image @ z_text.T / 0.07).exp()
    v2t = -(odds.diagonal() / odds.sum(1)).log().mean()
    t2v = -(odds.diagonal() / odds.sum(0)).log().mean()
    close(module(image, text, ALL), 0.5 * (v2t + t2v))


def test_did_draws_images_to_their_own_reports() -> None:
    module = did()
    text = torch.randn(6, 12)
    image = torch.randn(6, 8, requires_grad=True)
    optimizer = torch.optim.Adam([image], 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        module(image, text, ALL).backward()
        optimizer.step()
    z_image, z_text = module.aligned(image, text)
    assert ((z_image @ z_text.T).argmax(1) == torch.arange(6)).all()
    assert module(image, text, ALL) < module(image[torch.arange(6).roll(1)], text, ALL)


@pytest.mark.parametrize("teacher", ["hidden", "embeddings"])
def test_the_teacher_is_not_taught_by_did(teacher: str) -> None:
    made = method(teacher=teacher)
    made.network.train()
    losses(made, studies())["did"].backward()
    assert all(parameter.grad is None for parameter in made.network.llm.parameters())
    assert made.network.vision.project.weight.grad.abs().sum() > 0
    assert made.network.did.map.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("teacher", ["hidden", "embeddings"])
def test_report_vectors_ignore_padding(teacher: str) -> None:
    made = method(teacher=teacher)
    together = made.network.teacher(*made.tokenizer.batch(REPORTS, 16))
    for row, report in enumerate(REPORTS):
        close(made.network.teacher(*made.tokenizer.batch([report], 16))[0], together[row])


def test_the_teacher_reads_the_begin_mark_and_leaves_it_out_of_the_mean() -> None:
    made = method(teacher="hidden")
    report, mask = made.tokenizer.batch(REPORTS, 16)
    tokens, counted = made.tokenizer.begun(report, mask)
    assert (tokens[:, 0] == made.tokenizer.begin).all()
    assert not counted[:, 0].any()
    whole = made.network.teacher(tokens, counted)
    for row, length in enumerate(mask.sum(1)):
        with torch.no_grad():
            ids = torch.cat([torch.tensor([made.tokenizer.begin]), report[row, :length]])
            states = made.network.llm.model(input_ids=ids[None]).last_hidden_state[0]
        close(whole[row], states[1:].mean(0))
    without = made.network.teacher(report, mask)
    assert not torch.allclose(whole, without, atol=1e-3)
    vectors = method(teacher="embeddings").network
    close(vectors.teacher(tokens, counted), vectors.teacher(report, mask))


def test_the_losses_begin_the_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    made, read = method(teacher="hidden"), []
    teacher = made.network.teacher

    def noted(tokens: Tensor, mask: Tensor) -> Tensor:
        read.append(tokens)
        return teacher(tokens, mask)

    monkeypatch.setattr(made.network, "teacher", noted)
    losses(made, studies())
    assert (read[0][:, 0] == made.tokenizer.begin).all()


# ---------------------------------------------------------------- vital signs


def signs(made: VDGen, batch: list[Study]) -> dict[str, ProbeFacts]:
    inputs = collate(batch, INFO, reads=made.card.reads)
    with torch.no_grad():
        return {p.part: ProbeFacts(**asdict(p)) for p in made.probes(inputs, targets_of(batch))}


def test_every_named_part_has_a_probe_and_loss_terms_add_up(llama: Path) -> None:
    assert set(signs(method(), studies(8))) == {"VSE", "DID", "prompt"}
    assert set(signs(method("no-vse"), studies(8))) == {"DID", "prompt"}
    assert set(signs(chat(llama), studies(8))) == {"VSE", "DID", "prompt", "LoRA"}
    made = method()
    parts = losses(made, studies())
    assert made.loss_terms(parts).keys() == {"report", "vse", "did"}
    close(sum(made.loss_terms(parts).values(), torch.zeros(())), parts["loss"])


def test_parts_that_do_nothing_are_flagged_and_trained_ones_are_not(llama: Path) -> None:
    made, batch = method(view_dropout=0.0), [s for s in studies(48) if len(s.images) == 2][:12]
    train_a_little(made, batch[:4], 50, 5e-3)
    trained = signs(made, batch[:4])
    assert not trained["DID"].is_dead
    assert not trained["prompt"].is_dead
    with torch.no_grad():
        made.network.vision.project.weight.zero_()  # every image is one point
    collapsed = signs(made, batch)
    assert all(collapsed[part].is_dead for part in ("VSE", "DID", "prompt")), collapsed
    fresh = chat(llama)
    assert signs(fresh, batch)["LoRA"].value == 0
    assert signs(fresh, batch)["LoRA"].is_dead
    train_a_little(fresh, batch[:4], 10)
    adapted = [m for m in fresh.network.llm.modules() if hasattr(m, "lora_A") and len(m.lora_A)]
    norms = [(m.get_delta_weight("default").norm(), m.base_layer.weight.norm()) for m in adapted]
    exact = [update.item() / whole.item() for update, whole in norms]
    assert signs(fresh, batch)["LoRA"].value == pytest.approx(sum(exact) / len(exact), rel=1e-3)
    assert not signs(fresh, batch)["LoRA"].is_dead


# ---------------------------------------------------------------- Eq. 8 and the variants


def test_losses_add_up_and_reach_every_weight() -> None:
    made, batch = method(view_dropout=0.0), studies(6)
    made.network.train()
    parts = losses(made, batch)
    close(parts["loss"], parts["report"] + parts["vse"] + parts["did"])
    assert parts["select"] is parts["report"]
    parts["loss"].backward()
    idle = [name for name, p in made.network.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


@pytest.mark.parametrize("variant", [None, *VARIANTS])
def test_every_variant_trains_and_predicts(variant: str | None) -> None:
    made, batch = method(variant), studies()
    before = {name: value.clone() for name, value in made.network.llm.named_parameters()}
    train_a_little(made, batch, 2)
    parts = losses(made, batch)
    assert set(parts) == {"loss", "report", "select", "vse", "did"} - {
        {"no-vse": "vse", "no-did": "did"}.get(variant or "", "")
    }
    still = all(torch.equal(value, before[name]) for name, value in made.network.llm.named_parameters())
    assert still == (variant == "no-lora")
    assert len(reports(made, batch)) == 4


def test_losses_survive_a_batch_of_one_without_views_or_report() -> None:
    made = method()
    made.network.train()
    bare = Study("bare", "bare", "train", {}, None, "")
    parts = losses(made, [bare])
    parts["loss"].backward()
    assert parts["vse"] == parts["did"] == 0
    grads = [p.grad for p in made.network.parameters() if p.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)
    assert made.network.null.grad.abs().sum() > 0


@pytest.mark.parametrize("encoder", [{}, SWIN])
def test_a_few_steps_overfit_four_studies(encoder: dict[str, Any]) -> None:
    made, batch = method(view_dropout=0.0, **encoder), studies()
    train_a_little(made, batch, 50, 5e-3)
    assert list(reports(made, batch).values()) == [
        "the heart is normal . no effusion .",
        "the heart is enlarged .",
        "no pneumothorax . the lungs are clear . no effusion .",
        "left effusion .",
    ]


def test_weight_decay_spares_vectors_and_the_rate_rises_then_falls_to_zero() -> None:
    for schedule in ("linear", "cosine"):
        made = method(schedule=schedule)
        optimizer, scheduler = made.optimizer(100)
        for group in optimizer.param_groups:
            assert all((p.dim() > 1) == (group["weight_decay"] > 0) for p in group["params"])
        rates = []
        for _ in range(100):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        assert max(rates) == pytest.approx(made.config.learning_rate)
        assert rates.index(max(rates)) in (9, 10)
        assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
        assert rates[-1] < 0.02 * made.config.learning_rate


# ---------------------------------------------------------------- tokens and the prompt


def test_a_trained_tokenizer_gives_clean_reports_back() -> None:
    words = words_of("r2gen-iu")
    texts = [words.join(words.split(report)) for report in REPORTS * 3]
    serialised = train_tokenizer(texts, 300)
    assert serialised == train_tokenizer(texts, 300)
    tokenizer = ReportTokenizer.of(serialised, words)
    tokens, mask = tokenizer.batch([*REPORTS, ""], 30)
    assert [tokenizer.decode(row) for row in tokens.tolist()] == [
        "the heart is normal . no effusion .",
        "the heart is enlarged .",
        "no pneumothorax . the lungs are clear . no effusion .",
        "left effusion .",
        "",
    ]
    assert (mask.sum(1) == (tokens != tokenizer.pad).sum(1)).all()
    assert all(tokens[row, length - 1] == tokenizer.end for row, length in enumerate(mask.sum(1)))
    cut, _ = tokenizer.batch(REPORTS, 3)
    assert cut.shape == (4, 4)
    assert (cut[:, 3] == tokenizer.end).all()


def test_prompt_holds_the_vectors_of_present_views_between_its_two_halves() -> None:
    made, batch = method(token_pool=2), studies(6)
    whole, mask = prompted(made, batch)
    tokens = 4  # 64 pixels at stride 16, windows of 2
    before, after = (len(ids) for ids in made.tokenizer.prompt())
    lengths = [before + after + n for n in (2 * tokens, tokens, 2 * tokens, tokens, tokens, 1)]
    assert mask.sum(1).tolist() == lengths
    assert whole.shape == (6, max(lengths), 32)
    embed = made.network.llm.get_input_embeddings()
    for row, study in enumerate(batch):
        assert (mask[row].diff() >= 0).all() if lengths[row] < max(lengths) else mask[row].all()
        alone, _ = prompted(made, [study])
        close(whole[row, -lengths[row] :], alone[0])
        close(alone[0, :before], embed(torch.tensor(made.tokenizer.prompt()[0])))
        close(alone[0, -after:], embed(torch.tensor(made.tokenizer.prompt()[1])))
    close(whole[5, -after - 1], made.network.project(made.network.null))
    assert PROMPT[0].endswith("<img>")
    assert PROMPT[1].startswith("</img>")


def test_views_are_told_apart() -> None:
    made, batch = method(), studies(1)
    with torch.no_grad():
        made.network.views[1] += 1.0
    image = next(iter(batch[0].images.values()))
    sides = [Study("a", "a", "test", {view: image}) for view in ("frontal", "lateral")]
    (first, _), (second, _) = (prompted(made, [study]) for study in sides)
    assert not torch.allclose(first, second, atol=1e-3)


# ---------------------------------------------------------------- decoding and absent views


@pytest.mark.parametrize(("beams", "encoder"), [(1, {}), (3, {}), (1, SWIN), (1, {"image_guidance": 2.0})])
def test_reports_do_not_depend_on_the_batch(beams: int, encoder: dict[str, Any]) -> None:
    made, batch = method(num_beams=beams, **encoder), studies(8)
    train_a_little(made, batch, 20, 5e-3)
    together = reports(made, batch)
    alone = {s.id: reports(made, [s])[s.id] for s in batch}
    assert together == alone == reports(made, batch[::-1]) == reports(made, batch)
    assert len(set(together.values())) > 1


@pytest.mark.parametrize("beams", [1, 3])
def test_cached_decoding_equals_uncached(beams: int) -> None:
    made, batch = method(num_beams=beams), studies(8)
    train_a_little(made, batch, 15)
    start, mask = prompted(made, batch)
    options = {"inputs_embeds": start, "attention_mask": mask.long()}
    search = made.tokenizer.search(made._decoding())
    with torch.no_grad():
        cached = made.network.llm.generate(**options, generation_config=search, use_cache=True)
        whole = made.network.llm.generate(**options, generation_config=search, use_cache=False)
    assert cached.tolist() == whole.tolist()


def test_guided_words_are_those_that_the_image_makes_more_likely() -> None:
    made, batch = method(image_guidance=3.0), studies(6)
    train_a_little(made, batch, 15)
    features, present = made._read(collate(batch, INFO, reads=made.card.reads))
    embed, marks = (
        made.network.llm.get_input_embeddings(),
        sorted(made.tokenizer.marks - {made.tokenizer.end}),
    )
    expected = {}
    with torch.no_grad():
        for row, study in enumerate(batch):
            here = present[row : row + 1]
            encoded = made.network.encode(features[row : row + 1], here)
            prompts = [made.network.prompt(encoded, views)[0] for views in (here, torch.zeros_like(here))]
            tokens: list[int] = []
            while len(tokens) <= made.config.report_tokens and made.tokenizer.end not in tokens:
                words = embed(torch.tensor([tokens], dtype=torch.long))
                with_image, without = (
                    made.network.llm(inputs_embeds=torch.cat([start, words], dim=1))
                    .logits[0, -1]
                    .log_softmax(0)
                    for start in prompts
                )
                guided = without + 3 * (with_image - without)
                guided[marks] = float("-inf")
                tokens.append(int(guided.argmax()))
            expected[study.id] = made.tokenizer.decode(tokens)
    assert reports(made, batch) == expected
    made.config = made.config.model_copy(update={"image_guidance": 1.0})
    assert reports(made, batch) != expected
    assert reports(made, batch)["s5"] == expected["s5"]  # no image, no guidance


def test_guidance_needs_greedy_search() -> None:
    with pytest.raises(HarnessError, match=r"image_guidance of 1.5 needs num_beams of 1"):
        VDGen.create(INFO, overrides={"image_guidance": 1.5, "num_beams": 3})


def test_drawn_reports_follow_their_seeds_alone() -> None:
    made, batch = method(), studies(5)

    def draw(which: list[Study], draws: int) -> dict[str, list[str]]:
        inputs = collate(which, INFO, reads=made.card.reads)
        with torch.inference_mode():
            return dict(zip(inputs.ids, made.draw_reports(inputs, draws), strict=True))

    together = draw(batch, 4)
    assert together == draw(batch[::-1], 4)
    assert {s.id: draw([s], 4)[s.id] for s in batch} == together
    assert {name: drawn[:2] for name, drawn in together.items()} == draw(batch, 2)
    assert len({text for drawn in together.values() for text in drawn}) == 20


def test_drawn_tokens_have_the_softmax_frequencies() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, float("-inf")])
    noise = GumbelNoise(range(4000), 2.0)
    drawn = noise(torch.zeros(4000, 1), logits.expand(4000, -1)).argmax(-1)
    close(drawn.bincount(minlength=4) / 4000, (logits / 2).softmax(-1), 0.03)


def test_the_search_has_the_fields_of_the_recipe() -> None:
    paper = VDGen.create(INFO, preset="paper").config
    assert (paper.num_beams, paper.min_new_tokens) == (3, 80)
    assert (paper.repetition_penalty, paper.length_penalty) == (2.0, 2.0)
    fields = {"min_new_tokens": 7, "repetition_penalty": 1.5, "length_penalty": 2.0, "num_beams": 3}
    search = method(**fields, no_repeat_ngram=2).network.llm.generation_config
    assert {name: getattr(search, name) for name in fields} == fields
    assert search.no_repeat_ngram_size == 2
    assert search.max_new_tokens == SMALL["report_tokens"] + 1


def test_more_tokens_at_least_than_at_most_are_refused() -> None:
    with pytest.raises(HarnessError, match=r"min_new_tokens of 80 .* report_tokens of 60"):
        VDGen.create(INFO, preset="paper", overrides={"report_tokens": 60})


def test_reports_have_at_least_the_tokens_that_were_asked_for() -> None:
    made, batch = method(min_new_tokens=9), studies()
    train_a_little(made, batch, 50, 5e-3)  # the reports alone would be shorter
    for report in reports(made, batch).values():
        assert len(made.tokenizer.batch([report or ""], 100)[0][0]) >= 10  # nine, and the end mark


def test_marks_are_never_generated_and_reports_are_limited() -> None:
    made = method()
    with torch.no_grad():
        made.network.llm.get_output_embeddings().weight.zero_()
    for report in reports(made, studies()).values():
        assert not any(mark in (report or "") for mark in ("<", "Human", "Assistant"))
        assert len(made.tokenizer.batch([report or ""], 100)[0][0]) <= made.config.report_tokens + 2


@pytest.mark.parametrize("encoder", [{}, SWIN])
def test_content_of_absent_views_changes_nothing(encoder: dict[str, Any]) -> None:
    made, batch = method(**encoder), studies(3)
    inputs = collate(batch, INFO, reads=made.card.reads)
    inputs.present["lateral"].zero_()
    targets = Targets([study.report or "" for study in batch])
    with torch.no_grad():
        before, said = made.losses(inputs, targets), made.predict(inputs)
        inputs.images["lateral"].uniform_()
        after, again = made.losses(inputs, targets), made.predict(inputs)
    for name, value in before.items():
        close(value, after[name])
    assert said == again


def test_context_is_not_read() -> None:
    made, batch = method(), studies()
    assert "context" not in made.card.reads
    assert reports(made, batch) == reports(made, batch, dropped="context")


def test_mean_of_counts_what_is_there() -> None:
    x = torch.arange(12.0).view(1, 4, 3)
    close(mean_of(x, torch.tensor([[True, False, True, False]])), (x[:, 0] + x[:, 2]) / 2)
    assert mean_of(x, torch.zeros(1, 4, dtype=torch.bool)).eq(0).all()


def test_kept_features_give_the_same_losses() -> None:
    made, batch = method(), studies(6)
    with torch.no_grad():
        plain = losses(made, batch)["loss"]
        with made._cache.keeping():
            first, second = losses(made, batch)["loss"], losses(made, batch)["loss"]
    close(first, plain, 2e-3)
    assert first == second


# ---------------------------------------------------------------- a pretrained language model


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a tokenizer in the hub's layout."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama") / "tiny-chat"
    tokenizer = ReportTokenizer.of(train_tokenizer(REPORTS * 3, 300), words_of("r2gen-iu"))
    tokenizer.tokenizer.pad_token = None
    tokenizer.tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=tokenizer.begin,
        eos_token_id=tokenizer.end,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample, model.generation_config.temperature = True, 0.6
    model.save_pretrained(folder)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    return folder


def chat(folder: Path, variant: str | None = None, **overrides: Any) -> VDGen:
    """The paper preset's path with a small encoder around the language model in ``folder``."""
    torch.manual_seed(0)
    small = {"image_size": 64, "vse_width": 64, "report_tokens": 16, "min_new_tokens": 0}
    values = SWIN | small | {"llm_dtype": "float32"} | overrides
    made = VDGen.create(INFO, preset="paper", variant=variant, overrides={**values, "llm": str(folder)})
    made.prepare(made.artifacts(studies()))
    made.network.eval()
    return made


def test_lora_trains_adapters_only(llama: Path) -> None:
    made, batch = chat(llama), studies()
    names = {name for name, p in made.network.llm.named_parameters() if p.requires_grad}
    assert len(names) == 2 * 2 * 2  # layers, query and value, A and B
    assert all("lora_" in name and ("q_proj" in name or "v_proj" in name) for name in names)
    setup = made.network.llm.peft_config["default"]
    assert (setup.r, setup.lora_alpha) == (16, 16)
    before = {name: value.clone() for name, value in made.network.llm.named_parameters()}
    first = losses(made, batch)["loss"].item()
    train_a_little(made, batch, 4)
    moved = {n for n, value in made.network.llm.named_parameters() if not torch.equal(value, before[n])}
    assert moved == names
    assert losses(made, batch)["loss"].item() < first


def test_without_lora_the_language_model_stays_and_the_image_is_still_learned(llama: Path) -> None:
    made = chat(llama, "no-lora")
    assert not any(parameter.requires_grad for parameter in made.network.llm.parameters())
    made.network.train()
    losses(made, studies())["report"].backward()
    assert made.network.project.weight.grad.abs().sum() > 0


def test_the_teacher_does_not_see_the_adapters(llama: Path) -> None:
    made, batch = chat(llama), studies()
    tokens = made.tokenizer.batch([study.report or "" for study in batch], 16)
    before = made.network.teacher(*tokens)
    train_a_little(made, batch, 3)
    close(made.network.teacher(*tokens), before)


def test_gradient_checkpoints_change_no_gradient(llama: Path) -> None:
    found = []
    for checkpoints in (False, True):
        made, batch = chat(llama, checkpoint_gradients=checkpoints, lora_dropout=0.0), studies()
        made.network.llm.train()
        torch.manual_seed(3)
        losses(made, batch)["loss"].backward()
        found.append({n: p.grad for n, p in made.network.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, grad in found[0].items():
        close(grad, found[1][name])


def test_a_checkpoint_holds_what_trained_and_the_name_of_the_rest(llama: Path, tmp_path: Path) -> None:
    made, batch = chat(llama), studies()
    train_a_little(made, batch, 10)
    made.save(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as stored:
        names = set(stored.keys())
    assert {name for name in names if name.startswith("llm.")} == {
        f"llm.{name}" for name, p in made.network.llm.named_parameters() if "lora_" in name
    }
    artifacts = json.loads((tmp_path / "artifacts.json").read_text())
    assert artifacts == {"llm": str(llama), "fingerprint": fingerprint(llama)}
    again = VDGen(made.config, INFO)
    again.load(tmp_path)
    again.network.eval()
    assert reports(again, batch) == reports(made, batch)
    close(losses(again, batch)["loss"], losses(made, batch)["loss"])
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CorruptFileError):
        again.load(tmp_path)


def test_fitting_with_lora_goes_through_the_training_loop(llama: Path, tmp_path: Path) -> None:
    overrides = {"training.epochs": 2, "training.batch_size": 4, "learning_rate": 1e-2}
    made = chat(llama, **overrides)
    made.fit(studies(8), studies(4), FitRun(tmp_path, "cpu", 0))
    assert (tmp_path / "last.ckpt").stat().st_size < 3 * (tmp_path / "kept.safetensors").stat().st_size + 1e6
    with safe_open(tmp_path / "kept.safetensors", "pt") as stored:
        assert not [name for name in stored.keys() if "embed_tokens" in name]  # noqa: SIM118
    said = reports(made, studies())
    again = chat(llama, **overrides)
    again.fit(studies(8), studies(4), FitRun(tmp_path, "cpu", 0))  # finished: resumes and restores
    assert reports(again, studies()) == said


def test_another_language_model_under_a_checkpoint_is_refused(llama: Path, tmp_path: Path) -> None:
    made = chat(llama)
    made.save(tmp_path / "checkpoint")
    other = tmp_path / "other"
    other.mkdir()
    for path in llama.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    assert fingerprint(other) == fingerprint(llama)
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "model.safetensors").write_bytes(content)
    config = made.config.model_copy(update={"llm": str(other)})
    with pytest.raises(HarnessError, match="not the language model of this checkpoint"):
        VDGen(config, INFO).load(tmp_path / "checkpoint")


def test_absent_models_are_named_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_ALLOW_DOWNLOADS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"vdgen\.llm: no folder .*nowhere.*--set vdgen\.llm=FOLDER"):
        chat(tmp_path / "nowhere")
    made = VDGen.create(INFO, preset="paper", overrides={"llm": "nobody/no-such-model"})
    with pytest.raises(UnavailableError, match=r"no-such-model is neither .*HARNESS_ALLOW_DOWNLOADS=1"):
        made.artifacts(studies())


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors", "tokenizer.json"])
def test_broken_models_are_named(llama: Path, tmp_path: Path, broken: str) -> None:
    for path in llama.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / broken).write_bytes((tmp_path / broken).read_bytes()[:40])
    with pytest.raises(HarnessError, match=r"cannot read .*copy the model's files again"):
        chat(tmp_path)


def test_missing_weights_are_not_made_up(llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in llama.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("model.layers.0.mlp.up_proj.weight")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(HarnessError, match=r"1 weights are missing, first model\.layers\.0\.mlp\.up_proj"):
        chat(tmp_path)


def test_a_pretrained_swin_is_read_from_its_folder(llama: Path, tmp_path: Path) -> None:
    made = chat(llama)
    made.network.vision.model.save_pretrained(tmp_path)
    again = chat(llama, swin=str(tmp_path))
    for name, value in made.network.vision.state_dict().items():
        close(again.network.vision.state_dict()[name], value)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("preset", "variant", "total", "trained"),
    [("paper", None, 6_844_044_472, 105_627_832), ("paper", "no-lora", 6_835_655_864, 97_239_224)],
)
def test_the_paper_preset_has_the_sizes_of_its_parts(
    preset: str, variant: str | None, total: int, trained: int
) -> None:
    """Llama-2-7B has 6,738,415,616 weights (Touvron et al. 2023), Swin-B without its head 86,743,224."""
    info = DatasetInfo("paper", frozenset({Task.REPORT}), ("frontal",), True, 224, channels=3)
    made = VDGen.create(info, preset=preset, variant=variant)
    with torch.device("meta"):
        made.prepare(made.reference_artifacts())
    network = made.network
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    adapters = sum(p.numel() for name, p in network.llm.named_parameters() if "lora_" in name)
    assert count["llm"] - adapters == 6_738_415_616
    assert count["vision"] == 86_743_224
    assert adapters == (0 if variant else 32 * 2 * 2 * 16 * 4096)
    assert sum(p.numel() for p in network.parameters()) == total
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == trained


def test_a_language_model_in_bfloat16_trains_its_adapters_in_float32(llama: Path) -> None:
    made, batch = chat(llama, llm_dtype="bfloat16"), studies()
    kinds = {(p.dtype, p.requires_grad) for p in made.network.llm.parameters()}
    assert kinds == {(torch.bfloat16, False), (torch.float32, True)}
    first = losses(made, batch)["loss"].item()
    train_a_little(made, batch, 4)
    assert losses(made, batch)["loss"].item() < first
    assert reports(made, batch) == reports(made, batch)
    with torch.autocast("cpu", torch.bfloat16):
        parts = losses(made, batch)
    assert all(torch.isfinite(value) for value in parts.values())
