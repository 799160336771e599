"""The configuration of R2Gen's base model (the paper's values)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.method.config import MethodConfig, TrainingConfig
from harness.method.pretrained import PretrainedPart
from methods.common.optim import Shape
from methods.common.timm_weights import timm_part


class R2GenBaseConfig(MethodConfig):
    """The paper's values for IU X-Ray; presets override them.

    Attributes:
        backbone: ``resnet101`` or ``lite0``, trained; or ``frozen-lite0``, whose maps are computed once.
        backbone_weights: of a trained backbone: a state-dict file, a folder, a model of the hub, ``package``
            (lite0) or ``random``. Training is refused where it is empty.
        stage: of the frozen Lite0, the stage whose map is read.
        image_size: pixels of the side to which images are resized.
        grid: a view's map is averaged to at most grid x grid patches.
        min_count: a word is known that so many training reports' words are.
        report_words: a reference is cut after so many words, and no report is longer.
        width, heads, layers, feed_forward: of the encoder and of the decoder alike.
        dropout: inside every layer; input_dropout: on projected patches.
        view_dropout: training probability that a view is hidden; 0 in the paper, which has no missing views.
        num_beams: hypotheses of beam search; 1 takes the most probable word.
        learning_rate: of the encoder and decoder; vision_rate: factor of it for a trained backbone.
        schedule: of the learning rate: ``step`` is a tenth after half of the epochs.
        draw_temperature: of reports that are drawn.
    """

    training: TrainingConfig = TrainingConfig(epochs=100, batch_size=16, gradient_clip=0.0)
    backbone: Literal["resnet101", "lite0", "frozen-lite0"] = "resnet101"
    backbone_weights: str = ""
    stage: int = 5
    image_size: int = 224
    grid: int = Field(default=7, ge=1)
    min_count: int = 3
    report_words: int = Field(default=60, ge=1)
    width: int = 512
    heads: int = 8
    layers: int = Field(default=3, ge=1)
    feed_forward: int = 512
    dropout: float = 0.1
    input_dropout: float = 0.5
    view_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    num_beams: int = Field(default=3, ge=1)
    learning_rate: float = Field(default=1e-4, ge=0)
    vision_rate: float = Field(default=0.5, ge=0)
    weight_decay: float = 5e-5
    schedule: Shape = "step"
    draw_temperature: float = Field(default=1.0, gt=0.0)

    @property
    def backbone_part(self) -> PretrainedPart:
        """What a trained backbone starts from."""
        return timm_part("r2gen_base.backbone_weights", self.backbone, self.backbone_weights)

    @property
    def pretrained(self) -> tuple[PretrainedPart, ...]:
        """The backbone, where it is trained."""
        return () if self.backbone == "frozen-lite0" else (self.backbone_part,)
