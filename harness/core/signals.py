"""Ctrl-C, SIGTERM and SIGHUP: a run ends at once, the next one continues. SIGQUIT shows what it does.

Schedulers send SIGTERM before they kill; a terminal that closes sends SIGHUP. They may reach the whole
process group.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_LONGEST = 8.0
"""Seconds that a program has to end after a signal."""
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a program to end. Windows has no SIGHUP."""
_HANDLED = (*ENDING, *([signal.SIGQUIT] if hasattr(signal, "SIGQUIT") else []))


class Stopped(BaseException):
    """A signal asked the program to end; neither a failure of a cell nor for Lightning to handle.

    Attributes:
        exit_code: of the program, 128 and the signal's number.
        name: of the signal.
        received: whether this process got it.
    """

    def __init__(self, number: int, *, received: bool = False) -> None:
        super().__init__(number)
        self.received = received
        self.exit_code = 128 + number
        self.name = signal.Signals(number).name


@contextmanager
def stopped_by_signals(at_last: Callable[[int], object] | None = None) -> Iterator[None]:
    """The signals raise ``Stopped`` in the main thread, once: later ones are ignored until the program ends.

    SIGHUP stays ignored where ``nohup`` has it ignored.

    Args:
        at_last: called with the signal's number where the program has not ended after some seconds, as where
            code of a plugin catches everything.
    """
    stopped = False
    timers: list[threading.Timer] = []

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            if at_last is not None:
                timers.append(threading.Timer(_LONGEST, at_last, (number,)))
                timers[0].daemon = True
                timers[0].start()
            raise Stopped(number, received=True)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, leave)
        for number in ENDING
        if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            # A second Ctrl-C while the interpreter ends would print a traceback.
            signal.signal(number, signal.SIG_IGN if stopped else handler)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Handlers of signals are afterwards what they were, and no alarm is left that code inside has set.

    An alarm that goes off meanwhile and that nothing handles would end the process: it is a ``TimeoutError``.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return
    others = (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF)
    before = {number: signal.getsignal(number) for number in (*_HANDLED, *others)}
    left, again = signal.getitimer(signal.ITIMER_REAL)
    started = time.monotonic()
    if before[signal.SIGALRM] is signal.SIG_DFL:
        signal.signal(signal.SIGALRM, _rang)
    try:
        yield
    finally:
        rest = max(left - (time.monotonic() - started), 1e-3) if left else 0.0
        signal.setitimer(signal.ITIMER_REAL, rest, again)
        for timer in (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0.0)
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:  # None is one of C code
                signal.signal(number, handler)


def _rang(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("an alarm went off")


def show_threads_on_quit() -> None:
    """SIGQUIT (Ctrl-\\) writes where each thread is to standard error, and the process goes on.

    Without it the process would end. Windows has no such signal.
    """
    if not hasattr(signal, "SIGQUIT") or threading.current_thread() is not threading.main_thread():
        return

    try:
        error = os.dup(2)  # as it leads now: what a plugin prints is led elsewhere
    except OSError:  # closed
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)
        return

    def told(number: int, frame: FrameType | None) -> None:
        line = f"SIGQUIT: above is where the threads of process {os.getpid()} are; it goes on\n"
        os.write(error, line.encode())

    signal.signal(signal.SIGQUIT, told)
    faulthandler.register(signal.SIGQUIT, file=error, all_threads=True, chain=True)


def leave_to_parent() -> None:
    """Ignore the signals in this process: its parent gets them too, and ends its processes."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    show_threads_on_quit()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


@contextmanager
def children_leave_to_parent() -> Iterator[None]:
    """Processes that start meanwhile have the signals blocked, until ``leave_to_parent`` ignores them.

    So none of them ends, or prints a traceback, while it imports. Nothing is lost here: a signal that comes
    meanwhile is delivered at the end of the context, or at once where another thread takes it. On Windows
    this does nothing.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
