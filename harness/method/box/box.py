"""The owner's side: starting boxes, asking one, and ending it when it takes too long or too much memory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from harness.core.children import SAFE_PATH, temporary_folders
from harness.core.errors import HarnessError
from harness.method.box import shared_memory
from harness.method.box.inside import COPY
from harness.method.box.kernel import READ, WRITE, landlock_version, machine
from harness.method.box.opens import KernelOpens, Opens
from harness.method.box.rules import Rules, devices, environment
from harness.method.box.wire import Channel, WireError

_LOOK = 1.0
"""Seconds between two looks at what a box takes."""
_START = 300.0
"""Seconds that a box has to start, which includes the imports of the libraries."""
_LONGEST_FILE = 64 * 2**30
_LONGEST_REASON = 300
_ENDING = 5.0
"""Seconds in which a box that has closed its socket comes to an end."""
_STARTER = "harness.method.box.starter"
LIBRARIES = (
    "torchvision",
    "transformers.modeling_utils",
    "lightning.pytorch",
    "timm",
    "diffusers.models",
    "peft",
)
"""What most methods import. Each takes seconds."""


class BoxError(HarnessError):
    """A method failed in its box, or its box ended.

    Attributes:
        kind: name of the exception's class; empty where the process ended.
    """

    def __init__(self, reason: str, kind: str = "") -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Limits:
    """What a box may take.

    Attributes:
        seconds: for one question.
        memory_gib: resident memory of its process; 0 means three quarters of the machine's.
        threads: of torch.
    """

    seconds: float = 1800.0
    memory_gib: float = 0.0
    threads: int = 1

    @property
    def memory(self) -> float:
        """Bytes."""
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return self.memory_gib * 2**30 or 0.75 * whole


@dataclass(frozen=True, slots=True)
class Last:
    """How a process that is never copied stands.

    Attributes:
        place: its working folder; None: its own folder.
        output: file to which what it prints is appended; None: nowhere.
    """

    place: Path | None = None
    output: Path | None = None


def possible() -> bool:
    """Whether this system can fork boxes at all."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds")


def confinement() -> str:
    """What the kernel of this machine confines a box with; empty where it cannot."""
    version = landlock_version()
    return f"Landlock {version} and seccomp" if version and machine() is not None else ""


class Boxes:
    """A starter of boxes with one hash salt and one clock; ends all of them when it is closed.

    Args:
        salt: of Python's hashes of texts.
        ahead: seconds by which the clocks of its boxes are ahead.
        libraries: modules that it imports once for all its boxes, where they are installed.

    Attributes:
        folder: removed when the starter ends.
    """

    def __init__(self, salt: int = 0, ahead: float = 0.0, libraries: Sequence[str] = LIBRARIES) -> None:
        self.folder = folder = Path(mkdtemp(prefix="harness-")).resolve()  # the starter removes it
        temporary_folders.add(str(folder))
        self.end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.salt = salt
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _STARTER, str(theirs.fileno()), str(ahead), ",".join(libraries)],
                env={**environment(folder, salt), SAFE_PATH: "1"},
                cwd=folder,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def order(self, message: Mapping[str, Any], handles: list[int]) -> dict[str, Any]:
        """Send an order to the starter; its answer."""
        with self._lock:
            try:
                socket.send_fds(self.end, [json.dumps(message).encode()], handles)
                content = self.end.recv(1024)
            except OSError as error:
                raise BoxError("the starter of boxes is gone") from error
        if not content:
            raise BoxError("the starter of boxes is gone")
        answer: dict[str, Any] = json.loads(content)
        return answer

    @property
    def alive(self) -> bool:
        """Whether it can start boxes."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the starter and its boxes."""
        self.end.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        rmtree(self.folder, ignore_errors=True)
        temporary_folders.discard(str(self.folder))


class Box:
    """One process with one method. ``start`` and ``copy`` make one.

    Attributes:
        process: its number.
        confined: what its kernel refuses it; empty where nothing.
        opens: what it opens.
    """

    def __init__(
        self, process: int, end: socket.socket, limits: Limits, end_of: Callable[[int, float], int]
    ) -> None:
        self.process, self.channel, self.limits = process, Channel(end), limits
        self.confined = ""
        self.opens = Opens()
        self._end_of, self._salt = end_of, 0
        self._ended = False
        self._shared = shared_memory.names()

    @classmethod
    def start(cls, boxes: Boxes, rules: Rules, folder: Path, limits: Limits, last: Last | None = None) -> Box:
        """A new process without a method.

        Args:
            boxes: start it.
            rules: what it may read and write.
            folder: its working folder, home and temporary folder.
            limits: what it may take.
            last: of a process that is asked itself; without it, it is there to be copied.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = boxes.order({"order": "start"}, [theirs.fileno()])["process"]
        box = cls(
            process,
            ours,
            limits,
            lambda number, wait: int(
                boxes.order({"order": "stop", "process": number, "wait": wait}, [])["code"]
            ),
        )
        box._salt = boxes.salt
        more: dict[str, Any] = {"file_bytes": _LONGEST_FILE, "last": last is not None, "output": ""}
        if last is not None:
            more |= {"output": str(last.output or ""), "place": str(last.place or folder)}
        box.channel.send({**box._order(folder, rules.rights()), **more})
        confined = box._received(time.monotonic() + _START, _ignored)
        mark, handles, _, _ = socket.recv_fds(ours, 1, 1)
        if not mark:
            raise box._end_error()
        box.confined = confinement() if confined["files"] and confined["network"] else ""
        if handles:
            box.opens = KernelOpens(handles[0])
        return box

    def copy(self, folder: Path, write: Sequence[Path] = ()) -> Box:
        """A copy of the process as it is now, which may write into ``folder`` and ``write`` only."""
        ours, theirs = socket.socketpair()
        rights = [("/", READ), *devices(), *((str(path), WRITE) for path in (folder, *write))]
        with theirs:
            self.channel.send({"question": COPY, **self._order(folder, rights)})
            socket.send_fds(self.channel.end, [b"!"], [theirs.fileno()])
            answer = self._received(time.monotonic() + _START, _ignored)
        box = Box(int(answer["process"]), ours, self.limits, self._end_of_copy)
        box.confined, box.opens, box._salt = self.confined, self.opens, self._salt
        return box

    def _order(self, folder: Path, rights: Sequence[tuple[str, int]]) -> dict[str, Any]:
        return {
            "place": str(folder),
            "environment": environment(folder, self._salt),
            "threads": self.limits.threads,
            "rights": list(rights),
        }

    def _end_of_copy(self, process: int, wait: float) -> int:
        return int(self.ask("ended", process=process, wait=wait)["code"])

    def ask(
        self, question: str, progress: Callable[[float, str], None] | None = None, **content: Any
    ) -> dict[str, Any]:
        """The answer to one question.

        Raises:
            BoxError: the method raised an exception, took too long or too much memory, or its process ended.
        """
        if self._ended:
            raise BoxError("its process has ended")
        try:
            self.channel.send({"question": question, **content})
            answer = self._received(time.monotonic() + self.limits.seconds, progress or _ignored)
        except (OSError, EOFError) as error:
            raise self._end_error() from error
        except WireError:
            self.close()
            raise
        for path in answer.pop("opened", ()):
            self.opens.note(str(path))
        if answer["kind"] == "error":
            raise BoxError(_printable(answer.get("reason")), _printable(answer.get("type")))
        return answer

    def _received(self, deadline: float, progress: Callable[[float, str], None]) -> dict[str, Any]:
        """The next answer, within time and memory."""
        while True:
            self.channel.end.settimeout(_LOOK)
            try:
                message = self.channel.receive()
            except TimeoutError:
                self._look(deadline)
                continue
            if message.get("kind") != "progress":
                return message
            share, status = message["at"]
            progress(float(share), _printable(status))

    def _look(self, deadline: float) -> None:
        """End a box that takes too much.

        Raises:
            BoxError: it did.
        """
        resident = 0
        with suppress(OSError, ValueError, IndexError):
            pages = Path(f"/proc/{self.process}/statm").read_text().split()[1]
            resident = int(pages) * os.sysconf("SC_PAGE_SIZE")
        if time.monotonic() > deadline:
            self.close()
            raise BoxError(f"it took more than {self.limits.seconds:g} seconds")
        if resident > self.limits.memory:
            self.close()
            raise BoxError(f"it took more than {self.limits.memory / 2**30:.1f} GiB of memory")

    def _end_error(self) -> BoxError:
        code = self.close(_ENDING)
        if code < 0:
            name = next((each.name for each in signal.Signals if each == -code), f"signal {-code}")
            return BoxError(f"its process was ended by {name}" + (", out of memory?" if code == -9 else ""))
        if code == 0:
            return BoxError("its process ended without an answer, with code 0, or closed its connection")
        return BoxError(f"its process ended with code {code}")

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._ended

    def close(self, wait: float = 0.0) -> int:
        """End the box with all its processes; its exit code, 0 if it was alive after ``wait`` seconds."""
        if self._ended:
            return 0
        self._ended = True
        self.channel.end.close()
        code = self._end_of(self.process, wait)
        shared_memory.sweep(self._shared)
        return code

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _ignored(share: float, status: str) -> None:
    return None


def _printable(text: object) -> str:
    """A text from a box as one short line."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))[:_LONGEST_REASON]
