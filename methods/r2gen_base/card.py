"""The card of R2Gen's base model: presets, choices, the paper's figures."""

from __future__ import annotations

from typing import Any

from harness.core.types import Task
from harness.method.card import Deviation, MethodCard

TINY: dict[str, Any] = {
    "training": {"epochs": 8, "batch_size": 16, "bucket": 8, "gradient_clip": 1.0, "val_every": 8},
    "backbone": "frozen-lite0",
    "image_size": 128,
    "grid": 4,
    "width": 128,
    "heads": 4,
    "layers": 1,
    "feed_forward": 256,
    "dropout": 0.0,
    "input_dropout": 0.1,
    "view_dropout": 0.1,
    "num_beams": 1,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "schedule": "linear",
}


BASE: dict[str, Any] = {
    "training": {"epochs": 20, "batch_size": 16, "gradient_clip": 1.0},
    "backbone": "lite0",
    "backbone_weights": "package",
    "learning_rate": 5e-4,
    "vision_rate": 0.2,
    "weight_decay": 0.01,
    "schedule": "linear",
}


DEVIATIONS = (
    Deviation(
        id="missing-views",
        where="views: the paper's IU X-Ray studies have exactly two, and no view is ever missing",
        chosen="patches of all present views are read together, told apart by one learned vector per "
        "view and patch, as the paper does not say; those of an absent view are masked. With none left "
        "the encoder reads one learned null token. view_dropout hides views in training (0 in the paper)",
    ),
    Deviation(
        id="positions",
        where="positions of patches: the paper's encoder is given none",
        chosen="one learned vector per view and patch, which starts near 0",
    ),
    Deviation(
        id="normalisation",
        where="layer normalisation: the paper has no word on where it stands",
        chosen="before each block, as in the released code",
    ),
    Deviation(
        id="backbone",
        where="backbone: ResNet-101 with ImageNet weights, fine-tuned",
        chosen="tiny reads maps of a frozen EfficientNet-Lite0, standardised over the training studies; "
        "base fine-tunes that network",
    ),
)


CARD = MethodCard(
    name="r2gen_base",
    title="R2Gen's base model: Transformer encoder and decoder",
    paper="Chen et al., Generating Radiology Reports via Memory-driven Transformer, EMNLP 2020 "
    "(arXiv 2010.16056): the row Base, without memory",
    licence="Apache-2.0",
    tasks=frozenset({Task.REPORT}),
    reads=frozenset({"frontal", "lateral"}),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    deviations=DEVIATIONS,
    samples=True,
)
