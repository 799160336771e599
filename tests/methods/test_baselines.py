"""Late and early fusion: what an absent modality may do, dropout, kept features, presets, learning."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Inputs, Study, Task
from harness.method.batching import collate, targets_of
from harness.method.contract import FitRun
from harness.method.size import describe
from methods.baselines.method import EarlyFusion, Fusion, LateFusion, kept_modalities
from methods.baselines.network import EarlyFusionNetwork, LateFusionNetwork

INFO = DatasetInfo(
    name="small",
    tasks=frozenset({Task.DIAGNOSE}),
    image_modalities=("clinical", "dermoscopic"),
    has_context=False,
    image_size=64,
    channels=3,
    label_names=("a", "b", "c"),
    multilabel=False,
)
FINDINGS = replace(INFO, multilabel=True)
BOTH = [LateFusion, EarlyFusion]
SMALL: dict[str, Any] = {
    "tiny": {"image_size": 64, "grid": 2, "hidden": 16, "training.epochs": 1, "training.batch_size": 4},
    "base": {"image_size": 64, "hidden": 16, "training.epochs": 1, "training.batch_size": 4},
}


def studies(split: str, n: int, size: int = 64) -> list[Study]:
    """The class is which third of the image is bright; every fifth study has one modality only."""
    rng = np.random.default_rng(len(split))
    made = []
    for number in range(n):
        label = number % 3
        images = {}
        for view in INFO.image_modalities:
            pixels = rng.integers(0, 60, (size, size, 3))
            pixels[:, label * size // 3 : (label + 1) * size // 3] += 150
            images[view] = pixels.astype(np.uint8)
        if number % 5 == 4:
            del images["clinical"]
        labels = np.eye(3, dtype=np.float32)[label]
        made.append(Study(f"{split}{number}", f"{split}{number}", split, images, labels=labels))
    return made


def prepared(
    kind: type[Fusion], preset: str = "tiny", info: DatasetInfo = INFO, seed: int = 0, **set_: Any
) -> Fusion:
    torch.manual_seed(seed)
    method = kind.create(info, preset=preset, overrides={**SMALL[preset], **set_})
    method.prepare(method.artifacts(studies("train", 12)))
    method.network.eval()
    return method


shared = cache(prepared)
"""For tests that leave the network as it is."""


def said(method: Fusion, batch: list[Study], **options: Any) -> np.ndarray:
    inputs = collate(batch, method.info, reads=method.card.reads, **options)
    return np.stack([prediction.probabilities for prediction in method.predict(inputs)])


@pytest.mark.parametrize("kind", BOTH)
def test_classes_sum_to_one_and_findings_do_not_have_to(kind: type[Fusion]) -> None:
    batch = studies("test", 5)
    assert np.allclose(said(shared(kind), batch).sum(1), 1, atol=1e-6)
    findings = said(shared(kind, info=FINDINGS), batch)
    assert ((findings > 0) & (findings < 1)).all()
    assert not np.allclose(findings.sum(1), 1, atol=1e-3)


@pytest.mark.parametrize("preset", ["tiny", "base"])
@pytest.mark.parametrize("kind", BOTH)
def test_content_of_an_absent_modality_has_no_influence(kind: type[Fusion], preset: str) -> None:
    method = shared(kind, preset)
    inputs = collate(studies("test", 3), INFO, dropped="clinical")
    before = np.stack([each.probabilities for each in method.predict(inputs)])
    inputs.images["clinical"] = torch.rand_like(inputs.images["clinical"])
    after = np.stack([each.probabilities for each in method.predict(inputs)])
    assert np.array_equal(before, after)


@pytest.mark.parametrize("preset", ["tiny", "base"])
@pytest.mark.parametrize("kind", BOTH)
def test_a_study_alone_is_as_in_a_batch(kind: type[Fusion], preset: str) -> None:
    method, batch = shared(kind, preset), studies("test", 6)
    together = said(method, batch)
    for row, study in enumerate(batch):
        assert np.allclose(said(method, [study])[0], together[row], atol=1e-5)


def test_late_fusion_averages_the_logits_of_what_is_present() -> None:
    method, batch = shared(LateFusion), studies("test", 3)
    logits = {
        state: np.log(said(method, batch, dropped=state)) for state in ("clinical", "dermoscopic", None)
    }
    mean = (logits["clinical"] + logits["dermoscopic"]) / 2
    expected = np.exp(mean) / np.exp(mean).sum(1, keepdims=True)
    assert np.allclose(np.exp(logits[None]), expected, atol=1e-5)


def test_early_fusion_writes_zeros() -> None:
    method, batch = shared(EarlyFusion), studies("test", 3)
    inputs = collate(batch, INFO, dropped="dermoscopic")
    present = torch.tensor([[True, False]] * 3)
    features = method.network.features(method._trunk(inputs, present), present)
    assert features[:, 0].abs().sum() > 0
    assert features[:, 1].abs().sum() == 0
    with torch.no_grad():
        logits = method.network.head(features.flatten(1))
    assert np.allclose(logits.softmax(1).numpy(), said(method, batch, dropped="dermoscopic"), atol=1e-5)


@pytest.mark.parametrize("kind", BOTH)
def test_without_any_modality_the_frequencies_are_the_answer(kind: type[Fusion]) -> None:
    bare = Study("bare", "bare", "test", {}, labels=np.zeros(3, dtype=np.float32))
    method = shared(kind)
    found = said(method, [bare, *studies("test", 2)])
    assert np.allclose(found[0], [1 / 3] * 3, atol=1e-5)
    assert np.allclose(said(shared(kind, info=FINDINGS), [bare]), [1 / 3] * 3, atol=1e-5)


@pytest.mark.parametrize("kind", BOTH)
def test_a_modality_that_the_network_ignores_is_flagged(kind: type[Fusion]) -> None:
    from harness.store.manifest import VitalSigns

    method = prepared(kind)
    batch = collate(studies("val", 12), INFO, reads=method.card.reads), targets_of(studies("val", 12))
    with torch.no_grad():
        alive = [asdict(probe) for probe in method.probes(*batch)]
        if isinstance(method.network, LateFusionNetwork):
            last = method.network.heads[0][-1]
            assert isinstance(last, torch.nn.Linear)
            last.weight.zero_()
            method.network.heads[1].load_state_dict(method.network.heads[0].state_dict())
        else:
            assert isinstance(method.network, EarlyFusionNetwork)
            first = method.network.head[1]
            assert isinstance(first, torch.nn.Linear)
            first.weight[:, : first.in_features // 2] = 0
        dead = [asdict(probe) for probe in method.probes(*batch)]
    assert [probe["quantity"].split()[5] for probe in alive] == ["clinical,", "dermoscopic,"]
    assert not VitalSigns(probes=alive).dead
    assert "clinical" in VitalSigns(probes=dead).dead[0].quantity


def test_dropout_never_takes_the_last_modality() -> None:
    torch.manual_seed(0)
    present = torch.tensor([[True, True], [True, False], [False, False]]).repeat(1000, 1)
    kept = kept_modalities(present, 0.4)
    assert not (kept & ~present).any()
    assert torch.equal(kept.any(1), present.any(1))
    full = kept[::3].float()
    # Both survive with .6 x .6, and where both were drawn, .4 x .4, none is lost.
    assert full.prod(1).mean() == pytest.approx(0.36 + 0.16, abs=0.05)
    assert torch.equal(kept_modalities(present, 0.0), present)


def test_presets_differ_in_dropout_only_where_the_card_says() -> None:
    late, early = LateFusion.create(INFO).config, EarlyFusion.create(INFO).config
    assert (late.modality_dropout, early.modality_dropout) == (0.3, 0.0)
    assert late.model_dump(exclude={"modality_dropout"}) == early.model_dump(exclude={"modality_dropout"})
    assert EarlyFusion.create(INFO, variant="dropout").config.modality_dropout == 0.3
    assert LateFusion.create(INFO, variant="no-dropout").config.modality_dropout == 0.0
    for kind in BOTH:
        assert kind.create(INFO, preset="paper").config == kind.create(INFO, preset="base").config


@pytest.mark.parametrize("kind", BOTH)
def test_gradients_reach_every_trained_parameter(kind: type[Fusion]) -> None:
    for preset in ("tiny", "base"):
        method = prepared(kind, preset, modality_dropout=0.0)
        method.network.train()
        batch = studies("train", 4)
        method.losses(collate(batch, INFO), targets_of(batch))["loss"].backward()
        trained = [p for p in method.network.parameters() if p.requires_grad]
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)
        frozen = [p for p in method.network.features.parameters() if not p.requires_grad]
        assert bool(frozen) == (preset == "tiny")


def fit(method: Fusion, tmp_path: Path, train: list[Study], val: list[Study]) -> Fusion:
    folder = tmp_path / method.card.name
    folder.mkdir(exist_ok=True)
    method.fit(train, val, FitRun(folder, "cpu", 0))
    return method


@pytest.mark.parametrize("kind", BOTH)
def test_tiny_learns_what_either_modality_shows(kind: type[Fusion], tmp_path: Path) -> None:
    set_ = {**SMALL["tiny"], "training.epochs": 6, "training.batch_size": 8}
    method = fit(kind.create(INFO, overrides=set_), tmp_path, studies("train", 48), studies("val", 6))
    test = studies("test", 30)
    truth = np.stack([study.labels for study in test]).argmax(1)
    assert (said(method, test).argmax(1) == truth).mean() > 0.9
    if kind is LateFusion:
        assert (said(method, test, dropped="clinical").argmax(1) == truth).mean() > 0.9


@pytest.mark.parametrize("kind", BOTH)
def test_base_takes_a_step_and_is_saved(kind: type[Fusion], tmp_path: Path) -> None:
    method = kind.create(INFO, preset="base", overrides={**SMALL["base"], "flips": True})
    fit(method, tmp_path, studies("train", 8), studies("val", 4))
    method.save(tmp_path / "checkpoint")
    copy = kind(method.config, INFO)
    copy.load(tmp_path / "checkpoint")
    batch = studies("test", 4)
    assert np.array_equal(said(copy, batch), said(method, batch))


def test_a_frozen_backbone_sees_a_study_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from methods.common.lite0 import Lite0Stages

    seen: list[int] = []
    original = Lite0Stages.forward
    monkeypatch.setattr(Lite0Stages, "forward", lambda self, x: seen.append(len(x)) or original(self, x))
    train, val = studies("train", 12), studies("val", 4)
    method = LateFusion.create(INFO, overrides={**SMALL["tiny"], "training.epochs": 3})
    fit(method, tmp_path, train, val)
    assert sum(seen) == sum(len(study.images) for study in [*train, *val])


def test_a_batch_without_a_modality_leaves_its_backbone_alone() -> None:
    method = prepared(LateFusion, "base")
    method.network.train()
    backbone = method.network.features.networks[0].network
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    batch = studies("train", 4)
    method.losses(collate(batch, INFO, dropped="clinical"), targets_of(batch))
    after = backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_flips_mirror_the_images_of_a_study_alike() -> None:
    method = prepared(LateFusion, "base", flips=True)
    torch.manual_seed(1)
    one = torch.rand(6, 1, 3, 8, 8)
    flipped = method._flipped(one.repeat(1, 2, 1, 1, 1))
    assert torch.equal(flipped[:, 0], flipped[:, 1])
    assert not torch.equal(flipped[:, :1], one)
    assert torch.equal(flipped.flatten(1).sort(1).values[:, ::2], one.flatten(1).sort(1).values)


def test_studies_without_labels_are_an_error(tmp_path: Path) -> None:
    bare = [replace(study, labels=None) for study in studies("train", 4)]
    with pytest.raises(HarnessError, match="no training study has labels"):
        fit(LateFusion.create(INFO, overrides=SMALL["tiny"]), tmp_path, bare, [])


@pytest.mark.parametrize(
    ("set_", "reason"),
    [
        (
            {"backbone": "resnet50"},
            "no package ships weights of timm's resnet50",
        ),
        ({"backbone_weights": "nowhere.pth"}, "backbone_weights: nowhere.pth"),
    ],
)
def test_weights_that_cannot_be_had_are_named(set_: dict[str, str], reason: str) -> None:
    with pytest.raises(HarnessError, match=reason):
        prepared(LateFusion, "base", **set_)


def test_resnet50_takes_a_state_dict_file(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(3)
    weights = timm.create_model("resnet50", pretrained=False).state_dict()
    torch.save(weights, tmp_path / "resnet50.pth")
    set_ = {"backbone": "resnet50", "backbone_weights": str(tmp_path / "resnet50.pth")}
    one = replace(INFO, image_modalities=("clinical",))
    networks = prepared(LateFusion, "base", one, **set_).network.features.networks
    assert all(torch.equal(each.network.conv1.weight, weights["conv1.weight"]) for each in networks)
    torch.save({"conv1.weight": weights["conv1.weight"]}, tmp_path / "resnet50.pth")
    with pytest.raises(HarnessError, match="not the weights of timm's resnet50"):
        prepared(LateFusion, "base", one, **set_)


def test_parameters_of_the_paper_preset() -> None:
    # 3,371,008 of Lite0 without its classifier, and a head 1280 -> 256 -> 14, for the one view described.
    expected = 3_371_008 + 1280 * 256 + 256 + 256 * 14 + 14
    for name in ("late_fusion", "early_fusion"):
        facts = describe(name, "paper")
        assert facts["parameters"] == facts["trainable_parameters"] == expected


def test_inputs_stay_as_they_are() -> None:
    method = shared(LateFusion)
    inputs: Inputs = collate(studies("test", 2), INFO)
    copies = {view: images.clone() for view, images in inputs.images.items()}
    method.predict(inputs)
    assert all(torch.equal(inputs.images[view], copies[view]) for view in copies)
