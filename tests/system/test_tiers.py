"""Tiers of tests, programs from a prepared Python, and what ``make test`` makes of failures."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers import prepared

ROOT = Path(__file__).parents[2]
TESTS = """
import multiprocessing, subprocess, sys
import pytest

@pytest.fixture(scope="module")
def started():
    subprocess.run([sys.executable, "-c", ""], check=True)

def test_alone(): pass

def test_by_a_fixture(started): pass

def test_itself(): subprocess.run([sys.executable, "-c", ""], check=True)

@pytest.mark.parametrize("number", [1, 2])
def test_worker(number):
    worker = multiprocessing.get_context("forkserver").Process(target=int)
    worker.start()
    worker.join()

@pytest.mark.process
def test_marked(): subprocess.run([sys.executable, "-c", ""], check=True)

@pytest.mark.slow
def test_slow(): pass
"""


def outcome(folder: Path, *options: str) -> str:
    """What pytest prints about ``TESTS``, with the house's tiers and its page of durations."""
    (folder / "test_some.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  fast\n  process\n  system\n  slow\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TEST_DURATIONS": str(folder / "page.md")}
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"]
    plugins = ["-p", "tests.helpers.tiers", "-p", "tests.helpers.durations"]
    return prepared.run([*command, *plugins, *options], cwd=folder, env=environment).stdout


def test_a_fast_test_that_starts_a_python_is_an_error(tmp_path: Path) -> None:
    output = outcome(tmp_path, "-m", "fast")
    assert "5 passed, 2 deselected" in output
    assert "4 errors in" in output
    for name in ("test_by_a_fixture", "test_itself"):
        assert f"ERROR test_some.py::{name} - Failed: a fast test started python" in output
    for number in (1, 2):
        assert f"ERROR test_some.py::test_worker[{number}] - Failed: a fast test started a process" in output


def test_a_page_tells_where_the_time_goes(tmp_path: Path) -> None:
    assert "7 passed" in outcome(tmp_path, "-n", "2", "--dist=worksteal")
    page = (tmp_path / "page.md").read_text()
    assert "\n7 passed in 0 min " in page
    assert " with 2 processes (" in page
    assert [
        line.split("|")[1:3]
        for line in page.splitlines()
        if line.startswith(("| fast", "| process", "| slow"))
    ] == [
        [" fast ", " 5 "],
        [" process ", " 1 "],
        [" slow ", " 1 "],
    ]
    assert "| 7 | `test_some.py` |" in page
    assert page.count("`test_some.py::") == 7 * 3


def test_tests_of_this_folder_are_of_the_tier_system(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("system")
    assert not request.node.get_closest_marker("fast")


def test_a_prepared_program_is_a_process_of_its_own(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), os.environ['A'], os.getpgid(0) == os.getpid()); sys.exit(3)"
    own = {**os.environ, "A": "b"}
    program = prepared.start(["-c", code], env=own, cwd=tmp_path, new_session=True)
    assert program.communicate() == (f"{tmp_path} b True\n", "")
    assert program.returncode == 3
    failed = prepared.run(["-c", "raise ValueError('no luck')"])
    assert failed.returncode == 1
    assert failed.stderr.endswith("ValueError: no luck\n")
    (tmp_path / "beside.py").write_text("import sys; print(__name__, sys.argv[1:])")
    assert prepared.run(["-m", "beside", "x"], cwd=tmp_path).stdout == "__main__ ['x']\n"


def test_no_prepared_program_outlives_the_tests() -> None:
    server = prepared.Server(libraries=())
    program = server.start(prepared.order_of(["-c", "import time; time.sleep(600)"]))
    server.close()
    deadline = time.monotonic() + 60
    while prepared.is_alive(program.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_prepared_program_can_be_killed() -> None:
    waiting = [prepared.start(["-c", "import time; time.sleep(60)"]) for _ in range(2)]
    assert waiting[0].poll() is None
    waiting[1].kill()
    waiting[0].send_signal(signal.SIGTERM)
    assert [program.wait() for program in waiting] == [-signal.SIGTERM, -signal.SIGKILL]


@pytest.mark.parametrize("failing", ["", "ruff", "mypy", "lint-imports", "pytest"])
def test_make_fails_where_a_check_fails_and_shows_what_it_said(tmp_path: Path, failing: str) -> None:
    """With programs that only say their name."""
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("ruff", "mypy", "lint-imports", "pytest"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} ran "$@"\nexit {int(name == failing)}\n')
        (programs / name).chmod(0o755)
    (tmp_path / "venv" / ".installed").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for target in ("test", "quick"):
        command = ["make", target, f"VENV={tmp_path / 'venv'}"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert bool(done.returncode) == bool(failing), done.stdout + done.stderr
        ran = [name for name in ("ruff", "pytest", "mypy", "lint-imports") if f"\n{name} ran" in done.stdout]
        after = {"ruff": ["ruff"], "mypy": ["ruff", "pytest", "mypy"]}
        assert ran == after.get(failing, ["ruff", "pytest", "mypy", "lint-imports"])
