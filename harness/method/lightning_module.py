"""A ``Trainable`` as a Lightning module: the steps with one batch, in one process or in several."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule

from harness.core.errors import HarnessError
from harness.distributed.process_group import process_group, shard
from harness.method.epochs import Batch
from harness.method.text_score import TextScore
from harness.method.trainable import Trainable


class TrainableModule(LightningModule):
    """Adapter from a trainable's losses and optimiser to Lightning's hooks.

    Attributes:
        last_losses: losses of the last training batch, detached.
        weight: what the last batch's loss counts in the mean over all processes.
        val_total: sum of the selection loss over the ``val_count`` validation studies so far.
        text: score of the reports that are generated from these studies; None where it is not asked for.
    """

    def __init__(self, trainable: Trainable, steps: int) -> None:
        super().__init__()
        self.trainable, self.steps = trainable, steps
        self.network = trainable.network
        # A parameter that no step has used has no optimiser state.
        self.strict_loading = not process_group().shards
        self.last_losses: dict[str, torch.Tensor] = {}
        self.weight = 1.0
        self.val_total, self.val_count = 0.0, 0.0
        self.text = TextScore(trainable) if trainable.settings.monitor == "text" else None

    def configure_model(self) -> None:
        """Spread the parameters where the process group does so."""
        if process_group().shards:
            shard(self, self.network, process_group())

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The trainable's losses; spread parameters are gathered around this call."""
        return self.trainable.losses(*batch)

    def _losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        # Only a call of the module gathers spread parameters.
        losses: dict[str, torch.Tensor] = (
            self(batch) if process_group().shards else self.trainable.losses(*batch)
        )
        return losses

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """Loss of one batch; a loss that is not finite ends the cell instead of ruining the weights.

        Raises:
            HarnessError: the loss is not finite in one of the processes.
        """
        losses = self._losses(batch)
        finite = bool(torch.isfinite(losses["loss"]))
        if not (finite if process_group().size == 1 else process_group().all(finite)):
            means = (
                each / process_group().size
                for each in process_group().total(*(value.item() for value in losses.values()))
            )
            parts = ", ".join(f"{name} {value:.4g}" for name, value in zip(losses, means, strict=True))
            raise self.not_finite("loss is", index + 1, parts)
        self.last_losses = {name: value.detach() for name, value in losses.items()}
        if process_group().size == 1:
            return losses["loss"]
        self.weight = _weight(self.trainer.train_dataloader, index)
        return losses["loss"] * self.weight

    def validation_step(self, batch: Batch, index: int) -> None:
        """Accumulate the selection loss weighted by studies."""
        losses = self._losses(batch)
        weight = _weight(self.trainer.val_dataloaders, index) if process_group().size > 1 else 1.0
        size = float(len(batch[0])) * weight
        if self.text is not None:
            self.text.add(*batch, weight)
        self.val_total += float(losses.get("select", losses["loss"])) * size
        self.val_count += size

    def on_validation_epoch_start(self) -> None:
        """Start a new average."""
        self.val_total, self.val_count = 0.0, 0.0
        if self.text is not None:
            self.text.clear()
        process_group().same_buffers(self.network)

    def configure_optimizers(self) -> Any:
        """The trainable's optimiser, its schedule advanced once per step."""
        optimizer, schedule = self.trainable.optimizer(self.steps)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move inputs and targets; their texts stay where they are."""
        return batch[0].to(device), batch[1].to(device)

    def not_finite(self, what: str, step: int, detail: str) -> HarnessError:
        """The error about a loss or about weights that are no longer finite; it names epoch and step."""
        where = f"epoch {self.current_epoch + 1}, step {step} ({detail})"
        return HarnessError(
            f"{self.trainable.name}: {what} not finite at {where}",
            "the last good checkpoint is kept; lower the learning rate",
        )


def _weight(loader: Any, index: int) -> float:
    return float(loader.batch_sampler.weight(index))
