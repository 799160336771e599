"""What a method may leave out: everything optional has a default that its callers understand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.bench.sampling import sampled_methods
from harness.core import registry
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.types import Inputs, Prediction, Study, Targets, Task
from harness.datasets.example import ExampleData
from harness.method.card import MethodCard
from harness.method.config import MethodConfig, TrainingConfig
from harness.method.contract import FitRun, Method
from harness.method.size import describe, render
from harness.method.torch_method import TorchMethod
from harness.method.trainable import Trainable


class Settings(MethodConfig):
    """Two settings."""

    width: int = 4
    training: TrainingConfig = TrainingConfig(epochs=1, batch_size=4)


def card(name: str, **rest: Any) -> MethodCard:
    return MethodCard(name, name, "", "", frozenset({Task.REPORT}), frozenset({"frontal"}), **rest)


class Plain(Method[MethodConfig]):
    """The least that a method without a network is."""

    card = card("plain", learned=False)
    Config = MethodConfig

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        return

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return [Prediction(report="normal") for _ in inputs.ids]

    def save(self, directory: Path) -> None:
        return

    def load(self, directory: Path) -> None:
        return


class Least(TorchMethod[Settings]):
    """The least that a method with a network is."""

    card = card(
        "least",
        presets={"tiny": {}, "paper": {"width": 8}},
        variants={"wide": ("twice as wide", {"width": 16})},
    )
    Config = Settings

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        return {}

    def build(self, artifacts: dict[str, Any]) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(self.config.width), torch.nn.Flatten())

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        return {"loss": self.network(inputs.images["frontal"]).sum()}

    def optimizer(self, steps: int) -> tuple[torch.optim.Optimizer, Any]:
        return torch.optim.SGD(self.network.parameters()), None

    def generate(self, inputs: Inputs) -> list[Prediction]:
        return [Prediction(report="normal") for _ in inputs.ids]


class Counted(Least):
    """One whose size does not depend on training data, with a layer of 3 x 9 + 3 parameters."""

    card = card("counted")

    def build(self, artifacts: dict[str, Any]) -> torch.nn.Module:
        self.head = torch.nn.Linear(9, 3)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 1, 1), torch.nn.AdaptiveAvgPool2d(3), torch.nn.Flatten(), self.head
        )

    def reference_artifacts(self) -> dict[str, Any]:
        return {}


class Pruned(Counted):
    """One that loses its convolution when training ends."""

    card = card("pruned")

    def as_fitted(self, inputs: Inputs) -> torch.Tensor:
        self.network[0] = torch.nn.Identity()
        return self.head(inputs.images["frontal"].flatten(1)[:, :9])


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for method in (Plain, Least, Counted, Pruned):
        name = f"tests.method.test_contract:{method.__name__}"
        monkeypatch.setitem(registry.METHODS, method.card.name, name)
    registry._table.cache_clear()
    yield
    registry._table.cache_clear()


@pytest.mark.parametrize("preset", ["tiny", None])
@pytest.mark.parametrize("name", ["plain", "least"])
def test_describe_needs_nothing_optional(name: str, preset: str | None) -> None:
    facts = describe(name, preset)
    assert facts["parameters"] is None
    assert facts["flops"] is None
    assert render(facts).startswith(f"{name} (")


def test_describe_counts_the_default_example_batch() -> None:
    facts = describe("counted", "tiny")
    assert facts["parameters"] == 4 + 30
    assert facts["flops"] == 2 * (3 * 224 * 224 + 27)
    assert facts["inference_flops"] is None


def test_describe_counts_what_remains_after_training() -> None:
    facts = describe("pruned", "tiny")
    assert facts["parameters"] == 4 + 30
    assert (facts["inference_parameters"], facts["inference_flops"]) == (30, 2 * 27)


def test_defaults_mean_no_ability() -> None:
    method = Plain(MethodConfig(), ExampleData().info)
    assert (method.has_experts, method.peer, dict(method.SAMPLERS)) == (False, None, {})
    assert not {"plain", "least"} & set(sampled_methods())
    with pytest.raises(NotImplementedError, match="plain has one sampler"):
        method.sample_with(steps=3)


def test_example_batch_has_every_modality_of_the_dataset() -> None:
    info = ExampleData().info
    inputs, targets = Least(Settings(), info).example_batch(3)
    assert set(inputs.present) == set(info.modalities)
    assert all(present.all() and len(present) == 3 for present in inputs.present.values())
    assert len(inputs) == len(targets.reports) == len(inputs.context) == 3


def test_a_torch_method_is_trainable() -> None:
    trainable: Trainable = Least(Settings(), ExampleData().info)
    assert (trainable.name, trainable.reads) == ("least", Least.card.reads)
    assert trainable.settings == TrainingConfig(epochs=1, batch_size=4)
    assert trainable.spreadable


def test_settings_come_from_preset_variant_and_overrides() -> None:
    info = ExampleData().info

    def width(**options: Any) -> int:
        return Least.create(info, **options).config.width

    assert (width(), width(preset="paper"), width(preset="paper", variant="wide")) == (4, 8, 16)
    assert width(variant="wide", overrides={"width": 2}) == 2
    assert Least.create(info, overrides={"training.epochs": 7}).config.training == TrainingConfig(
        epochs=7, batch_size=4
    )
    assert Plain.create(info, preset="paper").config == MethodConfig()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "papr"}, "--preset papr: least has no such preset"),
        ({"variant": "wid"}, "unknown variant least:wid"),
        ({"overrides": {"widht": 3}}, "--set least.widht: extra inputs are not permitted"),
    ],
)
def test_settings_that_do_not_exist_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises((HarnessError, UnknownNameError), match=message):
        Least.create(ExampleData().info, **options)


@pytest.mark.process
def test_importing_the_contract_does_not_import_torch() -> None:
    code = "import sys, harness.method, harness.method.trainable; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
