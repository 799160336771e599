"""Starts boxes: a process that has imported the libraries, holds no data and no plugin, and forks itself.

A fork takes milliseconds where a new interpreter takes seconds. Called as ``python -m`` with the number of
its socket, the seconds by which clocks are ahead, and the libraries, joined by commas.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module

from harness.core.children import adopt_orphans, children_of
from harness.method.box.ending import exit_code

_KILLED = 10.0
"""Seconds that a killed process may take to end."""


class Starter:
    """Forks boxes and ends them, as the owner's messages say."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.boxes: set[int] = set()

    def work(self) -> None:
        """Answer messages until the owner is gone; no box outlives it."""
        try:
            while True:
                content, handles, _, _ = socket.recv_fds(self.end, 1024, 1)
                if not content:
                    return
                message = json.loads(content)
                if message["order"] == "start":
                    self.end.send(json.dumps({"process": self.start(handles[0])}).encode())
                else:
                    self.end.send(
                        json.dumps({"code": self.stop(message["process"], message["wait"])}).encode()
                    )
        except OSError:
            return
        finally:
            for process in list(self.boxes):
                self.stop(process, 0)

    def start(self, handle: int) -> int:
        """The process number of a new box, whose socket is ``handle``."""
        process = os.fork()
        if process:
            os.close(handle)
            self.boxes.add(process)
            return process
        try:
            os.setpgid(0, 0)
            self.end.close()
            from harness.method.box.inside import serve

            serve(socket.socket(fileno=handle))
        finally:
            os._exit(0)

    def stop(self, process: int, wait: float) -> int:
        """End a box with all its processes; its exit code, 0 if it was alive after ``wait`` seconds."""
        code = exit_code(process, wait)
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        self.boxes.discard(process)
        if code is None:
            exit_code(process, _KILLED)
        for orphan in set(children_of(os.getpid())) - self.boxes:  # this one inherits what boxes leave
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)
        return code or 0


def main() -> None:
    """Import the libraries, and start boxes."""
    handle, ahead, libraries = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    from harness.core.signals import leave_to_parent

    leave_to_parent()
    if ahead:
        from harness.method.box.clocks import set_ahead

        set_ahead(ahead)
    adopt_orphans()
    for name in filter(None, libraries.split(",")):
        with suppress(ImportError):
            import_module(name)
    import_module("harness.method.box.inside")
    try:
        Starter(socket.socket(fileno=handle)).work()
    finally:
        shutil.rmtree(os.getcwd(), ignore_errors=True)


if __name__ == "__main__":
    main()
