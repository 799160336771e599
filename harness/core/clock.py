"""Where the time of a run goes: each process is in one phase at a time, and reports the time of every phase.

The times belong to nothing that a score or the identity of a cell depends on.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

OPEN = "open data"
CELLS = "cells"
"""Phase of a run while its cells are worked on in processes of their own."""
BETWEEN = "between"
"""Phase of a process between two rows: it reads what the store has and begins another job."""


@dataclass(frozen=True, slots=True)
class Span:
    """A phase of one process that is over.

    Attributes:
        process: machine and number of the process.
        label: row that it worked on; empty for what all rows share.
        phase: what it did, e.g. ``predict context``.
        seconds: by the wall clock.
        processor_seconds: of the process's threads, and of child processes that ended meanwhile.
    """

    process: str
    label: str
    phase: str
    seconds: float
    processor_seconds: float


class Watch:
    """The clock of this process.

    Args:
        tell: takes every span once it is over.
    """

    def __init__(self, tell: Callable[[Span], object]) -> None:
        self.tell = tell
        self.process = f"{platform.node()} {os.getpid()}"
        self.now: tuple[str, str] | None = None
        self._since = self._used = 0.0

    def begin(self, phase: str, label: str = "") -> None:
        """The phase before is over, this one begins."""
        self.end()
        self._enter(phase, label, time.monotonic(), _processor())

    def began(self, phase: str, since: float) -> None:
        """This process has done nothing but this phase, since ``since`` by ``time.monotonic``."""
        self._enter(phase, "", since, 0.0)

    def end(self) -> None:
        """The phase is over; nothing is measured until the next one begins."""
        global _running
        if self.now is not None:
            (phase, label), self.now, _running = self.now, None, None
            spent, used = time.monotonic() - self._since, _processor() - self._used
            self.tell(Span(self.process, label, phase, spent, used))

    def _enter(self, phase: str, label: str, since: float, used: float) -> None:
        global _running
        self.now, self._since, self._used = (phase, label), since, used
        _running = self


_running: Watch | None = None
"""The clock that measures a phase of this process just now."""


@contextmanager
def during(phase: str) -> Iterator[None]:
    """A phase within another, which goes on afterwards; nothing where no run is being timed."""
    watch = _running
    if watch is None or watch.now is None:
        yield
        return
    outer = watch.now
    watch.begin(phase, outer[1])
    try:
        yield
    finally:
        watch.begin(*outer)


def _processor() -> float:
    """Processor seconds of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system
