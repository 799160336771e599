"""A method that tries what a box refuses, and reports what came of it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from harness.core.types import Inputs, Prediction, Study
from harness.method.card import MethodCard
from harness.method.config import MethodConfig
from harness.method.contract import FitRun
from tests.helpers.sinners import Honest


class ProberConfig(MethodConfig):
    """``target``: a file; ``attempt``: how to get at it."""

    target: str = ""
    attempt: str = ""


def by_open(path: str) -> object:
    return Path(path).read_bytes()


def by_folder(path: str) -> object:
    folder = os.open(os.path.dirname(path), os.O_PATH)
    return os.read(os.open(os.path.basename(path), os.O_RDONLY, dir_fd=folder), 9)


def by_link(path: str) -> object:
    link = Path(tempfile.mkdtemp(), "harmless")
    link.symlink_to(path)
    return link.read_bytes()


def by_child(path: str) -> object:
    return subprocess.run(["cat", path], check=True, capture_output=True).stdout


def by_worker(path: str) -> object:
    process = os.fork()
    if not process:
        try:
            Path(path).read_bytes()
        except BaseException:
            os._exit(1)
        os._exit(0)
    if os.waitpid(process, 0)[1]:
        raise PermissionError
    return ""


def by_c(path: str) -> object:
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.open(path.encode(), os.O_RDONLY)
    if handle < 0:
        raise PermissionError
    return handle


def by_database(path: str) -> object:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("select * from sqlite_master").fetchall()


def by_network(path: str) -> object:
    return socket.create_connection(("127.0.0.1", 9), timeout=5)


def by_a_fork(path: str) -> object:
    """Both processes come back out of the method."""
    return os.fork() and path


def by_name(path: str) -> object:
    return Path("/dev/shm", path).write_text("kept")


def by_shared_name(path: str) -> object:
    return Path("/dev/shm", path).symlink_to("kept")


def by_segment(path: str) -> object:
    if ctypes.CDLL(None, use_errno=True).shmget(77, 4096, 0o1600) < 0:
        raise PermissionError
    return None


def by_memory(path: str) -> object:
    return open(f"/proc/{path}/mem", "rb").read(1)


def by_signal(path: str) -> object:
    os.kill(int(path), 0)
    return None


def by_writing(path: str) -> object:
    return Path(path).write_text("kept")


def by_temporary_file(path: str) -> object:
    with tempfile.TemporaryFile() as stream:
        return stream.write(b"honest")


def by_sleeping(path: str) -> object:
    time.sleep(60)
    return None


def by_eating(path: str) -> object:
    eaten = bytearray(600 * 2**20)
    eaten[::4096] = b"1" * len(eaten[::4096])
    time.sleep(60)
    return None


def by_a_signal(path: str) -> object:
    os.kill(os.getpid(), signal.SIGSEGV)
    return None


def by_leaving(path: str) -> object:
    os._exit(7)


def by_environment(path: str) -> object:
    return os.environ[path]


ATTEMPTS: dict[str, Callable[[str], object]] = {
    name: attempt for name, attempt in vars(sys.modules[__name__]).items() if name.startswith("by_")
}


class Prober(Honest):
    """Its report is the name of the exception that an attempt raised, or that it succeeded."""

    Config: ClassVar[Any] = ProberConfig
    card: ClassVar[MethodCard] = replace(Honest.card, name="prober")

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        run.progress(0.5, "half")
        super().fit(train, val, run)

    def predict(self, inputs: Inputs) -> list[Prediction]:
        try:
            settings: Any = self.config
            ATTEMPTS[settings.attempt](settings.target)
        except Exception as error:
            return [Prediction(type(error).__name__)] * len(inputs)
        return [Prediction("done")] * len(inputs)
