"""CoDi XR: schedule, guidance, any-to-any generation, resumable stages, presets."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor

from harness.core.errors import HarnessError, UnavailableError
from harness.core.types import DatasetInfo, Prediction, Study, Task
from harness.evaluation.synthesis import conditioned
from harness.method.batching import collate, targets_of
from harness.method.contract import FitRun
from harness.method.size import REFERENCE_INFO
from methods.codi_xr.config import MODALITIES, REPORT, VIEWS
from methods.codi_xr.denoisers import JointGaussian
from methods.codi_xr.diffusion import alphas, guided, mixed, noised, sample, seeded_noise
from methods.codi_xr.method import CoDiXR
from methods.common.text import BOS, EOS

INFO = DatasetInfo("toy", frozenset({Task.REPORT, Task.SYNTHESIZE}), VIEWS, True, 32)
SMALL: dict[str, Any] = {
    "image_autoencoder": {"epochs": 2, "batch_size": 4},
    "report_autoencoder": {"epochs": 2, "batch_size": 4},
    "contrastive": {"epochs": 2, "batch_size": 4},
    "training": {"epochs": 2, "batch_size": 4},
    "alignment": {"epochs": 2, "batch_size": 4},
    "image_size": 32,
    "patch": 8,
    "patch_values": 4,
    "vae_channels": (16,),
    "latent_channels": 4,
    "text_width": 16,
    "embedding": 16,
    "unet_channels": (16,),
    "report_latent": 8,
    "bert_width": 16,
    "gpt2_width": 16,
    "gpt2_layers": 1,
    "report_words": 8,
    "text_words": 12,
    "environment": 16,
    "min_count": 1,
    "steps": 3,
}
REPORTS = ("The heart is normal.", "The heart is enlarged.", "Left effusion.", "No effusion. Clear lungs.")
STAGES = ("0-images", "0-reports", "1-contrastive", "2-diffusion", "3-alignment")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tiny tensors: a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def studies(count: int = 8) -> list[Study]:
    noise = np.random.default_rng(0)
    made = []
    for row in range(count):
        views = VIEWS if row % 4 != 3 else ("frontal",)
        images = {view: noise.integers(0, 256, (32, 32, 1), dtype=np.uint8) for view in views}
        made.append(Study(f"s{row}", f"p{row}", "train", images, None, REPORTS[row % 4]))
    return made


def method(variant: str | None = None, **overrides: Any) -> CoDiXR:
    """A prepared method whose last layers, zero at the start, say something."""
    torch.manual_seed(0)
    made = CoDiXR.create(INFO, variant=variant, overrides=SMALL | overrides)
    made.prepare(made.artifacts(studies()))
    basis = made.network.image_autoencoder.basis
    if basis is not None:
        basis.axes.normal_()
    for parameter in made.network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return made


@pytest.fixture(scope="module")
def made() -> CoDiXR:
    return method()


def answers(made: CoDiXR, batch: list[Study], targets: list[str]) -> dict[str, Prediction]:
    reports = {study.id: study.report for study in batch}
    inputs = conditioned(collate(batch, INFO, reads=made.card.reads), targets, reports, 0, "full")
    return dict(zip(inputs.ids, made.synthesize(inputs, targets), strict=True))


def same(first: Prediction, second: Prediction) -> bool:
    images = {**(first.images or {})}, {**(second.images or {})}
    equal = images[0].keys() == images[1].keys() and all(
        np.array_equal(images[0][view], images[1][view]) for view in images[0]
    )
    return equal and first.report == second.report


# ---------------------------------------------------------------- schedule, samplers, guidance


def test_schedule_is_stable_diffusions() -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    torch.testing.assert_close(alphas().double(), (1 - betas).cumprod(0), atol=1e-5, rtol=1e-4)


def test_noise_is_added_as_diffusers_does() -> None:
    clean, noise, time = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2), torch.tensor([0, 1, 500, 998, 999])
    theirs = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    torch.testing.assert_close(noised(clean, noise, alphas()[time]), theirs.add_noise(clean, noise, time))


@pytest.mark.parametrize("sampler", ["ddim", "dpm-solver++"])
@pytest.mark.parametrize("steps", [10, 20])
def test_sampler_finds_what_a_perfect_denoiser_knows(sampler: str, steps: int) -> None:
    clean, start = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))

    def perfect(latents: Any, time: int) -> dict[str, Tensor]:
        signal = alphas()[time]
        return {"z": (latents["z"] - signal.sqrt() * clean) / (1 - signal).sqrt()}

    found = sample({"z": start}, perfect, sampler, steps)["z"]
    torch.testing.assert_close(found, clean, atol=0.08, rtol=0.05)


def test_samplers_end_near_each_other() -> None:
    """On a Gaussian of variance 4, whose score is known, both follow the same trajectory."""

    def gaussian(latents: Any, time: int) -> dict[str, Tensor]:
        signal = alphas()[time]
        return {"z": latents["z"] * (1 - signal).sqrt() / (4 * signal + 1 - signal)}

    start = {"z": torch.linspace(-2, 2, 9)}
    ends = [sample(start, gaussian, *which)["z"] for which in (("ddim", 200), ("dpm-solver++", 20))]
    torch.testing.assert_close(ends[0], ends[1], atol=0.1, rtol=0.03)
    torch.testing.assert_close(ends[1], 2 * start["z"], atol=0.1, rtol=0.1)


def test_guidance_arithmetic() -> None:
    conditional, unconditional = torch.randn(2, 3, 4)
    torch.testing.assert_close(guided(conditional, unconditional, 1.0), conditional)
    torch.testing.assert_close(guided(conditional, unconditional, 0.0), unconditional)
    torch.testing.assert_close(guided(conditional, unconditional, 3.0), 3 * conditional - 2 * unconditional)


@pytest.mark.parametrize("name", MODALITIES)
def test_both_halves_of_guidance_are_one_forward_pass(made: CoDiXR, name: str) -> None:
    network, calls = made.network.eval(), []
    noisy, context = torch.randn(2, *network.shapes[name]), torch.randn(2, 16)
    denoiser = network.denoiser(name)
    hook = denoiser.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        found = network.guided_noise(name, noisy, 400, context, None)
        hook.remove()
        time = torch.full((2,), 400)
        halves = [
            network.noise_in(name, noisy, time, each, None) for each in (context, torch.zeros_like(context))
        ]
    assert len(calls) == 1
    torch.testing.assert_close(found, guided(*halves, made.config.guidance), atol=1e-4, rtol=1e-4)


def test_a_gaussian_start_is_right_for_gaussian_latents() -> None:
    """Before any training, sampling turns noise into latents of unit variance, as the diffused ones have."""
    fresh = CoDiXR.create(INFO, overrides=SMALL)
    fresh.prepare(fresh.reference_artifacts())
    network = fresh.network.eval()
    noise = torch.randn(64, *network.shapes["frontal"], generator=torch.Generator().manual_seed(0))

    def denoise(latents: Any, time: int) -> dict[str, Tensor]:
        times = torch.full((len(noise),), time)
        return {"frontal": network.noise_in("frontal", latents["frontal"], times, torch.zeros(64, 16), None)}

    with torch.inference_mode():
        found = sample({"frontal": noise}, denoise, "dpm-solver++", 20)["frontal"]
    torch.testing.assert_close(found, noise, atol=0.15, rtol=0.1)


def test_the_autoencoder_of_components_starts_as_their_truncation() -> None:
    """The best linear code of principal components is the first of them; training starts from there."""
    fresh = CoDiXR.create(INFO, overrides=SMALL | {"latent_channels": 2})
    fresh.prepare(fresh.reference_artifacts())
    model = fresh.network.image_autoencoder.eval()
    assert model.basis is not None
    read = torch.randn(3, model.basis.axes.shape[-1], model.basis.grid, model.basis.grid)
    kept = fresh.config.latent_channels
    with torch.inference_mode():
        posterior = model.vae.encode(read).latent_dist
        again = model.vae.decode(posterior.mode()).sample
    assert float(posterior.std.mean()) < 0.1
    torch.testing.assert_close(again[:, :kept], read[:, :kept], atol=1e-5, rtol=1e-5)
    assert not again[:, kept:].any()


def test_several_conditions_are_a_weighted_mean_of_unit_vectors() -> None:
    embeddings = torch.tensor([[[2.0, 0.0], [0.0, 5.0]]]).expand(3, 2, 2)
    found = mixed(embeddings, torch.tensor([[1.0, 1.0], [3.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0], [2.0**0.5, 0.0], [0.0, 0.0]]))


def test_noise_follows_from_seed_and_modality_alone() -> None:
    noise = seeded_noise([3, 4, 3], "frontal", (2, 2))
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[:1], seeded_noise([3], "lateral", (2, 2)))


# ---------------------------------------------------------------- any to any


TARGETS = [list(some) for size in (1, 2, 3) for some in itertools.combinations(MODALITIES, size)]


@pytest.mark.parametrize("targets", TARGETS, ids="+".join)
def test_every_path_has_its_shapes(made: CoDiXR, targets: list[str]) -> None:
    rest = [name for name in MODALITIES if name not in targets]
    for size in range(len(rest) + 1):
        for given in itertools.combinations(rest, size):
            (whole,) = studies(1)
            views = {view: image for view, image in whole.images.items() if view in given}
            study = Study("s", "p", "test", views, None, whole.report if REPORT in given else None)
            answer = answers(made, [study], targets)["s"]
            assert {*(answer.images or {})} == {*targets} & {*VIEWS}
            assert (answer.report is not None) == (REPORT in targets)
            for image in (answer.images or {}).values():
                assert image.shape == (32, 32, 1)
                assert image.dtype == np.uint8


@pytest.mark.parametrize("targets", [["frontal"], ["report"], ["frontal", "lateral"]], ids="+".join)
def test_what_is_generated_does_not_depend_on_company(made: CoDiXR, targets: list[str]) -> None:
    batch = studies(6)
    together, reverse = answers(made, batch, targets), answers(made, batch[::-1], targets)
    for study in batch:
        alone = answers(made, [study], targets)[study.id]
        for other in (together[study.id], reverse[study.id]):
            for view, image in (alone.images or {}).items():
                assert np.abs(image.astype(int) - other.images[view].astype(int)).max() <= 1
            assert other.report == alone.report


def test_a_target_is_never_a_condition(made: CoDiXR) -> None:
    (study,) = studies(1)
    other = Study(
        "s0", "p", "test", {**study.images, "frontal": 255 - study.images["frontal"]}, None, study.report
    )
    assert same(answers(made, [study], ["frontal"])["s0"], answers(made, [other], ["frontal"])["s0"])
    told = Study("s0", "p", "test", study.images, None, "Left effusion.")
    assert same(answers(made, [study], ["report"])["s0"], answers(made, [told], ["report"])["s0"])


def test_conditions_and_joint_branches_are_heard(made: CoDiXR) -> None:
    (study,) = studies(1)
    told = Study("s0", "p", "test", study.images, None, "Left effusion.")
    assert not same(answers(made, [study], ["frontal"])["s0"], answers(made, [told], ["frontal"])["s0"])
    deaf = method("no-alignment")
    deaf.network.load_state_dict(made.network.state_dict(), strict=False)
    apart = answers(deaf, [study], ["frontal", "report"])["s0"]
    jointly = answers(made, [study], ["frontal", "report"])["s0"]
    assert not np.array_equal(apart.images["frontal"], jointly.images["frontal"])


def test_unconditional_variant_ignores_conditions() -> None:
    deaf, (study,) = method("unconditional"), studies(1)
    told = Study("s0", "p", "test", study.images, None, "Left effusion.")
    assert same(answers(deaf, [study], ["frontal"])["s0"], answers(deaf, [told], ["frontal"])["s0"])


def test_connectors_change_nothing_before_stage_3() -> None:
    torch.manual_seed(0)
    fresh = CoDiXR.create(INFO, overrides=SMALL)
    fresh.prepare(fresh.artifacts(studies()))
    network = fresh.network.eval()
    for name in MODALITIES:
        noisy, time = torch.randn(2, *network.shapes[name]), torch.tensor([5, 900])
        context, heard = torch.randn(2, 16), torch.randn(2, 2, 16)
        with torch.inference_mode():
            plain = network.denoiser(name)(noisy, time, context, None)
            torch.testing.assert_close(network.denoiser(name)(noisy, time, context, heard), plain)


@pytest.mark.parametrize("targets", [["side"], []])
def test_impossible_targets_are_refused(made: CoDiXR, targets: list[str]) -> None:
    with pytest.raises(HarnessError, match="codi_xr cannot generate"):
        made.synthesize(collate(studies(1), INFO, reads=made.card.reads), targets)


# ---------------------------------------------------------------- autoencoders


def test_cached_writing_equals_reading_whole_prefixes(made: CoDiXR) -> None:
    model = made.network.report_autoencoder.eval()
    words, z = torch.tensor([[BOS, 5, 6, 7], [BOS, 8, 9, 5]]), torch.randn(2, 8)
    with torch.inference_mode():
        whole = model.logits(words, z)
        state = model.start(z)
        steps = [model.step(words[:, : size + 1], state) for size in range(4)]
    torch.testing.assert_close(torch.stack(steps, dim=1), whole, atol=1e-5, rtol=1e-4)


def test_latents_are_standardised(tmp_path: Path) -> None:
    from methods.codi_xr.studies import Studies

    made = method()
    cases = Studies(studies(), made.network.eval(), made.vocabularies, INFO)
    for name in MODALITIES:
        cases.encode(name)
        cases.calibrate(name, 8)
        found = cases.latents[name][cases.having(name)]
        torch.testing.assert_close(found.mean(0), torch.zeros_like(found[0]), atol=1e-3, rtol=0)
        assert 0.8 < float(found.std()) < 1.1
    again = made.network.image_autoencoder.encode(cases.pixels([0], "frontal"), 0)
    torch.testing.assert_close(again, cases.latents["frontal"][:1], atol=1e-4, rtol=1e-4)


def test_patch_components_reproduce_images_of_their_rank() -> None:
    from methods.codi_xr.autoencoders import PatchBasis

    factors, axes = torch.randn(20, 3), torch.randn(3, 1, 16, 16)
    images = torch.einsum("nk,kchw->nchw", factors, axes)
    basis = PatchBasis(16, 8, 1, 3)
    basis.fit(0, images)
    torch.testing.assert_close(basis.images(basis(images, 0), 0), images, atol=1e-3, rtol=1e-3)
    assert basis(images, 0).shape == (20, 3, 2, 2)


def test_both_views_are_read_alike_before_and_after_the_projection() -> None:
    """Components of a view are kept with the scale that reads it later; one view leaves the other alone."""
    from methods.codi_xr.studies import Studies

    cases = [
        replace(
            study,
            images={view: image // (1 + 3 * (view == "lateral")) for view, image in study.images.items()},
        )
        for study in studies()
    ]
    made = CoDiXR.create(INFO, overrides=SMALL)
    made.prepare(made.artifacts(cases))
    model, projected = made.network.image_autoencoder, Studies(cases, made.network, made.vocabularies, INFO)
    projected.project(len(cases))
    for number, view in enumerate(VIEWS):
        rows = projected.having(view)
        readings, pixels = projected.readings(rows, view), projected.pixels(rows, view)
        torch.testing.assert_close(readings, model.read(pixels, number), atol=1e-4, rtol=1e-4)
        assert float(readings.std()) == pytest.approx(1.0, abs=1e-3)


# ---------------------------------------------------------------- training


class Killed(RuntimeError):
    """Stands for a kill."""


def fitted(folder: Path, kill: str = "") -> CoDiXR:
    """Fit; with ``kill`` the run dies in the second epoch of that stage, and a new process fits again."""

    def progress(fraction: float, status: str) -> None:
        if kill and status.startswith(f"{kill[2:]}: epoch 2/2") and STAGES.index(kill) <= fraction * 5:
            raise Killed

    made = CoDiXR.create(INFO, overrides=SMALL)
    folder.mkdir(exist_ok=True)
    train, val = studies(), studies(4)
    val = [Study(f"v{s.id}", s.patient_id, "val", s.images, None, s.report) for s in val]
    made.fit(train, val, FitRun(folder, "cpu", 3, progress))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(folder: Path) -> CoDiXR:
    return fitted(folder)


def test_every_stage_records_whether_its_parts_act(whole: CoDiXR, folder: Path) -> None:
    parts: dict[str, set[str]] = {}
    for stage in STAGES:
        history = json.loads((folder / stage / "history.json").read_text())["history"]
        signs = history[-1]["signs"]
        assert "error" not in signs
        assert all(probe["value"] is not None for probe in signs["probes"])
        parts[stage] = {probe["part"] for probe in signs["probes"]}
    assert parts == {
        "0-images": {"frontal autoencoder", "lateral autoencoder"},
        "0-reports": {"report autoencoder", "bag of words"},
        "1-contrastive": {"frontal-lateral space", "frontal-report space", "lateral-report space"},
        "2-diffusion": {f"{name} {part}" for name in MODALITIES for part in ("expectation", "denoiser")},
        "3-alignment": {"environment encoders", "connectors", "joint branches"},
    }


def test_dead_parts_are_found(whole: CoDiXR) -> None:
    """A decoder that does not read z, and connectors that add nothing, are measured as what they are."""
    from methods.codi_xr.probes import Probes
    from methods.codi_xr.studies import Studies

    dead, cases = copy.deepcopy(whole), studies()
    report = dead.network.report_autoencoder
    last = [x.outward if hasattr(x, "outward") else x.block.proj_out for x in dead.network.connectors()]
    for layer in (report.past, *last):
        torch.nn.init.zeros_(layer.weight)
    for coupling in dead.network.couplings.values():
        coupling.strength.zero_()
    probes = Probes(Studies(cases, dead.network.eval(), dead.vocabularies, INFO))
    for name in MODALITIES:
        probes.studies.encode(name)
    probes.studies.embed()
    ids = [study.id for study in cases]
    with torch.no_grad():
        measured = [*probes.report_autoencoder(ids), *probes.alignment(ids)]
    values = {probe.part: probe.value for probe in measured if "cost" in probe.quantity}
    assert values["report autoencoder"] == values["connectors"] == values["joint branches"] == 0.0
    assert values["bag of words"] != 0.0


def test_jointly_gaussian_latents_are_denoised_as_their_covariance_says() -> None:
    generator = torch.Generator().manual_seed(0)
    count, sizes = 20000, (6, 3)
    mixing = torch.linalg.qr(torch.randn(6, 3, generator=generator))[0] * torch.tensor([0.9, 0.6, 0.0])
    first = torch.randn(count, 6, generator=generator)
    spread = (1.0 - torch.tensor([0.9, 0.6, 0.0]).square()).sqrt()
    second = first @ mixing + spread * torch.randn(count, 3, generator=generator)
    coupling = JointGaussian((6,), (3,))
    coupling.fit(first, second)
    torch.testing.assert_close(coupling.strength, torch.tensor([0.9, 0.6, 0.0]), atol=0.04, rtol=0)
    signal = torch.tensor([0.2, 0.9])
    noisy = torch.randn(2, sum(sizes), generator=generator)
    changes = torch.cat(coupling(noisy[:, :6], noisy[:, 6:], signal), dim=1)
    covariance = torch.eye(9)
    covariance[:6, 6:], covariance[6:, :6] = mixing, mixing.T
    for row, a in enumerate(signal):
        exact = (1 - a).sqrt() * torch.linalg.solve(a * covariance + (1 - a) * torch.eye(9), noisy[row])
        torch.testing.assert_close((1 - a).sqrt() * noisy[row] + changes[row], exact, atol=0.15, rtol=0.05)


def test_branches_that_are_generated_together_are_coupled(whole: CoDiXR) -> None:
    """Stage 3's statistics are of the training studies; without stage 3 there are none."""
    assert all(bool(coupling.left.any()) for coupling in whole.network.couplings.values())
    assert not method("no-alignment").network.couplings


def test_a_run_killed_in_every_stage_ends_with_the_same_weights(tmp_path: Path, whole: CoDiXR) -> None:
    for number, stage in enumerate(STAGES):
        with pytest.raises(Killed):
            fitted(tmp_path, kill=stage)
        assert {path.name for path in tmp_path.iterdir()} == set(STAGES[: number + 1])
    resumed = fitted(tmp_path)
    for name, tensor in resumed.network.state_dict().items():
        assert torch.equal(tensor, whole.network.state_dict()[name]), name


def test_each_stage_trains_its_own_part(whole: CoDiXR, tmp_path: Path) -> None:
    """Without stage 3 everything but environment encoders and connectors comes out the same."""
    short = CoDiXR.create(INFO, overrides=SMALL | {"alignment": {"epochs": 0}})
    train = studies()
    val = [Study(f"v{s.id}", s.patient_id, "val", s.images, None, s.report) for s in studies(4)]
    short.fit(train, val, FitRun(tmp_path, "cpu", 3))
    weights = whole.network.state_dict()
    for name, tensor in short.network.state_dict().items():
        hears = "environments" in name or "connector" in name
        if not hears:
            assert torch.equal(tensor, weights[name]), name
        elif name.endswith(("proj_out.bias", "outward.bias")):
            assert not torch.equal(tensor, weights[name]), name


def test_saved_method_generates_the_same(whole: CoDiXR, tmp_path: Path) -> None:
    whole.save(tmp_path)
    copy = CoDiXR.create(INFO, overrides=SMALL)
    copy.load(tmp_path)
    for targets in (["report"], ["frontal"]):
        first, second = answers(whole, studies(3), targets), answers(copy, studies(3), targets)
        assert all(same(first[name], second[name]) for name in first)


def test_stage_3_conditions_on_nothing_that_is_generated(made: CoDiXR) -> None:
    """Of a study's three modalities two are noised, and the embedding of the third alone is the condition."""
    network, count = made.network.eval(), 64
    generator = torch.Generator().manual_seed(0)
    latents = {name: torch.randn(count, *network.shapes[name], generator=generator) for name in MODALITIES}
    embeddings = torch.eye(3, 16).expand(count, 3, 16)  # tells of which modalities a condition is made
    heard: dict[str, list[Tensor]] = {name: [] for name in MODALITIES}
    hooks = [
        network.denoiser(name).register_forward_hook(
            lambda module, inputs, output, name=name: heard[name].append(torch.stack(inputs[2:3])[0])
        )
        for name in MODALITIES
    ]
    tokens: list[dict[str, Tensor]] = []
    plain = network.tokens
    network.tokens = lambda *arguments: tokens.append(plain(*arguments)) or tokens[-1]
    torch.manual_seed(0)
    with torch.no_grad():
        network.alignment_loss(latents, torch.ones(count, 3, dtype=torch.bool), embeddings)
    network.tokens = plain
    for hook in hooks:
        hook.remove()
    (generated,) = tokens
    for number, name in enumerate(MODALITIES):
        (condition,) = heard[name]
        is_target = generated[name].any(1)
        assert 0 < int(is_target.sum()) < count
        assert not condition[is_target, number].any()
        assert (condition[:, :3] != 0).sum(1).max() == 1
    assert sum(x.any(1).int() for x in generated.values()).tolist() == [2] * count


def test_no_guidance_leaves_every_guidance_out() -> None:
    config = CoDiXR.create(REFERENCE_INFO, variant="no-guidance").config
    assert {config.guidance, config.mean_guidance, config.report_mean_guidance} == {1.0}


def test_losses_reach_every_trained_part() -> None:
    made = method()
    inputs, targets = collate(studies(), INFO, reads=made.card.reads), targets_of(studies())
    losses = made.losses(inputs, targets)
    assert {"loss", *MODALITIES} <= set(losses)
    losses["loss"].backward()
    for name in MODALITIES:
        assert any(p.grad is not None and p.grad.any() for p in made.network.denoiser(name).parameters())


# ---------------------------------------------------------------- sizes, pretrained parts


def test_paper_preset_has_the_sizes_that_it_names() -> None:
    made = CoDiXR.create(REFERENCE_INFO, preset="paper")
    with torch.device("meta"):
        made.prepare(made.reference_artifacts())
    network = made.network

    def millions(module: torch.nn.Module) -> float:
        return sum(parameter.numel() for parameter in module.parameters()) / 1e6

    heard = {
        name: sum(
            millions(module)
            for module in network.denoiser(name).modules()
            if type(module).__name__.endswith("Connector")
        )
        for name in MODALITIES
    }
    assert millions(network.image_autoencoder.vae) == pytest.approx(83.65, abs=0.01)  # Stable Diffusion 1.5
    assert millions(network.frontal) - heard["frontal"] == pytest.approx(859.52, abs=0.01)  # the same
    assert millions(network.contrastive) == pytest.approx(427.62, abs=0.05)  # CLIP ViT-L/14
    # The configurations of the public code, without the layers that only videos pass.
    assert millions(network.report_autoencoder) == pytest.approx(241.6, abs=0.05)
    assert millions(network.report) - heard["report"] == pytest.approx(1708.9, abs=0.1)
    assert list(heard.values()) == pytest.approx([243.95] * 3, abs=0.01)
    environments = [millions(network.environments[name]) for name in MODALITIES]
    assert environments == pytest.approx([52.35, 52.35, 95.6], abs=0.01)
    assert millions(network) == pytest.approx(5112.9, abs=0.1)


def test_absent_and_unfitting_weights_are_named(tmp_path: Path) -> None:
    from methods.codi_xr.pretrained import load_pretrained

    made = method(image_vae=str(tmp_path / "nowhere" / "x"))
    with pytest.raises(UnavailableError, match=r"codi_xr\.image_vae"):
        load_pretrained(made.network, made.config, made.vocabularies)
    AutoencoderKL(block_out_channels=(8,), norm_num_groups=2).save_pretrained(tmp_path / "vae")
    made = method(image_vae=str(tmp_path))
    with pytest.raises(HarnessError, match="sizes"):
        load_pretrained(made.network, made.config, made.vocabularies)


def test_reports_end(made: CoDiXR) -> None:
    """What is written is words of the vocabulary, none of them a mark."""
    text = answers(made, studies(1), ["report"])["s0"].report
    assert set(text.split()) <= set(made.vocabularies.written.entries)
    assert len(made.vocabularies.written) > EOS
