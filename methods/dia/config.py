"""DiA's configuration (the paper's symbols and values), presets and ablations."""

from __future__ import annotations

from typing import Any, Literal

from harness.method import MethodConfig, TrainingConfig


class Config(MethodConfig):
    """The paper's values (Implementation details, Tables 4 and 5); presets and variants override them.

    Attributes:
        backbone_weights: a timm state-dict file, ``package`` (the Lite0 weights that ship with a package) or
            empty for random initialisation.
        backbone_stages: EfficientNet stages in use; all seven are followed by the 1x1 head convolution.
        freeze_stages: stem and so many stages that are not trained.
        freeze_norm: batch normalisation of the backbone keeps its loaded statistics.
        vgg_size, vgg_width, vgg_hidden: input pixels, first-block channels and MLP width of q(Z_v|V).
        heads, kv_heads, layers, feed_forward: of the report decoder; ``heads`` everywhere.
        negatives: ``batch`` (supplement, Prop. 2) or ``pair`` (Eq. 6 as printed).
        context_dropout, view_dropout: training probability that the context, a view, is replaced by null.
        backbone_rate: learning-rate factor of the pre-trained backbone.
    """

    training: TrainingConfig = TrainingConfig(epochs=25, batch_size=4)
    image_size: int = 224
    backbone: Literal["efficientnet_b0", "efficientnet_lite0"] = "efficientnet_b0"
    backbone_weights: str = ""
    backbone_stages: int = 7
    freeze_stages: int = 0
    freeze_norm: bool = False
    width: int = 1024
    latent: int = 256
    dropout: float = 0.1
    heads: int = 8
    language_layers: int = 6
    language_hidden: int = 2048
    abstractor_layers: int = 2
    abstractor_hidden: int = 4096
    vae: bool = True
    vgg_weights: str = ""
    vgg_size: int = 224
    vgg_width: int = 64
    vgg_hidden: int = 4096
    posterior_layers: int = 4
    posterior_hidden: int = 1024
    expert_hidden: int = 512
    context_decoder_layers: int = 4
    context_decoder_hidden: int = 4096
    decoder: Literal["llama-x", "transformer", "gpt2"] = "llama-x"
    layers: int = 6
    kv_heads: int = 2
    feed_forward: int = 4096
    jsd_samples: int = 8
    lambda_orth: float = 0.3
    lambda_align: float = 0.3
    temperature: float = 0.07
    negatives: Literal["batch", "pair"] = "batch"
    context_dropout: float = 0.15
    view_dropout: float = 0.1
    context_words: int = 50
    report_words: int = 50
    min_count: int = 3
    num_beams: int = 1
    learning_rate: float = 1e-4
    backbone_rate: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-5
    warmup: float = 0.1
    schedule: Literal["constant", "linear"] = "constant"


TINY: dict[str, Any] = {
    "training": {"epochs": 8, "batch_size": 16},
    "image_size": 128,
    "backbone": "efficientnet_lite0",
    "backbone_weights": "package",
    "freeze_stages": 3,
    "freeze_norm": True,
    "width": 192,
    "latent": 32,
    "heads": 4,
    "language_layers": 1,
    "language_hidden": 384,
    "abstractor_layers": 1,
    "abstractor_hidden": 384,
    "vgg_size": 64,
    "vgg_width": 8,
    "vgg_hidden": 128,
    "posterior_layers": 1,
    "posterior_hidden": 192,
    "expert_hidden": 128,
    "context_decoder_layers": 1,
    "context_decoder_hidden": 384,
    "layers": 2,
    "feed_forward": 512,
    "jsd_samples": 4,
    "context_words": 24,
    "learning_rate": 1e-3,
    "backbone_rate": 0.3,
    "schedule": "linear",
}

BASE: dict[str, Any] = {
    "training": {"epochs": 15, "batch_size": 16},
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
    "transformer-decoder": ("a Transformer decoder instead of LLaMA-X (Table 3)", {"decoder": "transformer"}),
    "gpt2-decoder": ("a GPT-2 decoder from scratch instead of LLaMA-X (Table 3)", {"decoder": "gpt2"}),
}

DEVIATIONS: tuple[tuple[str, str], ...] = ()
