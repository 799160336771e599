"""DiA's configuration (the paper's symbols and values)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from harness.method.config import MethodConfig, TrainingConfig
from harness.method.pretrained import PretrainedPart
from methods.common.timm_weights import NETWORKS, timm_part


class DiAConfig(MethodConfig):
    """The paper's values (Implementation details, Tables 4 and 5); presets and variants override them.

    Attributes:
        backbone_weights: a state-dict file, a folder, a model of the hub, ``package`` (Lite0's weights, which
            a package ships) or ``random``. Training is refused where it is empty.
        backbone_stages: EfficientNet stages in use; all seven are followed by the 1x1 head convolution.
        freeze_stages: stem and so many stages that are not trained; for the packaged Lite0 only.
        freeze_norm: batch normalisation of the backbone keeps its loaded statistics.
        token_pool: side of the windows of F_V's map that are averaged into one token.
        position_norm: standardise F_V's map per view, position and channel (for frozen backbones).
        keep_trunk: hold the frozen stages' output for each study in memory during ``fit``.
        vision_posterior: what q(Z_v|V) reads: ``vgg16`` features of the pixels, or the maps of the frozen
            stages, ``trunk``, averaged to ``posterior_side`` squared.
        vgg_size, vgg_width: pixels that the vision decoder draws and VGG16 reads, and its first channels.
        vgg_weights: as ``backbone_weights``, of VGG16; a narrower network always starts at random.
        vgg_hidden: MLP width of q(Z_v|V) and of the vision decoder.
        part_clip: largest gradient norm of each part of the network (extractors, posteriors, decoders) by
            itself; 0 switches it off.
        covariance_rate: share of a batch in the running cross-correlations of Eq. 5.
        heads, kv_heads, layers, feed_forward: of the report decoder; ``heads`` everywhere.
        negatives: ``batch`` (supplement, Prop. 2) or ``pair`` (Eq. 6 as printed).
        context_words, report_words: words of a context and of a report; the marks "." are not counted.
        min_count: a word that occurs less often in the training texts is unknown.
        max_words: size of the vocabulary at most, the most frequent words first and ties alphabetical; None:
            no limit.
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
    vision_posterior: Literal["vgg16", "trunk"] = "vgg16"
    posterior_side: int = 4
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
    covariance_rate: float = Field(default=0.05, ge=0)
    lambda_orth: float = 0.3
    lambda_align: float = 0.3
    temperature: float = 0.07
    negatives: Literal["batch", "pair"] = "batch"
    context_dropout: float = 0.15
    view_dropout: float = 0.1
    context_words: int = 50
    report_words: int = 50
    min_count: int = 4
    max_words: int | None = Field(default=None, ge=1)
    num_beams: int = 1
    draw_temperature: float = 1.0
    part_clip: float = 0.0
    learning_rate: float = Field(default=1e-4, ge=0)
    backbone_rate: float = Field(default=1.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-5
    warmup: float = 0.1
    schedule: Literal["constant", "linear"] = "constant"

    @property
    def context_tokens(self) -> int:
        """Most words and marks of a context: one mark after each word at most."""
        return 2 * self.context_words

    @property
    def report_tokens(self) -> int:
        """Most words and marks of a report, the end mark included."""
        return 2 * self.report_words + 1

    @property
    def backbone_part(self) -> PretrainedPart:
        """What the vision extractor's EfficientNet starts from."""
        return timm_part("dia.backbone_weights", self.backbone, self.backbone_weights)

    @property
    def vgg_part(self) -> PretrainedPart:
        """What q(Z_v|V) starts from."""
        return PretrainedPart("dia.vgg_weights", "a VGG16", self.vgg_weights, NETWORKS["vgg16"][1])

    @property
    def pretrained(self) -> tuple[PretrainedPart, ...]:
        """The EfficientNet, and VGG16 where it has VGG16's width."""
        has_vgg16 = self.vae and self.vision_posterior == "vgg16" and self.vgg_width == 64
        return (self.backbone_part, self.vgg_part) if has_vgg16 else (self.backbone_part,)

    @model_validator(mode="after")
    def _frozen_is_packaged(self) -> Self:
        packaged = self.backbone == "efficientnet_lite0" and self.backbone_weights == "package"
        if self.freeze_stages and not packaged:
            raise ValueError("freeze_stages needs backbone=efficientnet_lite0 and backbone_weights=package")
        if self.vision_posterior == "trunk" and not self.freeze_stages:
            raise ValueError("vision_posterior=trunk needs freeze_stages")
        return self
