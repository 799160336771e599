"""Configuration of the two baselines."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from harness.method.config import MethodConfig, TrainingConfig
from harness.method.pretrained import PretrainedPart
from methods.common.timm_weights import timm_part


class FusionConfig(MethodConfig):
    """Values of ``base``, which ``paper`` repeats: there is no paper whose sizes it could have.

    Attributes:
        backbone: one per modality, trained; with ``frozen`` one EfficientNet-Lite0 for all.
        backbone_weights: of a trained backbone: a state-dict file, a folder, a model of the hub, ``package``
            (lite0) or ``random``. Training is refused where it is empty.
        frozen: features of a frozen Lite0 instead, computed once per study.
        stage, grid: of the frozen Lite0, the stage whose map is averaged to grid x grid positions.
        image_size: pixels of the side to which images are resized.
        hidden: width of the head's hidden layer.
        modality_dropout: training probability that a modality is dropped; the last one never is.
        flips: mirror training images at random, the images of a study alike; trained backbones only.
        backbone_rate: learning-rate factor of the backbones.
        warmup: share of the steps in which the learning rate rises; it falls to 0 in the others.
    """

    method: ClassVar[str] = "late_fusion"

    training: TrainingConfig = TrainingConfig(epochs=15, batch_size=16)
    backbone: Literal["lite0", "resnet50"] = "lite0"
    backbone_weights: str = "package"
    frozen: bool = False
    stage: int = 5
    grid: int = 4
    image_size: int = 224
    hidden: int = 256
    dropout: float = 0.3
    modality_dropout: float = 0.3
    flips: bool = False
    learning_rate: float = Field(default=1e-3, ge=0)
    backbone_rate: float = Field(default=0.2, ge=0)
    weight_decay: float = 0.01
    warmup: float = 0.1

    @property
    def backbone_part(self) -> PretrainedPart:
        """What a trained backbone starts from."""
        return timm_part(f"{self.method}.backbone_weights", self.backbone, self.backbone_weights)

    @property
    def pretrained(self) -> tuple[PretrainedPart, ...]:
        """The backbone, where it is trained."""
        return () if self.frozen else (self.backbone_part,)


class EarlyFusionConfig(FusionConfig):
    """As ``FusionConfig``, without modality dropout."""

    method: ClassVar[str] = "early_fusion"

    modality_dropout: float = 0.0
