"""Processes of a command that was killed: they end at once, and print nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.children import child_environment, children_of
from tests.helpers.prepared import is_alive

SLOW = """
import time
time.sleep(60)
"""
STARTS = """
import sys, time
sys.path.insert(0, {folder!r})
from harness.distributed.processes import ready
ready(["slow_module"])
print("started", flush=True)
time.sleep(60)
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the server ends when it has imported")
def test_a_server_that_still_imports_ends_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "slow_module.py").write_text(SLOW)
    command = subprocess.Popen(
        [sys.executable, "-c", STARTS.format(folder=str(tmp_path))],
        stdout=subprocess.PIPE,
        env=child_environment(),
        cwd=os.getcwd(),
    )
    assert command.stdout is not None
    assert command.stdout.readline() == b"started\n"
    time.sleep(3)  # it has begun to import
    children = children_of(command.pid)
    assert len(children) >= 2, "a tracker and the server"
    command.send_signal(signal.SIGKILL)
    command.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(map(is_alive, children)):
        time.sleep(0.1)
    assert not any(map(is_alive, children))


@pytest.mark.process
def test_a_drawing_process_whose_job_is_cut_off_ends_quietly() -> None:
    worker = [sys.executable, "-m", "harness.datasets.phantom.worker"]
    done = subprocess.run(
        worker, input=b'{"patients": [[', capture_output=True, env=child_environment(), check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


POOL = """
import time
from harness.distributed.processes import several
if __name__ == "__main__":
    with several(2) as together:
        list(together(abs, range(4)))
        print("started", flush=True)
        time.sleep(60)
"""
BOXES = """
import os, signal, sys
from harness.core.children import end_children, remove_own_temporary_files, temporary_folders
from harness.method.box.box import Boxes
boxes = Boxes()
print(*temporary_folders, flush=True)
end_children()
remove_own_temporary_files()
os._exit(1)
"""


@pytest.mark.process
def test_processes_that_draw_end_with_a_killed_parent(tmp_path: Path) -> None:
    """Each waits at a pipe that the other holds open, too."""
    script = tmp_path / "script.py"
    script.write_text(POOL)
    command = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env=child_environment(), cwd=os.getcwd()
    )
    assert command.stdout is not None
    assert command.stdout.readline() == b"started\n"
    children = children_of(command.pid)
    workers = [each for child in children for each in children_of(child)]
    assert len(workers) == 2
    command.send_signal(signal.SIGKILL)
    command.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(map(is_alive, [*children, *workers])):
        time.sleep(0.1)
    assert not any(map(is_alive, [*children, *workers]))


@pytest.mark.process
def test_folders_of_boxes_go_though_their_starter_is_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BOXES], capture_output=True, text=True, env=child_environment(), check=False
    )
    (folder,) = done.stdout.split()
    assert not Path(folder).exists()
