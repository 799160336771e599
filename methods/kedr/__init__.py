"""KEDR: Knowledge-enhanced Explicitly Disentangled Representation with Missing Modality for Medical Image
Diagnosis (Li et al., Information Fusion 136, 2026, https://doi.org/10.1016/j.inffus.2026.104502).

Official code: https://github.com/lijing-coder/KEDR (no licence; this is written from the paper).
Shapes: batch B, two modalities, classes or findings K, width d. Branches: modality 1, modality 2, shared.

Deviations from the paper, or choices where it is silent, are ``KEDR.card.deviations``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Inputs, Prediction, Study, Targets, Task
from harness.method.card import Deviation, MethodCard
from harness.method.contract import FitRun
from harness.method.torch_method import TorchMethod
from methods.common.feature_cache import FeatureCache
from methods.common.optim import Optimizer, rate_groups, schedule, scheduled
from methods.common.pixels import resized
from methods.kedr.alignment import (
    class_mass,
    classification,
    confidence_error,
    contrastive,
    orthogonality,
    transport,
)
from methods.kedr.averaging import AveragedAdam
from methods.kedr.config import BASE, TINY, VARIANTS, KEDRConfig
from methods.kedr.deviations import DEVIATIONS
from methods.kedr.equilibrium import Solution
from methods.kedr.fusion import EquilibriumFusion, WeightedSum
from methods.kedr.knowledge import Knowledge, descriptions, embedded, encoder_folder, tokenised
from methods.kedr.vision import MODALITIES, Block, FrozenVision, SharedEncoder, SpecificEncoder, TrainedVision

CARD = MethodCard(
    name="kedr",
    title="KEDR",
    paper="Li et al., KEDR, Information Fusion 136 (2026) 104502",
    licence="Apache-2.0",
    tasks=frozenset({Task.DIAGNOSE}),
    reads=frozenset({"frontal", "lateral", "clinical", "dermoscopic", "fundus", "oct", "slo"}),
    presets={"tiny": TINY, "base": BASE, "paper": {}},
    variants=VARIANTS,
    deviations=tuple(Deviation(where, chosen) for where, chosen in DEVIATIONS),
    published={
        "parameters": 230e6,
        "inference_parameters": 93.2e6,
        "multiply_adds": 30.4e9,
        "inference_multiply_adds": 9.5e9,
    },
)


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
        branches = MODALITIES + config.ked
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
                self.knowledge = Knowledge(artifacts, config.width)
            self.classifiers = nn.ModuleList(Head(config, classes) for _ in self.confidence)
            self.weights = nn.Parameter(torch.zeros(2))

    def without_training_parts(self) -> None:
        """Drop what inference has no use for."""
        self.knowledge = self.classifiers = self.weights = None

    def forward(self, trunk: Sequence[Tensor], present: Tensor) -> Reading:
        """Output of ``vision.trunk`` and bool (B, 2) to a ``Reading``."""
        x = self.vision(trunk, present)
        here = list(present.unbind(1))
        features = [encode(x[:, m], here[m]) for m, encode in enumerate(self.specific)]
        if self.shared is not None:
            features.append(self.shared(x, present))
            here.append(present.any(1))
        confidence = [torch.sigmoid(head(f)) for head, f in zip(self.confidence, features, strict=False)]
        weighted = features
        if confidence:
            weighted = [
                f * c.mean(1, keepdim=True) for f, c in zip(features, confidence, strict=True)
            ]  # Eq. (11)
        fused, solution = self.fusion(weighted)
        return Reading(self.classifier(fused), features, confidence, here, solution)


class KEDR(TorchMethod[KEDRConfig]):
    """KEDR behind the harness' interface."""

    card: ClassVar[MethodCard] = CARD
    Config = KEDRConfig
    peer: ClassVar[str] = "methods.kedr.official"
    network: KEDRNetwork

    def __init__(self, config: KEDRConfig, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()
        # A dataset with one image modality: the second is always absent.
        self.slots = (*info.image_modalities, "second modality")[:MODALITIES]

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """Semantic priors of the dataset's classes, embedded or, for an encoder that learns, as tokens.

        Raises:
            HarnessError: a dataset without labels, or a class without a description.
            UnavailableError: the text encoder is not at hand.
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
        """Both modalities and one class a study, each another: what FLOPs are counted on."""
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
        zero = cls.new_zeros(())
        conf = sum(
            (
                confidence_error(estimate, head(feature), labels, here, multilabel)
                for estimate, feature, here, head in zip(
                    reading.confidence,
                    reading.features,
                    reading.here,
                    network.classifiers or (),
                    strict=False,
                )
            ),
            start=zero,
        )
        weights = zero.new_zeros(2) if network.weights is None else network.weights
        loss = align + orth + weights[0].exp() * conf + weights[1].exp() * cls  # Eq. (9), (17)
        loss = loss - config.weight_prior * weights.sum()
        return {"loss": loss, "cls": cls, "conf": conf, "align": align, "orth": orth, "select": cls}

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
        """Confidence (B,) of each branch, by modality name or ``shared``; NaN where a study lacks it."""
        reading = self.read(inputs)
        names = [*self.slots, "shared"]
        return {
            name: torch.where(here, value.mean(1), torch.nan).cpu().numpy()
            for name, value, here in zip(names, reading.confidence, reading.here, strict=False)
        }

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
        return transport(shared, priors, mass, config.epsilon, config.transport_iterations), orth

    def _read(self, inputs: Inputs) -> tuple[list[Tensor], Tensor]:
        """Output of ``vision.trunk`` and bool (B, 2); absent slots are zeros."""
        given = [slot for slot in self.slots if slot in inputs.images]
        like = inputs.images[given[0]]
        images = torch.stack([inputs.images.get(slot, torch.zeros_like(like)) for slot in self.slots], dim=1)
        nowhere = torch.zeros_like(inputs.present[given[0]])
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
