"""Programs that start at once: a Python that has imported the libraries forks itself for each of them.

``start`` and ``run`` are for tests of what a program does, not of how it starts. The program is a process
with an environment, a folder, outputs and an exit code of its own, as from ``subprocess``, without the
imports, which take two to six seconds of a processor. Programs that it starts are new interpreters.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
LIBRARIES = ("lightning.pytorch", "harness.evaluation.evaluate", "harness.method.training", "harness.cli.app")
_PAUSE = 0.01


class Program:
    """A started program, with the part of ``subprocess.Popen``'s methods that tests need.

    Attributes:
        pid: number of its process.
        returncode: its exit code or minus its signal; None as long as it runs.
    """

    def __init__(self, server: Server, pid: int, outputs: Sequence[IO[bytes]]) -> None:
        self.pid = pid
        self._server, self._outputs = server, outputs
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None."""
        if self.returncode is None:
            self.returncode = self._server.code_of(self.pid)
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        """Wait for its end; the exit code."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_PAUSE)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait for its end; standard output and standard error."""
        self.wait(timeout)
        texts = []
        for stream in self._outputs:
            stream.seek(0)
            texts.append(stream.read().decode())
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class Server:
    """The Python that forks itself, and what it has said about its programs.

    Args:
        libraries: what it imports first.
    """

    def __init__(self, libraries: Sequence[str] = LIBRARIES) -> None:
        self.end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.codes: dict[int, int] = {}
        self.pids: list[int] = []
        self.lock = threading.Lock()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), *libraries],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self.close)

    def start(self, order: Mapping[str, Any]) -> Program:
        """A new program."""
        handle, path = tempfile.mkstemp(prefix="order", suffix=".json")  # longer than a message may be
        with open(handle, "w") as stream:
            json.dump(order, stream)
        outputs = [os.fdopen(os.memfd_create("output"), "w+b") for _ in range(2)]
        with self.lock:
            socket.send_fds(self.end, [path.encode()], [each.fileno() for each in outputs])
            while not self.pids:
                self._hear()
            return Program(self, self.pids.pop(), outputs)

    def code_of(self, pid: int) -> int | None:
        """The exit code of a program, or None if it runs."""
        with self.lock:
            self.end.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    self._hear()
            self.end.setblocking(True)
            return self.codes.get(pid)

    def _hear(self) -> None:
        content = self.end.recv(1024)
        assert content, "the Python that starts programs is gone"
        kind, pid, code = json.loads(content)
        if kind == "started":
            self.pids.append(pid)
        else:
            self.codes[pid] = code

    def close(self) -> None:
        """End the server."""
        self.end.close()
        self.process.wait(timeout=60)


@cache
def _server() -> Server:
    return Server()


def start(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    new_session: bool = False,
) -> Program:
    """Start ``python -m MODULE ...`` or ``python -c CODE ...``; both outputs are kept.

    Args:
        arguments: those of Python, from ``-m`` or ``-c`` on.
        env: the environment; by default that of this process.
        cwd: the working folder; by default that of this process.
        new_session: whether it leads a session and a process group of its own.
    """
    return _server().start(order_of(arguments, env=env, cwd=cwd, new_session=new_session))


def order_of(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    new_session: bool = False,
) -> dict[str, Any]:
    """What a server starts a program from; arguments as of ``start``."""
    return {
        "arguments": list(map(str, arguments)),
        "env": dict(os.environ if env is None else env),
        "cwd": str(cwd or Path.cwd()),
        "session": new_session,
    }


def run(
    arguments: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, as ``subprocess.run`` with captured texts."""
    program = start(arguments, env=env, cwd=cwd)
    out, err = program.communicate()
    return subprocess.CompletedProcess(list(arguments), program.wait(), out, err)


def _serve(end: socket.socket) -> dict[str, Any] | None:
    """Fork for each order, and report exit codes. Returns an order in the fork, None at the end."""
    running: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(end, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not end:
                    handle = int(key.fd)
                    selector.unregister(handle)
                    pid = running.pop(handle)
                    os.close(handle)
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    end.send(json.dumps(["ended", pid, code]).encode())
                    continue
                content, handles, _, _ = socket.recv_fds(end, 1024, 2)
                if not content:  # the tests are over
                    for pid in running.values():
                        os.kill(pid, signal.SIGKILL)
                    return None
                pid = os.fork()
                if not pid:
                    end.close()
                    for place, handle in enumerate(handles, 1):
                        os.dup2(handle, place)
                        os.close(handle)
                    for handle in running:
                        os.close(handle)
                    path = Path(content.decode())
                    order: dict[str, Any] = json.loads(path.read_text())
                    path.unlink()
                    return order
                for handle in handles:
                    os.close(handle)
                running[handle := os.pidfd_open(pid)] = pid
                selector.register(handle, selectors.EVENT_READ)
                end.send(json.dumps(["started", pid, 0]).encode())


def _become(order: dict[str, Any]) -> None:
    """Be the program of an order, until this process ends."""
    if order["session"]:
        os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    paths = [path for path in order["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    kind, what, *rest = order["arguments"]
    sys.path[0] = order["cwd"]
    sys.path[1:1] = [path for path in paths if path not in sys.path]
    sys.argv = [kind, *rest]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(what, "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    for library in sys.argv[2:]:
        import_module(library)
    gc.freeze()  # no fork looks through the objects of the libraries
    if (program := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        _become(program)


def is_alive(process: int) -> bool:
    """Whether a process has not ended; one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
