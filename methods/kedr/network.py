"""KEDR's whole network: branches, confidence (Eq. 11), fusion, classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from methods.kedr.config import KEDRConfig
from methods.kedr.equilibrium import Solution
from methods.kedr.fusion import EquilibriumFusion, WeightedSum
from methods.kedr.knowledge import Knowledge
from methods.kedr.vision import MODALITIES, Block, FrozenVision, SharedEncoder, SpecificEncoder, TrainedVision


@dataclass(slots=True)
class Reading:
    """What the network makes of a batch.

    Attributes:
        logits: (B, K), of the fused feature.
        features: of each branch (B, d), before they are weighted.
        confidence: of each branch, in [0, 1]: (B, 1), or (B, K) for independent findings.
        here: of each branch, bool (B,), studies that have it.
        solution: how the fixed point was found; None without one.
    """

    logits: Tensor
    features: list[Tensor]
    confidence: list[Tensor]
    here: list[Tensor]
    solution: Solution | None


class Head(nn.Module):
    """A residual block and a linear layer: (B, d) to (B, outputs)."""

    def __init__(self, config: KEDRConfig, outputs: int) -> None:
        super().__init__()
        self.block = Block(config.width, config.dropout)
        self.out = nn.Linear(config.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d) to (B, outputs)."""
        return self.out(self.block(x))


class KEDRNetwork(nn.Module):
    """Backbones, disentanglement (KED), confidence and equilibrium fusion (CAD), classifier.

    ``knowledge`` and the branches' ``classifiers`` serve training alone; a fitted network lacks them.
    """

    def __init__(self, config: KEDRConfig, classes: int, multilabel: bool, artifacts: dict[str, Any]) -> None:
        super().__init__()
        training = not artifacts.get("fitted", False)
        branches, self.width = MODALITIES + config.ked, config.width
        self.vision = (FrozenVision if config.vision == "frozen-lite0" else TrainedVision)(config)
        self.specific = nn.ModuleList(SpecificEncoder(config) for _ in range(MODALITIES))
        self.shared = SharedEncoder(config) if config.ked else None
        outputs = classes if multilabel else 1
        self.confidence = nn.ModuleList(Head(config, outputs) for _ in range(branches * config.confidence))
        self.fusion: EquilibriumFusion | WeightedSum = WeightedSum(branches)
        if config.deq:
            tolerances = (config.tolerance, config.inference_tolerance)
            self.fusion = EquilibriumFusion(
                config.width, branches, config.bound, config.solver_iterations, tolerances
            )
        self.classifier = Head(config, classes)
        self.knowledge: Knowledge | None = None
        self.classifiers: nn.ModuleList | None = None
        self.weights: nn.Parameter | None = None
        if training:
            if config.ked and config.alignment != "none":
                self.knowledge = Knowledge(artifacts, config.width, config.anchored)
            self.classifiers = nn.ModuleList(Head(config, classes) for _ in self.confidence)
            # Means over K findings start as the sums of their K losses; one loss over classes as it is.
            start = math.log(classes) if multilabel else 0.0
            self.weights = nn.Parameter(torch.full((2,), start))

    def without_training_parts(self) -> None:
        """Drop what inference has no use for."""
        self.knowledge = self.classifiers = self.weights = None

    def weighted(self, features: list[Tensor], confidence: list[Tensor]) -> list[Tensor]:
        """Features (B, d) of the branches by their confidence; all alike without confidence."""
        if not confidence:
            return features
        return [f * c.mean(1, keepdim=True) for f, c in zip(features, confidence, strict=True)]  # Eq. (11)

    def of_absent(self, branch: int) -> tuple[Tensor, Tensor]:
        """Confidence (1, 1) or (1, K) and class logits (1, K) of a branch that a study lacks, in training."""
        assert self.classifiers is not None
        nothing = self.fusion.weights.new_zeros(1, self.width)
        return torch.sigmoid(self.confidence[branch](nothing)), self.classifiers[branch](nothing)

    def forward(self, trunk: Sequence[Tensor], present: Tensor) -> Reading:
        """Output of ``vision.trunk`` and bool (B, 2) to a ``Reading``."""
        x = self.vision(trunk, present)
        here = list(present.unbind(1))
        features = [encode(x[:, m], here[m]) for m, encode in enumerate(self.specific)]
        if self.shared is not None:
            features.append(self.shared(x, present))
            here.append(present.any(1))
        confidence = [torch.sigmoid(head(f)) for head, f in zip(self.confidence, features, strict=False)]
        fused, solution = self.fusion(self.weighted(features, confidence))
        return Reading(self.classifier(fused), features, confidence, here, solution)
