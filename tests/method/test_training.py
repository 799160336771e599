"""The training loop: exact resume, early stopping, faults."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments.mpi import MPIEnvironment

from harness.core.errors import DamagedStateError, HarnessError
from harness.core.types import Inputs, Targets, Task
from harness.distributed.process_group import ProcessGroup
from harness.method import training
from harness.method.batching import collate, targets_of
from harness.method.config import TrainingConfig
from harness.method.contract import FitRun
from harness.method.cost import training_summary
from harness.method.training import train_network
from harness.metrics import Bleu, RougeScoreL
from tests.helpers.toys import Learner, LearnerConfig, ToyData


def fit(
    folder: Path, *, stop_in_epoch: int | None = None, statuses: list[str] | None = None, **training: object
) -> Learner:
    data = ToyData()
    config = LearnerConfig(training=TrainingConfig(**{"epochs": 4, "batch_size": 8, **training}))
    learner = Learner(config, data.info)

    def progress(fraction: float, status: str) -> None:
        if statuses is not None:
            statuses.append(status)
        if stop_in_epoch and status.startswith(f"epoch {stop_in_epoch}/"):
            raise RuntimeError("pulled the plug")

    folder.mkdir(exist_ok=True)
    learner.fit(data.studies("train"), data.studies("val"), FitRun(folder, "cpu", 0, progress))
    return learner


def weights(learner: Learner) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in learner.network.parameters()])


def test_training_does_not_start_mpi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning does where mpi4py is installed: a run then ends with MPI's exit code, a box not at all."""
    monkeypatch.setattr(MPIEnvironment, "detect", lambda: pytest.fail("MPI was started"))
    fit(tmp_path, epochs=1)


@pytest.mark.parametrize("stage", ["", "0-images"])
def test_a_training_of_another_cell_or_stage_is_not_gone_on_with(tmp_path: Path, stage: str) -> None:
    own, other = (tmp_path / "method" / cell / "training" / stage for cell in ("seed-0", "seed-1"))
    for folder in (own, other):
        folder.mkdir(parents=True)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        fit(other, stop_in_epoch=2)
    shutil.copytree(other, own, dirs_exist_ok=True)
    with pytest.raises(DamagedStateError, match=r"the training of .*seed-1/training"):
        fit(own)
    if stage:
        shutil.copytree(other, other.with_name("1-reports"))
        with pytest.raises(DamagedStateError, match=r"the training of .*seed-1/training/0-images"):
            fit(other.with_name("1-reports"))


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_interrupted_training_ends_with_the_same_weights(tmp_path: Path, epoch: int) -> None:
    whole = fit(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="pulled the plug"):
        fit(tmp_path / "parts", stop_in_epoch=epoch)
    resumed = fit(tmp_path / "parts")
    assert torch.equal(weights(whole), weights(resumed))
    assert training_summary(tmp_path / "parts")["history"] == training_summary(tmp_path / "whole")["history"]


def batches_of(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> list[list[str]]:
    """Ids of every training batch, in order."""
    batches: list[list[str]] = []
    original = Learner.losses

    def losses(self: Learner, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        if self.network.training:
            batches.append(list(inputs.ids))
        return original(self, inputs, targets)

    monkeypatch.setattr(Learner, "losses", losses)
    fit(folder, **options)
    return batches


@pytest.mark.parametrize("bucket", [0, 2, 100])
@pytest.mark.parametrize("batch_size", [8, 12])
def test_every_study_comes_once_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: int, batch_size: int
) -> None:
    batches = batches_of(tmp_path, monkeypatch, epochs=2, batch_size=batch_size, bucket=bucket)
    per_epoch = -(-40 // batch_size)
    epochs = [batches[:per_epoch], batches[per_epoch:]]
    expected = sorted(study.id for study in ToyData().studies("train"))
    for epoch in epochs:
        assert sorted(study_id for batch in epoch for study_id in batch) == expected
        assert {len(batch) for batch in epoch[:-1]} == {batch_size}
    assert epochs[0] != epochs[1]


def test_buckets_hold_reports_of_similar_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = {study.id: len(study.report.split()) for study in ToyData().studies("train")}

    def padding(batches: list[list[str]]) -> int:
        return sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)

    plain = batches_of(tmp_path / "plain", monkeypatch, epochs=3)
    bucketed = batches_of(tmp_path / "bucketed", monkeypatch, epochs=3, bucket=5)
    assert padding(bucketed) < 0.85 * padding(plain)
    means = [sum(lengths[i] for i in batch) for batch in bucketed[:5]]
    assert means not in (sorted(means), sorted(means, reverse=True)), "batches are shuffled, not sorted"


@pytest.mark.parametrize("epoch", [1, 3])
def test_interrupted_bucketed_training_ends_with_the_same_weights(tmp_path: Path, epoch: int) -> None:
    whole = fit(tmp_path / "whole", bucket=2)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        fit(tmp_path / "parts", stop_in_epoch=epoch, bucket=2)
    assert torch.equal(weights(whole), weights(fit(tmp_path / "parts", bucket=2)))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_epoch_that_was_asked_for_is_kept(tmp_path: Path, keep: str) -> None:
    learner, data = fit(tmp_path, epochs=30, keep=keep), ToyData()
    summary = training_summary(tmp_path)
    validation = [epoch["val"] for epoch in summary["history"]]
    best = validation.index(min(validation))
    assert summary["best_epoch"] == best < 29, "the toy has to overfit, or both are the same"
    val = data.studies("val")
    learner.network.eval()
    loss = learner.losses(collate(val, data.info), targets_of(val))["loss"]
    assert loss.item() == pytest.approx(validation[best if keep == "best" else -1], rel=1e-5)


def test_validation_can_be_rarer_than_epochs(tmp_path: Path) -> None:
    fit(tmp_path, epochs=5, val_every=2)
    summary = training_summary(tmp_path)
    assert [number for number, epoch in enumerate(summary["history"]) if "val" in epoch] == [1, 3]
    assert summary["best_epoch"] in (1, 3)


def test_patience_stops_early_and_a_stopped_run_stays_stopped(tmp_path: Path) -> None:
    fit(tmp_path, epochs=50, patience=1)
    epochs = len(training_summary(tmp_path)["history"])
    assert epochs < 50
    fit(tmp_path, epochs=50, patience=1)
    assert len(training_summary(tmp_path)["history"]) == epochs


def test_scores_of_generated_reports_can_choose_the_epoch_and_stop_the_training(tmp_path: Path) -> None:
    learner, data = fit(tmp_path / "text", epochs=30, monitor="text"), ToyData()
    summary = training_summary(tmp_path / "text")
    scores = [epoch["text"] for epoch in summary["history"]]
    assert summary["best_epoch"] == scores.index(max(scores))
    assert summary["best"] == -max(scores)
    assert all("val" in epoch for epoch in summary["history"])
    val = data.studies("val")
    written = [answer.report for answer in learner.predict(collate(val, data.info))]
    references = [study.report for study in val]
    bleu = Bleu(data.info.tokenizer)(written, references)
    rouge = RougeScoreL()(written, references)["rouge_score_l"]
    expected = (sum(bleu[f"bleu_{order}"] for order in (1, 2, 3, 4)) / 4 + rouge) / 2
    assert max(scores) == pytest.approx(expected, rel=1e-9)
    fit(tmp_path / "patient", epochs=30, monitor="text", patience=2)
    stopped = [epoch["text"] for epoch in training_summary(tmp_path / "patient")["history"]]
    assert stopped == scores[: len(stopped)]
    assert len(stopped) < 30
    with pytest.raises(RuntimeError, match="pulled the plug"):
        fit(tmp_path / "parts", epochs=30, monitor="text", stop_in_epoch=3)
    fit(tmp_path / "parts", epochs=30, monitor="text")
    assert training_summary(tmp_path / "parts")["history"] == summary["history"]


def test_what_writes_no_reports_cannot_be_chosen_by_them(tmp_path: Path) -> None:
    data = ToyData()
    learner = Learner(LearnerConfig(training=TrainingConfig(monitor="text")), data.info)
    learner.card = replace(Learner.card, tasks=frozenset({Task.DIAGNOSE}))  # type: ignore[misc]
    with pytest.raises(HarnessError, match=r"training\.monitor=text: learner writes no reports"):
        learner.fit(data.studies("train"), data.studies("val"), FitRun(tmp_path, "cpu", 0))


def test_loss_that_is_not_finite_names_epoch_and_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Learner, "losses", lambda self, i, t: {"loss": self.network(i.images["frontal"]).sum() * float("nan")}
    )
    with pytest.raises(HarnessError, match="not finite at epoch 1, step 1"):
        fit(tmp_path)


def exhausted(monkeypatch: pytest.MonkeyPatch, most: int, from_step: int = 0, training: bool = True) -> None:
    """A device that has room for ``most`` studies at a time, from some step on."""
    original, steps = Learner.losses, [0]

    def losses(self: Learner, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        steps[0] += self.network.training
        if self.network.training == training and steps[0] > from_step and len(inputs) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, inputs, targets)

    monkeypatch.setattr(Learner, "losses", losses)


@pytest.mark.parametrize("from_step", [0, 3, 13])
def test_out_of_memory_halves_the_batch_and_keeps_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_step: int
) -> None:
    """Without noise and clipping, half the batch twice is the batch: in the first epoch and in the third."""
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, x: x)
    whole = fit(tmp_path / "whole", gradient_clip=0.0)
    exhausted(monkeypatch, 2, from_step)
    statuses: list[str] = []
    halved = fit(tmp_path / "halved", gradient_clip=0.0, statuses=statuses)
    assert torch.allclose(weights(whole), weights(halved), atol=1e-5)
    assert statuses[-1].endswith("out of memory: 4 x 2 studies")
    summary = training_summary(tmp_path / "halved")
    assert summary["batch_division"] == 4
    assert "batch_division" not in training_summary(tmp_path / "whole")
    assert len(summary["history"]) == 4


def test_interrupted_training_in_halves_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exhausted(monkeypatch, 4)
    whole = fit(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="pulled the plug"):
        fit(tmp_path / "parts", stop_in_epoch=3)
    assert torch.equal(weights(whole), weights(fit(tmp_path / "parts")))


def test_validation_that_is_out_of_memory_is_halved_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exhausted(monkeypatch, 4, training=False)
    fit(tmp_path)
    assert training_summary(tmp_path)["batch_division"] == 2


def test_a_batch_that_cannot_be_halved_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exhausted(monkeypatch, 0)
    with pytest.raises(HarnessError, match="learner: out of memory with 1 studies at a time"):
        fit(tmp_path)


@pytest.mark.parametrize("epoch", [1, 3])
def test_weights_that_are_not_finite_are_never_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    """A finite loss with an infinite gradient, in the last step of an epoch."""
    original, steps = Learner.losses, [0]

    def losses(self: Learner, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        values = original(self, inputs, targets)
        steps[0] += self.network.training
        if self.network.training and steps[0] == 5 * epoch:
            zero = self.network[1].weight.sum() * 0
            values["loss"] = values["loss"] + zero.sqrt()
        return values

    monkeypatch.setattr(Learner, "losses", losses)
    with pytest.raises(HarnessError, match=f"weights are not finite at epoch {epoch}, step 5"):
        fit(tmp_path)
    monkeypatch.setattr(Learner, "losses", original)
    assert torch.equal(weights(fit(tmp_path)), weights(fit(tmp_path.parent / "undisturbed")))


def test_accumulated_batches_make_one_step(tmp_path: Path) -> None:
    large = fit(tmp_path / "a", batch_size=8, accumulate=5, gradient_clip=0.0)
    assert torch.isfinite(weights(large)).all()
    assert len(training_summary(tmp_path / "a")["history"]) == 4


class Slope:
    """The least that the training loop takes: a number, fitted to how many studies a batch has."""

    name = "slope"
    reads: frozenset[str] = frozenset()
    settings = TrainingConfig(epochs=2, batch_size=8)
    spreadable = False

    def __init__(self) -> None:
        self.network: torch.nn.Module = torch.nn.Linear(1, 1)
        self.info = replace(ToyData().info, image_modalities=(), has_context=False)
        self.ids: set[str] = set()

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        assert not inputs.images
        self.ids |= set(inputs.ids)
        return {"loss": (self.network(torch.ones(1)) - len(inputs)).square().mean()}

    def optimizer(self, steps: int) -> tuple[torch.optim.Optimizer, Any]:
        return torch.optim.SGD(self.network.parameters(), 0.1), None


def test_the_loop_takes_a_trainable_that_is_no_method(tmp_path: Path) -> None:
    slope, data = Slope(), ToyData()
    before = slope.network(torch.ones(1)).item()
    train_network(slope, data.studies("train"), [], FitRun(tmp_path, "cpu", 0))
    assert abs(slope.network(torch.ones(1)).item() - 8) < abs(before - 8)
    assert slope.ids == {study.id for study in data.studies("train")}
    with pytest.raises(HarnessError, match="slope: no training studies"):
        train_network(slope, [], [], FitRun(tmp_path, "cpu", 0))


def test_parts_of_a_network_are_not_spread_over_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = ProcessGroup(size=2, strategy="fsdp")
    monkeypatch.setattr(training, "process_group", lambda: group)
    with pytest.raises(HarnessError, match="--strategy fsdp: slope trains parts of a network in turn"):
        train_network(Slope(), ToyData().studies("train"), [], FitRun(tmp_path, "cpu", 0))


def test_saved_learner_predicts_the_same(tmp_path: Path) -> None:
    from harness.method.batching import collate

    data = ToyData()
    learner = fit(tmp_path / "fit")
    learner.save(tmp_path / "saved")
    copy = Learner(learner.config, data.info)
    copy.load(tmp_path / "saved")
    inputs = collate(data.studies("test"), data.info)
    assert copy.predict(inputs) == learner.predict(inputs)
