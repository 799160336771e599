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

pytestmark = pytest.mark.process


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


def test_a_child_is_spared_from_its_first_moment() -> None:
    with stopped_by_signals():
        with children_leave_to_parent():
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        for number in ENDING:
            child.send_signal(number)
        assert child.communicate(b"\n")[0] is None
        assert child.returncode == 0


def test_a_child_that_was_sent_signals_ignores_them_from_then_on() -> None:
    code = "from harness.core.signals import leave_to_parent; input(); leave_to_parent(); print('lives')"
    with stopped_by_signals():
        with children_leave_to_parent():
            command = [sys.executable, "-c", code]
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in ENDING:
            child.send_signal(number)
        assert child.communicate(b"\n")[0] == b"lives\n"
        assert child.returncode == 0


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_comes_while_children_start_is_delivered_afterwards(number: int) -> None:
    steps = []

    def start() -> None:
        with children_leave_to_parent():
            # To the main thread: another thread, as test runners have, would take it at once.
            signal.pthread_kill(threading.main_thread().ident or 0, number)
            steps.append("started")
        steps.append("not stopped")

    with pytest.raises(Stopped), stopped_by_signals():
        start()
    assert steps == ["started"]


def test_the_entry_point_handles_signals_before_it_imports_the_commands_and_waits_for_no_thread() -> None:
    code = (
        "import os, signal, sys, threading, time; from harness.cli.main import main; "
        "threading.Thread(target=time.sleep, args=(100,)).start(); "
        "assert 'typer' not in sys.modules; "
        "sys.meta_path.insert(0, type('Importing', (), {'find_spec': lambda *a: "
        "os.kill(os.getpid(), signal.SIGINT)})); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "stopped by SIGINT\n"


def test_no_signal_is_lost_where_other_threads_run() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)

    def start() -> None:
        with children_leave_to_parent():
            os.kill(os.getpid(), signal.SIGINT)
            over.wait(5)

    thread.start()
    try:
        with pytest.raises(Stopped), stopped_by_signals():
            start()
    finally:
        over.set()
        thread.join()
