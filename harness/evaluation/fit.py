"""Training of a cell: in this process, or in several that train it together."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from filelock import FileLock

from harness.core.config import RunSettings
from harness.core.files import private_folder
from harness.core.progress import Progress
from harness.core.types import Study
from harness.distributed import launch
from harness.distributed.process_group import process_group
from harness.evaluation.benchmark import Benchmark, cell_of, create, open_benchmark
from harness.evaluation.entries import Entry, entries
from harness.method.contract import FitRun, Method
from harness.method.cost import PeakMemory, sizes, training_summary
from harness.method.torch_method import TorchMethod
from harness.missingness import masks
from harness.store.cell import Cell


def fitted(benchmark: Benchmark, entry: Entry, seed: int, cell: Cell, progress: Progress) -> Method[Any]:
    """Train an entry's method, store its checkpoint, and have it on the run's device."""
    private_folder(cell.training)
    together = issubclass(entry.method_class, TorchMethod) and launch.together(benchmark.execution) > 1
    if not together:
        with _alone(cell):
            return _fit(benchmark, entry, seed, cell, progress)
    launch.train(benchmark.settings, _full_name(entry), seed, member, progress)
    method = create(benchmark, entry)
    method.load(cell.checkpoint)
    return method.to(benchmark.device)


def member(settings: RunSettings, name: str, seed: int, progress: Progress) -> None:
    """Train as one of several processes; the leading one stores the checkpoint."""
    benchmark = open_benchmark(settings)
    rows = entries(benchmark.config)
    rows += [row.imputer for row in rows if row.imputer]
    entry = next(row for row in rows if _full_name(row) == name)
    cell = cell_of(benchmark, entry, seed)
    if not process_group().is_rank_zero:
        _fit(benchmark, entry, seed, cell, lambda fraction, status: None)
        return
    # The run that holds the cell's lock may be killed, and the next one begin, before this process ends.
    with FileLock(cell.training / ".lock"):
        _fit(benchmark, entry, seed, cell, progress)


def _full_name(entry: Entry) -> str:
    return f"{entry.name}:{entry.variant}" if entry.variant else entry.name


def _alone(cell: Cell) -> AbstractContextManager[Any]:
    """Wait for a process that a killed run left behind in the cell, where there may be one."""
    lock = cell.training / ".lock"
    return FileLock(lock) if lock.exists() else nullcontext()


def _fit(benchmark: Benchmark, entry: Entry, seed: int, cell: Cell, progress: Progress) -> Method[Any]:
    method = create(benchmark, entry)
    started = time.monotonic()
    run = FitRun(cell.training, benchmark.device, seed, progress)
    train, val = (_studies(benchmark, split, seed) for split in ("train", "val"))
    with PeakMemory(benchmark.device) as memory:
        method.fit(train, val, run)
    if not process_group().is_rank_zero:
        return method
    seconds = time.monotonic() - started
    summary = training_summary(cell.training)
    method.save(private_folder(cell.checkpoint))
    together = (
        {"devices": process_group().size, "strategy": process_group().strategy}
        if process_group().size > 1
        else {}
    )
    cost = {
        **sizes(method, benchmark.splits["train"][0]),
        # Epochs of interrupted sessions count; the last session's clock has not seen them.
        "training_seconds": max(seconds, summary.get("seconds", 0.0)),
        "peak_memory_gib": memory.gib,
        **{name: summary[name] for name in ("batch_division",) if name in summary},
        **together,
    }
    cell.mark_fitted({"seconds_of_last_session": seconds, "device": benchmark.device, "cost": cost})
    return method


def _studies(benchmark: Benchmark, split: str, seed: int) -> list[Study]:
    """Training or validation studies, some of them without a modality if the run asks for it."""
    plan, rate = benchmark.plan, benchmark.config.train_missing
    whole, info = benchmark.splits[split], benchmark.dataset.info
    return masks.thinned(whole, info, plan.policy, plan.mechanism, rate, seed)
