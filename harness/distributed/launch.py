"""Processes that train one cell together: started, watched, started anew with a smaller batch, ended.

Each trains from the cell's description alone, so nothing is handed over but a configuration. On several
nodes the same command runs once per node. The first node's does everything; the others' start their
processes when it says so, and write nothing.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

from harness.core import registry
from harness.core.config import ExecutionConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.hardware import cores
from harness.distributed.processes import die_with_parent, ready, use_threads

_PAUSE = 0.2
"""Seconds between two looks at other nodes."""
_MEET = timedelta(minutes=10)
"""How long the nodes of a run wait for the first."""
_FAREWELL = 10.0
"""Seconds that the first node waits for the others to hear that a run is over."""

_GRACE = 3.0
"""Seconds in which the reason of a failure may still come in."""

Message = tuple[str, Any]
"""What a process says: ``progress``, ``done``, ``smaller`` (batches, please) or ``error``, and what of it."""
Progress = Callable[[float, str], None]
Member = Callable[[RunSettings, str, int, Progress], None]
"""A top-level function that trains the cell of a method and a seed as one of several processes."""


def together(execution: ExecutionConfig) -> int:
    """How many processes train a cell."""
    return execution.devices * execution.nodes


def check(execution: ExecutionConfig) -> None:
    """Find what is wrong with ``--devices``, ``--nodes`` and ``--strategy`` before any work.

    Raises:
        HarnessError: which flag, and what to do.
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
    """``cuda`` or ``cpu``; as many GPUs as are asked for have to be there."""
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
    """What the nodes of a run tell each other, in a key-value store on the first one."""

    def __init__(self, execution: ExecutionConfig) -> None:
        from torch._C._distributed_c10d import TCPStore

        self.number, self.host, port = _place(execution)
        self.others = execution.nodes - 1
        self.count = 0
        first = self.number == 0
        try:
            self.store = TCPStore(self.host, port, is_master=first, timeout=_MEET, wait_for_workers=False)
        except RuntimeError as error:
            reason = (str(error).splitlines() or [""])[0]
            raise HarnessError(
                f"--nodes {execution.nodes}: no meeting at {self.host}:{port}: {reason}",
                "is MASTER_ADDR the first node, which runs the same command, and MASTER_PORT free there?",
            ) from error

    def announce(self, task: dict[str, Any]) -> None:
        """Tell the other nodes what comes next."""
        self.count += 1
        self.store.set(f"task{self.count}", json.dumps(task))

    def next_task(self) -> dict[str, Any]:
        """Wait for what the first node says next."""
        self.count += 1
        while not self.store.check([f"task{self.count}"]):
            time.sleep(_PAUSE)
        task: dict[str, Any] = json.loads(self.store.get(f"task{self.count}"))
        return task

    def finish(self) -> None:
        """The processes of the present task are to end on all nodes."""
        self.store.set(f"over{self.count}", "")

    def finished(self) -> bool:
        """Whether the first node said so."""
        return bool(self.store.check([f"over{self.count}"]))

    def complain(self, message: Message) -> None:
        """Tell the first node why a process of this one failed."""
        kind, error = message
        told = [kind, str(error), isinstance(error, HarnessError)]
        self.store.set(f"failed{self.count}", json.dumps(told))

    def complaint(self) -> Message | None:
        """What another node told."""
        if not self.store.check([f"failed{self.count}"]):
            return None
        kind, text, worded = json.loads(self.store.get(f"failed{self.count}"))
        return kind, HarnessError(text) if worded else RuntimeError(text)

    def part(self) -> None:
        """End of the run: the first node stays until the others know."""
        if self.number:
            self.store.add("gone", 1)
            return
        self.announce({})
        deadline = time.monotonic() + _FAREWELL
        while self.store.add("gone", 0) < self.others and time.monotonic() < deadline:
            time.sleep(_PAUSE)


_nodes: _Nodes | None = None


@contextmanager
def meeting(execution: ExecutionConfig) -> Iterator[bool]:
    """The nodes of a run know each other for the duration; whether this is the first of them."""
    global _nodes
    if execution.nodes == 1:
        yield True
        return
    _nodes = _Nodes(execution)
    try:
        yield _nodes.number == 0
    finally:
        with suppress(RuntimeError):  # the others are gone
            _nodes.part()
        _nodes = None


def follow(settings: RunSettings, member: Member, progress: Callable[[str], Progress]) -> None:
    """Train what the first node says, until it has nothing more.

    Raises:
        HarnessError: the first node is gone.
    """
    assert _nodes is not None
    try:
        while task := _nodes.next_task():
            name, seed = task["name"], task["seed"]
            members = _Members(settings, name, seed, member, task["port"])
            with members.ended():
                message = members.watch(progress(name), _nodes.finished)
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
    """Train a cell in as many processes as the run says; its files are there afterwards.

    Raises:
        Exception: what one of the processes raised.
        HarnessError: one of them died.
    """
    while True:
        port = _free_port()
        if _nodes is not None:
            _nodes.announce({"name": name, "seed": seed, "port": port})
        members = _Members(settings, name, seed, member, port)
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
    """This node's processes."""

    def __init__(self, settings: RunSettings, name: str, seed: int, member: Member, port: int) -> None:
        device = _device_of(settings.execution)
        if device == "cuda":
            import torch

            torch.cuda.empty_cache()  # what an earlier cell left here is room for the processes
        first = 0 if _nodes is None else _nodes.number * settings.execution.devices
        host = "127.0.0.1" if _nodes is None else _nodes.host
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP advises, once per process and training
        modules = [
            "harness.evaluation.evaluate",
            "harness.method.training",
            *registry.method_modules(settings.config.methods),
        ]
        context = ready(modules)
        self.running: dict[Connection, Any] = {}
        self.processes: list[Any] = []
        for number in range(settings.execution.devices):
            ours, theirs = context.Pipe()
            own = f"cuda:{number}" if device == "cuda" else "cpu"
            given = settings.replaced(device=own)
            arguments = (given, name, seed, member, registry.snapshot(), first + number, host, port, theirs)
            process = context.Process(target=_work, args=arguments, name=f"rank {first + number}")
            process.start()
            theirs.close()
            self.running[ours] = process
            self.processes.append(process)

    def watch(self, progress: Progress, over: Callable[[], bool]) -> Message | None:
        """Relay progress until all are done or it is ``over`` (None), or one fails (why).

        When one fails, the others fail too, for they can no longer reach it: the reason may come second.
        """
        failures: list[Message] = []
        deadline = math.inf
        while self.running and not over():
            for pipe in wait(list(self.running), _PAUSE):
                assert isinstance(pipe, Connection)
                kind, rest = self._heard(pipe)
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

    def _heard(self, pipe: Connection) -> Message:
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
                process.kill()  # whatever it was writing is whole or absent
            for process in self.processes:
                process.join()


def _explains(failure: Message) -> bool:
    """Whether a failure is one in its own right rather than that of a process without its fellows."""
    return failure[0] == "smaller" or isinstance(failure[1], HarnessError)


def _work(
    settings: RunSettings,
    name: str,
    seed: int,
    member: Member,
    tables: dict[str, dict[str, str]],
    rank: int,
    host: str,
    port: int,
    pipe: Connection,
) -> None:
    """One of the processes: train, and say how it went."""
    for heard in (signal.SIGINT, signal.SIGTERM):  # by the parent too, which ends its processes
        signal.signal(heard, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    from harness.distributed.process_group import ProcessGroup, SmallerBatch, membership

    execution = settings.execution
    use_threads(max(1, cores() // execution.devices))
    registry.restore(tables)
    group = ProcessGroup(rank, together(execution), execution.devices, execution.strategy, execution.device)

    def progress(fraction: float, status: str) -> None:
        if rank % execution.devices == 0:
            pipe.send(("progress", (fraction, status)))

    try:
        with membership(group, host, port):
            member(settings, name, seed, progress)
        pipe.send(("done", None))
    except SmallerBatch:
        pipe.send(("smaller", None))
    except Exception as error:
        pipe.send(("error", _portable(error)))


def _portable(error: Exception) -> Exception:
    """An error that survives the way to another process, with its traceback as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
