"""Training on features of frozen layers: each study's images are read once, and no epoch needs them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.core.types import DatasetInfo, Inputs, Study, Targets
from harness.method.batching import collate
from harness.method.config import TrainingConfig
from harness.method.contract import C
from harness.method.probes import Probe
from harness.method.torch_method import TorchMethod

TOGETHER = 64
"""Studies whose images are in memory at a time."""


class FeatureMethod(TorchMethod[C]):
    """A method whose losses and probes need no images of a study that ``read`` has seen."""

    @abstractmethod
    def read(self, inputs: Inputs) -> Any:
        """Pass the images through the frozen layers and keep what comes out under the studies' ids."""


class OnFeatures:
    """A method as a ``Trainable`` whose batches have no images. The context, which is cheap, stays.

    For ``train_network`` on studies that ``read_once`` has seen.
    """

    def __init__(self, method: FeatureMethod[Any]) -> None:
        self.method = method

    @property
    def network(self) -> nn.Module:
        """The method's network."""
        return self.method.network

    @network.setter
    def network(self, network: nn.Module) -> None:
        self.method.network = network

    @property
    def name(self) -> str:
        """What error messages call it."""
        return self.method.name

    @property
    def info(self) -> DatasetInfo:
        """The dataset without image modalities."""
        return replace(self.method.info, image_modalities=())

    @property
    def reads(self) -> frozenset[str]:
        """Modalities that the method reads."""
        return self.method.reads

    @property
    def settings(self) -> TrainingConfig:
        """Epochs, batch size and so on."""
        return self.method.settings

    @property
    def spreadable(self) -> bool:
        """As the method says."""
        return self.method.spreadable

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """The method's losses of a batch of ids."""
        return self.method.losses(inputs, targets)

    def optimizer(self, steps: int) -> tuple[torch.optim.Optimizer, Any]:
        """The method's optimiser."""
        return self.method.optimizer(steps)

    def loss_terms(self, losses: dict[str, Tensor]) -> Mapping[str, Tensor]:
        """The method's loss terms."""
        return self.method.loss_terms(losses)

    def probes(self, inputs: Inputs, targets: Targets) -> Sequence[Probe]:
        """The method's probes."""
        return self.method.probes(inputs, targets)


@torch.no_grad()
def read_once(method: FeatureMethod[Any], studies: Sequence[Study], device: str) -> None:
    """``method.read`` of all studies with nothing dropped, on ``device``."""
    method.network.to(device)
    for start in range(0, len(studies), TOGETHER):
        part = studies[start : start + TOGETHER]
        method.read(collate(part, method.info, reads=method.reads).to(torch.device(device)))
