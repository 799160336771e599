"""What VDGen's and CoDi XR's deviations say is what their presets do."""

from __future__ import annotations

from typing import Any

import pytest

from harness.method.contract import Method
from methods.codi_xr.config import CoDiXRConfig
from methods.codi_xr.method import CoDiXR
from methods.vdgen.config import VDGenConfig
from methods.vdgen.method import VDGen


def text(method: type[Method[Any]], name: str) -> str:
    """Both texts of a deviation."""
    (deviation,) = (each for each in method.card.deviations if each.id == name)
    return f"{deviation.where} {deviation.chosen}"


def settings(method: type[Method[Any]], preset: str) -> dict[str, Any]:
    paper: VDGenConfig | CoDiXRConfig = VDGenConfig() if method is VDGen else CoDiXRConfig()
    return paper.model_dump() | dict(method.card.presets[preset])


@pytest.mark.parametrize("method", [VDGen, CoDiXR])
def test_every_deviation_has_an_id(method: type[Method[Any]]) -> None:
    ids = [each.id for each in method.card.deviations]
    assert "" not in ids
    assert len(set(ids)) == len(ids)


def test_vdgens_presets_do_what_its_deviations_say() -> None:
    paper, tiny, base = (settings(VDGen, name) for name in ("paper", "tiny", "base"))
    assert "S_ii is -inf in the denominator alone" in text(VDGen, "vse-diagonal")
    assert all(each["vse_pairs"] == "itself" for each in (paper, tiny, base))
    assert "dropout of 20 % of them" in text(VDGen, "vse-diagonal")
    assert paper["vse_dropout"] == tiny["vse_dropout"] == base["vse_dropout"] == 0.2
    assert "0.07 in Eq. 3 and 6; 2D" in text(VDGen, "temperature")
    assert paper["temperature"] == tiny["temperature"] == 0.07
    assert [each["vse_width"] for each in (paper, tiny, base)] == [2 * 1024, 2 * 256, 2 * 512]
    assert "tiny and base take the mean of the token embeddings" in text(VDGen, "text-vector")
    assert [each["teacher"] for each in (paper, tiny, base)] == ["hidden", "embeddings", "embeddings"]
    assert "taken for absent with 10 % probability" in text(VDGen, "view-dropout")
    assert paper["view_dropout"] == tiny["view_dropout"] == base["view_dropout"] == 0.1
    assert "dropout 0.1" in text(VDGen, "lora")
    assert (paper["lora_dropout"], paper["adapt"]) == (0.1, "lora")
    assert "15 epochs of AdamW, weight decay 0.01 on matrices, cosine" in text(VDGen, "training")
    assert (paper["training"]["epochs"], paper["weight_decay"]) == (15, 0.01)
    assert (paper["schedule"], paper["warmup"], paper["training"]["keep"]) == ("cosine", 0.0, "last")
    assert "beam 3 with R2GenGPT's values: at least 80 tokens" in text(VDGen, "search")
    assert (paper["num_beams"], paper["min_new_tokens"]) == (3, 80)
    assert "repetition penalty 2, length penalty 2" in text(VDGen, "search")
    assert paper["repetition_penalty"] == paper["length_penalty"] == 2.0
    assert f"greedy with at least {tiny['min_new_tokens']} tokens" in text(VDGen, "search")
    assert (tiny["num_beams"], base["num_beams"]) == (1, 3)
    assert f"guided by the image with w = {tiny['image_guidance']}" in text(VDGen, "search")
    assert paper["image_guidance"] == base["image_guidance"] == 1.0
    for each in (tiny, base):
        assert each["repetition_penalty"] == each["length_penalty"] == 1.0
        assert (each["llm"], each["vision"], each["adapt"]) == ("", "lite0", "full")
    assert "frozen Lite0 features of 128 pixels at stride 16" in text(VDGen, "small-models")
    assert (tiny["image_size"], tiny.get("lite0_stage", 5)) == (128, 5)


def test_codi_xrs_presets_do_what_its_deviations_say() -> None:
    paper, tiny, base = (settings(CoDiXR, name) for name in ("paper", "tiny", "base"))
    assert "ViT-L/14, 224 px, 768-d embeddings, 77 tokens" in text(CoDiXR, "clip")
    assert [paper[f"clip_{name}"] for name in ("width", "layers", "patch", "size")] == [1024, 24, 14, 224]
    assert (paper["embedding"], paper["text_words"]) == (768, 77)
    assert "tiny and base also add it to the time embedding" in text(CoDiXR, "context")
    assert [each["timed_condition"] for each in (paper, tiny, base)] == [False, True, True]
    assert "in training one of the other modalities or both, 10 % of the time none" in text(
        CoDiXR, "several-conditions"
    )
    assert (paper["weights"], paper["drop_condition"]) == ((1.0, 1.0, 1.0), 0.1)
    assert "gives one token of 1280" in text(CoDiXR, "stage-3-sizes")
    assert (paper["environment"], paper["align"]) == (1280, 1.0)
    assert "paper: 0.18215 for images" in text(CoDiXR, "latent-scale")
    assert [each["latent_scale"] for each in (paper, tiny, base)] == [0.18215, 0.0, 0.0]
    assert [each["whiten"] > 0 for each in (paper, tiny, base)] == [False, True, False]
    assert "tiny and base: 0.5 and 0.1 nats, and tiny hides 40 %" in text(CoDiXR, "free-bits")
    assert [each["report_target"] for each in (paper, tiny, base)] == [3.0, 0.5, 0.1]
    assert tiny["word_dropout"] == 0.4
    assert "so in paper; tiny and base: from its past alone" in text(CoDiXR, "how-z-is-read")
    assert [each["report_added"] for each in (paper, tiny, base)] == [True, False, False]
    assert "weight 1, chosen among 0, 0.3, 1 and 3" in text(CoDiXR, "bag-of-words")
    assert (paper["report_bag"], tiny["report_bag"]) == (0.0, 1.0)
    assert "z is the mean over words, and initial weights are larger" in text(CoDiXR, "z")
    assert [each["report_pooling"] for each in (paper, tiny, base)] == ["first", "mean", "mean"]
    assert tiny["report_init"] > base["report_init"] > paper["report_init"]
    assert "sampling starts from zeros instead of noise" in text(CoDiXR, "leaderboard-reports")
    assert (paper["report_noise"], tiny["report_noise"]) == (1.0, 0.0)
    assert "128 px; an image becomes its 256 first principal components" in text(CoDiXR, "small-images")
    assert (tiny["image_size"], tiny["patch_values"], tiny["latent_channels"]) == (128, 256, 128)
    assert "reports multiply the expectation by 2.5" in text(CoDiXR, "expectation")
    assert (tiny["prior_mean"], tiny["mean_guidance"], tiny["report_mean_guidance"]) == (True, 1.0, 2.5)
    assert (tiny["gaussian_start"], tiny["gaussian_joint"]) == (True, True)
    assert "order 2 with 10 (tiny) and 20 (base) steps; paper: DDIM with 50" in text(CoDiXR, "sampler")
    assert [each["steps"] for each in (paper, tiny, base)] == [50, 10, 20]
    assert (paper["sampler"], paper["guidance"], tiny["sampler"]) == ("ddim", 7.5, "dpm-solver++")
