"""Which files code opens, and whether they stay what they were."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.core import registry, used
from harness.core.opened import Opened, noting, opened_by, opened_files, state_of
from harness.core.used import ALTERED, digests, present
from harness.store.used import UsedFiles


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    before = dict(opened_by)
    yield
    opened_by.clear()
    opened_by.update(before)


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
    opened = opened_by["plugin"]
    assert {str(read), str(database)} <= opened.states.keys()
    assert opened.written == {str(written)}
    with opened_files() as later:
        pass
    read.read_text()
    assert not later


def rw_text(path: Path) -> None:
    with open(path, "r+") as file:
        file.read()


def at_end(path: Path) -> None:
    with open(path, "a+") as file:
        file.seek(0)
        file.read()


def by_number(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR))


def mapped(path: Path) -> None:
    np.memmap(path, dtype=np.uint8)


def below_a_handle(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    os.close(os.open(path.name, os.O_RDONLY, dir_fd=folder))
    os.close(folder)


@pytest.mark.parametrize("read", [rw_text, at_end, by_number, mapped, below_a_handle])
def test_a_file_that_might_have_been_written_counts_unless_it_was(
    tmp_path: Path, read: Callable[[Path], None]
) -> None:
    file = made(tmp_path / "table")
    with noting("plugin"):
        read(file)
    opened = opened_by["plugin"]
    assert str(file) in opened.states
    assert not opened.was_written(str(file))
    if read is not below_a_handle:
        made(file, "another")
        assert opened.was_written(str(file))


def test_a_link_that_leads_elsewhere_later_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made(tmp_path / name / "table", name)
    link = tmp_path / "link"
    link.symlink_to("one")
    with noting("plugin"):
        (link / "table").read_text()
    record = digests(opened_by["plugin"].states, [])
    assert record.keys() == {str(tmp_path / "one" / "table"), str(link / "table")}
    assert present(record) == record
    link.unlink()
    link.symlink_to("two")
    assert present(record) != record
    assert not digests(opened_by["plugin"].states, [tmp_path / "two"]).keys() & {str(link / "table")}


def test_a_link_that_is_made_meanwhile_is_not_what_counts(tmp_path: Path) -> None:
    """As of a plugin that links its data into a temporary folder, which is gone afterwards."""
    data = made(tmp_path / "table")
    with noting("plugin"):
        for name, target in (("file", data), ("folder", tmp_path)):
            link = tmp_path / name
            link.symlink_to(target)
            (link if name == "file" else link / "table").read_text()
            link.unlink()
    assert list(digests(opened_by["plugin"].states, [])) == [str(data)]


def test_a_database_counts_under_the_name_of_its_file(tmp_path: Path) -> None:
    base = made(tmp_path / "a base", "")
    with noting("plugin"):
        sqlite3.connect(f"{base.as_uri()}?mode=ro", uri=True).close()
    assert str(base) in opened_by["plugin"].states


def test_a_name_that_is_not_utf_8_can_be_recorded(tmp_path: Path) -> None:
    file = made(tmp_path / os.fsdecode(b"caf\xe9"))
    with noting("plugin"):
        file.read_text()
    record = UsedFiles(tmp_path / "used")
    record.note(digests(opened_by["plugin"].states, []))
    assert not record.outdated()
    made(file, "another")
    assert record.changed() == [str(file)]


def test_a_file_counts_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(used, "_PATH", (str(tmp_path),))
    opened = Opened()
    file, new, data = made(tmp_path / "a.txt"), tmp_path / "cache.bin", made(tmp_path / "left.csv")
    new.write_text("as libraries write while a process runs")
    described = tmp_path / "plugin.dist-info"
    described.mkdir()
    listed = made(described / "entry_points.txt")
    for path in (file, new, data, listed, Path(os.__file__), tmp_path / "absent"):
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
    folder = tmp_path / "site-packages"
    folder.mkdir()
    installed[str(folder)] = (1, 1, 1)
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
