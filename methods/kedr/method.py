"""KEDR behind the harness' interface: semantic priors, losses, optimiser, class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Inputs, Prediction, Study, Targets
from harness.method.card import MethodCard
from harness.method.contract import FitRun
from harness.method.probes import Probe
from harness.method.torch_method import TorchMethod
from methods.common.feature_cache import FeatureCache
from methods.common.optim import Optimizer, rate_groups, schedule, scheduled
from methods.common.pixels import resized
from methods.kedr.averaging import AveragedAdam
from methods.kedr.card import CARD
from methods.kedr.config import KEDRConfig
from methods.kedr.knowledge import descriptions, embedded, encoder_folder, tokenised, undescribed
from methods.kedr.losses import (
    class_mass,
    classification,
    confidence_error,
    contrastive,
    orthogonality,
    transport,
)
from methods.kedr.network import KEDRNetwork, Reading
from methods.kedr.probes import confidence_probe, fusion_probes, knowledge_probes
from methods.kedr.vision import MODALITIES

SHOWN = 5
"""Classes that a remark names."""


class KEDR(TorchMethod[KEDRConfig]):
    """KEDR behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = KEDRConfig
    peer: ClassVar[str] = "methods.kedr.official"
    has_branches: ClassVar[bool] = True
    network: KEDRNetwork

    def __init__(self, config: KEDRConfig, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()
        # A dataset with one image modality: the second is always absent.
        self.slots = (*info.image_modalities, "second modality")[:MODALITIES]

    @property
    def remark(self) -> str:
        """Which classes have no authored description, so that their priors are made of their names."""
        config, names = self.config, self.info.label_names
        if not config.ked or config.alignment == "none" or config.priors:
            return ""
        bare = undescribed(names, config.prompting)
        if not bare:
            return ""
        more = f" and {len(bare) - SHOWN} more" if len(bare) > SHOWN else ""
        return (
            f"{self.card.name}: no authored description of {', '.join(bare[:SHOWN])}{more}; "
            "their semantic priors are made from the class names alone"
        )

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """Semantic priors of the dataset's classes, embedded or, for an encoder that learns, as tokens.

        Raises:
            HarnessError: a dataset without labels, or a file of priors that lacks a class.
            UnavailableError: the text encoder is not available.
        """
        config, names = self.config, self.info.label_names
        if not names or any(study.labels is None for study in train):
            raise HarnessError(f"{self.card.name}: {self.info.name} has studies without labels")
        if not config.ked or config.alignment == "none":
            return {}
        texts = descriptions(names, config.prompting, config.priors)
        if config.train_text:
            folder = encoder_folder(config.text_encoder)
            return {"tokens": tokenised(texts, config.text_encoder), "encoder": str(folder)}
        return {"embeddings": embedded(texts, config.text_encoder)}

    def reference_artifacts(self) -> dict[str, Any]:
        """Stand-in priors of 240 tokens, at which text costs about what the paper's FLOPs leave for it."""
        classes = len(self.info.label_names)
        if self.config.train_text:
            return {"tokens": [list(range(1, 241))] * classes, "encoder": ""}
        return {"embeddings": [[0.0] * 384] * classes}

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """Both modalities, and study i with class i alone: what FLOPs are counted on."""
        info = self.info
        shape = (batch_size, info.channels, self.config.image_size, self.config.image_size)
        images = {slot: torch.zeros(shape) for slot in self.slots}
        present = {slot: torch.ones(batch_size, dtype=torch.bool) for slot in self.slots}
        labels = F.one_hot(torch.arange(batch_size) % len(info.label_names), len(info.label_names))
        inputs = Inputs(["example"] * batch_size, images, [None] * batch_size, present, [0] * batch_size)
        return inputs, Targets([""] * batch_size, labels.to(torch.float32))

    def build(self, artifacts: dict[str, Any]) -> KEDRNetwork:
        """The network; of a fitted method's artifacts the one that inference needs."""
        return KEDRNetwork(self.config, len(self.info.label_names), self.info.multilabel, artifacts)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """``TorchMethod.fit``; then text encoder, priors and the branches' classifiers are dropped."""
        with self._cache.keeping(self.config.keep_features):
            super().fit(train, val, run)
        self.network.without_training_parts()
        self._artifacts = {"fitted": True}

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Total loss (Eq. 17) and its parts; ``select`` is the classification's cross-entropy."""
        config, network, multilabel = self.config, self.network, self.info.multilabel
        trunk, present = self._read(inputs)
        if network.training and config.modality_dropout:
            present = thinned(present, config.modality_dropout)
        reading = network(trunk, present)
        assert targets.labels is not None
        labels = targets.labels
        cls = classification(reading.logits, labels, multilabel).mean()  # Eq. (16)
        align, orth = self._disentanglement(reading, labels)
        conf = self._confidence(reading, labels)
        parts = {"cls": cls, "conf": conf, "align": align, "orth": orth, "select": cls}
        return {"loss": sum(self.loss_terms(parts).values(), cls.new_zeros(()))} | parts

    def loss_terms(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Summands of the total loss; ``weights`` is the prior on the learned weights."""
        learned, cls = self.network.weights, losses["cls"]
        weights = cls.new_zeros(2) if learned is None else learned
        return {
            "align": losses["align"],
            "orth": losses["orth"],  # Eq. (9)
            "conf": weights[0].exp() * losses["conf"],
            "cls": weights[1].exp() * cls,  # Eq. (17)
            "weights": -self.config.weight_prior * weights.sum(),
        }

    def probes(self, inputs: Inputs, targets: Targets) -> list[Probe]:
        """Vital signs of KED and CAD, as far as this variant has them."""
        network, multilabel = self.network, self.info.multilabel
        reading, labels = network(*self._read(inputs)), targets.labels
        assert labels is not None
        names = [*self.slots, "shared"][: len(reading.features)]
        probes = list(fusion_probes(network, reading, names))
        if network.knowledge is not None:
            probes += knowledge_probes(network.knowledge, reading, labels, multilabel)
        if network.classifiers:
            probes.append(confidence_probe(network, reading, labels, multilabel))
        return probes

    def optimizer(self, steps: int) -> Optimizer:
        """Adam with weight averaging, cosine schedule; backbones have a rate of their own."""
        config = self.config
        groups = rate_groups(
            self.network,
            config.learning_rate,
            config.weight_decay,
            pretrained=lambda name: name.startswith("vision.") and ".network." in name,
            factor=config.vision_rate,
        )
        optimizer = AveragedAdam(
            groups, steps=steps, share=config.averaged, lr=config.learning_rate, fused=True
        )
        return scheduled(optimizer, schedule(steps, 0, "cosine"))

    def as_fitted(self, inputs: Inputs) -> Tensor:
        """Logits (B, K) of a network without what training alone has: what inference costs are counted on."""
        self.network.without_training_parts()
        return self.network(*self._read(inputs)).logits

    def generate(self, inputs: Inputs) -> list[Prediction]:
        """Class probabilities: softmax over exclusive classes, a sigmoid for each independent finding."""
        logits = self.network(*self._read(inputs)).logits.double()
        probabilities = logits.sigmoid() if self.info.multilabel else logits.softmax(1)
        return [Prediction(probabilities=row) for row in probabilities.cpu().numpy()]

    def read(self, inputs: Inputs) -> Reading:
        """Confidence, features and convergence of a batch, in eval mode."""
        self.network.eval()
        with torch.inference_mode():
            device = next(self.network.parameters()).device
            return self.network(*self._read(inputs.to(device)))

    def confidences(self, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
        """Confidence (B,) of each branch, by modality name or ``shared``.

        A study that lacks the modality has the confidence of a branch of zeros, which training teaches.
        """
        reading = self.read(inputs)
        names = [*self.slots, "shared"]
        return {
            name: value.mean(1).cpu().numpy() for name, value in zip(names, reading.confidence, strict=False)
        }

    def latent_vectors(self, inputs: Inputs) -> dict[str, Tensor]:
        """Specific features of each modality and the shared ones (B, d), NaN where a study lacks them."""
        reading = self.network(*self._read(inputs))
        names = [*(f"specific {slot}" for slot in self.slots), "shared"]
        return {
            name: feature.masked_fill(~here[:, None], float("nan"))
            for name, feature, here in zip(names, reading.features, reading.here, strict=False)
        }

    def _confidence(self, reading: Reading, labels: Tensor) -> Tensor:
        """Sum over branches of the error of their confidence, where they are there and where they are not."""
        network, multilabel = self.network, self.info.multilabel
        total = reading.logits.new_zeros((), dtype=torch.float32)
        everywhere = torch.ones_like(reading.here[0])
        for number, head in enumerate(network.classifiers or ()):
            estimate, feature = reading.confidence[number], reading.features[number]
            logits = head(feature)
            total = total + confidence_error(estimate, logits, labels, reading.here[number], multilabel)
            # Whichever study lacks it, the branch is zeros: each study's labels teach what that is worth.
            estimate, logits = network.of_absent(number)
            logits = logits.expand(len(labels), -1)
            total = total + confidence_error(estimate, logits, labels, everywhere, multilabel)
        return total

    def _disentanglement(self, reading: Reading, labels: Tensor) -> tuple[Tensor, Tensor]:
        """L_OT or its stand-in, and L_orth; zeros without the shared branch."""
        config, zero = self.config, reading.logits.new_zeros((), dtype=torch.float32)
        if not config.ked:
            return zero, zero
        *specific, shared = reading.features
        orth = sum((orthogonality(shared, f, h) for f, h in zip(specific, reading.here, strict=False)), zero)
        if self.network.knowledge is None:
            return zero, orth
        mass = class_mass(labels, self.info.multilabel) * reading.here[-1][:, None]
        # Which classes occur is a question to the data; without any, as many as a study has.
        number = torch.arange(min(mass.shape), device=mass.device) if mass.is_meta else None
        if config.alignment == "contrastive":
            number = torch.arange(mass.shape[1], device=mass.device)
        elif number is None:
            number = mass.any(0).nonzero()[:, 0]
        if not len(number):
            return zero, orth
        priors, mass = self.network.knowledge(number), mass[:, number]
        if config.alignment == "contrastive":
            return contrastive(shared, priors, mass, config.temperature), orth
        entropic = (config.epsilon, config.transport_iterations)
        return transport(shared, priors, mass, *entropic, config.own_classes), orth

    def _read(self, inputs: Inputs) -> tuple[list[Tensor], Tensor]:
        """Output of ``vision.trunk`` and bool (B, 2); absent slots are zeros."""
        here = [slot for slot in self.slots if slot in inputs.images]
        like = inputs.images[here[0]]
        images = torch.stack([inputs.images.get(slot, torch.zeros_like(like)) for slot in self.slots], dim=1)
        nowhere = torch.zeros_like(inputs.present[here[0]])
        present = torch.stack([inputs.present.get(slot, nowhere) for slot in self.slots], dim=1)
        vision, size = self.network.vision, self.config.image_size

        def trunk(rows: list[int]) -> list[Tensor]:
            return vision.trunk(resized(images[rows], size), present[rows])

        return self._cache(inputs.ids, trunk, images), present


def thinned(present: Tensor, rate: float) -> Tensor:
    """Bool (B, 2) in which a study that has both modalities lost one of them with probability ``rate``."""
    lost = torch.rand(len(present), device=present.device) < rate
    which = torch.randint(MODALITIES, (len(present),), device=present.device)
    hit = (lost & present.all(1))[:, None] & F.one_hot(which, MODALITIES).bool()
    return present & ~hit
