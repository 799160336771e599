"""What KEDR's and MicarVLMoE's deviations say is what their presets do."""

from __future__ import annotations

from typing import Any

import pytest

from harness.method.contract import Method
from methods.kedr.config import KEDRConfig
from methods.kedr.method import KEDR
from methods.micar_vlmoe.config import MicarConfig
from methods.micar_vlmoe.method import MicarVLMoE


def text(method: type[Method[Any]], name: str) -> str:
    """Both texts of a deviation."""
    (deviation,) = (each for each in method.card.deviations if each.id == name)
    return f"{deviation.where} {deviation.chosen}"


def settings(method: type[Method[Any]], preset: str) -> dict[str, Any]:
    paper: KEDRConfig | MicarConfig = KEDRConfig() if method is KEDR else MicarConfig()
    return paper.model_dump() | dict(method.card.presets[preset])


@pytest.mark.parametrize("method", [KEDR, MicarVLMoE])
def test_every_deviation_has_an_id(method: type[Method[Any]]) -> None:
    ids = [each.id for each in method.card.deviations]
    assert "" not in ids
    assert len(set(ids)) == len(ids)


def test_kedrs_presets_do_what_its_deviations_say() -> None:
    paper, tiny, base = (settings(KEDR, name) for name in ("paper", "tiny", "base"))
    assert "anchored=true" in text(KEDR, "anchors")
    assert "own_classes=true" in text(KEDR, "own-classes")
    assert all(each["anchored"] and each["own_classes"] for each in (paper, tiny, base))
    assert "drop one of two modalities of 30 %" in text(KEDR, "modality-dropout")
    assert (paper["modality_dropout"], tiny["modality_dropout"], base["modality_dropout"]) == (0.0, 0.3, 0.3)
    assert "epsilon 0.1, gradient through 100 Sinkhorn iterations (tiny: 20)" in text(KEDR, "transport")
    assert (paper["epsilon"], tiny["epsilon"]) == (0.1, 0.1)
    assert (paper["transport_iterations"], tiny["transport_iterations"]) == (100, 20)
    solver = "at most 30 iterations, relative residual 1e-4 (tiny: 1e-3; at inference 1e-6)"
    assert solver in text(KEDR, "solver")
    assert (paper["solver_iterations"], paper["tolerance"], tiny["tolerance"]) == (30, 1e-4, 1e-3)
    assert paper["inference_tolerance"] == tiny["inference_tolerance"] == 1e-6
    assert "held at or below 0.9 (outer)" in text(KEDR, "operator")
    assert paper["bound"] == 0.9
    assert "tiny and base subtract omega_1 + omega_2" in text(KEDR, "loss-weights")
    assert (paper["weight_prior"], tiny["weight_prior"], base["weight_prior"]) == (0.0, 1.0, 1.0)
    assert "omega = log K; exclusive classes: 0" in text(KEDR, "multi-label")
    assert "mean over the steps of the last fifth" in text(KEDR, "averaging")
    assert paper["averaged"] == 0.2
    assert "fine-tuned at 0.3 of the rate (base)" in text(KEDR, "backbone-weights")
    assert base["vision_rate"] == 0.3
    assert "none on kept features (tiny)" in text(KEDR, "augmentation")
    assert (tiny["augment"], tiny["keep_features"]) == (False, True)
    assert "the last; tiny and base: that of the lowest" in text(KEDR, "epoch")
    assert paper["training"]["keep"] == "last"
    assert tiny["training"]["keep"] == base["training"]["keep"] == "best"


def test_micars_presets_do_what_its_deviations_say() -> None:
    paper, tiny, base = (settings(MicarVLMoE, name) for name in ("paper", "tiny", "base"))
    assert "7 x 7, the released code's; tiny and base 4 x 4" in text(MicarVLMoE, "patches")
    assert (paper["grid"], tiny["grid"], base["grid"]) == (7, 4, 4)
    assert "(tiny and base: the last epoch's)" in text(MicarVLMoE, "epoch")
    assert tiny["training"]["keep"] == base["training"]["keep"] == "last"
    assert "2 blocks, 100 epochs, batch 16; reports of at most 60 words" in text(MicarVLMoE, "depth")
    assert (paper["layers"], paper["training"]["epochs"], paper["training"]["batch_size"]) == (2, 100, 16)
    assert paper["report_words"] == 60
    assert "at least 3 occurrences" in text(MicarVLMoE, "words")
    assert paper["min_count"] == 3
    assert "width 3" in text(MicarVLMoE, "beam-search")
    assert paper["num_beams"] == 3
    assert "a tenth of the rate in the second half" in text(MicarVLMoE, "schedule")
    assert paper["schedule"] == "step"
