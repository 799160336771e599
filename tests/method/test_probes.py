"""Vital signs: what a training run records about the named parts of a network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.types import Inputs, Targets
from harness.method.config import TrainingConfig
from harness.method.contract import FitRun
from harness.method.cost import last_signs
from harness.method.probes import Probe, ProbeSample, vital_signs
from harness.store.manifest import VitalSigns
from tests.helpers.toys import Learner, LearnerConfig, ToyData


class TwoParts(Learner):
    """A network with a second part that ``dead`` keeps at zero; one loss term is a tenth of the other."""

    dead = False

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        length = super().losses(inputs, targets)["loss"]
        size = self.network[1].weight.square().sum() * (0.0 if self.dead else 1.0)
        return {"loss": length + 0.1 * size, "length": length, "size": size}

    def loss_terms(self, losses: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        return {"length": losses["length"], "size": 0.1 * losses["size"]}

    def probes(self, inputs: Inputs, targets: Targets) -> Sequence[Probe]:
        assert not self.network.training
        assert not torch.is_grad_enabled()
        norm = float(self.network[1].weight.norm()) * (not self.dead)
        return [Probe("first layer", "norm of its weights", norm, dead=0.0, alive=1.0)]


class Broken(TwoParts):
    """Its probe raises."""

    def probes(self, inputs: Inputs, targets: Targets) -> Sequence[Probe]:
        raise RuntimeError("no such part\nsecond line")


def fitted(kind: type[Learner], folder: Path, **training: Any) -> Learner:
    data = ToyData()
    config = LearnerConfig(training=TrainingConfig(**{"epochs": 3, "batch_size": 8, **training}))
    learner = kind(config, data.info)
    folder.mkdir()
    learner.fit(data.studies("train"), data.studies("val"), FitRun(folder, "cpu", 0))
    return learner


def signs(folder: Path) -> VitalSigns:
    return VitalSigns(**last_signs(folder))


def test_every_epoch_has_its_loss_parts_shares_and_probes(tmp_path: Path) -> None:
    fitted(TwoParts, tmp_path / "run")
    history = json.loads((tmp_path / "run" / "history.json").read_text())["history"]
    assert len(history) == 3
    for epoch in history:
        losses, terms = epoch["losses"], epoch["signs"]["terms"]
        assert losses["loss"] == pytest.approx(losses["length"] + 0.1 * losses["size"], rel=1e-5)
        assert losses["loss"] == pytest.approx(epoch["train"], rel=1e-5)
        for share in ("loss", "gradient"):
            assert sum(term[share] for term in terms.values()) == pytest.approx(1.0)
        assert epoch["signs"]["probes"][0]["part"] == "first layer"
    assert not signs(tmp_path / "run").dead


def test_a_dead_part_is_flagged(tmp_path: Path) -> None:
    class Dead(TwoParts):
        dead = True

    fitted(Dead, tmp_path / "run")
    measured = signs(tmp_path / "run")
    assert [str(probe) for probe in measured.dead] == ["first layer: norm of its weights 0 (dead 0, alive 1)"]
    assert measured.terms["size"] == {"loss": 0.0, "gradient": 0.0}


def test_measuring_changes_nothing_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = fitted(TwoParts, tmp_path / "measured")
    monkeypatch.setattr("harness.method.training_state.vital_signs", lambda *args: {})
    unmeasured = fitted(TwoParts, tmp_path / "unmeasured")
    for name, weight in measured.network.state_dict().items():
        assert torch.equal(weight, unmeasured.network.state_dict()[name]), name


def test_modes_buffers_and_random_numbers_stay(tmp_path: Path) -> None:
    learner = fitted(TwoParts, tmp_path / "run")
    learner.network.train()
    learner.network[2].eval()
    sample = ProbeSample.of(ToyData().studies("val"), learner)
    before = torch.random.get_rng_state()
    vital_signs(learner, sample)
    assert torch.equal(before, torch.random.get_rng_state())
    assert [module.training for module in learner.network] == [True, True, False, True]
    assert all(parameter.grad is None for parameter in learner.network.parameters())


def test_a_probe_that_raises_does_not_end_the_training(tmp_path: Path) -> None:
    fitted(Broken, tmp_path / "run")
    assert signs(tmp_path / "run").error == "RuntimeError: no such part"


def test_loss_terms_that_do_not_add_up_are_named(tmp_path: Path) -> None:
    class Forgetful(TwoParts):
        def loss_terms(self, losses: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
            return {"length": losses["length"]}

    fitted(Forgetful, tmp_path / "run")
    assert "ValueError: the loss terms length add up to" in signs(tmp_path / "run").error


def test_the_sample_does_not_follow_the_order_of_the_studies() -> None:
    data = ToyData()
    learner = Learner(LearnerConfig(), data.info)
    studies = data.studies("val")
    forward, backward = ProbeSample.of(studies, learner), ProbeSample.of(studies[::-1], learner)
    assert forward.whole[0].ids == backward.whole[0].ids
    assert len(forward.whole[0]) == 32
    assert len(forward.step[0]) == 8
    assert forward.whole[0].ids != [study.id for study in studies[:32]]


def test_stages_are_gathered_into_one(tmp_path: Path) -> None:
    for stage in ("0-first", "1-second"):
        fitted(TwoParts, tmp_path / stage)
    measured = signs(tmp_path)
    assert len(measured.probes) == 2
    assert set(measured.terms) == {
        f"{stage}: {name}" for stage in ("0-first", "1-second") for name in ("length", "size")
    }


def test_signs_are_those_of_the_weights_that_stand(tmp_path: Path) -> None:
    fitted(TwoParts, tmp_path / "best", epochs=6, keep="best", gradient_clip=0.0)
    summary = json.loads((tmp_path / "best" / "history.json").read_text())
    kept = summary["history"][summary["best_epoch"]]["signs"]["probes"][0]["value"]
    assert last_signs(tmp_path / "best")["probes"][0]["value"] == kept


@pytest.mark.parametrize(
    ("value", "dead"),
    [(1.0, True), (0.93, True), (0.9, False), (0.677, False), (0.2, False), (math.nan, True)],
)
def test_a_quarter_of_the_way_is_alive(value: float, dead: bool) -> None:
    facts = {"part": "KED", "quantity": "prior cosine", "value": value, "dead": 1.0, "alive": 0.677}
    probe = VitalSigns(probes=[facts | ({"value": None} if math.isnan(value) else {})]).probes[0]
    assert probe.is_dead is dead


def test_a_probe_needs_two_different_references() -> None:
    with pytest.raises(ValueError, match="KED: prior cosine: dead and alive are the same number"):
        Probe("KED", "prior cosine", 0.5, dead=1.0, alive=1.0)
