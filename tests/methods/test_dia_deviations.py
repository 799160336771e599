"""DiA's deviations: each text, found by its id, says what the code does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.types import DatasetInfo, Study, Task
from harness.method.batching import collate
from harness.method.size import REFERENCE_INFO, describe
from methods.dia.card import CARD, TINY
from methods.dia.config import DiAConfig
from methods.dia.decoder import LlamaXDecoder
from methods.dia.features import GuidedContextAttention
from methods.dia.losses import Bound, alignment, orthogonality
from methods.dia.method import DiA
from methods.dia.vae import Mixture, VisionDecoder, VisionPosterior

PAPER = DiAConfig()
TEXTS = {each.id: each for each in CARD.deviations}
INFO = DatasetInfo("toy", frozenset({Task.REPORT}), ("frontal", "lateral"), True, 32)


def tiny(field: str) -> Any:
    return TINY.get(field, getattr(PAPER, field))


def chosen(name: str) -> str:
    return TEXTS[name].chosen


def numbers(text: str) -> list[float]:
    return [float(each.replace(",", "")) for each in re.findall(r"\d[\d,]*\.?\d*", text)]


def on_meta() -> DiA:
    method = DiA.create(REFERENCE_INFO, preset="paper")
    with torch.device("meta"):
        method.prepare(method.reference_artifacts())
    return method


def flops_by_module() -> dict[str, float]:
    from torch.utils.flop_counter import FlopCounterMode

    method = on_meta()
    inputs, targets = method.example_batch()
    method.network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        method.losses(inputs.to("meta"), targets.to("meta"))
    return {name: sum(counts.values()) / 1e9 for name, counts in counter.get_flop_counts().items()}


def test_ids_are_unique_and_all_there() -> None:
    assert len(TEXTS) == len(CARD.deviations)
    assert "" not in TEXTS


def views() -> None:
    decoder = VisionDecoder(DiAConfig(latent=4, vgg_size=32, vgg_width=2, vgg_hidden=8), 2, 1)
    assert decoder(torch.zeros(3, 4)).shape == (3, 2, 1, 32, 32)
    posterior = VisionPosterior(DiAConfig(latent=4, vgg_size=32, vgg_width=2, vgg_hidden=8), 1)
    pixels = torch.rand(1, 2, 1, 32, 32)
    frontal = posterior(pixels, torch.tensor([[True, False]])).mean
    both = posterior(pixels[:, [0, 0]], torch.tensor([[True, True]])).mean
    torch.testing.assert_close(frontal, both)  # an average, of present views alone


def guided_context_attention() -> None:
    gate = GuidedContextAttention(128)
    assert gate.reduce.out_features == 128 // 8
    assert not [module for module in gate.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def modality_dropout() -> None:
    rates = (PAPER.context_dropout, PAPER.view_dropout, tiny("context_dropout"), tiny("view_dropout"))
    assert numbers(chosen("modality-dropout"))[:4] == [100 * rate for rate in rates]


def drawing_z_s() -> None:
    mixture = Mixture(torch.zeros(1, 2), torch.tensor([[[1.0], [3.0]]]), torch.full((1, 2, 1), -8.0))
    assert mixture.draw(training=False).item() == 2.0
    drawn = torch.stack([mixture.draw(training=True) for _ in range(64)])
    assert ((drawn - 2).abs() < 0.2).all()


def jsd() -> None:
    torch.manual_seed(0)
    far = Mixture(torch.zeros(3, 2), torch.full((3, 2, 16), 4.0), torch.zeros(3, 2, 16))
    assert far.jsd(64).shape == (3, 16)
    assert (far.jsd(64) < np.log(2)).all()
    logits = torch.zeros(3, 2, requires_grad=True)
    mean = torch.stack([torch.zeros(3, 16), torch.full((3, 16), 4.0)], dim=1)
    Mixture(logits, mean, torch.zeros(3, 2, 16)).jsd(64).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[:, 1] > 0).all()


def likelihoods() -> None:
    one = torch.ones(2)
    bound = Bound(-8 * one, -6 * one, one[:, None] * 3, one[:, None] * 2, one[:, None], 4 * one, 3 * one)
    assert {name: value.item() for name, value in bound.losses().items()} == {
        "recon_v": 2.0,
        "recon_l": 2.0,
        "kl_v": 3.0,
        "kl_l": 2.0,
        "jsd": 1.0,
    }


def whitening() -> None:
    assert PAPER.covariance_rate == tiny("covariance_rate") == 0.05
    assert "5 %" in chosen("whitening")
    assert f"{PAPER.lambda_orth}, of tiny {tiny('lambda_orth')}" in chosen("whitening")
    identity = torch.eye(8).expand(3, 8, 8)
    assert orthogonality(identity).item() == 3.0  # each squared norm, 8, divided by D


def negatives() -> None:
    assert PAPER.negatives == tiny("negatives") == "batch"
    vision = language = torch.eye(4)
    present = torch.ones(4, 2, dtype=torch.bool)
    config = DiAConfig(negatives="pair")
    equal = alignment(torch.rand(4, 4), vision, language, present, config).item()
    assert equal == pytest.approx(2 * np.log(2), abs=1e-5)  # as the text says: equally far is smallest


def widths() -> None:
    fields = (PAPER.abstractor_hidden, PAPER.context_decoder_hidden, PAPER.feed_forward)
    assert fields == (4 * PAPER.width,) * 3
    assert PAPER.vgg_hidden == 4096
    method, counts = on_meta(), {}
    for size in (1000, 4000):
        with torch.device("meta"):
            method.prepare({"words": [str(n) for n in range(size - 4)], "report_length": 50.0})
        counts[size] = sum(parameter.numel() for parameter in method.network.parameters()) / 1e6
    for count in counts.values():
        assert f"{count:.1f} M" in chosen("widths")
    published = CARD.published["parameters"] / 1e6
    assert f"{published:.1f} M, {published / counts[4000] - 1:.1%}".replace("%", " %") in chosen("widths")


def flops() -> None:
    counts = flops_by_module()
    decoders = counts["VisionDecoder"] + counts["LanguageDecoder"]
    assert f"{decoders:.1f} G" in chosen("flops")
    assert f"{counts['VisionPosterior.features']:.1f} G are VGG16" in chosen("flops")
    inputs, targets = on_meta().example_batch()
    assert inputs.context is not None
    assert inputs.context[0] is not None
    words = len(inputs.context[0].split()), len(targets.reports[0].split())
    assert words == (PAPER.context_words, PAPER.report_words) == (50, 50)
    assert "50 context and 50 report words" in chosen("flops")


def vgg_mlp() -> None:
    posterior = VisionPosterior(DiAConfig(vgg_size=32, vgg_width=2), 1)
    assert sum(isinstance(module, torch.nn.Linear) for module in posterior.mlp) == 2
    assert not [module for module in posterior.modules() if "Norm" in type(module).__name__]


def words() -> None:
    assert f"at least {PAPER.min_count} times" in chosen("words")
    assert "fewer than 4 times" in TEXTS["words"].where
    assert f"cut at {PAPER.report_words} words" in chosen("words")
    assert "min_count" not in TINY
    assert "report_words" not in TINY


def chosen_epoch() -> None:
    assert PAPER.training.keep == "last"
    assert "keep" not in TINY["training"]


def search() -> None:
    assert PAPER.num_beams == tiny("num_beams") == 1


def clipping() -> None:
    assert PAPER.training.gradient_clip == PAPER.part_clip == 0
    assert TINY["training"]["gradient_clip"] == 0
    assert TINY["part_clip"] > 0


def learning_rate() -> None:
    assert (PAPER.schedule, TINY["schedule"], CARD.presets["base"]["schedule"]) == (
        "constant",
        "linear",
        "linear",
    )


def cross_attention() -> None:
    decoder = LlamaXDecoder(10, DiAConfig(width=32, heads=4, kv_heads=2, layers=1, feed_forward=8))
    assert decoder.layers[0].cross.kv_heads == 4
    assert not decoder.layers[0].cross.rotary
    assert decoder.layers[0].attention.kv_heads == 2


def table_3_decoders() -> None:
    for variant in ("transformer-decoder", "gpt2-decoder"):
        assert describe(f"dia:{variant}", "paper")["components"]["decoder"] > 1e8


def imagenet_weights() -> None:
    assert (PAPER.backbone_weights, PAPER.vgg_weights) == ("", "")
    fields = ("backbone", "freeze_stages", "token_pool", "position_norm", "vision_posterior")
    assert [tiny(field) for field in fields] == ["efficientnet_lite0", 5, 8, True, "trunk"]
    assert PAPER.vision_posterior == "vgg16"
    assert f"averaged to {tiny('posterior_side')} x {tiny('posterior_side')}" in chosen("imagenet-weights")


CHECKS: dict[str, Callable[[], None]] = {
    "views": views,
    "guided-context-attention": guided_context_attention,
    "modality-dropout": modality_dropout,
    "drawing-z-s": drawing_z_s,
    "jsd": jsd,
    "likelihoods": likelihoods,
    "whitening": whitening,
    "negatives": negatives,
    "widths": widths,
    "flops": flops,
    "vgg-mlp": vgg_mlp,
    "words": words,
    "chosen-epoch": chosen_epoch,
    "search": search,
    "clipping": clipping,
    "learning-rate": learning_rate,
    "cross-attention": cross_attention,
    "table-3-decoders": table_3_decoders,
    "imagenet-weights": imagenet_weights,
}
ELSEWHERE = {
    "null-tokens",
    "shared-experts",
    "reconstructions",
    "sign-of-elbo",
    "latents-in-memory",
    "swiglu",
    "rad-dino",
}
"""Held by tests of equations and masks in ``test_dia.py``, or no claim about the code."""


@pytest.mark.parametrize("name", CHECKS)
def test_the_text_says_what_the_code_does(name: str) -> None:
    CHECKS[name]()


def test_every_deviation_is_checked_here_or_elsewhere() -> None:
    assert set(TEXTS) == {*CHECKS, *ELSEWHERE}
    assert not ELSEWHERE & set(CHECKS)


def test_fifty_words_are_fifty_words() -> None:
    """Marks that close sentences are not words; the cut follows the fiftieth word in training and writing."""
    torch.manual_seed(0)
    method = DiA.create(INFO, overrides=SMALL | {"report_words": 3, "context_words": 3})
    report = "heart normal. lungs clear. no effusion."
    train = [
        Study(f"s{n}", f"p{n}", "train", {"frontal": np.zeros((32, 32, 1), np.uint8)}, report, report)
        for n in range(4)
    ]
    artifacts = method.artifacts(train)
    assert artifacts["report_length"] == 5.0  # "heart normal . lungs" and the end mark
    method.prepare(artifacts)
    assert method.config.report_tokens == 7
    rows = method._read(collate(train, INFO))[2]
    assert [method.vocabulary.decode(row) for row in rows.tolist()] == ["heart normal . lungs"] * 4
    with torch.no_grad():
        method.network.decoder.head.weight.zero_()
        method.network.decoder.head.weight[method.vocabulary.index["clear"]] = 1.0
        method.network.decoder.norm.weight.fill_(1.0)
    texts = [prediction.report for prediction in method.predict(collate(train, INFO))]
    assert all(len((text or "").split()) <= 3 for text in texts)


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
    "vgg_hidden": 16,
    "language_hidden": 32,
    "abstractor_hidden": 32,
    "posterior_hidden": 32,
    "expert_hidden": 16,
    "context_decoder_hidden": 32,
    "feed_forward": 32,
    "min_count": 1,
}
