"""A wheel holds all that the commands need: they print the same from it as from a checkout."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.light import FIVE_LINES, PIP, ROOT, build_wheel, install_into

COMMITTED = ROOT / "leaderboards" / "iu-phantom.json"
TWO_MINUTES = 120


def processor_seconds() -> float:
    """Processor time of all programs that were started so far and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def python(*arguments: str | Path, folder: Path, source: Path | None = None) -> str:
    """The standard output of this Python, which imports the package from ``source``."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(source)} if source else {}
    completed = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, f"{arguments}: {completed.stderr}"
    return completed.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the installed package, which is no checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    site = install_into(build_wheel(folder), folder / "site")
    where = python("-c", "import harness; print(harness.__file__)", folder=folder, source=site)
    assert Path(where.strip()).is_relative_to(site)
    yield site
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "command",
    [
        ("leaderboard", "--results", COMMITTED, "--format", "markdown"),
        ("leaderboard", "--results", COMMITTED, "--format", "html"),
        ("papers", "all", "--results", COMMITTED),
        ("papers", "all", "--results", COMMITTED, "--format", "html"),
        ("list", "methods"),
        ("list", "datasets"),
        ("list", "metrics"),
        ("doctor",),
    ],
    ids=lambda command: "-".join(str(word) for word in command if word != COMMITTED),
)
def test_a_command_prints_the_same_from_the_wheel(
    command: tuple[str | Path, ...], installed: Path, tmp_path: Path
) -> None:
    outputs = [python("-m", "harness.cli", *command, folder=tmp_path, source=s) for s in (ROOT, installed)]
    checkout, wheel = ([line for line in text.splitlines() if " GiB" not in line] for text in outputs)
    assert checkout
    assert wheel == checkout
    assert not list(tmp_path.iterdir()), "reading writes nothing"


def test_a_new_method_is_the_same_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "checkout", tmp_path / "wheel"]
    for folder, source in zip(folders, (ROOT, installed), strict=True):
        folder.mkdir()
        python("-m", "harness.cli", "new", "method", "x", folder=folder, source=source)
    checkout, wheel = (
        {path.relative_to(folder): path.read_text() for path in folder.rglob("*") if path.is_file()}
        for folder in folders
    )
    assert len(checkout) >= 3
    assert wheel == checkout


def test_the_wheel_holds_every_data_file(installed: Path) -> None:
    data = [
        path.relative_to(ROOT)
        for package_folder in ("harness", "methods")
        for path in (ROOT / package_folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert sum(path.suffix == ".yaml" for path in data) >= 10
    assert [str(path) for path in data if not (installed / path).exists()] == []


@pytest.mark.slow
def test_a_newcomer_has_a_table_with_intervals_in_two_minutes(tmp_path: Path) -> None:
    """The wheel, the packages of the base from the index, an environment of its own, an empty folder."""
    wheel, empty = build_wheel(tmp_path), tmp_path / "empty"
    empty.mkdir()
    begun = processor_seconds()
    python("-m", "venv", tmp_path / "venv", folder=tmp_path)
    own = tmp_path / "venv" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [own, *arguments]
        return subprocess.run(
            command, cwd=empty, env=environment, capture_output=True, text=True, check=False
        )

    install = run(*PIP, "install", "--quiet", wheel)
    if install.returncode != 0 and "No matching distribution" in install.stderr:
        pytest.skip("no package index can be reached")
    assert install.returncode == 0, install.stderr
    table = run("-c", FIVE_LINES)
    assert table.returncode == 0, table.stderr
    assert "bleu_4" in table.stdout
    assert processor_seconds() - begun < TWO_MINUTES  # other programs slow the clock on the wall
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    assert not (site / "torch").exists()
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 400e6
    for command in (
        ("leaderboard", "--results", COMMITTED, "--format", "markdown"),
        ("papers", "all", "--results", COMMITTED),
        ("list", "methods"),
        ("list", "metrics"),
        ("doctor",),
    ):
        done = run("-m", "harness.cli", *command)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert not list(empty.iterdir())
