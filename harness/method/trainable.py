"""What the training loop trains: a network with its losses, its optimiser and its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from harness.core.types import DatasetInfo, Inputs, Targets
from harness.method.config import TrainingConfig

if TYPE_CHECKING:
    import torch

    from harness.method.probes import Probe


class Trainable(Protocol):
    """All that ``harness.method.training.train_network`` takes of a method, or of one stage of its training.

    Attributes:
        network: what is trained, in place.
    """

    network: torch.nn.Module

    @property
    def name(self) -> str:
        """What error messages call it: the method's registry name."""
        ...

    @property
    def info(self) -> DatasetInfo:
        """The dataset, which decides what a batch of ``Inputs`` holds."""
        ...

    @property
    def reads(self) -> frozenset[str]:
        """Modalities of the dataset that a batch holds; all others are blanked."""
        ...

    @property
    def settings(self) -> TrainingConfig:
        """Epochs, batch size and the other settings of the loop."""
        ...

    @property
    def spreadable(self) -> bool:
        """Whether ``losses`` calls ``network`` as a whole, so that its parameters can be spread over GPUs."""
        ...

    def losses(self, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        """Scalar losses of a batch; ``loss`` is minimised, ``select`` (else ``loss``) chooses the epoch."""
        ...

    def optimizer(self, steps: int) -> tuple[torch.optim.Optimizer, Any]:
        """Optimiser and per-step learning-rate scheduler (or None) for a run of ``steps`` steps."""
        ...

    def loss_terms(self, losses: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The weighted summands of ``losses["loss"]``, by name."""
        ...

    def probes(self, inputs: Inputs, targets: Targets) -> Sequence[Probe]:
        """Numbers that show whether the named parts of the network act; none where it has no such parts."""
        ...
