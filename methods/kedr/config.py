"""KEDR's configuration (the paper's values)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.method.config import MethodConfig, TrainingConfig
from harness.method.pretrained import PretrainedPart
from methods.common.timm_weights import timm_part


class KEDRConfig(MethodConfig):
    """The paper's values; presets and variants override them.

    Attributes:
        image_size: pixels of the side to which images are resized.
        vision: ``resnet50`` or ``lite0``, one per modality and trained, or ``frozen-lite0``, one for both.
        vision_weights: of a trained backbone: a state-dict file, a folder, a model of the hub, ``package``
            (lite0) or ``random``. Training is refused where it is empty.
        stages, grid: of frozen Lite0, the stages in use and the side to which their maps are averaged.
        keep_features: hold frozen Lite0's features of each study in memory during ``fit``.
        augment: random flips, rotations and brightness in training (trained backbones only).
        width: d, of all features; a trained backbone of another width is projected to it.
        specific: the specific encoder on top of the backbone, ``none`` or a residual ``block``.
        dropout: inside every residual block and on frozen features.
        modality_dropout: training probability that a study with two modalities loses one of them.
        priors: YAML file of semantic priors; the one that is shipped where empty.
        prompting: level of Table 8 whose descriptions are used.
        text_encoder: a BERT's folder or hub name, or ``minilm``, which a package ships.
        train_text: the text encoder is part of the network in training, and learns where priors are not
            anchored; else its embeddings are computed once.
        anchored: priors are fixed: an orthonormal map is in the learned projection's place, and nothing
            behind it learns. Priors that learn through the alignment become one point.
        ked: shared branch, semantic priors and disentanglement; else the two modalities' branches alone.
        alignment: of shared features and priors, optimal transport (Eq. 7), ``contrastive`` or ``none``.
        own_classes: the plan moves a study's mass to its own classes, not to any class of the batch.
        epsilon, transport_iterations: entropic regularisation, Sinkhorn iterations.
        temperature: of the contrastive alignment.
        confidence: branches are weighted by estimated true-class probability (Eq. 10-12).
        deq: branches are fused at a fixed point (Eq. 13-15); else added up once.
        bound: of the singular values in the fixed-point operator's outer maps.
        solver_iterations, tolerance: Broyden's limit and relative residual in training.
        inference_tolerance: the residual at inference, so small that where a study stops does not show.
        weight_prior: factor of -(omega_1 + omega_2) beside Eq. 17, which keeps the weights from vanishing.
        vision_rate: learning-rate factor of the backbones.
        averaged: last share of the steps over which weights are averaged (SWA); 0 averages none.
    """

    training: TrainingConfig = TrainingConfig(
        epochs=250, batch_size=32, gradient_clip=0.0, val_every=10, keep="last"
    )
    image_size: int = 224
    vision: Literal["resnet50", "lite0", "frozen-lite0"] = "resnet50"
    vision_weights: str = ""
    stages: tuple[int, ...] = (3, 5)
    grid: int = 4
    keep_features: bool = False
    augment: bool = True
    width: int = 2048
    specific: Literal["none", "block"] = "none"
    dropout: float = 0.3
    modality_dropout: float = 0.0
    priors: str = ""
    prompting: Literal["none", "step-1", "step-2"] = "step-2"
    text_encoder: str = "emilyalsentzer/Bio_ClinicalBERT"
    train_text: bool = True
    anchored: bool = True
    ked: bool = True
    alignment: Literal["transport", "contrastive", "none"] = "transport"
    own_classes: bool = True
    epsilon: float = Field(default=0.1, gt=0.0)
    transport_iterations: int = Field(default=100, ge=1)
    temperature: float = 0.07
    confidence: bool = True
    deq: bool = True
    bound: float = Field(default=0.9, gt=0.0)
    solver_iterations: int = Field(default=30, ge=1)
    tolerance: float = 1e-4
    inference_tolerance: float = 1e-6
    weight_prior: float = 0.0
    learning_rate: float = Field(default=1e-5, ge=0)
    vision_rate: float = Field(default=1.0, ge=0)
    weight_decay: float = 0.0
    averaged: float = Field(default=0.2, ge=0.0, lt=1.0)

    @property
    def backbone_part(self) -> PretrainedPart:
        """What a trained backbone starts from."""
        return timm_part("kedr.vision_weights", self.vision, self.vision_weights)

    @property
    def pretrained(self) -> tuple[PretrainedPart, ...]:
        """The backbone, where it is trained."""
        return () if self.vision == "frozen-lite0" else (self.backbone_part,)
