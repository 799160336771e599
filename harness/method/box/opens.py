"""Which files a box opens. The kernel says so, whether Python, C++ or SQLite, threads or children open them.

Where it does not, the box says what its Python code opens.
"""

from __future__ import annotations

import os
import select
import struct
import threading
from contextlib import suppress
from pathlib import Path

from harness.core.opened import Opened
from harness.method.box.kernel import machine

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_REPLY = struct.Struct("=QqiI")
_CONTINUE = 1
_LONGEST = 4096
_HERE = -100
"""The folder number that stands for the working folder."""
_PAGE = 4096


class Opens:
    """Files that a box opened, as far as it is noted here.

    Attributes:
        paths: links followed, each once, in the order of their first opening.
        opened: what the files were then.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.opened = Opened()
        self._passed_on = 0
        self._seen, self._targets = set[str](), set[str]()

    def new(self) -> list[str]:
        """Those since the last call."""
        paths = self.paths[self._passed_on :]
        self._passed_on += len(paths)
        return paths

    def note(self, path: str) -> None:
        """Note an opening, under an absolute path; of several the first counts."""
        if path in self._seen:
            return
        self._seen.add(path)
        with suppress(ValueError):  # no name of a file
            self.opened.add(path)
            target = os.path.realpath(path)
            if target not in self._targets:
                self._targets.add(target)
                self.paths.append(target)


class KernelOpens(Opens):
    """Notes every file that a box opens, or tries to, and lets the kernel decide whether it may.

    Args:
        descriptor: from ``kernel.restrict_calls``; it is closed with the box.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        import fcntl

        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        while True:
            events = poll.poll()
            if any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in events):
                break
            notification = bytearray(_NOTIFICATION.size)
            try:
                fcntl.ioctl(self._descriptor, _RECEIVE, notification)
            except OSError:  # the process ended meanwhile
                continue
            number, process, _, call, _, _, *arguments = _NOTIFICATION.unpack(notification)
            with suppress(OSError, ValueError):
                self.note(_path(process, call, arguments))
            with suppress(OSError):
                fcntl.ioctl(self._descriptor, _SEND, _REPLY.pack(number, 0, 0, _CONTINUE))
        os.close(self._descriptor)


def _path(process: int, call: int, arguments: list[int]) -> str:
    """The absolute path by which a process opens a file."""
    own = machine()
    assert own is not None
    place = own.opening[call]
    name = _text(process, arguments[place])
    folder = arguments[0] & 0xFFFFFFFF if place else _HERE & 0xFFFFFFFF
    if not name.startswith("/"):
        link = "cwd" if folder == _HERE & 0xFFFFFFFF else f"fd/{folder}"
        name = os.path.join(os.readlink(f"/proc/{process}/{link}"), name)
    return name


def _text(process: int, address: int) -> str:
    """The text at an address of a process's memory."""
    content = b""
    memory = os.open(Path("/proc", str(process), "mem"), os.O_RDONLY)
    try:
        while b"\0" not in content and len(content) < _LONGEST:
            start = address + len(content)
            content += os.pread(memory, _PAGE - start % _PAGE, start)
    finally:
        os.close(memory)
    return os.fsdecode(content.partition(b"\0")[0])
