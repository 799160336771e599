"""Starts, watches and ends the processes that train one cell together.

The processes get the run's settings and read the data themselves. When one of them runs out of memory, all
start again with a smaller batch. On several nodes the same command runs once per node. The command of the
first node does everything else, too; the commands of the other nodes start their processes when the first
node announces a cell, and write nothing.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

from harness.core import registry
from harness.core.config import ExecutionConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.hardware import cores
from harness.core.signals import leave_to_parent
from harness.distributed.processes import die_with_parent, ready
from harness.distributed.threads import use_threads

_PAUSE = 0.2
"""Seconds between two polls of other nodes."""
_CONNECT_TIMEOUT = timedelta(minutes=10)
"""How long the nodes of a run wait for the first."""
_END_TIMEOUT = 10.0
"""Seconds that the first node waits until the others have read that a run is over."""

_GRACE = 3.0
"""Seconds after a first failure in which a failure that explains it may still arrive."""

Message = tuple[str, Any]
"""Kind and content: ``progress``, ``done``, ``smaller`` (a smaller batch is needed) or ``error``."""
Progress = Callable[[float, str], None]
Member = Callable[[RunSettings, str, int, Progress], None]
"""A top-level function that trains the cell of a method and a seed as one of several processes."""


@dataclass(frozen=True, slots=True)
class _Training:
    """The training of one cell by a process group.

    Attributes:
        settings: of the run; ``device`` is that of the process.
        name: the method, with its variant.
        seed: of the cell.
        member: trains the cell in each process.
    """

    settings: RunSettings
    name: str
    seed: int
    member: Member


@dataclass(frozen=True, slots=True)
class _Place:
    """The rank of a process, and the address at which its group connects."""

    rank: int
    host: str
    port: int


def together(execution: ExecutionConfig) -> int:
    """How many processes train a cell."""
    return execution.devices * execution.nodes


def check(execution: ExecutionConfig) -> None:
    """Check ``--devices``, ``--nodes`` and ``--strategy`` before any work.

    Raises:
        HarnessError: names the flag and what to do.
    """
    several = f"--devices {execution.devices} --nodes {execution.nodes}"
    if together(execution) == 1:
        if execution.strategy != "ddp":
            raise HarnessError(f"--strategy {execution.strategy}: one device trains alone", "add --devices N")
        return
    if execution.device.startswith("cuda:"):
        raise HarnessError(f"--device {execution.device} {several}: one GPU by number", "use --device cuda")
    if (execution.workers or 1) > 1 and execution.executor == "local":
        raise HarnessError(f"--workers {execution.workers} {several}: one cell at a time", "drop --workers")
    if execution.nodes > 1 and execution.executor == "ray":
        raise HarnessError(
            f"--nodes {execution.nodes}: Ray trains a cell on one node",
            "use --devices with --executor ray",
        )
    if execution.nodes > 1:
        _place(execution)
    if execution.executor == "local":
        _device_of(execution)


def _device_of(execution: ExecutionConfig) -> str:
    """``cuda`` or ``cpu``.

    Raises:
        HarnessError: fewer GPUs than ``--devices``.
    """
    import torch

    if execution.device == "cpu" or (execution.device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if torch.cuda.device_count() < execution.devices:
        raise HarnessError(
            f"--devices {execution.devices}: {torch.cuda.device_count()} CUDA devices found",
            "give as many as there are, or --device cpu",
        )
    return "cuda"


def _place(execution: ExecutionConfig) -> tuple[int, str, int]:
    """Number of this node, host and port of the first, from the environment."""
    number = next((os.environ[name] for name in ("NODE_RANK", "SLURM_NODEID") if name in os.environ), "")
    host, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if not (number.isdecimal() and int(number) < execution.nodes and host and port.isdecimal()):
        raise HarnessError(
            f"--nodes {execution.nodes}: NODE_RANK is {number!r}, MASTER_ADDR {host!r}, MASTER_PORT {port!r}",
            f"set NODE_RANK (0 to {execution.nodes - 1}; SLURM_NODEID will do) on each node, "
            "and on all of them host and a free port of the first",
        )
    return int(number), host, int(port)


class _Nodes:
    """Messages between the nodes of a run, in a key-value store on the first node."""

    def __init__(self, execution: ExecutionConfig) -> None:
        from torch._C._distributed_c10d import TCPStore

        self.number, self.host, port = _place(execution)
        self.others = execution.nodes - 1
        self.count = 0
        first = self.number == 0
        try:
            self.store = TCPStore(
                self.host, port, is_master=first, timeout=_CONNECT_TIMEOUT, wait_for_workers=False
            )
        except RuntimeError as error:
            reason = (str(error).splitlines() or [""])[0]
            raise HarnessError(
                f"--nodes {execution.nodes}: no meeting at {self.host}:{port}: {reason}",
                "is MASTER_ADDR the first node, which runs the same command, and MASTER_PORT free there?",
            ) from error

    def announce(self, task: dict[str, Any]) -> None:
        """Send the next task to the other nodes."""
        self.count += 1
        self.store.set(f"task{self.count}", json.dumps(task))

    def next_task(self) -> dict[str, Any]:
        """Wait for the next task from the first node; an empty one ends the run."""
        self.count += 1
        while not self.store.check([f"task{self.count}"]):
            time.sleep(_PAUSE)
        task: dict[str, Any] = json.loads(self.store.get(f"task{self.count}"))
        return task

    def finish(self) -> None:
        """End the processes of the present task on all nodes."""
        self.store.set(f"over{self.count}", "")

    def finished(self) -> bool:
        """Whether the first node has ended the present task."""
        return bool(self.store.check([f"over{self.count}"]))

    def complain(self, message: Message) -> None:
        """Send the failure of one of this node's processes to the first node."""
        kind, error = message
        failure = [kind, str(error), isinstance(error, HarnessError)]
        self.store.set(f"failed{self.count}", json.dumps(failure))

    def complaint(self) -> Message | None:
        """The failure that another node sent, or None."""
        if not self.store.check([f"failed{self.count}"]):
            return None
        kind, text, is_harness_error = json.loads(self.store.get(f"failed{self.count}"))
        return kind, HarnessError(text) if is_harness_error else RuntimeError(text)

    def part(self) -> None:
        """End the run: the first node waits until the others have read it."""
        if self.number:
            self.store.add("gone", 1)
            return
        self.announce({})
        deadline = time.monotonic() + _END_TIMEOUT
        while self.store.add("gone", 0) < self.others and time.monotonic() < deadline:
            time.sleep(_PAUSE)


_nodes: _Nodes | None = None


@contextmanager
def meeting(execution: ExecutionConfig) -> Iterator[bool]:
    """Connect the nodes of a run inside the block; yields whether this is the first node."""
    global _nodes
    if execution.nodes == 1:
        yield True
        return
    _nodes = _Nodes(execution)
    try:
        yield _nodes.number == 0
    finally:
        with suppress(RuntimeError):  # other nodes may have ended already
            _nodes.part()
        _nodes = None


def follow(settings: RunSettings, member: Member, progress: Callable[[str], Progress]) -> None:
    """Train the cells that the first node announces, until it ends the run.

    Raises:
        HarnessError: the connection to the first node is lost.
    """
    assert _nodes is not None
    try:
        while task := _nodes.next_task():
            training = _Training(settings, task["name"], task["seed"], member)
            members = _Members(training, task["port"])
            with members.ended():
                message = members.watch(progress(training.name), _nodes.finished)
            if message is not None:
                _nodes.complain(message)
            while not _nodes.finished():
                time.sleep(_PAUSE)
    except RuntimeError as error:
        raise HarnessError(
            f"--nodes {settings.execution.nodes}: the first node is gone",
            "start the command on all nodes again",
        ) from error


def train(settings: RunSettings, name: str, seed: int, member: Member, progress: Progress) -> None:
    """Train a cell by a process group; afterwards its files are in the store.

    Raises:
        Exception: the error of one of the processes.
        HarnessError: one of the processes died.
    """
    training = _Training(settings, name, seed, member)
    while True:
        port = _free_port()
        if _nodes is not None:
            _nodes.announce({"name": name, "seed": seed, "port": port})
        members = _Members(training, port)
        with members.ended():
            try:
                message = members.watch(progress, lambda: False)
            finally:
                if _nodes is not None:
                    _nodes.finish()
        if message is None:
            return
        if message[0] == "error":
            raise message[1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


class _Members:
    """This node's processes of the group that trains a cell."""

    def __init__(self, training: _Training, port: int) -> None:
        execution = training.settings.execution
        device = _device_of(execution)
        if device == "cuda":
            import torch

            torch.cuda.empty_cache()  # memory of an earlier cell, which the processes need
        first = 0 if _nodes is None else _nodes.number * execution.devices
        host = "127.0.0.1" if _nodes is None else _nodes.host
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP advises, once per process and training
        methods = registry.method_modules(training.settings.config.methods, "off")
        context = ready(["harness.evaluation.evaluate", "harness.method.training", *methods])
        self.running: dict[Connection, Any] = {}
        self.processes: list[Any] = []
        for number in range(execution.devices):
            ours, theirs = context.Pipe()
            place = _Place(first + number, host, port)
            own = training.settings.replaced(device=f"cuda:{number}" if device == "cuda" else "cpu")
            process = context.Process(
                target=_work,
                args=(replace(training, settings=own), place, registry.snapshot(), theirs),
                name=f"rank {place.rank}",
            )
            process.start()
            theirs.close()
            self.running[ours] = process
            self.processes.append(process)

    def watch(self, progress: Progress, over: Callable[[], bool]) -> Message | None:
        """Relay progress until all processes are done, one of them fails, or the task is ``over``.

        Returns:
            The failure, or None. When a process fails, the others fail too, because they can no longer reach
            it. So the failure that explains the others may arrive second.
        """
        failures: list[Message] = []
        deadline = math.inf
        while self.running and not over():
            for pipe in wait(list(self.running), _PAUSE):
                assert isinstance(pipe, Connection)
                kind, rest = self._received(pipe)
                if kind == "progress":
                    progress(*rest)
                    continue
                del self.running[pipe]
                failures += [] if kind == "done" else [(kind, rest)]
            if _nodes is not None and not _nodes.number and (complaint := _nodes.complaint()):
                failures.append(complaint)
            if failures:
                deadline = min(deadline, time.monotonic() + _GRACE)
                if any(map(_explains, failures)) or time.monotonic() > deadline:
                    break
        return max(failures, key=_explains, default=None)

    def _received(self, pipe: Connection) -> Message:
        """The next message of a process; its death is an error."""
        try:
            message: Message = pipe.recv()
        except (EOFError, ConnectionResetError):
            process = self.running[pipe]
            process.join()
            return "error", HarnessError(
                f"the process of {process.name} ended with code {process.exitcode}",
                "out of memory? run again to go on from the last finished epoch",
            )
        return message

    @contextmanager
    def ended(self) -> Iterator[None]:
        """No process outlives the block."""
        try:
            yield
        finally:
            for process in self.processes:
                process.kill()  # files are renamed into place: each is whole or absent
            for process in self.processes:
                process.join()


def _explains(failure: Message) -> bool:
    """Whether a failure has its own cause, rather than the loss of another process."""
    return failure[0] == "smaller" or isinstance(failure[1], HarnessError)


def _work(training: _Training, place: _Place, tables: dict[str, dict[str, str]], pipe: Connection) -> None:
    """Train as one of the processes, and send progress and outcome through ``pipe``."""
    leave_to_parent()
    threading.Thread(target=die_with_parent, daemon=True).start()
    from harness.distributed.process_group import ProcessGroup, SmallerBatch, membership

    execution = training.settings.execution
    use_threads(max(1, cores() // execution.devices))
    registry.restore(tables)
    group = ProcessGroup(
        place.rank, together(execution), execution.devices, execution.strategy, execution.device
    )

    def progress(fraction: float, status: str) -> None:
        if place.rank % execution.devices == 0:
            pipe.send(("progress", (fraction, status)))

    try:
        with membership(group, place.host, place.port):
            training.member(training.settings, training.name, training.seed, progress)
        pipe.send(("done", None))
    except SmallerBatch:
        pipe.send(("smaller", None))
    except Exception as error:
        pipe.send(("error", _portable(error)))


def _portable(error: Exception) -> Exception:
    """The error as one that can be pickled, with its traceback as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
