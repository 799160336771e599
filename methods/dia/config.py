"""DiA's configuration (the paper's symbols and values), presets and ablations."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from harness.method.config import MethodConfig, TrainingConfig


class DiAConfig(MethodConfig):
    """The paper's values (Implementation details, Tables 4 and 5); presets and variants override them.

    Attributes:
        backbone_weights: a timm state-dict file, ``package`` (the Lite0 weights that ship with a package) or
            empty for random initialisation.
        backbone_stages: EfficientNet stages in use; all seven are followed by the 1x1 head convolution.
        freeze_stages: stem and so many stages that are not trained; for the packaged Lite0 only.
        freeze_norm: batch normalisation of the backbone keeps its loaded statistics.
        token_pool: side of the windows of F_V's map that are averaged into one token.
        position_norm: standardise F_V's map per view, position and channel (for frozen backbones).
        keep_trunk: hold the frozen stages' output for each study in memory during ``fit``.
        vgg_size, vgg_width, vgg_hidden: input pixels, first-block channels and MLP width of q(Z_v|V).
        heads, kv_heads, layers, feed_forward: of the report decoder; ``heads`` everywhere.
        negatives: ``batch`` (supplement, Prop. 2) or ``pair`` (Eq. 6 as printed).
        context_dropout, view_dropout: training probability that the context, a view, is replaced by null.
        draw_temperature: divides the logits where reports are drawn at random (``--report-samples``).
        backbone_rate: learning-rate factor of the pre-trained backbone.
    """

    training: TrainingConfig = TrainingConfig(epochs=25, batch_size=4, gradient_clip=0.0, keep="last")
    image_size: int = 224
    backbone: Literal["efficientnet_b0", "efficientnet_lite0"] = "efficientnet_b0"
    backbone_weights: str = ""
    backbone_stages: int = 7
    freeze_stages: int = 0
    freeze_norm: bool = False
    token_pool: int = 1
    position_norm: bool = False
    keep_trunk: bool = False
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
    draw_temperature: float = 1.0
    learning_rate: float = 1e-4
    backbone_rate: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-5
    warmup: float = 0.1
    schedule: Literal["constant", "linear"] = "constant"

    @model_validator(mode="after")
    def _frozen_is_packaged(self) -> Self:
        packaged = self.backbone == "efficientnet_lite0" and self.backbone_weights == "package"
        if self.freeze_stages and not packaged:
            raise ValueError("freeze_stages needs backbone=efficientnet_lite0 and backbone_weights=package")
        return self


TINY: dict[str, Any] = {
    "training": {"epochs": 11, "batch_size": 16, "gradient_clip": 1.0, "val_every": 11},
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
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
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

DEVIATIONS: tuple[tuple[str, str], ...] = (
    (
        "views: the paper's V is one image; IU X-Ray studies have two",
        "tokens of all present views are concatenated with a view-and-position embedding; VGG features are "
        "averaged over present views; the vision decoder draws every view, and absent ones do not count",
    ),
    (
        "guided context attention is cited, not defined (the supplement's Table 4 calls it global)",
        "arXiv 2406.13126 with a softmax over H x W, a bottleneck of C/8 and no norm inside the gate",
    ),
    (
        "how the null token enters F_V, F_L, q(Z_v|V), q(Z_l|L) and the experts",
        "one learned null vector in each place; the experts and the router see the null features",
    ),
    (
        "the router 'learns' pi_L ~ 0 because it met null in training; no training dropout is described",
        "context and views are dropped in training (15 % and 10 %; tiny: 60 % and 10 %), and the "
        "router's logit of an absent modality is masked, so that pi is 0 from the first step instead of "
        "merely tending to it",
    ),
    (
        "what the shared experts read (F_VL is said to feed the VLVAE, but then q(Z_s|V) would depend on L)",
        "the means over tokens of F_V and of F_L, before fusion: Eq. 3 needs unimodal experts",
    ),
    (
        "drawing Z_s from the mixture",
        "training: straight-through Gumbel choice of an expert, then reparameterised; inference: all latents "
        "are posterior means, Z_s the pi-weighted mean of the experts' means",
    ),
    (
        "Eq. 4 conditions the reconstructions on Z_s; the supplement says decoders do not use it",
        "the supplement: p(V|Z_v) and p(L|Z_l)",
    ),
    (
        "the JSD of a mixture and a Gaussian has no closed form",
        "Monte Carlo with reparameterised draws, stratified by expert so that it trains the router; "
        "prior N(0, I)",
    ),
    (
        "the likelihoods of Eq. 4 and the scale of Eq. 7 against L_CE's sum over words",
        "pixels are unit-variance Gaussian, L_CE and L_ELBO are nats per study, and the whole is divided by "
        "the batch's mean report length, so that the loss reads per word",
    ),
    ("sign of L_ELBO in Eq. 7 (a bound that is maximised is added to a loss)", "its negative is added"),
    (
        "whitening in Eq. 5: 'unit covariance', 'via a batch normalization layer'",
        "batch normalisation without affine part over the studies that have the pair's modalities; each "
        "squared "
        "norm is divided by its D x D entries, else it would be thousands of times every other term",
    ),
    (
        "Eq. 6 contrasts Z_v with Z_l of the same study; Prop. 2 uses other studies' latents. Eq. 6 as "
        "printed is "
        "smallest (2 log 2) whenever both similarities are equal, however small: it aligns nothing",
        "Prop. 2, in-batch negatives; Eq. 6 as printed is negatives=pair",
    ),
    (
        "how Z_v, Z_l and Z_s reach the decoder",
        "three more tokens of the memory after F_VL, each through its own linear layer, then "
        "layer-normalised",
    ),
    (
        "SwiGLU is printed (xW1) * sigma(xW2)W3, without saying where the product ends",
        "((xW1) * SiLU(xW2)) W3; RMSNorm has a learned gain",
    ),
    (
        "LLaMA-X's cross-attention ('GPT-derived') and its heads",
        "full multi-head without positions, keys and values projected once; grouped queries in "
        "self-attention",
    ),
    (
        "feed-forward widths of the abstractor, the context decoder and LLaMA-X; width of VGG's MLP; "
        "vision decoder",
        "4E wherever Table 4 gives none; VGG's own 4096; the vision decoder mirrors that MLP and has one "
        "transposed convolution per VGG block: 573.9 M parameters at MIMIC-CXR's 4,000 words (published, on "
        "MIMIC-CXR: 589.7 M, 2.7 % more), 555.5 M at IU X-Ray's 1,000",
    ),
    (
        "FLOPs: 51.14 G without saying of what",
        "counted on one 224-pixel colour view, 49 context and 49 report words: 67.2 G for the training "
        "forward "
        "pass, 58 G without the two VAE decoders, which inference does not run; VGG16 alone is 30.7 G",
    ),
    (
        "main text: one fully connected layer after VGG16; Table 4: a two-layer MLP",
        "Table 4; batch statistics are not used, VGG16 has no normalisation layers",
    ),
    (
        "words and report length",
        "one word-level vocabulary of training reports and contexts (at least 3 occurrences; the paper: "
        "about "
        "1,000 words), reports cut at 50 words, lower case, '.' kept as a word, <unk> never generated",
    ),
    (
        "which epoch's weights are evaluated",
        "the last one's: the number of epochs is all that the paper states",
    ),
    ("search is not described", "greedy; num_beams switches to beam search with length-normalised scores"),
    ("learning rate after the warm-up", "constant (paper preset); falls linearly to 0 (tiny, base)"),
    (
        "GPT-2 and Transformer decoders of Table 3: no sizes",
        "LLaMA-X's width, depth and heads from random initialisation, the report vocabulary, no cache",
    ),
    (
        "ImageNet weights of EfficientNet-B0 and VGG16 ship with no package",
        "read from backbone_weights and vgg_weights where given, else random; tiny uses Lite0's, "
        "which a package ships, frozen, cut at stride 16, averaged into one token per view and standardised",
    ),
    (
        "Table 3's RAD-DINO + CXR-BERT encoder variant",
        "not implemented: its weights ship with no package",
    ),
)
