"""State of a training run: which weights stand, what a resumed run continues from, when it stops early."""

from __future__ import annotations

import os
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from harness.core.errors import CorruptFileError, DamagedStateError, HarnessError
from harness.core.files import (
    clear_disk_errors,
    clear_place,
    open_own,
    read_checked_json,
    unless_damaged,
    write_checked_json,
    write_json,
)
from harness.distributed.process_group import local, process_group, whole_state
from harness.method.config import TrainingConfig
from harness.method.contract import FitRun
from harness.method.epochs import hash_seed
from harness.method.lightning_module import TrainableModule
from harness.method.probes import ProbeSample, vital_signs

_NAMES = 4
"""Names at the end of a training's folder that say whose it is, with or without a folder for its stage."""


class TrainingState(Callback):
    """Seeds steps, saves the chosen weights and the resumable state, stops early, reports progress.

    Attributes:
        checkpoint: the resumable state, ``last.ckpt``; absent before the first finished epoch.
        best: lowest validation loss so far, or minus the highest score of generated reports, of epoch
            ``best_epoch``; ``stale`` validations were no better.
        history: one entry per finished epoch: the mean training loss (``train``) and its parts (``losses``)
            and, where it was validated, the validation loss (``val``) and, where it is monitored, the score
            of generated reports (``text``); there and in the last epoch the vital
            signs (``signs``).
        sample: the studies on which vital signs are measured; None where there are several processes.
        seconds: training time of all finished epochs.
        begun: whether the first step of this call was reached, so that the checkpoint was readable.
        whole: the network whose parameters are spread over processes; None where none are.
        division: into how many parts a batch is split, because a larger part does not fit the device.
        checksum: CRC-32 of the saved weights; None in a process that did not save them.
    """

    def __init__(self, run: FitRun, settings: TrainingConfig, has_val: bool) -> None:
        self.run, self.settings, self.has_val = run, settings, has_val
        self.checkpoint = run.directory / "last.ckpt"
        self.weights_file = run.directory / "kept.safetensors"
        self.best, self.best_epoch, self.stale = float("inf"), -1, 0
        self.history: list[dict[str, Any]] = []
        self.sample: ProbeSample | None = None
        self.seconds = 0.0
        self.begun = False
        self.whole: torch.nn.Module | None = None
        self.division_file = run.directory / "division.json"
        self.division = unless_damaged(self.division_file, self._stored_division) or 1
        self.checksum: int | None = None

    @property
    def state_key(self) -> str:
        """The key of this state in a checkpoint; it does not follow the name of the class."""
        return "training_state"

    @property
    def place(self) -> str:
        """Whose training it is: method, cell and, of a method that trains several times, the stage."""
        return "/".join(self.run.directory.parts[-_NAMES:])

    @property
    def batch_size(self) -> int:
        """Studies that are on the device at a time."""
        return self.settings.batch_size // self.division

    def _stored_division(self) -> int:
        return int(read_checked_json(self.division_file)["parts"]) if self.division_file.exists() else 1

    def check(self) -> None:
        """Compare the resumable state with the checksums in it; PyTorch does not.

        Raises:
            DamagedStateError: it is not what was written.
        """
        for path in (self.checkpoint, self.weights_file):
            try:
                if os.path.lexists(path):
                    open_own(path).close()  # a pipe would be waited for
            except CorruptFileError as error:
                raise DamagedStateError(error.message, f"delete {self.run.directory} and run again") from None
        if not self.checkpoint.exists():
            return
        try:
            with zipfile.ZipFile(self.checkpoint) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
            damaged = type(error).__name__
        if damaged is not None:
            raise DamagedStateError(
                f"{self.checkpoint}: not a training state, or a damaged one: {damaged}",
                f"delete {self.run.directory} and run again",
            )

    def halve_batch(self, name: str) -> None:
        """From here on half as many studies at a time, twice as many times per step; resumed runs keep to it.

        Raises:
            HarnessError: the batch cannot be halved.
        """
        torch.cuda.empty_cache()
        if self.batch_size % 2 or self.batch_size < 2 * process_group().size:
            raise HarnessError(
                f"{name}: out of memory with {self.batch_size} studies at a time", "use a larger device"
            )
        self.division *= 2
        write_checked_json(self.division_file, {"parts": self.division})

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run continues with."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stale": self.stale,
            "history": self.history,
            "seconds": self.seconds,
            "checksum": self.checksum,
            "cell": self.place,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            DamagedStateError: it is that of another cell, or of another stage.
        """
        if state_dict.get("cell") != self.place:
            raise DamagedStateError(
                f"{self.checkpoint}: the training of {str(state_dict.get('cell'))[:300]}",
                f"delete {self.run.directory} and run again",
            )
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
        self.stale, self.history = state_dict["stale"], state_dict["history"]
        self.seconds = state_dict["seconds"]
        self.checksum = state_dict.get("checksum")

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """A run that was killed after it had decided to stop stays stopped."""
        self.begun = True
        trainer.should_stop = self._exhausted()

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the epoch's clock and averages."""
        self.started = time.monotonic()
        self.total, self.batches = 0.0, 0
        self.parts: dict[str, torch.Tensor] = {}

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """All noise of a step follows from (seed, epoch, step) and, with several processes, the rank."""
        rank = (process_group().rank,) if process_group().size > 1 else ()
        torch.manual_seed(hash_seed(self.run.seed, trainer.current_epoch, batch_idx, *rank))

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the running loss."""
        assert isinstance(module, TrainableModule)
        self.total += float(module.last_losses["loss"]) * module.weight
        self.batches += 1
        for name, value in module.last_losses.items():
            self.parts[name] = self.parts.get(name, 0.0) + value.float() * module.weight
        per_epoch = max(1, int(trainer.num_training_batches))
        done = (trainer.current_epoch + (batch_idx + 1) / per_epoch) / self.settings.epochs
        validated = [epoch["val"] for epoch in self.history if "val" in epoch]
        val = f" val {validated[-1]:.3f}" if self.has_val and validated else ""
        epoch = f"epoch {trainer.current_epoch + 1}/{self.settings.epochs}"
        parts = f", out of memory: {self.division} x {self.batch_size} studies" if self.division > 1 else ""
        self.run.progress(done, f"{epoch} loss {self.total / self.batches:.3f}{val}{parts}")

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """After validation: save the weights, then the resumable state (in this order).

        Raises:
            HarnessError: a trained parameter is no longer finite in one of the processes.
        """
        assert isinstance(module, TrainableModule)
        trained = [local(p) for p in module.network.parameters() if p.requires_grad]
        if not process_group().all(all(bool(p.isfinite().all()) for p in trained)):
            raise module.not_finite("weights are", self.batches, "after the gradient of a finite loss")
        epoch: dict[str, Any] = {"train": self._mean(self.total)[0]}
        epoch["losses"] = dict(zip(self.parts, self._mean(*map(float, self.parts.values())), strict=True))
        save = process_group().as_rank_zero(self.settings.keep == "last" or not self.weights_file.exists())
        if not self.has_val or (trainer.current_epoch + 1) % self.settings.val_every == 0:
            epoch["val"] = self._validation_loss(trainer, module)
            if self.has_val and module.text is not None:
                epoch["text"] = module.text.value()
            value = -epoch["text"] if "text" in epoch else epoch["val"]
            self.stale += 1
            if value < self.best:
                self.best, self.best_epoch, self.stale, save = value, trainer.current_epoch, 0, True
        last = trainer.current_epoch + 1 == self.settings.epochs
        if self.sample is not None and (last or "val" in epoch):
            epoch["signs"] = vital_signs(module.trainable, self.sample)
        if save:
            self._save_weights(module.network)
        self.seconds += time.monotonic() - self.started
        self.history.append(epoch)
        self._replace(self.checkpoint, trainer.save_checkpoint)
        self._summarise()
        trainer.should_stop = trainer.should_stop or self._exhausted()

    def _mean(self, *totals: float) -> list[float]:
        """Means per batch, over all processes, of an epoch's totals in this process."""
        batches = process_group().size * max(1, self.batches)
        return [total / batches for total in process_group().total(*totals)] if totals else []

    def _validation_loss(self, trainer: Trainer, module: TrainableModule) -> float:
        """Mean selection loss of a validation study; without any, a later epoch counts as a better one."""
        if not self.has_val:
            return -float(trainer.current_epoch)
        total, count = process_group().total(module.val_total, module.val_count)
        return total / count

    def _save_weights(self, network: torch.nn.Module) -> None:
        if process_group().shards:
            state = whole_state(network, process_group())
            assert self.whole is not None
            network = self.whole
            if process_group().is_rank_zero:
                network.load_state_dict(state)
        if process_group().is_rank_zero:
            with clear_disk_errors(self.weights_file):
                self._replace(self.weights_file, lambda path: save_model(network, str(path)))
            self.checksum = _crc(self.weights_file)
        else:
            self.checksum = None  # that of an earlier epoch, which came with the resumed state

    def restore(self, network: torch.nn.Module) -> None:
        """Load the saved weights of the chosen epoch.

        Raises:
            DamagedStateError: the file does not hold them.
        """
        self._summarise()  # a kill may have come between the last epoch's checkpoint and its summary
        try:
            if self.checksum not in (None, _crc(self.weights_file)):
                raise RuntimeError("checksum mismatch")
            load_model(network, str(self.weights_file))
        except (SafetensorError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedStateError(
                f"{self.weights_file}: not the kept weights: {reason}",
                f"delete {self.run.directory} and run again",
            ) from error

    def _summarise(self) -> None:
        if not process_group().is_rank_zero:
            return
        divided = {"batch_division": self.division} if self.division > 1 else {}
        state = self.state_dict()
        del state["checksum"], state["cell"]
        summary = state | {"keep": self.settings.keep} | divided
        path = self.run.directory / "history.json"
        clear_place(path)
        write_json(path, summary)

    def _exhausted(self) -> bool:
        return bool(self.settings.patience) and self.stale >= self.settings.patience

    @staticmethod
    def _replace(path: Path, write: Callable[[Path], object]) -> None:
        temporary = path.with_suffix(".tmp")
        try:
            write(temporary)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()  # a full disk gets its space back
            raise
        if process_group().is_rank_zero:
            os.replace(temporary, path)


def _crc(path: Path) -> int:
    """CRC-32 of a file: it finds damage, at two gigabytes a second."""
    total = 0
    with open(path, "rb") as stream:
        while block := stream.read(1 << 22):
            total = zlib.crc32(block, total)
    return total
