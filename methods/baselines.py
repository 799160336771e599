"""Two diagnosis baselines that belong in every table of missing modalities: late and early fusion of images.

Late fusion classifies each image modality by itself and averages the logits of those that are present;
whole modalities are dropped in training (Neverova et al., ModDrop, TPAMI 2016). Early fusion concatenates the
features of all modalities, writes zeros where one is absent, and classifies once; in training it sees no gaps
but those of the data, so it shows what becomes of a classifier that was built for complete inputs. Both read
every image modality and nothing else, for exclusive classes (softmax) as for independent findings (sigmoid).

Shapes: batch B, modalities N, feature width S, labels L. Neither reimplements a published system: choices are
``card.deviations``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.core.types import Inputs, Prediction, Study, Targets, Task
from harness.core.weights import lite0_weights
from harness.method.card import Deviation, MethodCard
from harness.method.config import MethodConfig, TrainingConfig
from harness.method.contract import FitRun
from harness.method.torch_method import TorchMethod
from methods.common.feature_cache import FeatureCache
from methods.common.lite0 import Lite0Stages
from methods.common.optim import Optimizer, rate_groups, schedule, scheduled
from methods.common.pixels import ImageNetScale, resized
from methods.common.views import PositionNorm, complete_inputs, of_present, present_views


class Config(MethodConfig):
    """Values of ``base``, which ``paper`` repeats: there is no paper whose sizes it could have.

    Attributes:
        backbone: one per modality, trained; with ``frozen`` one EfficientNet-Lite0 for all.
        backbone_weights: ``package`` (ImageNet weights of Lite0 that ship with a package), a state-dict file
            of timm's network, or empty for random initialisation.
        frozen: features of a frozen Lite0 instead, computed once a study.
        stage, grid: of the frozen Lite0, the stage whose map is averaged to grid x grid positions.
        image_size: pixels of the side to which images are resized.
        hidden: width of the head's hidden layer.
        modality_dropout: training probability that a modality is dropped; the last one never is.
        flips: mirror training images at random, the images of a study alike; trained backbones only.
        backbone_rate: learning-rate factor of the backbones.
        warmup: share of the steps in which the learning rate rises; it falls to 0 in the others.
    """

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
    learning_rate: float = 1e-3
    backbone_rate: float = 0.2
    weight_decay: float = 0.01
    warmup: float = 0.1


class EarlyConfig(Config):
    """As ``Config``, without modality dropout."""

    modality_dropout: float = 0.0


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


class Head(nn.Sequential):
    """Features (B, S) to logits (B, L): one hidden layer."""

    def __init__(self, width: int, hidden: int, labels: int, dropout: float) -> None:
        super().__init__(
            nn.Dropout(dropout),
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, labels),
        )


class FrozenFeatures(nn.Module):
    """A frozen Lite0's map after one stage, averaged to a grid and standardised over training studies."""

    def __init__(self, config: Config, views: int) -> None:
        super().__init__()
        self.lite0 = Lite0Stages((config.stage,), config.grid)
        self.grid = config.grid
        self.width = self.lite0.channels[0] * config.grid**2
        self.norm = PositionNorm(views, self.width)

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """Images (B, N, C, H, W) to what no training step changes, (B, N, S)."""

        def pooled(images: Tensor) -> list[Tensor]:
            return [F.adaptive_avg_pool2d(self.lite0(images)[0], self.grid).flatten(1)]

        return of_present(pooled, pixels, present)[0]

    def forward(self, trunk: Tensor, present: Tensor) -> Tensor:
        """(B, N, S) to features (B, N, S); zeros where a modality is absent."""
        return self.norm(trunk, present)


class TrainedFeatures(nn.Module):
    """One trained network per modality: images (B, N, C, H, W) to pooled features (B, N, S)."""

    NAMES: ClassVar[dict[str, str]] = {"lite0": "efficientnet_lite0", "resnet50": "resnet50"}

    def __init__(self, config: Config, views: int) -> None:
        super().__init__()
        import timm

        networks = [
            timm.create_model(self.NAMES[config.backbone], pretrained=False, num_classes=0)
            for _ in range(views)
        ]
        self.width: int = networks[0].num_features  # type: ignore[assignment]
        if not next(networks[0].parameters()).is_meta:
            weights = backbone_weights(config)
            for network in networks if weights else ():
                fill(network, weights, config.backbone_weights)
        self.networks = nn.ModuleList(networks).to(memory_format=torch.channels_last)
        self.scale = ImageNetScale()

    def trunk(self, pixels: Tensor, present: Tensor) -> Tensor:
        """The images themselves: every layer is trained."""
        return pixels

    def forward(self, pixels: Tensor, present: Tensor) -> Tensor:
        """Zeros where a modality is absent."""
        columns = []
        for view, network in enumerate(self.networks):

            def features(images: Tensor, network: nn.Module = network) -> list[Tensor]:
                return [network(self.scale(images).contiguous(memory_format=torch.channels_last))]

            # A batch without a single image must not move the running statistics.
            if not present.is_meta and not bool(present[:, view].any()):
                columns.append(pixels.new_zeros(len(pixels), self.width))
                continue
            one = slice(view, view + 1)
            columns.append(of_present(features, pixels[:, one], present[:, one])[0][:, 0])
        return torch.stack(columns, dim=1)


def backbone_weights(config: Config) -> dict[str, Tensor]:
    """Weights for the configured backbone; none for random initialisation.

    Raises:
        HarnessError: the file is absent or no state dict, or the package has no weights of this backbone.
    """
    source = config.backbone_weights
    if not source:
        return {}
    if source == "package":
        if config.backbone != "lite0":
            raise HarnessError(
                f"no package ships weights of {config.backbone}", "set backbone_weights to a state-dict file"
            )
        return lite0_weights()
    try:
        found: dict[str, Tensor] = torch.load(Path(source), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the unpickler meets
        raise HarnessError(f"backbone_weights {source}: {str(error).splitlines()[0]}") from error
    return found


def fill(network: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load weights that may hold a classifier besides."""
    try:
        missing, extra = network.load_state_dict(weights, strict=False)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise HarnessError(f"backbone_weights {source}: {str(error).splitlines()[0]}") from error
    if missing or any(not name.startswith(("fc.", "classifier.")) for name in extra):
        raise HarnessError(f"backbone_weights {source}: the weights of another network")


class FusionNetwork(nn.Module):
    """Features of every modality, and a rule that makes one vector of logits of them."""

    prior: Tensor

    def __init__(self, config: Config, views: int, prior: Tensor) -> None:
        """``prior``: logits (L,) of the training studies' label frequencies."""
        super().__init__()
        self.features = FrozenFeatures(config, views) if config.frozen else TrainedFeatures(config, views)
        self.register_buffer("prior", prior)

    def forward(self, trunk: Tensor, present: Tensor) -> Tensor:
        """Output of ``features.trunk`` and bool (B, N) to logits (B, L)."""
        return self.fuse(self.features(trunk, present), present)

    @abstractmethod
    def fuse(self, features: Tensor, present: Tensor) -> Tensor:
        """Features (B, N, S) to logits (B, L)."""


class LateFusionNetwork(FusionNetwork):
    """A head per modality; the logits of those present are averaged, and with none are the priors."""

    def __init__(self, config: Config, views: int, prior: Tensor) -> None:
        super().__init__(config, views, prior)
        width, labels = self.features.width, len(prior)
        self.heads = nn.ModuleList(Head(width, config.hidden, labels, config.dropout) for _ in range(views))

    def fuse(self, features: Tensor, present: Tensor) -> Tensor:
        """Mean over present modalities."""
        logits = torch.stack([head(features[:, view]) for view, head in enumerate(self.heads)], dim=1)
        count = present.sum(1, keepdim=True)
        mean = (logits * present[..., None]).sum(1) / count.clamp(min=1)
        return torch.where(count > 0, mean, self.prior)


class EarlyFusionNetwork(FusionNetwork):
    """One head on the concatenated features, zeros where a modality is absent."""

    def __init__(self, config: Config, views: int, prior: Tensor) -> None:
        super().__init__(config, views, prior)
        self.head = Head(views * self.features.width, config.hidden, len(prior), config.dropout)

    def fuse(self, features: Tensor, present: Tensor) -> Tensor:
        """With no modality present the logits are the priors."""
        logits = self.head((features * present[..., None]).flatten(1))
        return torch.where(present.any(1, keepdim=True), logits, self.prior)


class Fusion(TorchMethod[Config]):
    """What both baselines share: reading a batch, losses, optimiser, probabilities."""

    network: FusionNetwork
    Network: ClassVar[type[FusionNetwork]]

    def __init__(self, config: Config, info: Any) -> None:
        super().__init__(config, info)
        self._cache = FeatureCache()

    def artifacts(self, train: Sequence[Study]) -> dict[str, Any]:
        """Label frequencies of the training studies."""
        labels = [study.labels for study in train if study.labels is not None]
        if not labels:
            raise HarnessError(f"{self.card.name}: no training study has labels", "choose another dataset")
        return {"frequencies": np.mean(labels, axis=0, dtype=np.float64).tolist()}

    def reference_artifacts(self) -> dict[str, Any]:
        """Equal frequencies."""
        return {"frequencies": [0.5] * len(self.info.label_names)}

    def example_batch(self, batch_size: int = 1) -> tuple[Inputs, Targets]:
        """All image modalities: what FLOPs are counted on."""
        inputs = complete_inputs(self.info, batch_size, self.config.image_size)
        return inputs, Targets([""] * batch_size, torch.zeros(batch_size, len(self.info.label_names)))

    def build(self, artifacts: dict[str, Any]) -> FusionNetwork:
        """The network, with the label frequencies as logits."""
        frequencies = torch.tensor(artifacts["frequencies"], dtype=torch.float32).clamp(1e-4, 1 - 1e-4)
        prior = torch.logit(frequencies) if self.info.multilabel else torch.log(frequencies)
        views = len(self.info.image_modalities)
        return self.Network(self.config, views, prior)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """``TorchMethod.fit``; a study passes a frozen backbone once."""
        with self._cache.keeping(self.config.frozen):
            super().fit(train, val, run)

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Cross-entropy of the classes, or the mean of the findings' binary cross-entropies."""
        if targets.labels is None:
            raise HarnessError(f"{self.card.name}: studies without labels", "choose another dataset")
        present = self._present(inputs)
        trunk = self._trunk(inputs, present)
        if self.network.training:
            present = kept_modalities(present, self.config.modality_dropout)
        logits = self.network(trunk, present).float()
        if self.info.multilabel:
            return {"loss": F.binary_cross_entropy_with_logits(logits, targets.labels)}
        return {"loss": F.cross_entropy(logits, targets.labels.argmax(1))}

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
        logits = self.network(self._trunk(inputs, present), present).double()
        said = logits.sigmoid() if self.info.multilabel else logits.softmax(1)
        return [Prediction(probabilities=row) for row in said.cpu().numpy()]

    def _present(self, inputs: Inputs) -> Tensor:
        """Which image modalities are there, bool (B, N)."""
        return present_views(inputs, self.info.image_modalities)

    def _pixels(self, inputs: Inputs, rows: Sequence[int]) -> Tensor:
        """Images (len(rows), N, C, H, W) of the configured size."""
        images = torch.stack([inputs.images[name][rows] for name in self.info.image_modalities], dim=1)
        return resized(images, self.config.image_size)

    def _trunk(self, inputs: Inputs, present: Tensor) -> Tensor:
        """What ``network.features`` goes on from (B, N, ...); a frozen part runs once a study while fitting.

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
    kept = present & (torch.rand(present.shape, device=present.device) >= probability)
    return torch.where(kept.any(1, keepdim=True), kept, present)


class LateFusion(Fusion):
    """A classifier per image modality, modality dropout, logits averaged over what is present."""

    Config = Config
    Network = LateFusionNetwork
    card: ClassVar[MethodCard] = MethodCard(
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


class EarlyFusion(Fusion):
    """Concatenated features of all image modalities, zeros for absent ones, one classifier."""

    Config = EarlyConfig
    Network = EarlyFusionNetwork
    card: ClassVar[MethodCard] = MethodCard(
        name="early_fusion",
        title="early fusion with zero imputation",
        paper="early fusion: Baltrusaitis et al., Multimodal Machine Learning, IEEE TPAMI 2019",
        licence="Apache-2.0",
        tasks=frozenset({Task.DIAGNOSE}),
        reads=IMAGE_MODALITIES,
        presets=PRESETS,
        variants={"dropout": ("modalities are dropped in training", {"modality_dropout": 0.3})},
        deviations=(
            *COMMON,
            Deviation("where zeros are written", "into the features, which have mean 0 where frozen"),
            Deviation("no modality present", "label frequencies of the training studies"),
        ),
    )
