"""The card of the missing-aware prompts: presets, variants, published figures."""

from __future__ import annotations

from typing import Any

from harness.core.types import Task
from harness.method.card import MethodCard
from methods.missing_prompts.deviations import DEVIATIONS

TINY: dict[str, Any] = {
    "training": {"epochs": 3, "batch_size": 64, "val_every": 1, "keep": "best"},
    "pretraining": {"epochs": 9, "batch_size": 32, "val_every": 1, "keep": "best"},
    "images": "frozen-lite0",
    "image_size": 128,
    "words": "minilm",
    "text_length": 12,
    "width": 64,
    "depth": 2,
    "heads": 4,
    "hidden": 2,
    "dropout": 0.1,
    "feature_dropout": 0.3,
    "prompt_length": 4,
    "prompt_layers": 2,
    "pretraining_rate": 3e-3,
    "pretraining_decay": 0.05,
    "learning_rate": 2e-3,
}


BASE: dict[str, Any] = {
    **TINY,
    "training": {"epochs": 15, "batch_size": 64, "val_every": 1, "keep": "best"},
    "pretraining": {"epochs": 15, "batch_size": 64, "val_every": 1, "keep": "best"},
    "image_size": 224,
    "grid": 14,
    "cells": 7,
    "text_length": 40,
    "width": 256,
    "depth": 6,
    "heads": 8,
    "hidden": 4,
    "prompt_length": 16,
    "prompt_layers": 3,
    "pretraining_rate": 5e-4,
}


CARD = MethodCard(
    name="missing_prompts",
    title="Missing-aware prompts",
    paper="Lee et al., Multimodal Prompting with Missing Modalities, CVPR 2023, arXiv:2303.03369",
    licence="Apache-2.0",
    tasks=frozenset({Task.DIAGNOSE}),
    reads=frozenset({"frontal", "lateral", "clinical", "dermoscopic", "fundus", "oct", "slo", "context"}),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    variants={
        "no-prompts": (
            "pooler and classifier alone learn under missing modalities (the paper's baseline)",
            {"prompts": "none"},
        ),
        "attention-level": ("prompts beside keys and values (section 3.3)", {"prompts": "attention"}),
        "no-missing": ("no modality is dropped in training", {"missing_rate": 0.0}),
    },
    deviations=DEVIATIONS,
    published={"learned share of the parameters": "below 1 %"},
)
