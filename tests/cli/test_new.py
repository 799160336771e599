"""``harness new method``: what it writes runs, and what it cannot write is an error that leaves nothing."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.cli.new import KINDS, TASKS, Plugin, new_plugin
from harness.core import registry
from harness.core.errors import HarnessError
from harness.core.types import Task
from harness.method.size import describe
from harness.method.torch_method import TorchMethod
from harness.testing import audited, scored
from tests.helpers import prepared

ROOT = Path(__file__).parents[2]


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


@pytest.mark.parametrize("task", TASKS)
def test_the_plugin_learns_passes_the_audit_and_can_be_described(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = new_plugin(Plugin("method", f"fresh-{task}", task), tmp_path)
    assert [path.name for path in paths] == [f"fresh_{task}.py", f"test_fresh_{task}.py", "pyproject.toml"]
    method = getattr(load(paths[0]), f"Fresh{task.capitalize()}")
    assert issubclass(method, TorchMethod)
    assert method.card.tasks == {Task(task)}
    verdict = audited(method, tmp_path, overrides={"training.epochs": 2, "training.batch_size": 8})
    assert verdict.passed, verdict.checks
    monkeypatch.setitem(registry.METHODS, f"fresh-{task}", f"fresh_{task}:{method.__name__}")
    registry._table.cache_clear()
    facts = describe(f"fresh-{task}", "paper")
    monkeypatch.undo()
    registry._table.cache_clear()
    assert facts["parameters"] > 10_000
    assert facts["flops"] > 0


def test_the_test_that_comes_with_it_names_the_class(tmp_path: Path) -> None:
    _, test, metadata = new_plugin(Plugin("method", "my-own2"), tmp_path)
    imported = {
        alias.name
        for node in ast.walk(ast.parse(test.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {"MyOwn2", "audited"} <= imported
    assert 'my-own2 = "my_own2:MyOwn2"' in metadata.read_text()


@pytest.mark.parametrize(
    "name", ["My-Method", "2fast", "a b", "../up", "", "class", "dia", "random", "torch"]
)
def test_a_name_that_cannot_be_is_an_error_and_writes_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError):
        new_plugin(Plugin("method", name), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    new_plugin(Plugin("method", "mine"), tmp_path)
    with pytest.raises(HarnessError, match="exists"):
        new_plugin(Plugin("method", "mine"), tmp_path)
    with pytest.raises(HarnessError, match=r"--task draw: no such template"):
        new_plugin(Plugin("method", "other", "draw"), tmp_path)


def test_the_command_says_what_it_wrote_and_what_comes_next(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["new", "method", "thing", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert (tmp_path / "thing" / "thing.py").exists()
    assert "harness audit --methods thing" in result.stdout


def test_the_method_that_diagnoses_beats_chance_on_the_example_studies(tmp_path: Path) -> None:
    paths = new_plugin(Plugin("method", "quick-look", "diagnose"), tmp_path)
    assert scored(load(paths[0]).QuickLook, tmp_path, "auroc")["auroc_macro"] > 0.75
    assert "scored(QuickLook" in paths[1].read_text()


def test_a_metric_has_a_name_that_can_begin_a_signature(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="my_metric"):
        new_plugin(Plugin("metric", "word-recall"), tmp_path)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "method"])
def test_the_tests_of_a_new_dataset_or_metric_pass(kind: str, task: str, tmp_path: Path) -> None:
    paths = new_plugin(Plugin(kind, f"fresh_{kind}", task), tmp_path)
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", paths[1].name]
    environment = {**os.environ, "HARNESS_CACHE": str(tmp_path / "cache")}
    done = prepared.run(command, cwd=paths[1].parent, env=environment)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert f'[project.entry-points."harness.{kind}s"]' in paths[2].read_text()
    ruff = [sys.executable, "-m", "ruff", "check", "--ignore=I", "--config", str(ROOT / "pyproject.toml")]
    linted = subprocess.run([*ruff, *map(str, paths[:2])], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout
