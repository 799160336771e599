"""ShaSpec behind the harness' interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.core.types import DatasetInfo, Inputs, Prediction, Study, Targets
from harness.method.card import MethodCard
from harness.method.contract import FitRun
from harness.method.probes import Probe
from harness.method.training import train_network
from methods.common.diagnosis import (
    class_probabilities,
    classification_loss,
    label_frequencies,
    labels_of,
    prior_logits,
)
from methods.common.feature_cache import FeatureCache
from methods.common.feature_training import FeatureMethod, OnFeatures, read_once
from methods.common.optim import Optimizer, rate_groups, schedule, scheduled
from methods.common.pixels import resized
from methods.common.views import complete_inputs, present_views
from methods.shaspec.card import CARD
from methods.shaspec.config import ShaSpecConfig
from methods.shaspec.losses import alignment, domain_loss, random_subsets
from methods.shaspec.network import ShaSpecNetwork
from methods.shaspec.probes import alignment_probes, domain_probe, generation_probes, specific_probe


class ShaSpec(FeatureMethod[ShaSpecConfig]):
    """ShaSpec behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = ShaSpecConfig
    network: ShaSpecNetwork

    def __init__(self, config: ShaSpecConfig, info: DatasetInfo) -> None:
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

    def build(self, artifacts: dict[str, Any]) -> ShaSpecNetwork:
        """The network, with the label frequencies as logits."""
        prior = prior_logits(artifacts["frequencies"], self.info.multilabel)
        return ShaSpecNetwork(self.config, len(self.info.image_modalities), prior)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """``TorchMethod.fit``; with a frozen backbone, on features that are computed once."""
        if self.config.backbone != "frozen-lite0":
            super().fit(train, val, run)
            return
        torch.manual_seed(run.seed)
        self.prepare(self.artifacts(train))
        with self._cache.keeping():
            read_once(self, [*train, *val], run.device)
            train_network(OnFeatures(self), train, val, run)

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Total loss and its parts; ``select`` is the classification loss."""
        labels = labels_of(targets, self.card.name)
        trunk, present = self.read(inputs)
        if self.network.training:
            present = random_subsets(present, self.config.subsets)
        reading = self.network(trunk, present)
        task = classification_loss(reading.logits, labels, self.info.multilabel)
        parts = {
            "task": task,
            "alignment": alignment(reading.shared, present),
            "domain": domain_loss(self.network.domain(reading.specific), present),
            "select": task,
        }
        return {"loss": sum(self.loss_terms(parts).values(), task.new_zeros(()))} | parts

    def loss_terms(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Summands of the total loss: task + alpha alignment + beta domain."""
        return {
            "task": losses["task"],
            "alignment": self.config.alignment_weight * losses["alignment"],
            "domain": self.config.domain_weight * losses["domain"],
        }

    def probes(self, inputs: Inputs, targets: Targets) -> list[Probe]:
        """Vital signs of the parts that this variant has; a single modality has none of them."""
        config, names = self.config, list(self.info.image_modalities)
        reading = self.network(*self.read(inputs))
        probes = [specific_probe(self.network, reading)]
        if len(names) < 2:
            return probes
        if config.domain_weight:
            probes.append(domain_probe(self.network, reading))
        if config.alignment_weight:
            probes += alignment_probes(reading)
        if config.generation:
            probes += generation_probes(self.network, reading, names)
        return probes

    def optimizer(self, steps: int) -> Optimizer:
        """AdamW without decay of biases and norms; linear warm-up, then linear decay."""
        config = self.config
        groups = rate_groups(
            self.network,
            config.learning_rate,
            config.weight_decay,
            pretrained=lambda name: name.startswith("encoders.") and ".network." in name,
            factor=config.backbone_rate,
        )
        warm = max(1, round(config.warmup * steps))
        return scheduled(torch.optim.AdamW(groups, fused=True), schedule(steps, warm, "linear"))

    def generate(self, inputs: Inputs) -> list[Prediction]:
        """Probabilities of the classes, which sum to 1, or of each finding."""
        return class_probabilities(self.network(*self.read(inputs)).logits, self.info.multilabel)

    def read(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Output (B, N, ...) of ``encoders.trunk``, and which image modalities are there, bool (B, N).

        While a method with a frozen backbone is fitted, a study that was read before needs no images.
        """
        names = self.info.image_modalities

        def compute(rows: list[int]) -> list[Tensor]:
            present = present_views(inputs, names)[rows]
            pixels = resized(torch.stack([inputs.images[name][rows] for name in names], dim=1), size)
            return [self.network.encoders.trunk(pixels, present), present]

        size = self.config.image_size
        trunk, present = self._cache(inputs.ids, compute, self.network.prior)
        return trunk, present.bool()
