"""Processes side by side on one machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.signals import Stopped
from harness.distributed.processes import several


def test_processes_that_ignore_signals_end_with_the_one_that_was_stopped() -> None:
    """Python waits for them before it ends: a minute here."""
    before = set(multiprocessing.active_children())

    def stopped_at_the_first_result() -> None:
        with several(2) as over:
            for _ in over(time.sleep, [0, 60, 60]):
                raise Stopped(signal.SIGINT)

    started = time.monotonic()
    with pytest.raises(Stopped):
        stopped_at_the_first_result()
    for process in set(multiprocessing.active_children()) - before:
        process.join(10)
    assert time.monotonic() - started < 60
    assert set(multiprocessing.active_children()) <= before


LEAVES = """
from multiprocessing import resource_tracker
from harness.distributed.processes import ready
ready([])
resource_tracker.register("/left-by-a-killed-process", "semaphore")
"""


def test_semaphores_that_killed_processes_leave_are_removed_without_a_word(tmp_path: Path) -> None:
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), *sys.path]))
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-c", LEAVES]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, "")
