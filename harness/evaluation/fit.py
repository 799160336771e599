"""Training of a cell: ``Method.fit``, what it cost, and its checkpoint."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.core.errors import PluginError
from harness.core.failures import describe
from harness.core.files import clear_disk_errors, has_room
from harness.core.locks import file_lock
from harness.core.printed import printed_into
from harness.core.registry import is_foreign, is_ours
from harness.core.types import Study
from harness.core.untouched import untouched
from harness.datasets.images.pixels import LazyImages
from harness.distributed.process_group import process_group
from harness.method.answers import checked_fit
from harness.method.box.confined import ConfinedMethod
from harness.method.contract import FitRun, Method
from harness.method.cost import PeakMemory, last_signs, sizes, training_summary
from harness.method.used import noted
from harness.store.cell import Cell

_AGAIN = 30.0
"""Seconds between two looks at what a method has opened while it trains."""


@dataclass(frozen=True, slots=True)
class FitStudies:
    """What a method learns from.

    Attributes:
        train, val: training and validation studies.
        example: a whole training study, of which one forward pass is counted.
    """

    train: Sequence[Study]
    val: Sequence[Study]
    example: Study


def fit(
    method: Method[Any],
    studies: FitStudies,
    run: FitRun,
    cell: Cell,
    note: Callable[[Method[Any]], object] = lambda method: None,
) -> Method[Any]:
    """Train a method; rank 0 stores its checkpoint with what the training cost.

    Args:
        method: an unfitted instance.
        studies: to learn from.
        run: seed, device, folder and progress.
        cell: gets the checkpoint.
        note: called now and then while it trains, and before the checkpoint is complete.

    Returns:
        The method, trained.
    """
    group = process_group()
    started = time.monotonic()
    with PeakMemory(run.device) as memory, printed_into(cell.output) as outside, kept(type(method)):
        progress = _noting(lambda: note(method), run.progress) if group.is_rank_zero else run.progress
        shown = replace(run, progress=outside(progress))
        train, val = (_own_copies(method, each) for each in (studies.train, studies.val))
        checked_fit(method, method.fit(train, val, shown))
    if not group.is_rank_zero:
        return method
    seconds = time.monotonic() - started
    summary = training_summary(cell.training)
    with clear_disk_errors(cell.checkpoint):
        folder = cell.empty_checkpoint()
        try:
            with noted(type(method)):
                method.save(folder)
        except OSError as error:
            if is_foreign(type(method)) and has_room(folder):  # it fails alone, whatever it says of the disk
                raise PluginError(describe(error, type(method).__module__)) from error
            raise
    note(method)
    cost = {
        # Epochs of interrupted sessions count; the last session's clock has not seen them.
        "training_seconds": max(seconds, summary.get("seconds", 0.0)),
        "peak_memory_gib": memory.gib,
        **_sizes(method, studies.example),
        **{name: summary[name] for name in ("batch_division",) if name in summary},
        **({"devices": group.size, "strategy": group.strategy} if group.size > 1 else {}),
    }
    facts = {"seconds_of_last_session": seconds, "device": run.device, "cost": cost}
    cell.mark_fitted(facts | {"signs": last_signs(cell.training)})
    cell.keep_own_answers()
    return method


def _noting(
    note: Callable[[], object], progress: Callable[[float, str], None]
) -> Callable[[float, str], None]:
    """Progress of a training, which notes what it has used: it may be killed, and go on another day."""
    last = -_AGAIN

    def report(share: float, status: str) -> None:
        nonlocal last
        progress(share, status)
        if time.monotonic() - last >= _AGAIN:
            note()
            last = time.monotonic()

    return report


def _own_copies(method: Method[Any], studies: Sequence[Study]) -> Sequence[Study]:
    """Studies that a method in this process cannot change for others; pixels are shared, and read-only."""
    if is_ours(type(method)) or isinstance(method, ConfinedMethod):
        return studies
    return [
        replace(
            study,
            images=study.images if isinstance(study.images, LazyImages) else _read_only(study.images),
            labels=None if study.labels is None else np.array(study.labels),
            attributes=dict(study.attributes),
        )
        for study in studies
    ]


def _read_only(images: Mapping[str, Any]) -> dict[str, Any]:
    views = {view: pixels.view() for view, pixels in images.items()}
    for pixels in views.values():
        pixels.flags.writeable = False
    return views


@contextmanager
def kept(method_class: type[Method[Any]]) -> Iterator[None]:
    """The working folder and functions of others stay what they are, where a method runs in this process.

    What a plugin opens is noted. A process that a method forks, and that comes back, ends.
    """
    if is_ours(method_class) or issubclass(method_class, ConfinedMethod):
        yield
        return
    process = os.getpid()
    try:
        with untouched(f"method {method_class.card.name}"), noted(method_class):
            yield
    finally:
        if os.getpid() != process:
            os._exit(1)


def _sizes(method: Method[Any], example: Study) -> dict[str, Any]:
    """Parameters and FLOPs; of a method in a box the peak of its process's memory, too."""
    if isinstance(method, ConfinedMethod):
        return {**method.sizes(example), **method.cost}
    return dict(sizes(method, example))


def alone(cell: Cell) -> AbstractContextManager[Any]:
    """Wait for a process that a killed run left training in the cell, where there may be one."""
    lock = cell.training / ".lock"
    return file_lock(lock) if lock.exists() else nullcontext()


def exclusive(cell: Cell) -> AbstractContextManager[Any]:
    """Keep later runs from training in the cell until this process ends.

    The run that holds the cell's lock may be killed, and the next one begin, before its processes end.
    """
    return file_lock(cell.training / ".lock")
