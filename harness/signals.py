"""Ctrl-C and SIGTERM, which schedulers send before they kill: a run leaves at once, and the next continues."""

from __future__ import annotations

import signal
from types import FrameType


class Stopped(BaseException):
    """A signal asked the program to end; neither a failure of a cell nor for Lightning to handle."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number
        self.name = signal.Signals(number).name


class _Leave:
    """Raises ``Stopped`` in the main thread, once: what follows must not disturb the leaving."""

    def __init__(self) -> None:
        self.leaving = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.leaving:
            self.leaving = True
            raise Stopped(number)


def leave_when_asked() -> None:
    """From here on SIGINT and SIGTERM raise ``Stopped``."""
    leave = _Leave()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
