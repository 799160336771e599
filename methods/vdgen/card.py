"""VDGen's card: presets, the paper's ablations, published figures."""

from __future__ import annotations

from typing import Any

from harness.core.types import Task
from harness.method.card import MethodCard
from methods.vdgen.deviations import DEVIATIONS

TINY: dict[str, Any] = {
    "training": {"epochs": 8, "batch_size": 16, "val_every": 4, "bucket": 8},
    "image_size": 128,
    "vision": "lite0",
    "visual_width": 256,
    "keep_features": True,
    "vse_width": 512,
    "teacher": "embeddings",
    "llm": "",
    "llm_vocabulary": 1200,
    "llm_width": 128,
    "llm_layers": 2,
    "llm_heads": 4,
    "llm_kv_heads": 4,
    "llm_hidden": 256,
    "adapt": "full",
    "checkpoint_gradients": False,
    "report_tokens": 60,
    "num_beams": 1,
    "min_new_tokens": 18,
    "image_guidance": 2.5,
    "repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "warmup": 0.1,
    "schedule": "linear",
}


BASE: dict[str, Any] = {
    **TINY,
    "min_new_tokens": 0,
    "image_guidance": 1.0,
    "training": {"epochs": 20, "batch_size": 16, "val_every": 4, "bucket": 8},
    "visual_width": 512,
    "llm_vocabulary": 2000,
    "vse_width": 1024,
    "llm_width": 384,
    "llm_layers": 6,
    "llm_heads": 6,
    "llm_kv_heads": 6,
    "llm_hidden": 1024,
    "report_tokens": 100,
    "num_beams": 3,
    "learning_rate": 6e-4,
}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "no-vse": ("without Vision Self-Equilibration (Table 2)", {"vse": False}),
    "no-did": ("without Disease Information Distillation (Table 2)", {"did": False}),
    "no-lora": ("the language model stays as it is (Table 2)", {"adapt": "none"}),
}


CARD = MethodCard(
    name="vdgen",
    title="VDGen",
    paper="VDGen, anonymous ACL submission",
    licence="Apache-2.0",
    tasks=frozenset({Task.REPORT}),
    reads=frozenset({"frontal", "lateral"}),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    variants=VARIANTS,
    samples=True,
    deviations=DEVIATIONS,
)
