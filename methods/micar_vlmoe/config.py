"""MicarVLMoE's configuration (the paper's symbols and values)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.method.config import MethodConfig, TrainingConfig
from harness.method.pretrained import PretrainedPart
from methods.common.timm_weights import timm_part


class MicarConfig(MethodConfig):
    """The paper's values (section IV-C, for COVCTR where they differ); presets and variants override them.

    Attributes:
        image_size: pixels of the side to which views are resized.
        backbone: ``resnet101`` or ``lite0``, trained, or ``frozen-lite0``, a package's ImageNet weights.
        backbone_weights: of a trained backbone: a state-dict file, a folder, a model of the hub, ``package``
            (lite0) or ``random``. Training is refused where it is empty.
        stages: stages of the frozen Lite0 that make the pyramid's C maps.
        map_side: side to which larger maps are averaged; 0 leaves them as they are.
        keep_maps: hold Lite0's maps of each study in memory during ``fit``.
        msve: the pyramid; without it the patches come from the last C map (Table III).
        vision_width: d_v.
        grid: side of the grid of patches that a view is pooled to; s_i = grid squared.
        width, latent: d_model, d_latent; a head has latent / heads dimensions.
        rope_width: dimensions of a head that are rotated, d_qr = d_kr; the others are d_qn = d_kn.
        layers: encoder blocks and decoder blocks, N each (Fig. 6b).
        latent_encoder: without it the decoder reads the projected patches (Table III).
        feed_forward: d_ff of the encoder's feed-forward networks and of each expert.
        activation: of feed-forward networks, gate and fusion; the paper has GELU for MMR.
        moe: without it the decoder has a feed-forward network in the experts' place (Table III).
        experts, top_k: E and k (Fig. 6a).
        balance: alpha.
        draw_temperature: divides the logits where reports are drawn at random (``--report-samples``).
        vision_rate: learning-rate factor of the vision encoder.
        schedule: ``step``: a tenth of the rate in the second half; ``linear``: falls to 0.
    """

    training: TrainingConfig = TrainingConfig(epochs=100, batch_size=16, gradient_clip=0.0)
    image_size: int = 224
    backbone: Literal["resnet101", "lite0", "frozen-lite0"] = "resnet101"
    backbone_weights: str = ""
    stages: tuple[int, ...] = (2, 3, 5, 7)
    map_side: int = 0
    keep_maps: bool = False
    msve: bool = True
    vision_width: int = 2048
    grid: int = 7
    width: int = 512
    latent: int = 768
    heads: int = 8
    rope_width: int = 48
    layers: int = 2
    latent_encoder: bool = True
    feed_forward: int = 2048
    activation: Literal["silu", "gelu"] = "silu"
    moe: bool = True
    experts: int = 8
    top_k: int = 2
    balance: float = 0.01
    attention_dropout: float = 0.12
    dropout: float = 0.1
    report_words: int = 60
    min_count: int = 3
    num_beams: int = 3
    draw_temperature: float = 1.0
    learning_rate: float = Field(default=1e-4, ge=0)
    vision_rate: float = Field(default=0.5, ge=0)
    weight_decay: float = 5e-5
    schedule: Literal["step", "linear"] = "step"

    @property
    def backbone_part(self) -> PretrainedPart:
        """What a trained backbone starts from."""
        return timm_part("micar_vlmoe.backbone_weights", self.backbone, self.backbone_weights)

    @property
    def pretrained(self) -> tuple[PretrainedPart, ...]:
        """The backbone, where it is trained."""
        return () if self.backbone == "frozen-lite0" else (self.backbone_part,)
