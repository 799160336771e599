"""The only training loop: a Lightning Trainer behind one function.

An interrupted run continues at the last finished epoch and ends with the same weights as one that was never
interrupted: an epoch's order and a step's noise depend on the seed, the epoch and the step alone.

A batch that does not fit the device's memory is halved, and twice as many make up a step: training goes on
after the last finished epoch with the same studies in the same steps. Noise, batch normalisation and losses
that compare the studies of a batch do see the smaller batches, so the row's manifest has ``batch_division``.

In a process group (``harness.distributed.process_group``) each process calls ``train_network`` and takes its
share of every batch. All processes take the same decisions, and rank 0 writes the files.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer

from harness.core.errors import DamagedStateError, HarnessError
from harness.core.files import clear_disk_errors
from harness.core.types import Study
from harness.distributed.process_group import SmallerBatch, process_group
from harness.method.contract import FitRun
from harness.method.epochs import EpochOrder, loader
from harness.method.lightning_module import TrainableModule
from harness.method.probes import ProbeSample
from harness.method.trainable import Trainable
from harness.method.training_state import TrainingState


def train_network(trainable: Trainable, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
    """Train ``trainable.network`` in place and leave the weights of the best validation epoch in it.

    Args:
        trainable: network, losses, optimiser and settings: a prepared method, or one stage of its training.
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
        raise HarnessError(f"{trainable.name}: no training studies", "raise --limit")
    state = TrainingState(run, trainable.settings, has_val=bool(val))
    if process_group().size == 1:
        state.sample = ProbeSample.of(val or train, trainable)
    fresh = not state.checkpoint.exists() and process_group().size == 1
    initial = _copies(trainable.network) if fresh else None
    with _quiet_lightning(), clear_disk_errors(run.directory), _own_copy(trainable) as network:
        state.whole = network
        while not _fits_memory(trainable, train, val, run, state):
            state.halve_batch(trainable.name)
            if process_group().size > 1:
                raise SmallerBatch
            if initial is not None and not state.checkpoint.exists():
                _put_back(trainable.network, initial)
    state.restore(trainable.network)
    trainable.network.to(run.device)


@contextmanager
def _own_copy(trainable: Trainable) -> Iterator[torch.nn.Module]:
    """The network; one that is to be spread over processes is put aside, a copy in its place.

    Raises:
        HarnessError: the losses are those of parts of another network, whose parameters cannot be spread.
    """
    network = trainable.network
    if process_group().shards:
        if not trainable.spreadable:
            raise HarnessError(
                f"--strategy fsdp: {trainable.name} trains parts of a network in turn", "use --strategy ddp"
            )
        trainable.network = copy.deepcopy(network)
    try:
        yield network
    finally:
        trainable.network = network


def _fits_memory(
    trainable: Trainable, train: Sequence[Study], val: Sequence[Study], run: FitRun, state: TrainingState
) -> bool:
    """Train from the last finished epoch to the end; False where a batch is too large for the device."""
    settings = state.settings
    lengths = [len((study.report or "").split()) for study in train]
    order = EpochOrder(lengths, run.seed, settings.batch_size, settings.bucket)
    load = partial(loader, info=trainable.info, reads=trainable.reads)
    whole, batch_size = load(train, sampler=order, batch_size=settings.batch_size), state.batch_size
    if batch_size < process_group().size:
        raise HarnessError(
            f"{trainable.name}: {process_group().size} processes cannot share a batch of "
            f"{batch_size} studies",
            "use fewer --devices or raise training.batch_size",
        )
    if not settings.epochs:
        raise HarnessError(f"{trainable.name}: training.epochs is 0", "give 1 or more")
    trainer = _trainer(run, state)
    state.check()
    try:
        trainer.fit(
            TrainableModule(trainable, settings.epochs * -(-len(whole) // settings.accumulate)),
            load(train, sampler=order, batch_size=batch_size),
            load(val, batch_size=batch_size) if val else None,
            ckpt_path=str(state.checkpoint) if state.checkpoint.exists() else None,
            weights_only=True,
        )
    except torch.OutOfMemoryError:
        return False
    except Exception as error:
        if state.begun or not state.checkpoint.exists() or isinstance(error, HarnessError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedStateError(
            f"{state.checkpoint}: not a training state of {trainable.name}: {reason}",
            f"delete {run.directory} and run again",
        ) from error
    if trainer.interrupted:
        raise KeyboardInterrupt
    return True


def _trainer(run: FitRun, state: TrainingState) -> Trainer:
    """Lightning's Trainer on the run's device, or as one process of the process group."""
    settings, on_gpu = state.settings, run.device.startswith("cuda")
    devices = [int(run.device.partition(":")[2] or 0)] if on_gpu else 1
    # Without a named environment Lightning looks for one, and for that starts MPI where mpi4py is installed.
    alone = {"devices": devices, "plugins": [LightningEnvironment()]}
    return Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        **(alone if process_group().size == 1 else process_group().trainer_options()),
        precision=settings.precision if on_gpu else "32-true",
        max_epochs=settings.epochs,
        check_val_every_n_epoch=settings.val_every,
        gradient_clip_val=settings.gradient_clip or None,
        accumulate_grad_batches=settings.accumulate * state.division,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[state],
    )


def _copies(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What an epoch may change, on the CPU: there is no checkpoint to go back to before the first one."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    return {
        name: tensor.detach().to("cpu", copy=True)
        for name, tensor in (trained | dict(network.named_buffers())).items()
    }


@torch.no_grad()
def _put_back(network: torch.nn.Module, copies: dict[str, torch.Tensor]) -> None:
    network.zero_grad(set_to_none=True)
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if name in copies:
            tensor.copy_(copies[name])


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
