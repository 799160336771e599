"""ShaSpec's configuration (the paper's values where it has any)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.method.config import MethodConfig, TrainingConfig
from harness.method.pretrained import PretrainedPart
from methods.common.timm_weights import timm_part


class ShaSpecConfig(MethodConfig):
    """Values of ``paper``; presets and variants override them.

    Attributes:
        backbone: of each encoder, ``resnet50`` or ``lite0``, trained; or ``frozen-lite0``, whose features all
            encoders share, each with layers of its own.
        backbone_weights: of a trained backbone: a state-dict file, a folder, a model of the hub, ``package``
            (lite0) or ``random``. Training is refused where it is empty.
        stage, grid: of the frozen Lite0, the stage whose map is averaged to grid x grid positions.
        image_size: pixels of the side to which images are resized.
        width: of shared, specific and fused features.
        dropout: before each encoder's first layer (frozen backbone) and before the classifier.
        residual: the fused feature is the shared one plus the projection; else the projection alone.
        generation: an absent modality's feature is the mean of the present ones' shared features; else zeros.
        alignment_weight, domain_weight: alpha and beta, of the two auxiliary losses.
        subsets: training probability that a study keeps a random subset of its modalities, whose size is
            drawn evenly from one to all.
        backbone_rate: learning-rate factor of trained backbones.
        warmup: share of the steps in which the learning rate rises; it falls to 0 in the others.
    """

    training: TrainingConfig = TrainingConfig(epochs=40, batch_size=32, val_every=4, keep="last")
    backbone: Literal["resnet50", "lite0", "frozen-lite0"] = "resnet50"
    backbone_weights: str = ""
    stage: int = 5
    grid: int = 4
    image_size: int = 224
    width: int = Field(default=256, ge=1)
    dropout: float = 0.3
    residual: bool = True
    generation: bool = True
    alignment_weight: float = Field(default=0.1, ge=0.0)
    domain_weight: float = Field(default=0.02, ge=0.0)
    subsets: float = Field(default=1.0, ge=0.0, le=1.0)
    learning_rate: float = Field(default=1e-3, ge=0)
    backbone_rate: float = Field(default=0.2, ge=0)
    weight_decay: float = 0.01
    warmup: float = 0.1

    @property
    def backbone_part(self) -> PretrainedPart:
        """What a trained backbone starts from."""
        return timm_part("shaspec.backbone_weights", self.backbone, self.backbone_weights)

    @property
    def pretrained(self) -> tuple[PretrainedPart, ...]:
        """The backbone, where it is trained."""
        return () if self.backbone == "frozen-lite0" else (self.backbone_part,)
