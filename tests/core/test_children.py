"""Processes that work for another one never import code of the working folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from pathlib import Path

import pytest

from harness.core import children
from harness.core.children import SAFE_PATH, child_environment, end_fork_server, interpreters_start
from tests.helpers.prepared import is_alive

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]
PLANTED = (
    *("random", "signal", "socket", "tempfile", "queue", "json", "re", "struct", "logging", "threading"),
    *(
        "pickle",
        "selectors",
        "hashlib",
        "subprocess",
        "typing",
        "numpy",
        "torch",
        "PIL",
        "harness",
        "methods",
    ),
)
"""Modules of others with names that worker processes import."""

DRAWS = """
from pathlib import Path
from harness.datasets.phantom.draw import render_many
from harness.datasets.phantom.patient import Patient

patients = [Patient(str(number), (), 50, "F", ()) for number in range(256)]
assert sum(1 for _ in render_many(patients, 32, workers=2)) == 256
"""
SPREADS = """
from harness.distributed.processes import several

if __name__ == "__main__":
    with several(2) as over:
        assert list(over(abs, [-1, -2])) == [1, 2]
"""
FILLS = """
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from pathlib import Path
from harness.datasets.images.filling import _Worker
from harness.datasets.images.store import ImageStore

worker = _Worker(ImageStore(Path(sys.argv[1]), 8, 1))
assert worker.decode([], None) == 0
worker.stop()
"""


@pytest.mark.parametrize("program", [DRAWS, SPREADS, FILLS], ids=["draws", "spreads", "fills"])
def test_no_worker_imports_what_lies_in_the_working_folder(tmp_path: Path, program: str) -> None:
    script, working = tmp_path / "program" / "main.py", tmp_path / "working"
    for folder in (script.parent, working):
        folder.mkdir()
    script.write_text(program)
    trap = "open(__file__ + '.ran', 'w').close()\nraise ImportError('planted')\n"
    for name in PLANTED:
        (working / f"{name}.py").write_text(trap)
    environment = {name: value for name, value in os.environ.items() if name != SAFE_PATH}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "store")],
        cwd=working,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not list(working.glob("*.ran")), done.stderr
    assert done.returncode == 0, done.stderr


def test_the_safe_path_is_for_children_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SAFE_PATH, raising=False)
    with interpreters_start():
        assert os.environ[SAFE_PATH] == "1"
    assert SAFE_PATH not in os.environ
    assert child_environment()[SAFE_PATH] == "1"


def test_the_fork_server_ends_with_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        monkeypatch.setattr(forkserver._forkserver, "_forkserver_pid", process.pid)
        end_fork_server()
        assert process.wait(10) == -signal.SIGKILL
    end_fork_server()  # that it has ended is no error


def test_a_program_that_is_slow_to_see_its_closed_input_ends_with_its_parent(tmp_path: Path) -> None:
    """As METEOR's jar, which loads its tables for seconds before it reads."""
    code = (
        "import subprocess, time; from harness.core.children import dying_with_parent\n"
        "child = subprocess.Popen(['sleep', '60'], stdin=subprocess.PIPE, **dying_with_parent())\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(child)


def test_in_another_thread_it_does_not_end_with_that_thread() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(children.dying_with_parent).result() == {}
