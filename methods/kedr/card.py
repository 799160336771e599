"""KEDR's card: presets, the paper's ablations, published figures."""

from __future__ import annotations

from typing import Any

from harness.core.types import Task
from harness.method.card import MethodCard
from methods.kedr.deviations import DEVIATIONS

TINY: dict[str, Any] = {
    "training": {"epochs": 10, "batch_size": 64, "gradient_clip": 1.0, "val_every": 2, "keep": "best"},
    "image_size": 128,
    "vision": "frozen-lite0",
    "keep_features": True,
    "augment": False,
    "width": 128,
    "specific": "block",
    "modality_dropout": 0.3,
    "text_encoder": "minilm",
    "train_text": False,
    "transport_iterations": 20,
    "tolerance": 1e-3,
    "weight_prior": 1.0,
    "learning_rate": 4e-3,
    "weight_decay": 0.05,
    "averaged": 0.0,
}


BASE: dict[str, Any] = {
    "training": {"epochs": 16, "batch_size": 32, "gradient_clip": 1.0, "val_every": 1, "keep": "best"},
    "vision": "lite0",
    "vision_weights": "package",
    "width": 512,
    "specific": "block",
    "modality_dropout": 0.3,
    "text_encoder": "minilm",
    "train_text": False,
    "weight_prior": 1.0,
    "learning_rate": 3e-4,
    "vision_rate": 0.3,
    "weight_decay": 0.05,
    "averaged": 0.0,
}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "no-ked": ("no shared branch, no semantic priors, no orthogonality (w/o KED)", {"ked": False}),
    "no-ot": ("orthogonality alone, no semantic alignment (w/o OT)", {"alignment": "none"}),
    "contrastive": ("contrastive alignment in optimal transport's place", {"alignment": "contrastive"}),
    "no-confidence": ("branches count alike (Table 5, w/o confidence)", {"confidence": False}),
    "no-deq": ("weighted branches are added up once (Table 5, w/o DEQ)", {"deq": False}),
    "no-cad": ("neither confidence nor equilibrium (w/o CAD)", {"confidence": False, "deq": False}),
    "no-cot": ("descriptions from the plain question (Table 8, w/o CoT)", {"prompting": "none"}),
    "cot-1": ("descriptions after the first step (Table 8)", {"prompting": "step-1"}),
}


CARD = MethodCard(
    name="kedr",
    title="KEDR",
    paper="Li et al., KEDR, Information Fusion 136 (2026) 104502",
    licence="Apache-2.0",
    tasks=frozenset({Task.DIAGNOSE}),
    reads=frozenset({"frontal", "lateral", "clinical", "dermoscopic", "fundus", "oct", "slo"}),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    variants=VARIANTS,
    deviations=DEVIATIONS,
    published={
        "parameters": 230e6,
        "inference_parameters": 93.2e6,
        "multiply_adds": 30.4e9,
        "inference_multiply_adds": 9.5e9,
    },
)
