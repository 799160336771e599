"""Pretrained weights are named: nothing trains from random weights without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core import registry
from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Task
from harness.core.weights import lite0_weights
from harness.method.card import card_facts
from harness.method.contract import FitRun
from harness.method.pretrained import PretrainedPart, require_weights
from harness.method.size import describe, render
from methods.dia.method import DiA
from methods.micar_vlmoe.method import MicarVLMoE
from tests.test_contracts import INFO, studies

PARTS = {
    "dia": {"dia.backbone_weights", "dia.vgg_weights"},
    "kedr": {"kedr.vision_weights"},
    "micar_vlmoe": {"micar_vlmoe.backbone_weights"},
    "shaspec": {"shaspec.backbone_weights"},
}


def parts(name: str, preset: str, **overrides: Any) -> tuple[PretrainedPart, ...]:
    method = registry.load("methods", name).create(INFO, preset=preset, overrides=overrides)
    return tuple(method.config.pretrained)


@pytest.mark.parametrize("name", PARTS)
def test_paper_trains_only_where_weights_are_named(name: str, tmp_path: Path) -> None:
    method = registry.load("methods", name).create(INFO, preset="paper")
    with pytest.raises(HarnessError, match="not named") as caught:
        method.fit(studies("train", 4), studies("val", 2), FitRun(tmp_path, "cpu", 0))
    assert all(setting in str(caught.value) for setting in PARTS[name])
    assert "=random" in str(caught.value)
    assert "\n" not in str(caught.value)
    said = {setting.partition(".")[2]: "random" for setting in PARTS[name]}
    require_weights(parts(name, "paper", **said))
    facts = card_facts(method.card, None, {}, parts(name, "paper", **said))
    assert {each["source"] for each in facts["weights"]} == {"random"}


@pytest.mark.parametrize("name", registry.names("methods"))
def test_smaller_presets_start_from_packaged_weights(name: str) -> None:
    card = registry.card(name)
    for preset in {"tiny", "base"} & set(card.presets) if card.learned else set():
        assert {part.source for part in parts(name, preset)} <= {"package"}


@pytest.mark.parametrize("name", ["dia", "micar_vlmoe", "kedr"])
def test_base_fine_tunes_lite0(name: str) -> None:
    (part,) = parts(name, "base")
    assert (part.network, part.source) == ("timm's efficientnet_lite0", "package")
    small = {
        "dia": {"width": 32, "heads": 4, "vgg_width": 2, "vgg_size": 32, "vgg_hidden": 8, "feed_forward": 32}
    }
    method = registry.load("methods", name).create(INFO, preset="base", overrides=small.get(name, {}))
    method.prepare(method.artifacts(studies("train", 6)))
    (packaged,) = (w for n, w in lite0_weights().items() if n == "blocks.6.0.conv_pw.weight")
    same = [p for p in method.network.parameters() if p.shape == packaged.shape and torch.equal(p, packaged)]
    assert same
    assert all(parameter.requires_grad for parameter in same)


def test_describe_says_which_weights_a_preset_wants() -> None:
    text = render(describe("dia", "paper"))
    assert (
        "weights: dia.backbone_weights: of timm's efficientnet_b0; not named: --set dia.backbone_weights"
        in text
    )
    assert "dia.vgg_weights: of a VGG16" in text
    assert "weights: dia.backbone_weights: of timm's efficientnet_lite0; starts from package" in render(
        describe("dia", "base")
    )


def test_facts_hold_a_digest_and_no_path(tmp_path: Path) -> None:
    file = tmp_path / "secret.pth"
    file.write_bytes(b"one")
    part = PretrainedPart("kedr.vision_weights", "timm's resnet50", str(file))
    before = part.facts()
    assert before["source"] == "file"
    assert len(before["digest"]) == 16
    assert "secret" not in str(before)
    file.write_bytes(b"another")
    assert part.facts()["digest"] != before["digest"]


def test_a_checkpoint_needs_no_file_of_weights(tmp_path: Path) -> None:
    import timm

    info = DatasetInfo("d", frozenset({Task.REPORT}), ("frontal",), False, 32)
    network = timm.create_model("efficientnet_lite0", pretrained=False)
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "a.pth"
    )
    overrides = {
        "backbone": "lite0",
        "backbone_weights": str(tmp_path / "a.pth"),
        "map_side": 2,
        "vision_width": 8,
    }
    method = MicarVLMoE.create(info, overrides=overrides)
    method.prepare({"words": ["a"]})
    stem = method.network.vision.backbone.network.conv_stem.weight
    assert torch.equal(stem, network.conv_stem.weight)
    method.save(tmp_path / "checkpoint")
    (tmp_path / "a.pth").unlink()
    copy = MicarVLMoE.create(info, overrides=overrides)
    copy.load(tmp_path / "checkpoint")
    assert torch.equal(copy.network.vision.backbone.network.conv_stem.weight, stem)
    assert copy.config == method.config


def test_no_package_ships_weights_of_efficientnet_b0() -> None:
    method = DiA.create(
        INFO, preset="paper", overrides={"backbone_weights": "package", "vgg_weights": "random"}
    )
    with pytest.raises(HarnessError, match="no package ships weights of timm's efficientnet_b0"):
        method.prepare(method.artifacts(studies("train", 6)))
