"""Files that other programs read: workflows, hooks, templates of issues, the image for containers."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import harness
from harness.cli.app import app

ROOT = Path(__file__).parents[2]
YAML = sorted([*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-hooks.yaml", ROOT / "CITATION.cff"])


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_can_be_read(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_workflows_call_what_is_there() -> None:
    steps = [
        step["run"]
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    for step in steps:
        if match := re.match(r"make (\w+)", step):
            assert match[1] in targets
        if match := re.match(r"bash (\S+)", step):
            assert (ROOT / match[1]).exists()


def test_the_version_stands_in_one_place() -> None:
    assert version("missing-modality-harness") == harness.__version__
    places = [
        path.name
        for path in (ROOT / "pyproject.toml", ROOT / "CITATION.cff", ROOT / "Dockerfile")
        if re.search(
            rf"^version.*{re.escape(harness.__version__)}", path.read_text(encoding="utf-8"), flags=re.M
        )
    ]
    assert not places
    release = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    pattern = re.search(r"sed -n '(s/.*?)'", release)
    assert pattern
    found = subprocess.run(
        ["sed", "-n", pattern[1], "harness/__init__.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == harness.__version__


def test_the_hook_runs_a_command_of_the_program_on_bundles_alone() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    program, group, command = hook["entry"].split()
    assert program == "harness"
    groups = {each.name: each.typer_instance for each in app.registered_groups}
    assert command in {each.name for each in groups[group].registered_commands}
    for name, matches in (("bundle.json", True), ("out/bundle-2026.json", True), ("results.json", False)):
        assert bool(re.search(hook["files"], name)) == matches
    refused = subprocess.run(
        [sys.executable, "-m", "harness.cli", group, command, "CITATION.cff"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2


def test_the_container_copies_what_it_builds_from() -> None:
    """Without Docker: every copied path exists and is not ignored, and the extras are declared."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line[:1] == "!"
    }
    copied = [word for line in re.findall(r"^COPY (.*)$", text, flags=re.M) for word in line.split()[:-1]]
    assert set(copied) == kept
    assert all((ROOT / name).exists() for name in copied)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (extras,) = re.findall(r'"\.\[([a-z,]+)\]"', text)
    assert all(re.search(rf"^{extra} = \[", project, flags=re.M) for extra in extras.split(","))
    assert "USER reader" in text
