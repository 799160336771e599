"""How a process ended."""

from __future__ import annotations

import os
import time

_PAUSE = 0.01


def exit_code(process: int, wait: float) -> int | None:
    """The exit code of a child, negative for a signal; None where it has not ended after ``wait`` seconds."""
    deadline = time.monotonic() + wait
    while True:
        try:
            done, status = os.waitpid(process, os.WNOHANG)
        except ChildProcessError:
            return 0
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(_PAUSE)
