"""Cells side by side on one machine: a few processes, each with a trained method at a time.

Small networks gain little from a second thread, so two at a time are nearly twice as fast as one after the
other. What a cell computes does not depend on its neighbours.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from typing import Any

from harness import evaluate, registry
from harness.cells import entries
from harness.config import RunConfig
from harness.errors import HarnessError
from harness.outcome import fail
from harness.preparation import Bench, Reporter, open_bench, prepare_images, resolve_device
from harness.results import ResultRow

WORKERS = "HARNESS_WORKERS"
_PAUSE = 0.2
"""Seconds between two messages of one phase."""

Job = tuple[str, int]
"""Label of a trained row, and a seed: its shuffled-image rerun needs the checkpoint, so it comes along."""


def run(config: RunConfig, reporter: Reporter) -> tuple[list[ResultRow], bool]:
    """``evaluate.run`` with several cells at a time where the machine bears it.

    Returns:
        The rows of this run in the order of its methods, and whether every cell succeeded.
    """
    jobs = jobs_of(config)
    workers = worker_count(config, resolve_device(config.device), len(jobs))
    if workers == 1:
        return evaluate.run(config, reporter)
    context = _processes()
    bench = open_bench(config)  # what is wrong with the run as a whole surfaces here
    prepare_images(bench, reporter)
    found = _Team(bench, workers, reporter, context).work(jobs)
    rows = [row for entry in entries(config) for seed in config.seeds for row in found[entry.label, seed]]
    return rows, all(row.status != "failed" for row in rows)


def worker_count(config: RunConfig, device: str, jobs: int) -> int:
    """How many cells run at a time: ``--workers``, else ``$HARNESS_WORKERS``, else what suits the machine.

    One where a GPU is shared; two on two to eleven cores, then one per four cores.

    Raises:
        HarnessError: the environment variable is no number above 0.
    """
    named = os.environ.get(WORKERS, "")
    if config.workers is None and named and not (named.isdecimal() and int(named)):
        raise HarnessError(f"${WORKERS} is {named!r}", "give a number of processes, 1 or more")
    suits = 1 if device.startswith("cuda") else max(min(_cores(), 2), _cores() // 4)
    return max(1, min(jobs, config.workers or int(named or suits)))


def jobs_of(config: RunConfig) -> list[Job]:
    """What may run side by side; learned methods first, for they take longest."""
    rows = sorted(entries(config), key=lambda row: not row.method_class.card.learned)
    return list(dict.fromkeys((row.trained_label, seed) for row in rows for seed in config.seeds))


def _processes() -> Any:
    """Where processes come from. Their common parent imports what they need while this process reads data.

    A fork of this process would inherit thread pools that do not survive it.
    """
    if os.name != "posix":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.evaluate", "lightning.pytorch"])
    forkserver.ensure_running()
    return context


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Team:
    """Processes, their messages and their rows."""

    def __init__(self, bench: Bench, size: int, reporter: Reporter, context: Any) -> None:
        self.bench, self.size, self.reporter, self.context = bench, size, reporter, context
        self.running: dict[Connection, tuple[Any, Job]] = {}
        self.waiting: list[Job] = []
        self.found: dict[tuple[str, int], list[ResultRow]] = {}
        self.updates: dict[str, Callable[[float, str], None]] = {}

    def work(self, jobs: list[Job]) -> dict[tuple[str, int], list[ResultRow]]:
        """Rows by label and seed.

        Raises:
            HarnessError: what ends one process and the run with it: a full disk.
        """
        self.waiting = list(jobs)
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < self.size:
                    self._start()
                for pipe in wait(list(self.running)):
                    assert isinstance(pipe, Connection)
                    try:
                        self._hear(pipe, pipe.recv())
                    except (EOFError, ConnectionResetError):
                        self._end(pipe)
        finally:
            for process, _ in self.running.values():
                process.terminate()
                process.join()
        return self.found

    def _start(self) -> None:
        """One more process, with the next job."""
        ours, theirs = self.context.Pipe()
        threads = max(1, _cores() // self.size)
        process = self.context.Process(
            target=_work, args=(self.bench.config, threads, registry.snapshot(), theirs)
        )
        process.start()
        theirs.close()
        self.running[ours] = process, self.waiting[0]
        ours.send(self.waiting.pop(0))

    def _hear(self, pipe: Connection, message: tuple[Any, ...]) -> None:
        process, job = self.running[pipe]
        kind, *rest = message
        if kind == "error":
            raise rest[0]
        if kind == "idle" and self.waiting:
            self.running[pipe] = process, self.waiting[0]
            pipe.send(self.waiting.pop(0))
        elif kind == "idle":
            del self.running[pipe]
            pipe.close()  # the process ends when it asks for its next job
            process.join()
        elif kind == "phase":
            self.updates[rest[0]] = self.reporter.phase(*rest)
        elif kind == "update":
            self.updates[rest[0]](*rest[1:])
        elif kind == "rows":
            self.found[rest[0], job[1]] = rest[1]
        else:
            getattr(self.reporter, kind)(*rest)

    def _end(self, pipe: Connection) -> None:
        """Failed rows for what a process left undone when it died."""
        process, (label, seed) = self.running.pop(pipe)
        process.join()
        for entry in entries(self.bench.config):
            if entry.trained_label == label and (entry.label, seed) not in self.found:
                error = HarnessError(
                    f"its process ended with code {process.exitcode}", "out of memory? try --workers 1"
                )
                self.found[entry.label, seed] = fail(self.bench, entry, seed, error, self.reporter)


class _Messenger:
    """The reporter inside a process: everything goes through the pipe, updates not more often than shown."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def phase(self, label: str, phase: str) -> Callable[[float, str], None]:
        self.pipe.send(("phase", label, phase))
        last = 0.0

        def update(fraction: float, status: str) -> None:
            nonlocal last
            if time.monotonic() - last > _PAUSE or fraction >= 1:
                last = time.monotonic()
                self.pipe.send(("update", label, fraction, status))

        return update

    def done(self, label: str, summary: str) -> None:
        self.pipe.send(("done", label, summary))

    def failed(self, label: str, reason: str) -> None:
        self.pipe.send(("failed", label, reason))


def _work(config: RunConfig, threads: int, tables: dict[str, dict[str, str]], pipe: Connection) -> None:
    """Jobs in a process of its own, until there is none left."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends its processes
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    registry.restore(tables)
    try:
        bench = open_bench(config)
        while True:
            label, seed = pipe.recv()
            for entry in entries(config):
                if entry.trained_label == label:
                    rows = evaluate.evaluate(bench, entry, seed, _Messenger(pipe))
                    pipe.send(("rows", entry.label, rows))
            pipe.send(("idle",))
    except EOFError:
        return
    except HarnessError as error:
        pipe.send(("error", error))


def _die_with_parent() -> None:
    """A killed run must not go on working, nor hold locks that the next one waits for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
