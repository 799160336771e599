"""A wheel holds all that the commands need: they print the same from it as from a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "leaderboards" / "iu-phantom.json"
PIP = ("-m", "pip", "--disable-pip-version-check")
SOURCES = ("harness", "methods", "pyproject.toml", "README.md", "LICENSE")


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


def package(target: Path) -> Path:
    """The wheel of a copy of the sources, installed into ``target``, without a network."""
    sources = target.with_name("sources")
    sources.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, sources / name)
    wheels = target.with_name("wheels")
    build = (*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, sources)
    python(*build, folder=sources)
    (wheel,) = wheels.glob("*.whl")
    install = (*PIP, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--target", target)
    python(*install, wheel, folder=target.parent)
    return target


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the installed package, which is no checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    site = package(folder / "site")
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
