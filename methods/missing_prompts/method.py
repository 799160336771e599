"""Missing-aware prompts behind the harness' interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.core.types import CONTEXT, DatasetInfo, Inputs, Prediction, Study, Targets
from harness.method.card import MethodCard
from harness.method.config import TrainingConfig
from harness.method.contract import FitRun
from harness.method.probes import Probe
from harness.method.torch_method import TorchMethod
from harness.method.trainable import Trainable
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
from methods.common.optim import Optimizer, decay_groups, schedule, scheduled
from methods.common.pixels import resized
from methods.common.views import complete_inputs, present_views
from methods.missing_prompts.card import CARD
from methods.missing_prompts.config import MissingPromptsConfig
from methods.missing_prompts.network import MissingPromptsNetwork, other_cases
from methods.missing_prompts.probes import prompt_probes
from methods.missing_prompts.words import word_pieces

REFERENCE_PIECES = 30520
"""Word pieces of BERT's vocabulary besides padding and unknown."""


class MissingPrompts(FeatureMethod[MissingPromptsConfig]):
    """Missing-aware prompts behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = MissingPromptsConfig
    network: MissingPromptsNetwork

    def __init__(self, config: MissingPromptsConfig, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()
        self._pretraining = False

    @property
    def settings(self) -> TrainingConfig:
        """Of the stage that is being trained."""
        return self.config.pretraining if self._pretraining else self.config.training

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """Label frequencies and the contexts' word pieces of the training studies."""
        artifacts: dict[str, Any] = {"frequencies": label_frequencies(train, self.card.name)}
        if self.info.has_context:
            texts = word_pieces(study.context for study in train if study.context)
            artifacts["pieces"] = sorted({piece for row in texts for piece in row})
        return artifacts

    def reference_artifacts(self) -> dict[str, Any]:
        """Equal frequencies and BERT's whole vocabulary."""
        return {"frequencies": [0.5] * len(self.info.label_names), "pieces": list(range(REFERENCE_PIECES))}

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """All modalities: what FLOPs are counted on."""
        text = " ".join(["pain"] * self.config.text_length)
        inputs = complete_inputs(self.info, batch_size, self.config.image_size, text)
        return inputs, Targets([""] * batch_size, torch.zeros(batch_size, len(self.info.label_names)))

    def build(self, artifacts: dict[str, Any]) -> MissingPromptsNetwork:
        """The network, its transformer frozen."""
        prior = prior_logits(artifacts["frequencies"], self.info.multilabel)
        views = len(self.info.image_modalities)
        return MissingPromptsNetwork(self.config, views, artifacts.get("pieces"), prior)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """Train the transformer on studies as they are, then the rest under missing modalities."""
        torch.manual_seed(run.seed)
        self.prepare(self.artifacts(train))
        folder = run.directory / "pretraining"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        frozen_images = self.config.images == "frozen-lite0"
        method: TorchMethod[Any] = self
        trainable: Trainable = OnFeatures(self) if frozen_images else method
        with self._cache.keeping(frozen_images):
            if frozen_images:
                read_once(self, [*train, *val], run.device)
            for stage, directory in enumerate((folder, run.directory)):

                def progress(fraction: float, status: str, stage: int = stage) -> None:
                    run.progress((stage + fraction) / 2, f"{('transformer', 'prompts')[stage]}: {status}")

                self._pretraining = stage == 0
                self.network.freeze(stage == 1)
                part = FitRun(directory, run.device, run.seed, progress)
                train_network(trainable, train, val, part)

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """The classification loss; in the second stage of training, under missing modalities."""
        labels = labels_of(targets, self.card.name)
        trunk, present = self.read(inputs)
        if self.network.training and self.network.frozen:
            present = other_cases(present, self.config.missing_rate)
        logits = self.network(trunk, present, self.rows(inputs, present))
        return {"loss": classification_loss(logits, labels, self.info.multilabel)}

    def probes(self, inputs: Inputs, targets: Targets) -> list[Probe]:
        """Vital signs of the prompts, once they are trained."""
        network = self.network
        if network.prompts is None or not network.frozen:
            return []
        trunk, present = self.read(inputs)
        names = list(self.info.modalities)
        return list(prompt_probes(network, trunk, present, self.rows(inputs, present), names))

    def optimizer(self, steps: int) -> Optimizer:
        """AdamW without decay of biases and norms; linear warm-up, then linear decay."""
        config = self.config
        rate, decay = config.learning_rate, config.weight_decay
        if self._pretraining:
            rate, decay = config.pretraining_rate, config.pretraining_decay
        groups = decay_groups(self.network.parameters(), decay)
        warm = max(1, round(config.warmup * steps))
        return scheduled(torch.optim.AdamW(groups, lr=rate, fused=True), schedule(steps, warm, "linear"))

    def generate(self, inputs: Inputs) -> list[Prediction]:
        """Probabilities of the classes, which sum to 1, or of each finding."""
        trunk, present = self.read(inputs)
        logits = self.network(trunk, present, self.rows(inputs, present))
        return class_probabilities(logits, self.info.multilabel)

    def read(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Output (B, N, ...) of the images' trunk, and which modalities are there, bool (B, M).

        While a method with frozen image features is fitted, a study that was read before needs no images.
        """
        names = self.info.image_modalities

        def compute(rows: list[int]) -> list[Tensor]:
            present = present_views(inputs, names)[rows]
            pixels = resized(torch.stack([inputs.images[name][rows] for name in names], dim=1), size)
            return [self.network.transformer.images.trunk(pixels, present), present]

        size = self.config.image_size
        trunk, present = self._cache(inputs.ids, compute, self.network.prior)
        present = present.bool()
        if self.network.transformer.words is not None:
            present = torch.cat([present, inputs.present[CONTEXT][:, None]], dim=1)
        return trunk, present

    def rows(self, inputs: Inputs, present: Tensor) -> Tensor | None:
        """The contexts that are there as rows of the table of words (B, S); None without words."""
        words = self.network.transformer.words
        if words is None:
            return None
        here = [True] * len(inputs) if present.is_meta else present[:, -1].tolist()
        texts = [text if there else None for text, there in zip(inputs.context, here, strict=True)]
        return words.encode(texts, self.config.text_length).to(present.device)
