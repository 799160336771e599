"""Signals that end a program: one exception, quiet children, and what nohup asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from harness.core.signals import ENDING, Stopped, children_leave_to_parent, stopped_by_signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The test process keeps its handlers."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_each_signal_stops_once_and_a_second_one_is_ignored(number: int) -> None:
    with pytest.raises(Stopped) as stopped, stopped_by_signals():
        os.kill(os.getpid(), number)
    assert stopped.value.exit_code == 128 + number
    os.kill(os.getpid(), number)  # while the interpreter ends


def test_handlers_come_back_where_nothing_stopped() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopped_by_signals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_nohup_keeps_its_promise() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stopped_by_signals():
        os.kill(os.getpid(), signal.SIGHUP)


def test_a_child_ignores_the_signals_from_its_first_moment_and_the_parent_gets_them_afterwards() -> None:
    with stopped_by_signals():
        with children_leave_to_parent():
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        for number in ENDING:
            child.send_signal(number)
        assert child.communicate(b"\n")[0] is None
        assert child.returncode == 0
    with pytest.raises(Stopped), stopped_by_signals(), children_leave_to_parent():
        # To the main thread: another thread, as test runners have, would take it and ignore it.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
