"""MicarVLMoE's card: presets, the paper's ablations, published figures."""

from __future__ import annotations

from typing import Any

from harness.core.types import Task
from harness.method.card import MethodCard
from methods.micar_vlmoe.deviations import DEVIATIONS

TINY: dict[str, Any] = {
    "training": {
        "epochs": 11,
        "batch_size": 16,
        "bucket": 8,
        "gradient_clip": 1.0,
        "val_every": 11,
        "keep": "last",
    },
    "image_size": 128,
    "backbone": "frozen-lite0",
    "map_side": 4,
    "keep_maps": True,
    "vision_width": 64,
    "grid": 4,
    "width": 128,
    "latent": 128,
    "heads": 4,
    "rope_width": 16,
    "layers": 1,
    "feed_forward": 128,
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "report_words": 50,
    "num_beams": 1,
    "learning_rate": 2e-3,
    "vision_rate": 1.0,
    "weight_decay": 0.05,
    "schedule": "linear",
}


BASE: dict[str, Any] = {
    "training": {"epochs": 20, "batch_size": 16, "gradient_clip": 1.0, "keep": "last"},
    "backbone": "lite0",
    "backbone_weights": "package",
    "vision_width": 256,
    "grid": 4,
    "map_side": 14,
    "learning_rate": 5e-4,
    "weight_decay": 0.01,
    "schedule": "linear",
}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "no-balance": ("no load-balancing loss (Table III, w/o lb loss)", {"balance": 0.0}),
    "no-moe": ("one feed-forward network in the experts' place (Table III, w/o moe)", {"moe": False}),
    "no-latent-encoder": (
        "the decoder reads projected patches (Table III, w/o lenc)",
        {"latent_encoder": False},
    ),
    "no-msve": ("patches of the backbone's last map (Table III, w/o msve)", {"msve": False}),
}


CARD = MethodCard(
    name="micar_vlmoe",
    title="MicarVLMoE",
    paper="Izhar et al., MicarVLMoE",
    licence="Apache-2.0",
    tasks=frozenset({Task.REPORT}),
    reads=frozenset({"frontal", "lateral"}),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    variants=VARIANTS,
    deviations=DEVIATIONS,
    released={"parameters": 156.8e6},
    samples=True,
)
