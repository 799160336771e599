"""The cards of the two baselines: presets, variants, choices."""

from __future__ import annotations

from typing import Any

from harness.core.types import Task
from harness.method.card import Deviation, MethodCard

TINY: dict[str, Any] = {
    "training": {"epochs": 6, "batch_size": 32},
    "frozen": True,
    "image_size": 96,
}


PRESETS: dict[str, dict[str, Any]] = {"tiny": TINY, "base": {}, "paper": {}}


IMAGE_MODALITIES = frozenset({"frontal", "lateral", "clinical", "dermoscopic", "fundus", "oct", "slo"})


COMMON = (
    Deviation("no paper is reimplemented", "preset paper is preset base: Lite0 per modality, fine-tuned"),
    Deviation(
        "backbone: comparisons use ResNet-50 with ImageNet weights",
        "EfficientNet-Lite0, whose weights ship with a package; backbone=resnet50 takes a state-dict file",
    ),
    Deviation("class imbalance", "no class weights: probabilities keep to how frequent the classes are"),
    Deviation(
        "augmentation", "none by default, since a mirrored chest is another chest; flips=true for others"
    ),
)


LATE_FUSION = MethodCard(
    name="late_fusion",
    title="late fusion with modality dropout",
    paper="modality dropout: Neverova et al., ModDrop, IEEE TPAMI 2016",
    licence="Apache-2.0",
    tasks=frozenset({Task.DIAGNOSE}),
    reads=IMAGE_MODALITIES,
    presets=PRESETS,
    variants={"no-dropout": ("modalities are never dropped in training", {"modality_dropout": 0.0})},
    deviations=(
        *COMMON,
        Deviation("no modality present", "label frequencies of the training studies"),
    ),
)


EARLY_FUSION = MethodCard(
    name="early_fusion",
    title="early fusion with zero imputation",
    paper="early fusion: Baltrusaitis et al., Multimodal Machine Learning, IEEE TPAMI 2019",
    licence="Apache-2.0",
    tasks=frozenset({Task.DIAGNOSE}),
    reads=IMAGE_MODALITIES,
    presets=PRESETS,
    opponents=("dropout",),
    variants={"dropout": ("modalities are dropped in training", {"modality_dropout": 0.3})},
    deviations=(
        *COMMON,
        Deviation("where zeros are written", "into the features, which have mean 0 where frozen"),
        Deviation("no modality present", "label frequencies of the training studies"),
    ),
)
