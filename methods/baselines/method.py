"""The two baselines behind the harness' interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.core.types import Inputs, Prediction, Study, Targets
from harness.method.card import MethodCard
from harness.method.contract import FitRun
from harness.method.probes import Probe
from harness.method.torch_method import TorchMethod
from methods.baselines.card import EARLY_FUSION, LATE_FUSION
from methods.baselines.config import EarlyFusionConfig, FusionConfig
from methods.baselines.network import EarlyFusionNetwork, FusionNetwork, LateFusionNetwork
from methods.baselines.probes import probes
from methods.common.diagnosis import (
    class_probabilities,
    classification_loss,
    label_frequencies,
    labels_of,
    prior_logits,
)
from methods.common.feature_cache import FeatureCache
from methods.common.optim import Optimizer, rate_groups, schedule, scheduled
from methods.common.pixels import resized
from methods.common.views import complete_inputs, present_views


class Fusion(TorchMethod[FusionConfig]):
    """What both baselines share: reading a batch, losses, optimiser, probabilities."""

    network: FusionNetwork
    Network: ClassVar[type[FusionNetwork]]

    def __init__(self, config: FusionConfig, info: Any) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """Label frequencies of the training studies."""
        return {"frequencies": label_frequencies(train, self.card.name)}

    def reference_artifacts(self) -> dict[str, Any]:
        """Equal frequencies."""
        return {"frequencies": [0.5] * len(self.info.label_names)}

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """All image modalities: what FLOPs are counted on."""
        inputs = complete_inputs(self.info, batch_size, self.config.image_size)
        return inputs, Targets([""] * batch_size, torch.zeros(batch_size, len(self.info.label_names)))

    def build(self, artifacts: dict[str, Any]) -> FusionNetwork:
        """The network, with the label frequencies as logits."""
        prior = prior_logits(artifacts["frequencies"], self.info.multilabel)
        views = len(self.info.image_modalities)
        return self.Network(self.config, views, prior)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """``TorchMethod.fit``; a study passes a frozen backbone once."""
        with self._cache.keeping(self.config.frozen):
            super().fit(train, val, run)

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Cross-entropy of the classes, or the mean of the findings' binary cross-entropies."""
        labels = labels_of(targets, self.card.name)
        present = self._present(inputs)
        trunk = self._trunk(inputs, present)
        if self.network.training:
            present = kept_modalities(present, self.config.modality_dropout)
        return {"loss": classification_loss(self.network(trunk, present), labels, self.info.multilabel)}

    def probes(self, inputs: Inputs, targets: Targets) -> list[Probe]:
        """What each modality counts in the answer."""
        present = self._present(inputs)
        trunk = self._trunk(inputs, present)
        return list(probes(self.network, trunk, present, self.info.image_modalities))

    def optimizer(self, steps: int) -> Optimizer:
        """AdamW without decay of biases and norms; linear warm-up, then linear decay."""
        config = self.config
        groups = rate_groups(
            self.network,
            config.learning_rate,
            config.weight_decay,
            pretrained=lambda name: name.startswith("features."),
            factor=config.backbone_rate,
        )
        warm = max(1, round(config.warmup * steps))
        return scheduled(torch.optim.AdamW(groups), schedule(steps, warm, "linear"))

    def generate(self, inputs: Inputs) -> list[Prediction]:
        """Probabilities of the classes, which sum to 1, or of each finding."""
        present = self._present(inputs)
        logits = self.network(self._trunk(inputs, present), present)
        return class_probabilities(logits, self.info.multilabel)

    def _present(self, inputs: Inputs) -> Tensor:
        """Which image modalities are there, bool (B, N)."""
        return present_views(inputs, self.info.image_modalities)

    def _pixels(self, inputs: Inputs, rows: Sequence[int]) -> Tensor:
        """Images (len(rows), N, C, H, W) of the configured size."""
        images = torch.stack([inputs.images[name][rows] for name in self.info.image_modalities], dim=1)
        return resized(images, self.config.image_size)

    def _trunk(self, inputs: Inputs, present: Tensor) -> Tensor:
        """Input (B, N, ...) of ``network.features``; a frozen part runs once per study while fitting.

        ``present`` is what the studies have, before any modality is dropped.
        """
        trunk = self.network.features.trunk
        if self.config.frozen:
            computed = self._cache(
                inputs.ids,
                lambda rows: [trunk(self._pixels(inputs, rows), present[rows])],
                self.network.prior,
            )
            return computed[0]
        pixels = self._pixels(inputs, range(len(inputs)))
        return trunk(self._flipped(pixels) if self.network.training else pixels, present)

    def _flipped(self, pixels: Tensor) -> Tensor:
        """Half of the studies mirrored left to right, half top to bottom."""
        if not self.config.flips:
            return pixels
        for axis in (-1, -2):
            chosen = torch.rand(len(pixels), 1, 1, 1, 1, device=pixels.device) < 0.5
            pixels = torch.where(chosen, pixels.flip(axis), pixels)
        return pixels


def kept_modalities(present: Tensor, probability: float) -> Tensor:
    """``present`` (B, N) with modalities dropped at random; who would lose the last one loses none."""
    if not probability:
        return present
    left = present & (torch.rand(present.shape, device=present.device) >= probability)
    return torch.where(left.any(1, keepdim=True), left, present)


class LateFusion(Fusion):
    """A classifier per image modality, modality dropout, logits averaged over what is present."""

    Config = FusionConfig
    Network = LateFusionNetwork
    card: ClassVar[MethodCard] = LATE_FUSION


class EarlyFusion(Fusion):
    """Concatenated features of all image modalities, zeros for absent ones, one classifier."""

    Config = EarlyFusionConfig
    Network = EarlyFusionNetwork
    card: ClassVar[MethodCard] = EARLY_FUSION
