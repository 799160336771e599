"""ShaSpec's card: presets, the paper's parts taken away one by one, deviations."""

from __future__ import annotations

from typing import Any

from harness.core.types import Task
from harness.method.card import Deviation, MethodCard

TINY: dict[str, Any] = {
    "training": {"epochs": 8, "batch_size": 64, "val_every": 1, "keep": "best"},
    "backbone": "frozen-lite0",
    "image_size": 128,
    "width": 128,
    "learning_rate": 2e-3,
}


BASE: dict[str, Any] = {
    "training": {"epochs": 15, "batch_size": 16, "val_every": 1, "keep": "best"},
    "backbone": "lite0",
    "backbone_weights": "package",
}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "no-domain": ("without domain classification (beta 0)", {"domain_weight": 0.0}),
    "no-alignment": ("without distribution alignment (alpha 0)", {"alignment_weight": 0.0}),
    "no-generation": ("zeros in the place of an absent modality's feature", {"generation": False}),
    "no-residual": ("the fused feature is the projection alone", {"residual": False}),
    "complete": ("trained on studies as they are: no modality is dropped", {"subsets": 0.0}),
}


DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        id="task",
        where="the paper segments brain tumours in four MRI sequences and classifies digits seen and "
        "spoken; chest X-ray and findings are not in it",
        chosen="its classification form: one feature vector per modality and encoder, all fused features "
        "side by side into one linear classifier behind GELU and dropout, whose bias starts at "
        "the label frequencies; a sigmoid and binary cross-entropy per finding, softmax for "
        "exclusive classes",
    ),
    Deviation(
        id="encoders",
        where="the encoders for two-dimensional medical images are not given",
        chosen="paper: a ResNet-50 for the shared encoder and one per modality, with a linear map to 256 "
        "channels, the width of the released code; backbone_weights has to name ImageNet weights, "
        "which no package ships, or to say random. base: EfficientNet-Lite0, whose weights "
        "a package ships, fine-tuned. tiny: two layers per encoder on features of one frozen "
        "Lite0, standardised per position",
    ),
    Deviation(
        id="generation",
        where="an absent modality's feature: the paper takes the mean of the present ones' shared "
        "features, the released code the shared feature of the first one that is present",
        chosen="the paper. With two modalities both are the same",
    ),
    Deviation(
        id="alignment",
        where="the distance of the distributions, and over which pairs: the released code takes L1 over "
        "neighbours in a ring of four modalities, absent ones included, whose images are zeros "
        "there",
        chosen="L1, the mean over all pairs of modalities that a study has and keeps in the step; an "
        "absent modality counts nowhere",
    ),
    Deviation(
        id="domain",
        where="the released code classifies the specific features of absent modalities, too",
        chosen="those of present modalities alone; a linear classifier, as there",
    ),
    Deviation(
        id="subsets",
        where="training with missing modalities: the released script trains on complete studies first "
        "and then on random subsets, whose size is drawn evenly, with one study per step",
        chosen="each study of a step has a subset of its own, drawn like that, from the first step on",
    ),
    Deviation(
        id="optimiser",
        where="the released code segments with SGD (momentum 0.99, rate 0.01, polynomial decay); the "
        "classification is not in it",
        chosen="AdamW with warm-up and linear decay; rate, epochs and dropout are chosen on validation "
        "studies, see docs/results/missing_modality.md",
    ),
    Deviation(
        id="epoch",
        where="which epoch is evaluated",
        chosen="paper: the last; tiny and base: that of the lowest classification loss on validation "
        "studies, with nothing dropped",
    ),
    Deviation(
        id="no-modality",
        where="a study without any modality",
        chosen="the label frequencies",
    ),
)


CARD = MethodCard(
    name="shaspec",
    title="ShaSpec",
    paper="Wang et al., ShaSpec, CVPR 2023, arXiv:2307.14126",
    licence="Apache-2.0",
    tasks=frozenset({Task.DIAGNOSE}),
    reads=frozenset({"frontal", "lateral", "clinical", "dermoscopic", "fundus", "oct", "slo"}),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    variants=VARIANTS,
    deviations=DEVIATIONS,
    published={"Dice above the best before, BraTS2018, %": {"enhancing": 3, "core": 5, "whole": 3}},
)
