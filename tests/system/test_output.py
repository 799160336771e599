"""Standard output that is full, closed, narrow or in another encoding, and a working folder that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.store.store import Store
from tests.helpers import prepared
from tests.helpers.leaderboards import add

ROOT = Path(__file__).parents[2]
HARNESS = f"{sys.executable} -m harness.cli"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results without a run."""
    root = tmp_path_factory.mktemp("output") / "store"
    add(Store(root), "first", {"cider": 0.5})
    return root


def shell(command: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a line of bash."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=given, capture_output=True, check=False, timeout=120
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode()


def test_a_full_output_is_one_line(store: Path) -> None:
    code, _, said = shell(f"{HARNESS} leaderboard --store {store} > /dev/full")
    assert (code, said) == (1, "error: standard output cannot be written: No space left on device\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("form", ["csv", "json", "html", "markdown"])
def test_an_output_that_is_cut_is_one_line(store: Path, tmp_path: Path, form: str, unbuffered: str) -> None:
    command = f"{HARNESS} leaderboard --store {store} --format {form} > {tmp_path}/out"
    code, _, said = shell(f"ulimit -f 1; {command}", PYTHONUNBUFFERED=unbuffered)
    assert (code, said) == (1, "error: standard output cannot be written: File too large\n")


def test_an_output_that_takes_no_more_now_is_one_line(store: Path) -> None:
    """A full pipe that does not block."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.write(writer, bytes(2**16))
    done = subprocess.run(
        [*HARNESS.split(), "leaderboard", "--store", str(store)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(reader)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("error: standard output cannot be written: ")
    assert done.stderr.count(b"\n") == 1


def test_a_full_output_of_tables_is_one_line(store: Path) -> None:
    code, _, said = shell(f"{HARNESS} leaderboard --format table --store {store} > /dev/full")
    assert (code, said) == (1, "error: standard output cannot be written: No space left on device\n")


def test_a_closed_output_is_one_line(store: Path) -> None:
    code, _, said = shell(f"{HARNESS} leaderboard --store {store} >&-")
    assert (code, said) == (2, "error: standard output is closed (leave it open, or add > FILE)\n")


def test_a_closed_standard_error_is_no_place_for_files(store: Path) -> None:
    command = f"{HARNESS} leaderboard --format json --store {store}"
    code, shown, _ = shell(f"{command} 2>&-")
    assert (code, shown) == (0, shell(command)[1])
    code, shown, _ = shell(f"{HARNESS} leaderboard --store /nowhere 2>&-")
    assert (code, shown) == (2, "")


def test_a_reader_that_has_seen_enough_is_no_error_to_speak_of(store: Path) -> None:
    for options in ("--format table", "--format json"):
        _, _, said = shell(f"{HARNESS} leaderboard {options} --store {store} | true")
        assert said == ""


def test_latin_1_shows_what_it_can(store: Path) -> None:
    for options in ("--format table", "--format markdown", "--format json"):
        command = f"{HARNESS} leaderboard {options} --store {store}"
        code, shown, said = shell(command, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
        assert (code, said) == (0, "")
        assert "cider" in shown.lower()


def test_a_deleted_working_folder_is_one_line(store: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code, _, said = shell(f"cd {gone}; rmdir {gone}; {HARNESS} leaderboard --store {store}")
    assert (code, said) == (2, "error: the working folder was deleted (change to another folder)\n")


_RUN = (
    "from tests.helpers import toys; toys.register(dict.__setitem__); "
    "from harness.cli.main import main; main()"
)


@pytest.mark.parametrize("output", ["> /dev/full", "| true"])
def test_a_run_writes_its_tables_whatever_becomes_of_the_output(tmp_path: Path, output: str) -> None:
    command = f"{sys.executable} -c '{_RUN}' run --dataset toy --methods echo --metrics bleu --no-figures"
    code, _, said = shell(
        f"cd {ROOT}; {command} --store {tmp_path}/store {output}", HARNESS_CACHE=str(tmp_path)
    )
    assert code != 0
    assert "Traceback" not in said
    assert {path.name for path in (tmp_path / "store" / "tables").iterdir()} >= {
        "leaderboard.md",
        "leaderboard.json",
        "robustness.json",
    }


def test_sigquit_shows_the_threads_and_the_process_goes_on(tmp_path: Path) -> None:
    code = (
        "import sys, time; from harness.core.signals import show_threads_on_quit\n"
        "show_threads_on_quit(); print('ready', flush=True)\n"
        "end = time.monotonic() + 60\n"
        "while not sys.stdin.readline(): time.sleep(0.1)\n"
        "print('went on')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGQUIT)
    time.sleep(0.5)
    shown, said = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert shown == "went on\n"
    assert "most recent call first" in said
    assert f"SIGQUIT: above is where the threads of process {process.pid} are; it goes on" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("run --store a --methods template", "the folder a cannot be made: a link that leads nowhere"),
        ("run --store file/x --methods template", "the folder file/x cannot be made: not a directory"),
        ("run --store long --methods template", "file name too long"),
        ("run --dataset iu-xray --root a", "--root a: no such folder"),
        ("run -c a", "--config a: Too many levels of symbolic links"),
        ("score --references a --predictions a", "a: too many levels of symbolic links"),
        ("leaderboard --store a", "--store a: no results store there"),
        ("leaderboard --store long", "file name too long"),
        ("leaderboard --results a", "a: Too many levels of symbolic links"),
        ("bundle check a", "a: Too many levels of symbolic links"),
    ],
)
def test_a_loop_of_links_and_a_long_name_are_one_line(tmp_path: Path, options: str, message: str) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "file").touch()
    given = options.replace("long", "x" * 300)
    done = prepared.run(["-m", "harness.cli", *given.split()], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
