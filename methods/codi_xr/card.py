"""CoDi XR's card: presets, ablations, published figures."""

from __future__ import annotations

from typing import Any

from harness.core.types import Task
from harness.method.card import MethodCard
from methods.codi_xr.config import NAME, VIEWS
from methods.codi_xr.deviations import DEVIATIONS

SCRATCH = {"clip": "", "bert": "", "gpt2": "", "image_vae": "", "unet": ""}
"""Nothing pretrained."""


TINY: dict[str, Any] = {
    **SCRATCH,
    "image_autoencoder": {"epochs": 3, "batch_size": 64, "val_every": 3},
    "report_autoencoder": {"epochs": 4, "batch_size": 16, "bucket": 8, "val_every": 4},
    "contrastive": {"epochs": 7, "batch_size": 128, "val_every": 7},
    "training": {"epochs": 4, "batch_size": 64, "val_every": 4},
    "alignment": {"epochs": 1, "batch_size": 64},
    "image_size": 128,
    "patch": 128,
    "patch_values": 256,
    "vae_channels": (128,),
    "vae_blocks": 1,
    "latent_channels": 128,
    "image_kl": 1e-4,
    "latent_scale": 0.0,
    "whiten": 0.02,
    "encoders": "latent",
    "text_width": 64,
    "text_layers": 1,
    "text_heads": 4,
    "text_words": 56,
    "embedding": 64,
    "embedding_dropout": 0.2,
    "unet_channels": (128,),
    "unet_attention": (True,),
    "unet_blocks": 1,
    "unet_heads": 4,
    "unet_middle": False,
    "gaussian_start": True,
    "gaussian_joint": True,
    "timed_condition": True,
    "prior_mean": True,
    "mean_guidance": 1.0,
    "report_mean_guidance": 2.5,
    "report_latent": 64,
    "bert_width": 96,
    "bert_layers": 1,
    "bert_heads": 4,
    "gpt2_width": 96,
    "gpt2_layers": 2,
    "gpt2_heads": 4,
    "report_init": 0.1,
    "report_pooling": "mean",
    "report_added": False,
    "report_dropout": 0.0,
    "word_dropout": 0.4,
    "report_beta": 0.02,
    "report_target": 0.5,
    "report_bag": 1.0,
    "report_noise": 0.0,
    "report_channels": 32,
    "report_multipliers": (1,),
    "report_attention": (True,),
    "report_blocks": 1,
    "report_words": 56,
    "environment": 64,
    "sampler": "dpm-solver++",
    "steps": 10,
    "guidance": 2.5,
    "rates": (1e-3, 4e-3, 3e-3, 2e-3, 1e-3),
    "weight_decay": 1e-2,
    "warmup": 0.1,
}


BASE: dict[str, Any] = {
    **SCRATCH,
    "image_autoencoder": {"epochs": 15, "batch_size": 32},
    "report_autoencoder": {"epochs": 25, "batch_size": 32},
    "contrastive": {"epochs": 25, "batch_size": 128},
    "training": {"epochs": 80, "batch_size": 64},
    "alignment": {"epochs": 10, "batch_size": 64},
    "image_size": 128,
    "image_channels": 1,
    "vae_channels": (64, 128, 128, 128),
    "vae_blocks": 1,
    "latent_scale": 0.0,
    "clip_size": 128,
    "clip_patch": 16,
    "clip_width": 384,
    "clip_layers": 6,
    "clip_heads": 6,
    "text_width": 256,
    "text_layers": 4,
    "text_heads": 4,
    "embedding": 256,
    "embedding_dropout": 0.1,
    "unet_channels": (128, 256, 256),
    "unet_attention": (True, True, False),
    "unet_blocks": 1,
    "timed_condition": True,
    "report_latent": 128,
    "bert_width": 256,
    "bert_layers": 2,
    "bert_heads": 4,
    "gpt2_width": 256,
    "gpt2_layers": 4,
    "gpt2_heads": 4,
    "report_init": 0.06,
    "report_pooling": "mean",
    "report_added": False,
    "report_beta": 0.1,
    "report_target": 0.1,
    "report_channels": 64,
    "report_multipliers": (1, 2, 4),
    "report_attention": (True, True, False),
    "report_blocks": 2,
    "environment": 256,
    "sampler": "dpm-solver++",
    "steps": 20,
    "guidance": 3.0,
    "rates": (5e-4, 5e-4, 3e-4, 3e-4, 3e-4),
}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "unconditional": ("conditions are ignored: what guidance adds is left out", {"guidance": 0.0}),
    "no-guidance": (
        "conditions without classifier-free guidance, and expectations that are not exaggerated",
        {"guidance": 1.0, "mean_guidance": 1.0, "report_mean_guidance": 1.0},
    ),
    "no-alignment": (
        "stages 1 and 2 alone: branches of a joint generation do not see each other",
        {"joint": False},
    ),
    "ddim": ("DDIM with 50 steps", {"sampler": "ddim", "steps": 50}),
}


CARD = MethodCard(
    name=NAME,
    title="CoDi XR: any-to-any generation of chest X-ray views and reports",
    paper="Molino et al., Any-to-Any Vision-Language Model for Multimodal X-ray Imaging and Radiological "
    "Report Generation, arXiv 2505.01091",
    licence="Apache-2.0",
    tasks=frozenset({Task.REPORT, Task.SYNTHESIZE}),
    reads=frozenset(VIEWS),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    variants=VARIANTS,
    deviations=DEVIATIONS,
    published={"parameters": 6.77e9},
)
