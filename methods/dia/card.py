"""DiA-gnostic VLVAE's card: presets, the paper's ablations, published figures."""

from __future__ import annotations

from typing import Any

from harness.core.types import CONTEXT, Task
from harness.method.card import MethodCard
from methods.dia.deviations import DEVIATIONS

TINY: dict[str, Any] = {
    "training": {"epochs": 11, "batch_size": 16, "gradient_clip": 0.0, "bucket": 8, "val_every": 11},
    "image_size": 128,
    "backbone": "efficientnet_lite0",
    "backbone_weights": "package",
    "backbone_stages": 5,
    "freeze_stages": 5,
    "token_pool": 8,
    "position_norm": True,
    "keep_trunk": True,
    "width": 128,
    "latent": 32,
    "heads": 4,
    "language_layers": 1,
    "language_hidden": 256,
    "abstractor_layers": 1,
    "abstractor_hidden": 256,
    "vision_posterior": "trunk",
    "vgg_size": 32,
    "vgg_width": 4,
    "vgg_hidden": 128,
    "posterior_layers": 1,
    "posterior_hidden": 128,
    "expert_hidden": 128,
    "context_decoder_layers": 1,
    "context_decoder_hidden": 256,
    "layers": 2,
    "feed_forward": 384,
    "jsd_samples": 2,
    "context_words": 24,
    "dropout": 0.0,
    "context_dropout": 0.6,
    "lambda_orth": 0.1,
    "part_clip": 1.0,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "backbone_rate": 0.3,
    "schedule": "linear",
}


BASE: dict[str, Any] = {
    "training": {"epochs": 15, "batch_size": 16},
    "backbone": "efficientnet_lite0",
    "backbone_weights": "package",
    "backbone_rate": 0.3,
    "width": 512,
    "latent": 128,
    "language_layers": 3,
    "language_hidden": 1024,
    "abstractor_hidden": 2048,
    "vgg_size": 128,
    "vgg_width": 32,
    "vgg_hidden": 1024,
    "posterior_layers": 2,
    "posterior_hidden": 512,
    "context_decoder_layers": 2,
    "context_decoder_hidden": 1024,
    "layers": 4,
    "feed_forward": 2048,
    "schedule": "linear",
}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("no VL-MoE-VAE and no DA constraint (Table 2, row 1)", {"vae": False}),
    "no-alignment": (
        "VL-MoE-VAE without the DA constraint (Table 2, row 2)",
        {"lambda_orth": 0.0, "lambda_align": 0.0},
    ),
    "orth-only": ("of the DA constraint the orthogonality alone (Figures 3b and 4b)", {"lambda_align": 0.0}),
    "align-only": ("of the DA constraint the alignment alone (Figures 3c and 4c)", {"lambda_orth": 0.0}),
    "transformer-decoder": ("a Transformer decoder instead of LLaMA-X (Table 3)", {"decoder": "transformer"}),
    "gpt2-decoder": ("a GPT-2 decoder from scratch instead of LLaMA-X (Table 3)", {"decoder": "gpt2"}),
}


CARD = MethodCard(
    name="dia",
    title="DiA-gnostic VLVAE",
    paper="Shaik et al., DiA-gnostic VLVAE",
    licence="Apache-2.0",
    tasks=frozenset({Task.REPORT}),
    reads=frozenset({"frontal", "lateral", CONTEXT}),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    variants=VARIANTS,
    opponents=("baseline",),
    deviations=DEVIATIONS,
    published={"parameters": 589.7e6, "flops": 51.14e9},
    published_of_variants={  # Table 3
        "transformer-decoder": {"parameters": 591.2e6, "flops": 80.6e9},
        "gpt2-decoder": {"parameters": 746.9e6, "flops": 86.4e9},
    },
    samples=True,
)
