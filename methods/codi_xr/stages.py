"""The stages of training: each is one run of the harness' loop over a part of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from harness.core.types import DatasetInfo, Inputs, Targets
from harness.method.config import TrainingConfig
from harness.method.probes import Probe
from methods.codi_xr.config import NAME, CoDiXRConfig
from methods.codi_xr.losses import Loss
from methods.common.optim import Optimizer, decay_groups, schedule, scheduled


@dataclass(frozen=True, slots=True)
class Objective:
    """What a stage minimises.

    Attributes:
        loss: from the ids of a batch to its losses.
        terms: from these losses to the weighted summands of ``loss``.
        probes: from the ids of some studies to numbers that show whether the trained parts act.
    """

    loss: Loss
    terms: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    probes: Callable[[Sequence[str]], Sequence[Probe]]


@dataclass(slots=True)
class Stage:
    """One run of the training loop (a ``Trainable``).

    Attributes:
        folder: name of its folder of checkpoints.
        network: the part that trains.
        settings: epochs, batch size and so on.
        objective: what it minimises, and how that is looked at.
        rate: learning rate; weight decay and warm-up are the same in all stages.
        config: of the whole method.
        dataset: of the whole method.
    """

    folder: str
    network: nn.Module
    settings: TrainingConfig
    objective: Objective
    rate: float
    config: CoDiXRConfig
    dataset: DatasetInfo

    @property
    def name(self) -> str:
        """What error messages call it: the method."""
        return NAME

    @property
    def info(self) -> DatasetInfo:
        """No modalities: batches hold ids, and latents and embeddings are looked up by id."""
        return replace(self.dataset, image_modalities=(), has_context=False)

    @property
    def reads(self) -> frozenset[str]:
        """No modalities."""
        return frozenset()

    @property
    def spreadable(self) -> bool:
        """False: a loss calls parts of the network, and some of them outside of ``network``."""
        return False

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, Tensor]:
        """Losses of the batch's studies."""
        return self.objective.loss(inputs.ids)

    def loss_terms(self, losses: dict[str, Tensor]) -> Mapping[str, Tensor]:
        """The weighted summands of the loss."""
        return self.objective.terms(losses)

    def probes(self, inputs: Inputs, targets: Targets) -> Sequence[Probe]:
        """Whether the parts that the stage trains act on the batch's studies."""
        return self.objective.probes(inputs.ids)

    def optimizer(self, steps: int) -> Optimizer:
        """AdamW under a cosine with warm-up."""
        return adamw(self.network, self.rate, self.config, steps)


def adamw(network: nn.Module, rate: float, config: CoDiXRConfig, steps: int) -> Optimizer:
    """AdamW that spares biases and norms from decay; linear warm-up, then half a cosine down to 0."""
    groups = decay_groups(network.parameters(), config.weight_decay)
    warm = max(1, round(config.warmup * steps))
    return scheduled(torch.optim.AdamW(groups, lr=rate, fused=True), schedule(steps, warm, "cosine"))
