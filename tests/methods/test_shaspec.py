"""ShaSpec: generated features, auxiliary losses, subsets of modalities, what absent modalities may do."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Study, Task
from harness.method.batching import collate, targets_of
from harness.method.contract import FitRun
from harness.method.size import describe
from methods.shaspec.losses import alignment, domain_loss, random_subsets
from methods.shaspec.method import ShaSpec
from methods.shaspec.network import Reading, generated

INFO = DatasetInfo(
    name="small",
    tasks=frozenset({Task.DIAGNOSE}),
    image_modalities=("fundus", "oct", "slo"),
    has_context=False,
    image_size=64,
    channels=1,
    label_names=("a", "b", "c"),
    multilabel=False,
)
FINDINGS = replace(INFO, multilabel=True)
SMALL: dict[str, Any] = {"image_size": 64, "grid": 2, "width": 16, "training.batch_size": 8}


def studies(split: str, n: int) -> list[Study]:
    """The class is which third of the image is bright; every fifth study lacks a modality."""
    rng = np.random.default_rng(len(split))
    result = []
    for number in range(n):
        label = number % 3
        images = {}
        for view in INFO.image_modalities:
            pixels = rng.integers(0, 60, (64, 64, 1))
            pixels[:, label * 64 // 3 : (label + 1) * 64 // 3] += 150
            images[view] = pixels.astype(np.uint8)
        if number % 5 == 4:
            del images["oct"]
        labels = np.eye(3, dtype=np.float32)[label]
        result.append(Study(f"{split}{number}", f"{split}{number}", split, images, labels=labels))
    return result


def prepared(info: DatasetInfo = INFO, variant: str | None = None, **options: Any) -> ShaSpec:
    torch.manual_seed(0)
    method = ShaSpec.create(info, variant=variant, overrides={**SMALL, **options})
    method.prepare(method.artifacts(studies("train", 12)))
    method.network.eval()
    return method


shared_method = cache(prepared)
"""For tests that leave the network as it is."""


def reading_of(method: ShaSpec, batch: list[Study], dropped: str | None = None) -> Reading:
    with torch.no_grad():
        return method.network(*method.read(collate(batch, method.info, dropped=dropped)))


def probabilities(method: ShaSpec, batch: list[Study], dropped: str | None = None) -> np.ndarray:
    inputs = collate(batch, method.info, reads=method.card.reads, dropped=dropped)
    return np.stack([prediction.probabilities for prediction in method.predict(inputs)])


def fitted(folder: Path, **options: Any) -> ShaSpec:
    method = ShaSpec.create(INFO, overrides={**SMALL, "training.epochs": 8, **options})
    folder.mkdir(exist_ok=True)
    method.fit(studies("train", 48), studies("val", 12), FitRun(folder, "cpu", 0))
    return method


def test_an_absent_modality_has_the_mean_of_the_shared_features_of_present_ones() -> None:
    batch = studies("test", 4)
    whole = reading_of(shared_method(), batch)
    reading = reading_of(shared_method(), batch, "oct")
    assert torch.allclose(reading.fused[:, 1], (whole.shared[:, 0] + whole.shared[:, 2]) / 2, atol=1e-6)
    reading = reading_of(shared_method(), batch, "fundus+oct")
    assert torch.allclose(reading.fused[:, 0], whole.shared[:, 2], atol=1e-6)
    assert torch.allclose(reading.fused[:, 1], whole.shared[:, 2], atol=1e-6)
    without = reading_of(shared_method(variant="no-generation"), batch, "oct")
    assert without.fused[:, 1].abs().sum() == 0


def test_no_modality_has_a_mean_of_zero() -> None:
    assert torch.equal(
        generated(torch.randn(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool)), torch.zeros(2, 4)
    )


def test_fusion_adds_a_projection_of_both_features_to_the_shared_one() -> None:
    method, batch = shared_method(), studies("test", 4)
    reading = reading_of(method, batch)
    projected = method.network.projection(torch.cat([reading.shared, reading.specific], dim=-1))
    assert torch.allclose(reading.fused, reading.shared + projected, atol=1e-6)
    alone = reading_of(shared_method(variant="no-residual"), batch)
    assert not torch.allclose(alone.fused, alone.shared + projected, atol=1e-3)


def test_the_shared_encoder_is_one_and_the_specific_encoders_are_several() -> None:
    method = shared_method()
    trunk = method.network.encoders.features.trunk
    image = torch.rand(2, 1, 1, 64, 64).expand(-1, 3, -1, -1, -1)
    everywhere = torch.ones(2, 3, dtype=torch.bool)
    with torch.no_grad():
        shared, specific = method.network.encoders(trunk(image, everywhere), everywhere)
    assert torch.allclose(shared[:, 0], shared[:, 1], atol=1e-5)
    assert not torch.allclose(specific[:, 0], specific[:, 1], atol=1e-3)


def test_alignment_is_the_mean_distance_of_pairs_that_are_there() -> None:
    shared = torch.tensor([[[0.0, 0.0], [1.0, 3.0], [9.0, 9.0]], [[5.0, 5.0], [0.0, 0.0], [6.0, 8.0]]])
    present = torch.tensor([[True, True, False], [True, False, True]])
    assert alignment(shared, present).item() == pytest.approx(((1 + 3) / 2 + (1 + 3) / 2) / 2)
    assert alignment(shared, torch.eye(3, dtype=torch.bool)[:2]).item() == 0.0


def test_domain_loss_is_chance_for_equal_logits_and_skips_absent_modalities() -> None:
    present = torch.tensor([[True, True, True], [True, False, False]])
    assert domain_loss(torch.zeros(2, 3, 3), present).item() == pytest.approx(math.log(3))
    logits = 20.0 * torch.eye(3).expand(2, 3, 3).clone()
    logits[1, 1:] = -logits[1, 1:]
    assert domain_loss(logits, present).item() < 1e-6
    assert domain_loss(logits, torch.zeros(2, 3, dtype=torch.bool)).item() == 0.0


def test_subsets_have_every_size_equally_often_and_are_never_empty() -> None:
    torch.manual_seed(0)
    present = torch.tensor([[True, True, True], [True, False, True], [False, False, False]]).repeat(3000, 1)
    drawn = random_subsets(present, 1.0)
    assert not (drawn & ~present).any()
    assert torch.equal(drawn.any(1), present.any(1))
    sizes = drawn[::3].sum(1)
    for size in (1, 2, 3):
        assert (sizes == size).float().mean().item() == pytest.approx(1 / 3, abs=0.04)
    assert (drawn[::3][sizes == 1].float().mean(0) - 1 / 3).abs().max() < 0.06
    assert torch.equal(random_subsets(present, 0.0), present)


def test_auxiliary_losses_reach_the_encoders_that_they_are_about() -> None:
    method = prepared(subsets=0.0)
    batch = studies("train", 4)
    method.network.train()
    losses = method.losses(collate(batch, INFO), targets_of(batch))
    terms = method.loss_terms(losses)
    assert terms["alignment"].item() == pytest.approx(0.1 * losses["alignment"].item())
    assert terms["domain"].item() == pytest.approx(0.02 * losses["domain"].item())
    assert sum(terms.values()).item() == pytest.approx(losses["loss"].item())
    encoders = method.network.encoders
    shared, specific = list(encoders.shared.parameters()), list(encoders.specific.parameters())

    def reached(loss: torch.Tensor, parameters: list[torch.nn.Parameter]) -> list[bool]:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return [gradient is not None and bool(gradient.any()) for gradient in gradients]

    assert any(reached(losses["alignment"], shared))
    assert not any(reached(losses["alignment"], specific))
    assert any(reached(losses["domain"], specific))
    assert not any(reached(losses["domain"], shared))
    losses["loss"].backward()
    assert all(p.grad is None for p in encoders.features.parameters())


@pytest.mark.parametrize("variant", [None, "no-generation", "no-domain", "no-alignment", "no-residual"])
def test_content_of_an_absent_modality_has_no_influence(variant: str | None) -> None:
    method = shared_method(variant=variant)
    inputs = collate(studies("test", 3), INFO, dropped="fundus")
    before = np.stack([each.probabilities for each in method.predict(inputs)])
    inputs.images["fundus"] = torch.rand_like(inputs.images["fundus"])
    after = np.stack([each.probabilities for each in method.predict(inputs)])
    assert np.array_equal(before, after)


def test_a_study_alone_is_as_in_a_batch_and_an_empty_one_has_the_frequencies() -> None:
    bare = Study("bare", "bare", "test", {}, labels=np.zeros(3, dtype=np.float32))
    batch = [*studies("test", 5), bare]
    for info in (INFO, FINDINGS):
        together = probabilities(shared_method(info), batch)
        for row, study in enumerate(batch):
            assert np.allclose(probabilities(shared_method(info), [study])[0], together[row], atol=1e-5)
        assert np.allclose(together[-1], [1 / 3] * 3, atol=1e-5)
    assert np.allclose(probabilities(shared_method(), batch).sum(1), 1, atol=1e-6)


def test_training_tells_domains_apart_and_each_modality_alone_suffices(tmp_path: Path) -> None:
    method = fitted(tmp_path / "run", **{"training.epochs": 20, "domain_weight": 0.5})
    test = studies("test", 30)
    truth = np.stack([study.labels for study in test]).argmax(1)
    for dropped in (None, "fundus", "oct", "oct+slo"):
        assert (probabilities(method, test, dropped).argmax(1) == truth).mean() > 0.9
    reading = reading_of(method, test)
    with torch.no_grad():
        assert domain_loss(method.network.domain(reading.specific), reading.present) < 0.5 * math.log(3)
        probes = method.probes(collate(test, INFO), targets_of(test))
    strengths = {probe.part: (probe.value - probe.dead) / (probe.alive - probe.dead) for probe in probes}
    assert set(strengths) == {"specific encoders", "domain classification", "shared encoder", "generation"}
    assert strengths["domain classification"] > 0.5


def test_images_are_read_once_and_a_resumed_training_ends_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.common.lite0 import Lite0Stages

    counts: list[int] = []
    original = Lite0Stages.forward
    monkeypatch.setattr(Lite0Stages, "forward", lambda self, x: counts.append(len(x)) or original(self, x))
    method = fitted(tmp_path / "run", **{"training.epochs": 3})
    assert sum(counts) == sum(len(s.images) for s in [*studies("train", 48), *studies("val", 12)])
    again = fitted(tmp_path / "run", **{"training.epochs": 3})
    batch = studies("test", 6)
    assert np.array_equal(probabilities(again, batch), probabilities(method, batch))
    method.save(tmp_path / "checkpoint")
    copy = ShaSpec(method.config, INFO)
    copy.load(tmp_path / "checkpoint")
    assert np.array_equal(probabilities(copy, batch), probabilities(method, batch))


def test_base_trains_its_own_networks(tmp_path: Path) -> None:
    options = {"image_size": 64, "width": 8, "training.epochs": 1, "training.batch_size": 4}
    method = ShaSpec.create(INFO, preset="base", overrides=options)
    method.fit(studies("train", 6), studies("val", 2), FitRun(tmp_path, "cpu", 0))
    assert len(method.network.encoders.specific) == 3
    found = probabilities(method, studies("test", 2), "oct")
    assert np.isfinite(found).all()


def test_one_modality_needs_no_auxiliary_loss() -> None:
    one = replace(INFO, image_modalities=("fundus",))
    method, batch = prepared(one), studies("test", 3)
    losses = method.losses(collate(batch, one), targets_of(batch))
    assert losses["alignment"].item() == losses["domain"].item() == 0.0
    assert [probe.part for probe in method.probes(collate(batch, one), targets_of(batch))] == [
        "specific encoders"
    ]


def test_studies_without_labels_are_an_error(tmp_path: Path) -> None:
    bare = [replace(study, labels=None) for study in studies("train", 4)]
    method = ShaSpec.create(INFO, overrides=SMALL)
    with pytest.raises(HarnessError, match="shaspec: no training study has labels"):
        method.fit(bare, [], FitRun(tmp_path, "cpu", 0))


def test_the_paper_preset_has_one_encoder_more_than_modalities() -> None:
    facts = describe("shaspec", "paper")
    resnet50 = 23_508_032
    encoders = 2 * (resnet50 + 2048 * 256 + 256)
    rest = 2 * 256 * 256 + 256 + 256 + 1 + 256 * 14 + 14
    assert facts["parameters"] == facts["trainable_parameters"] == encoders + rest
