"""Jobs side by side on one machine: a few processes that take one after the other and talk to the console.

Small networks gain little from a second thread, so two processes are nearly twice as fast as one. What a job
computes does not depend on its neighbours.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.core import registry
from harness.core.clock import BETWEEN, OPEN, Span, Watch
from harness.core.config import ExecutionConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.hardware import cores

if TYPE_CHECKING:
    from harness.core.progress import Reporter

WORKERS = "HARNESS_WORKERS"
_PAUSE = 0.2
"""Seconds between two messages of one phase."""

Job = tuple[Any, ...]
"""Label of a row, a seed, and which step of the work on it where that is not all of it."""

Results = Iterable[tuple[Any, Any]]
"""(Key, result) pairs of a job, each handed over as soon as it is there."""

Opened = Callable[[Job, "Reporter"], Results]
Opener = Callable[[RunSettings], Opened]
"""A top-level function that prepares a process for a run, and what then does its jobs."""


def worker_count(execution: ExecutionConfig, device: str, jobs: int) -> int:
    """How many jobs run at a time: ``--workers``, else ``$HARNESS_WORKERS``, else what suits the machine.

    One where a GPU is shared; two on two to eleven cores, then one per four cores.

    Raises:
        HarnessError: the environment variable is no number above 0.
    """
    named = os.environ.get(WORKERS, "")
    if execution.workers is None and named and not (named.isdecimal() and int(named)):
        raise HarnessError(f"${WORKERS} is {named!r}", "give a number of processes, 1 or more")
    suits = 1 if device.startswith("cuda") else _suitable()
    return max(1, min(jobs, execution.workers or int(named or suits)))


def ready(modules: Sequence[str]) -> Any:
    """Where processes come from. Their common parent imports ``modules`` while this process reads data.

    A fork of this process would inherit thread pools that do not survive it.
    """
    if os.name != "posix":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    forkserver.ensure_running()
    return context


def begin(settings: RunSettings) -> None:
    """Start what ``ready`` needs, as early as can be: its imports and this process's own then overlap.

    Nothing happens where cells come one at a time: the user said so, or there is a GPU.
    """
    execution = settings.execution
    named = str(execution.workers or os.environ.get(WORKERS, ""))
    one = named == "1" or execution.devices * execution.nodes > 1
    alone = one or execution.device.startswith("cuda") or Path("/proc/driver/nvidia").exists()
    if execution.executor == "local" and not alone and os.name == "posix":
        ready(["harness.evaluation.evaluate", *registry.method_modules(settings.config.methods)])


@contextmanager
def several(workers: int | None) -> Iterator[Callable[..., Iterable[Any]]]:
    """A ``map`` over so many processes, by default as many as suit the machine; with one, ``map`` itself."""
    size = workers or _suitable()
    if size == 1:
        yield map
        return
    with ProcessPoolExecutor(size, mp_context=ready([])) as pool:
        yield pool.map


def _suitable() -> int:
    return max(min(cores(), 2), cores() // 4)


class Team:
    """Processes, their messages and their results.

    Args:
        context: from ``ready``.
        opener: what each process calls first.
        lost: (job, exit code, what has been found) to the results that stand in for those of a dead process.
    """

    def __init__(
        self,
        settings: RunSettings,
        size: int,
        reporter: Reporter,
        context: Any,
        opener: Opener,
        lost: Callable[[Job, int | None, dict[Any, Any]], Results],
    ) -> None:
        self.settings, self.size, self.context = settings, size, context
        self.opener, self.lost = opener, lost
        self.running: dict[Connection, tuple[Any, Job]] = {}
        self.waiting: list[Job] = []
        self.found: dict[Any, Any] = {}
        self.relay = Relay(reporter)

    def work(self, jobs: Sequence[Job]) -> dict[Any, Any]:
        """Results by key.

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
                process.kill()  # whatever it was writing is whole or absent
                process.join()
        return self.found

    def _start(self) -> None:
        """One more process, with the next job."""
        ours, theirs = self.context.Pipe()
        threads = max(1, cores() // self.size)
        process = self.context.Process(
            target=_work,
            args=(self.settings, threads, registry.snapshot(), self.opener, theirs, time.monotonic()),
        )
        process.start()
        theirs.close()
        self.running[ours] = process, self.waiting[0]
        ours.send(self.waiting.pop(0))

    def _hear(self, pipe: Connection, message: tuple[Any, ...]) -> None:
        process, _ = self.running[pipe]
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
        elif kind == "result":
            self.found[rest[0]] = rest[1]
        else:
            self.relay.play(kind, *rest)

    def _end(self, pipe: Connection) -> None:
        """A process died: its job's results are missing."""
        process, job = self.running.pop(pipe)
        process.join()
        self.found |= dict(self.lost(job, process.exitcode, self.found))


class Pipe(Protocol):
    """Where messages go in."""

    def send(self, message: tuple[Any, ...], /) -> None:
        """Send and go on."""
        ...


class Relay:
    """What messengers of other processes said, said again to this process's reporter."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.spent: Callable[[Span], object] = getattr(reporter, "spent", lambda span: None)
        self.updates: dict[str, Callable[[float, str], None]] = {}

    def play(self, kind: str, *rest: Any) -> None:
        """One message."""
        if kind == "phase":
            self.updates[rest[0]] = self.reporter.phase(*rest)
        elif kind == "update":
            self.updates[rest[0]](*rest[1:])
        elif kind == "spent":
            self.spent(*rest)
        else:
            getattr(self.reporter, kind)(*rest)


class Messenger:
    """The reporter inside a process: everything goes through the pipe, updates not more often than shown.

    So does how long each phase took.
    """

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.watch = Watch(lambda span: pipe.send(("spent", span)))

    def phase(self, label: str, phase: str) -> Callable[[float, str], None]:
        self.watch.begin(phase, label)
        self.pipe.send(("phase", label, phase))
        last = 0.0

        def update(fraction: float, status: str) -> None:
            nonlocal last
            if time.monotonic() - last > _PAUSE or fraction >= 1:
                last = time.monotonic()
                self.pipe.send(("update", label, fraction, status))

        return update

    def done(self, label: str, summary: str) -> None:
        self.watch.begin(BETWEEN)
        self.pipe.send(("done", label, summary))

    def failed(self, label: str, reason: str) -> None:
        self.watch.begin(BETWEEN)
        self.pipe.send(("failed", label, reason))


def _work(
    settings: RunSettings,
    threads: int,
    tables: dict[str, dict[str, str]],
    opener: Opener,
    pipe: Connection,
    started: float,
) -> None:
    """Jobs in a process of its own, until there is none left.

    Args:
        started: when its parent started it, by ``time.monotonic``.
    """
    for heard in (signal.SIGINT, signal.SIGTERM):  # by the parent too, which ends its processes
        signal.signal(heard, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    use_threads(threads)
    registry.restore(tables)
    messenger = Messenger(pipe)
    messenger.watch.began("start", started)
    try:
        messenger.watch.begin(OPEN)
        opened = opener(settings)
        while True:
            messenger.watch.begin(BETWEEN)
            for key, result in opened(pipe.recv(), messenger):
                pipe.send(("result", key, result))
            messenger.watch.end()
            pipe.send(("idle",))
    except EOFError:
        return
    except HarnessError as error:
        pipe.send(("error", error))


def use_threads(count: int) -> None:
    """Let torch and NumPy's linear algebra use so many threads in this process.

    Processes that work side by side would else each start as many as there are processors, and wait for them.
    """
    import torch
    from threadpoolctl import threadpool_limits

    os.environ["OPENBLAS_NUM_THREADS"] = str(count)  # for SciPy's own copy, which is loaded later
    threadpool_limits(count, user_api="blas")
    torch.set_num_threads(count)


def die_with_parent() -> None:
    """A killed run must not go on working, nor hold locks that the next one waits for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
