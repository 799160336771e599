"""Jobs side by side on one machine: each of a few processes does one job after another.

Small networks gain little from a second thread, so two processes are nearly twice as fast as one. The result
of a job does not depend on the other jobs.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.core import registry
from harness.core.children import adopt_orphans, end_children, interpreters_start
from harness.core.clock import BETWEEN, OPEN, Span, Watch
from harness.core.config import ExecutionConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.failures import describe
from harness.core.hardware import cores
from harness.core.printed import keep_quiet
from harness.core.signals import leave_to_parent
from harness.distributed.threads import use_threads

if TYPE_CHECKING:
    from harness.core.progress import Reporter

WORKERS = "HARNESS_WORKERS"
PRELOAD = "HARNESS_PRELOAD"
"""Environment variable with the modules that the server of processes imports, joined by commas."""
ENDS = "."
"""Among these modules: the server ends with the thread that has started it, even where it is killed."""
_PAUSE = 0.2
"""Seconds between two messages of one phase."""
_REMOVAL = 2.0
"""Seconds in which the files of ended processes are removed."""
_GRACE = 5.0
"""Seconds that a process without a job has to end."""
SCORE = "score"
"""The phase whose statuses are names of metrics, and so may stand in a table."""

Job = tuple[Any, ...]
"""Label of a row, a seed, and the step of the row if the job is only one step."""

Results = Iterable[tuple[Any, Any]]
"""(Key, result) pairs of a job, each as soon as it is computed."""

Opened = Callable[[Job, "Reporter"], Results]
Opener = Callable[[RunSettings], Opened]
"""A top-level function that opens a run in a process and returns the function that does its jobs."""


def worker_count(execution: ExecutionConfig, device: str, jobs: int) -> int:
    """How many jobs run at a time: ``--workers``, else ``$HARNESS_WORKERS``, else a default for the machine.

    The default is one job on a GPU, two on two to eleven cores, then one per four cores.

    Raises:
        HarnessError: the environment variable is no number above 0.
    """
    number = os.environ.get(WORKERS, "")
    if execution.workers is None and number and not (number.isdecimal() and int(number)):
        raise HarnessError(f"${WORKERS} is {number!r}", "give a number of processes, 1 or more")
    suits = 1 if device.startswith("cuda") else _suitable()
    return max(1, min(jobs, execution.workers or int(number or suits)))


def ready(modules: Sequence[str]) -> Any:
    """A context that starts processes from a server, which imports ``modules`` while this process reads data.

    A fork of this process would inherit thread pools that do not work after a fork.
    """
    if os.name != "posix":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    os.environ[PRELOAD] = ",".join([*([ENDS] if _in_main_thread() else []), *modules])
    context.set_forkserver_preload(["harness.distributed.preload"])
    with interpreters_start(), _without_a_word_on_semaphores():
        resource_tracker.ensure_running()  # it unblocks signals, so it needs a context of its own
    with interpreters_start():
        forkserver.ensure_running()
    return context


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def _without_a_word_on_semaphores() -> Iterator[None]:
    """A tracker that starts meanwhile removes what killed processes leave, and does not warn of it."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before, "ignore:resource_tracker"]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def begin(settings: RunSettings) -> None:
    """Start the server of ``ready`` early, so that its imports and those of this process overlap.

    Nothing is started if cells run one at a time: on a GPU, or with ``--workers 1``.
    """
    execution = settings.execution
    named = str(execution.workers or os.environ.get(WORKERS, ""))
    one = named == "1" or execution.devices * execution.nodes > 1
    alone = one or execution.device.startswith("cuda") or Path("/proc/driver/nvidia").exists()
    if execution.executor == "local" and not alone and os.name == "posix":
        methods = registry.method_modules(settings.config.methods, settings.config.confine)
        ready(["harness.evaluation.evaluate", *methods])


@contextmanager
def several(workers: int | None) -> Iterator[Callable[..., Iterable[Any]]]:
    """A ``map`` over ``workers`` processes, by default as suits the machine; ``map`` itself for one."""
    size = workers or _suitable()
    if size == 1:
        yield map
        return
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(size, mp_context=ready([]), initializer=_begin) as pool:
        try:
            yield pool.map
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.kill()  # they leave signals to this process, which waits for them before it ends
            raise


def _suitable() -> int:
    return max(min(cores(), 2), cores() // 4)


class Team:
    """Processes, their messages and their results.

    Args:
        context: from ``ready``.
        opener: called first in each process.
        lost: (job, how its process ended, results so far) to the results of a job whose process died.
    """

    def __init__(
        self,
        settings: RunSettings,
        size: int,
        reporter: Reporter,
        context: Any,
        opener: Opener,
        lost: Callable[[Job, HarnessError, dict[Any, Any]], Results],
    ) -> None:
        self.settings, self.size, self.context = settings, size, context
        self.opener, self.lost = opener, lost
        self.running: dict[Connection, tuple[Any, Job]] = {}
        self.waiting: list[Job] = []
        self.results: dict[Any, Any] = {}
        self.folder = ""
        self.relay = Relay(reporter)

    def work(self, jobs: Sequence[Job]) -> dict[Any, Any]:
        """Results by key.

        Raises:
            HarnessError: an error that ends the whole run, such as a full disk.
        """
        self.waiting = list(jobs)
        self.folder = tempfile.mkdtemp(prefix="harness-")
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
                process.kill()  # files are renamed into place: each is whole or absent
                process.join()
            _remove(self.folder)
        return self.results

    def _start(self) -> None:
        """Start one more process, with the next job."""
        ours, theirs = self.context.Pipe()
        threads = max(1, cores() // self.size)
        start = _Start(self.settings, registry.snapshot(), self.folder, threads, time.monotonic())
        process = self.context.Process(target=_work, args=(start, self.opener, theirs))
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
            pipe.close()  # the process ends when it reads its next job
            _end(process)
        elif kind == "lost":
            process, job = self.running.pop(pipe)
            _end(process)
            self.results |= dict(self.lost(job, HarnessError(rest[0]), self.results))
        elif kind == "result":
            self.results[rest[0]] = rest[1]
        else:
            self.relay.play(kind, *rest)

    def _end(self, pipe: Connection) -> None:
        """A process died: take the results that ``lost`` gives for its job."""
        process, job = self.running.pop(pipe)
        code = _end(process)
        end = f"ended with code {code}" if code else "closed its connection, or ended with code 0"
        hint = "out of memory? try --workers 1" if code == -signal.SIGKILL else ""
        error = HarnessError(f"its process {end}{self.relay.place(job[0])}", hint)
        self.results |= dict(self.lost(job, error, self.results))


def _remove(folder: str) -> None:
    """Remove temporary files of ended processes; boxes that they had end, and write, a moment later."""
    deadline = time.monotonic() + _REMOVAL
    while os.path.isdir(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_PAUSE / 4)


def _end(process: Any) -> int | None:
    """Wait for the end of a process that has nothing left to do; its exit code.

    A thread that code of a plugin has left there would keep it for ever.
    """
    process.join(_GRACE)
    code: int | None = process.exitcode
    if code is None:
        process.kill()
        process.join()
    return code


class Pipe(Protocol):
    """The end of a channel that takes messages."""

    def send(self, message: tuple[Any, ...], /) -> None:
        """Send without waiting for an answer."""
        ...


class Relay:
    """Passes the messages of other processes' ``Messenger`` to this process's reporter."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.spent: Callable[[Span], object] = getattr(reporter, "spent", lambda span: None)
        self.updates: dict[str, Callable[[float, str], None]] = {}
        self.places: dict[str, str] = {}

    def place(self, label: str) -> str:
        """Where the job of a label is, for the end of a line; of scoring, which metric."""
        return f", in {self.places[label]}" if label in self.places else ""

    def play(self, kind: str, *rest: Any) -> None:
        """Pass one message to the reporter."""
        if kind == "phase":
            self.updates[rest[0]] = self.reporter.phase(*rest)
            self.places[rest[0]] = rest[1]
        elif kind == "update":
            self.updates[rest[0]](*rest[1:])
            if self.places[rest[0]].startswith(SCORE):
                self.places[rest[0]] = f"{SCORE}: {rest[2]}"
        elif kind == "spent":
            self.spent(*rest)
        else:
            getattr(self.reporter, kind)(*rest)


class Messenger:
    """The reporter inside a process: sends everything through the pipe, also how long each phase took.

    It sends at most one update of a phase per ``_PAUSE`` seconds.
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


@dataclass(frozen=True, slots=True)
class _Start:
    """What a process is started with.

    Attributes:
        tables: of the registry.
        folder: for temporary files, which its parent removes.
        threads: of PyTorch and linear algebra.
        started: when, by ``time.monotonic``.
    """

    settings: RunSettings
    tables: dict[str, dict[str, str]]
    folder: str
    threads: int
    started: float


def _work(start: _Start, opener: Opener, pipe: Connection) -> None:
    """Do jobs in this process until none is left."""
    _begin()
    adopt_orphans()
    keep_quiet()
    with suppress(OSError):
        os.dup2(2, 1)  # standard output is for the results, which the parent prints
    use_threads(start.threads)
    registry.restore(start.tables)
    os.environ["TMPDIR"] = tempfile.tempdir = start.folder
    messenger = Messenger(pipe)
    messenger.watch.began("start", start.started)
    try:
        messenger.watch.begin(OPEN)
        opened = opener(start.settings)
        while True:
            messenger.watch.begin(BETWEEN)
            for key, result in opened(pipe.recv(), messenger):
                pipe.send(("result", key, result))
            messenger.watch.end()
            pipe.send(("idle",))
    except EOFError:
        return
    except BaseException as error:  # its text may quote a report
        last = ("error", error) if isinstance(error, HarnessError) else ("lost", describe(error))
        with suppress(OSError):  # the parent has been killed
            pipe.send(last)
    finally:
        end_children()


def _begin() -> None:
    """In a process that works for another one: leave signals to it, and end with it."""
    leave_to_parent()
    threading.Thread(target=die_with_parent, daemon=True).start()


def die_with_parent() -> None:
    """End this process when its parent ends: a killed run must not keep locks that the next run waits for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        end_children()
        os._exit(1)
