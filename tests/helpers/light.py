"""An environment as a light installation makes it: the packages that the base declares, and no others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PIP = ("-m", "pip", "--disable-pip-version-check")
SOURCES = ("harness", "methods", "pyproject.toml", "README.md", "LICENSE")
FIVE_LINES = """
import harness
references = ["the heart is normal", "no pleural effusion is seen", "the lungs are clear"]
predictions = ["heart is normal", "there is a pleural effusion", "the lungs are clear"]
table = harness.score(references, predictions)
print(table.to_frame()[["metric", "value", "lo", "hi", "n"]])
"""


def project() -> dict[str, Any]:
    """The table ``project`` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def link_base(folder: Path) -> Path:
    """Fill a folder with links to every package that the base declares, directly or by its dependencies."""
    folder.mkdir(parents=True)
    for name in sorted(_closure(project()["dependencies"])):
        files = distribution(name).files or ()
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            target = Path(str(distribution(name).locate_file(top)))
            link = folder / top
            if target.exists() and not link.exists():
                link.symlink_to(target)
    return folder


def declared_by(extra: str) -> set[str]:
    """Names of the distributions that an extra brings, those of its dependencies among them."""
    declared, waiting = project()["optional-dependencies"], [extra]
    lines: list[str] = []
    while waiting:
        for line in declared[waiting.pop()]:
            requirement = Requirement(line)
            if requirement.name == project()["name"]:
                waiting += requirement.extras
            else:
                lines.append(line)
    return {name.replace("_", "-") for name in _closure(lines)}


def _closure(declared: Sequence[str]) -> set[str]:
    names: set[str] = set()
    waiting = [*_requirements(declared, "")]
    while waiting:
        name, extras = waiting.pop()
        if name in names and not extras:
            continue
        names.add(name)
        try:
            inner = distribution(name).requires or ()
        except PackageNotFoundError:
            names.discard(name)  # a marker of another platform may let it be absent
            continue
        for extra in ("", *extras):
            waiting += [each for each in _requirements(inner, extra) if each[0] not in names]
    return names


def _requirements(lines: Sequence[str], extra: str) -> Iterator[tuple[str, frozenset[str]]]:
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement.name.lower(), frozenset(requirement.extras)


def run_python(
    arguments: Sequence[str | Path], site: Path, folder: Path, standard_input: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a Python in ``folder`` that sees the packages in ``site`` and nothing else."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-S", *map(str, arguments)],
        cwd=folder,
        env=environment,
        input=standard_input,
        capture_output=True,
        text=True,
        check=False,
    )


def build_wheel(folder: Path) -> Path:
    """The wheel of a copy of the sources, built without a network."""
    sources = folder / "sources"
    sources.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, sources / name)
    wheels = folder / "wheels"
    build = (*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, sources)
    _run_pip(build, sources)
    (wheel,) = wheels.glob("*.whl")
    return wheel


def install_into(wheel: Path, target: Path) -> Path:
    """The folder ``target`` with the installed wheel, without its dependencies and without a network."""
    install = (*PIP, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--target", target)
    _run_pip((*install, wheel), target.parent)
    return target


def _run_pip(arguments: Sequence[str | Path], folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *map(str, arguments)]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
