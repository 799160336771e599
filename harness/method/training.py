"""The only training loop: a Lightning Trainer behind one function.

An interrupted run continues at the last finished epoch and ends with the same weights as one that was never
interrupted: an epoch's order and a step's noise depend on the seed, the epoch and the step alone.

A batch that does not fit the device's memory is halved, and twice as many make up a step: training goes on
after the last finished epoch with the same studies in the same steps. Noise, batch normalisation and losses
that compare the studies of a batch do see the smaller batches, so the row's manifest has ``batch_division``.

Where this process is in a process group (``harness.distributed.process_group``), each of its processes calls
``train_network`` and takes its share of every batch; all decide alike, and the leading one writes.
"""

from __future__ import annotations

import copy
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from harness.core.errors import CorruptFileError, HarnessError
from harness.core.files import clear_disk_errors, read_json, write_json
from harness.core.types import Study
from harness.distributed.process_group import SmallerBatch, local, process_group, shard, whole_state
from harness.method.epochs import Batch, EpochOrder, hash_seed, loader

if TYPE_CHECKING:
    from harness.method.config import TrainingConfig
    from harness.method.contract import FitRun
    from harness.method.torch_method import TorchMethod


def train_network(
    method: TorchMethod[Any], train: Sequence[Study], val: Sequence[Study], run: FitRun
) -> None:
    """Train ``method.network`` in place and leave the weights of the best validation epoch in it.

    Args:
        method: a prepared method; its config has a ``training`` section.
        train: training studies.
        val: validation studies; ``training.keep = "best"`` chooses the epoch on them. Without any, the last
            epoch stands.
        run: directory with the resumable state, device, seed, progress.

    Raises:
        HarnessError: loss or weights are no longer finite (names epoch and step), the disk is full, no
            studies, out of memory with a batch that cannot be halved, a damaged state to resume from.
        SmallerBatch: out of memory in one of several processes.
    """
    if not train:
        raise HarnessError(f"{method.card.name}: no training studies", "raise --limit")
    keeper = _Keeper(run, method.config.training, has_val=bool(val))
    begun = None if keeper.resume.exists() or process_group().size > 1 else _copies(method.network)
    with _quiet_lightning(), clear_disk_errors(run.directory), _own_copy(method) as network:
        keeper.whole = network
        while not _fits_memory(method, train, val, run, keeper):
            keeper.halve_batch(method.card.name)
            if process_group().size > 1:
                raise SmallerBatch
            if begun is not None and not keeper.resume.exists():
                _put_back(method.network, begun)
    keeper.restore(method.network)
    method.network.to(run.device)


@contextmanager
def _own_copy(method: TorchMethod[Any]) -> Iterator[torch.nn.Module]:
    """The method's network; one that is to be spread over processes is put aside, a copy in its place.

    Raises:
        HarnessError: the losses are those of parts of another network, whose parameters cannot be spread.
    """
    from harness.method.torch_method import TorchMethod

    network = method.network
    if process_group().shards:
        if not isinstance(method, TorchMethod):
            raise HarnessError(
                f"--strategy fsdp: {method.card.name} trains parts of a network in turn", "use --strategy ddp"
            )
        method.network = copy.deepcopy(network)
    try:
        yield network
    finally:
        method.network = network


def _fits_memory(
    method: TorchMethod[Any], train: Sequence[Study], val: Sequence[Study], run: FitRun, keeper: _Keeper
) -> bool:
    """Train from the last finished epoch to the end; False where a batch is too large for the device."""
    settings = keeper.settings
    lengths = [len((study.report or "").split()) for study in train]
    order = EpochOrder(lengths, run.seed, settings.batch_size, settings.bucket)
    load = partial(loader, info=method.info, reads=method.card.reads)
    whole, batch_size = load(train, sampler=order, batch_size=settings.batch_size), keeper.batch_size
    if batch_size < process_group().size:
        raise HarnessError(
            f"{method.card.name}: {process_group().size} processes cannot share a batch of "
            f"{batch_size} studies",
            "use fewer --devices or raise training.batch_size",
        )
    devices = [int(run.device.partition(":")[2] or 0)] if run.device.startswith("cuda") else 1
    trainer = Trainer(
        accelerator="gpu" if run.device.startswith("cuda") else "cpu",
        **({"devices": devices} if process_group().size == 1 else process_group().trainer_options()),
        precision=settings.precision if run.device.startswith("cuda") else "32-true",  # type: ignore[arg-type]
        max_epochs=settings.epochs,
        check_val_every_n_epoch=settings.val_every,
        gradient_clip_val=settings.gradient_clip or None,
        accumulate_grad_batches=settings.accumulate * keeper.division,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[keeper],
    )
    try:
        trainer.fit(
            _Loop(method, settings.epochs * -(-len(whole) // settings.accumulate)),
            load(train, sampler=order, batch_size=batch_size),
            load(val, batch_size=batch_size) if val else None,
            ckpt_path=str(keeper.resume) if keeper.resume.exists() else None,
            weights_only=True,
        )
    except torch.OutOfMemoryError:
        return False
    except Exception as error:
        if keeper.begun or not keeper.resume.exists() or isinstance(error, HarnessError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptFileError(
            f"{keeper.resume}: not a training state of {method.card.name}: {reason}",
            f"delete {run.directory} and run again",
        ) from error
    if trainer.interrupted:
        raise KeyboardInterrupt
    return True


def _copies(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What an epoch may change, on the CPU: there is no checkpoint to go back to before the first one."""
    learned = {name: p for name, p in network.named_parameters() if p.requires_grad}
    return {
        name: tensor.detach().to("cpu", copy=True)
        for name, tensor in (learned | dict(network.named_buffers())).items()
    }


@torch.no_grad()
def _put_back(network: torch.nn.Module, copies: dict[str, torch.Tensor]) -> None:
    network.zero_grad(set_to_none=True)
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if name in copies:
            tensor.copy_(copies[name])


class _Loop(LightningModule):
    """Adapter from the method's losses and optimiser to Lightning's hooks."""

    def __init__(self, method: TorchMethod[Any], steps: int) -> None:
        super().__init__()
        self.method, self.steps = method, steps
        self.network = method.network
        self.strict_loading = (
            not process_group().shards
        )  # a parameter that no step has used has no optimiser state
        self.weight = 1.0
        """What the last batch's loss counts in the mean over all processes."""

    def configure_model(self) -> None:
        """Spread the parameters where the process group does so."""
        if process_group().shards:
            shard(self, self.network, process_group())

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The method's losses; spread parameters are gathered around this call."""
        return self.method.losses(*batch)

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """Loss of one batch; a loss that is not finite ends the cell instead of ruining the weights."""
        losses = self(batch) if process_group().shards else self.method.losses(*batch)
        finite = bool(torch.isfinite(losses["loss"]))
        if not (finite if process_group().size == 1 else process_group().all(finite)):
            means = (
                each / process_group().size
                for each in process_group().total(*(value.item() for value in losses.values()))
            )
            parts = ", ".join(f"{name} {value:.4g}" for name, value in zip(losses, means, strict=True))
            raise _not_finite(self, "loss is", index + 1, parts)
        self.shown = {name: value.detach() for name, value in losses.items()}
        if process_group().size == 1:
            return losses["loss"]
        self.weight = _weight(self.trainer.train_dataloader, index)
        return losses["loss"] * self.weight

    def validation_step(self, batch: Batch, index: int) -> None:
        """Accumulate the selection loss weighted by studies."""
        losses = self(batch) if process_group().shards else self.method.losses(*batch)
        size = float(len(batch[0]))
        if process_group().size > 1:
            size *= _weight(self.trainer.val_dataloaders, index)
        self.val_total += float(losses.get("select", losses["loss"])) * size
        self.val_count += size

    def on_validation_epoch_start(self) -> None:
        """Start a new average."""
        self.val_total, self.val_count = 0.0, 0.0
        process_group().same_buffers(self.network)

    def configure_optimizers(self) -> Any:
        """The method's optimiser, its schedule advanced once per step."""
        optimizer, schedule = self.method.optimizer(self.steps)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move inputs and targets; their texts stay where they are."""
        return batch[0].to(device), batch[1].to(device)


def _weight(loader: Any, index: int) -> float:
    return float(loader.batch_sampler.weight(index))


def _not_finite(loop: _Loop, what: str, step: int, detail: str) -> HarnessError:
    where = f"epoch {loop.current_epoch + 1}, step {step} ({detail})"
    return HarnessError(
        f"{loop.method.card.name}: {what} not finite at {where}",
        "the last good checkpoint is kept; lower the learning rate",
    )


class _Keeper(Callback):
    """Seeds epochs, keeps the chosen weights and the resumable state, stops early, reports progress."""

    def __init__(self, run: FitRun, settings: TrainingConfig, has_val: bool) -> None:
        self.run, self.settings, self.has_val = run, settings, has_val
        self.resume = run.directory / "last.ckpt"
        self.kept_file = run.directory / "kept.safetensors"
        self.best, self.best_epoch, self.stale = float("inf"), -1, 0
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self.begun = False
        self.whole: torch.nn.Module | None = None
        self.division_file = run.directory / "division.json"
        self.division = int(read_json(self.division_file)["parts"]) if self.division_file.exists() else 1

    @property
    def batch_size(self) -> int:
        """Studies that are on the device at a time."""
        return self.settings.batch_size // self.division

    def halve_batch(self, name: str) -> None:
        """From here on half as many studies at a time, twice as many times a step; resumed runs keep to it.

        Raises:
            HarnessError: the batch cannot be halved.
        """
        torch.cuda.empty_cache()
        if self.batch_size % 2 or self.batch_size < 2 * process_group().size:
            raise HarnessError(
                f"{name}: out of memory with {self.batch_size} studies at a time", "use a larger device"
            )
        self.division *= 2
        write_json(self.division_file, {"parts": self.division})

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stale": self.stale,
            "history": self.history,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """A run that was killed after it had decided to stop stays stopped."""
        self.begun = True
        trainer.should_stop = self._exhausted()

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the epoch's clock and averages."""
        self.started = time.monotonic()
        self.total, self.batches = 0.0, 0

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """All noise of a step follows from (seed, epoch, step, and which of several processes this is)."""
        rank = (process_group().rank,) if process_group().size > 1 else ()
        torch.manual_seed(hash_seed(self.run.seed, trainer.current_epoch, batch_idx, *rank))

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the running loss."""
        assert isinstance(module, _Loop)
        self.total += float(module.shown["loss"]) * module.weight
        self.batches += 1
        per_epoch = max(1, int(trainer.num_training_batches))
        done = (trainer.current_epoch + (batch_idx + 1) / per_epoch) / self.settings.epochs
        seen = [past["val"] for past in self.history if "val" in past]
        val = f" val {seen[-1]:.3f}" if self.has_val and seen else ""
        epoch = f"epoch {trainer.current_epoch + 1}/{self.settings.epochs}"
        parts = f", out of memory: {self.division} x {self.batch_size} studies" if self.division > 1 else ""
        self.run.progress(done, f"{epoch} loss {self.total / self.batches:.3f}{val}{parts}")

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Validation has run: keep the weights, then the resumable state (in this order)."""
        assert isinstance(module, _Loop)
        learned = [local(p) for p in module.network.parameters() if p.requires_grad]
        if not process_group().all(all(bool(p.isfinite().all()) for p in learned)):
            raise _not_finite(module, "weights are", self.batches, "after the gradient of a finite loss")
        epoch = {"train": process_group().total(self.total)[0] / process_group().size / max(1, self.batches)}
        keep = process_group().as_rank_zero(self.settings.keep == "last" or not self.kept_file.exists())
        if not self.has_val or (trainer.current_epoch + 1) % self.settings.val_every == 0:
            val = -float(trainer.current_epoch)
            if self.has_val:
                total, count = process_group().total(module.val_total, module.val_count)
                val = total / count
            epoch["val"] = val
            self.stale += 1
            if val < self.best:
                self.best, self.best_epoch, self.stale, keep = val, trainer.current_epoch, 0, True
        if keep:
            self._keep(module.network)
        self.seconds += time.monotonic() - self.started
        self.history.append(epoch)
        self._replace(self.resume, trainer.save_checkpoint)
        self._summarise()
        trainer.should_stop = trainer.should_stop or self._exhausted()

    def _keep(self, network: torch.nn.Module) -> None:
        if process_group().shards:
            state = whole_state(network, process_group())
            assert self.whole is not None
            network = self.whole
            if process_group().is_rank_zero:
                network.load_state_dict(state)
        if process_group().is_rank_zero:
            self._replace(self.kept_file, lambda path: save_model(network, str(path)))

    def restore(self, network: torch.nn.Module) -> None:
        """Load the kept weights."""
        self._summarise()  # a kill may have come between the last epoch's checkpoint and its summary
        try:
            load_model(network, str(self.kept_file))
        except (SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise CorruptFileError(
                f"{self.kept_file}: not the kept weights: {reason}",
                f"delete {self.run.directory} and run again",
            ) from error

    def _summarise(self) -> None:
        if not process_group().is_rank_zero:
            return
        divided = {"batch_division": self.division} if self.division > 1 else {}
        write_json(self.run.directory / "history.json", self.state_dict() | divided)

    def _exhausted(self) -> bool:
        return bool(self.settings.patience) and self.stale >= self.settings.patience

    @staticmethod
    def _replace(path: Path, write: Callable[[Path], object]) -> None:
        temporary = path.with_suffix(".tmp")
        write(temporary)
        if process_group().is_rank_zero:
            os.replace(temporary, path)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's tips and tables off, for the duration of one fit: ours is the only progress bar."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
