"""Which files code opens, and whether they stay what they were."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core import registry, used
from harness.core.opened import NOTED, Opened, noting, opened_files, state_of
from harness.core.used import ALTERED, digests, present


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    before = dict(NOTED)
    yield
    NOTED.clear()
    NOTED.update(before)


def made(path: Path, text: str = "text") -> Path:
    """A file that is older than this process."""
    path.write_text(text)
    os.utime(path, (1e9, 1e9))
    return path


def test_files_are_noted_however_python_opens_them(tmp_path: Path) -> None:
    read, written = made(tmp_path / "read"), tmp_path / "written"
    database = made(tmp_path / "base", "")
    with noting("plugin"), opened_files() as paths:
        read.read_text()
        written.write_text("log")
        written.read_text()
        sqlite3.connect(database).close()
    assert {str(read), str(written), str(database)} <= set(paths)
    opened = NOTED["plugin"]
    assert {str(read), str(database)} <= opened.states.keys()
    assert opened.written == {str(written)}
    with opened_files() as later:
        pass
    read.read_text()
    assert not later


def test_a_file_counts_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(used, "_PATH", (str(tmp_path),))
    opened = Opened()
    file, new, data = made(tmp_path / "a.txt"), tmp_path / "cache.bin", made(tmp_path / "left.csv")
    new.write_text("as libraries write while a process runs")
    for path in (file, new, data, Path(os.__file__), tmp_path / "absent"):
        opened.add(str(path))
    record = digests(opened.states, [data])
    assert list(record) == ["a.txt"]
    assert present(record) == record
    made(file, "another")
    assert present(record) != record
    file.unlink()
    assert present(record) == {"a.txt": ""}


def test_installed_files_cost_next_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that trains opens thousands of them, and what it used is asked for many times in a run."""
    calls: list[str] = []
    packages, is_below = registry.packages, used._is_below
    monkeypatch.setattr(registry, "packages", lambda: calls.append("packages") or packages())
    monkeypatch.setattr(used, "_is_below", lambda *args: calls.append("below") or is_below(*args))
    installed = {f"/x/site-packages/torch/{number}.py": (1, 1, 1) for number in range(2000)}
    own = made(tmp_path / "a.txt")
    opened = {**installed, str(own): state_of(str(own))}
    assert len(digests(opened, [])) == 1
    calls.clear()
    assert len(digests(opened, [])) == 1
    assert calls.count("packages") == 1
    assert len(calls) < 20


def test_a_file_that_changes_between_its_opening_and_the_record_never_counts_as_the_same(
    tmp_path: Path,
) -> None:
    opened = Opened()
    file = made(tmp_path / "a.txt")
    opened.add(str(file))
    made(file, "edited while a method trained")
    record = digests(opened.states, [])
    assert set(record.values()) == {ALTERED}
    assert present(record) != record


def test_a_compiled_module_counts_as_its_source(tmp_path: Path) -> None:
    source = made(tmp_path / "module.py", "x = 1\n")
    opened = Opened()
    opened.add(str(tmp_path / "__pycache__" / "module.cpython-311.pyc"))
    assert list(opened.states) == [str(source)]
