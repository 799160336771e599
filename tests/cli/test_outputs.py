"""Files that commands write: checked before the work; links, devices and modes stay what they are."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from harness.cli.output import other_than, stderr, writable_file, writable_folder, write
from harness.core.errors import HarnessError
from harness.core.user_files import write_user_file
from harness.leaderboard import bundle
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render.figures import save_figure
from tests.cli.test_cli import invoke
from tests.helpers.leaderboards import small_store


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    with pytest.raises(HarnessError, match="no process reads it"):
        write(pipe, "lost")
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    for _ in range(1000):
        try:
            write(writable_file(pipe) or pipe, "scores")
            break
        except HarnessError:  # the reader has not opened it yet
            reader.join(0.01)
    reader.join(30)
    assert received == ["scores"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_is_written_to_and_stays_a_device(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.write_text("")
    except OSError:
        pytest.skip("devices cannot be made here")
    write(writable_file(device) or device, "scores")
    assert stat.S_ISCHR(device.stat().st_mode)


def write_bundle(path: Path) -> None:
    bundle.write(Leaderboard.of(small_store(path.parent / "store")), path)


def write_figure(path: Path) -> None:
    save_figure(Figure(), path)


def write_table(path: Path) -> None:
    write(writable_file(path) or path, "new")


WRITERS = {"table.csv": write_table, "bundle.json": write_bundle, "figure.svg": write_figure}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path: Path, name: str) -> None:
    private, link = tmp_path / "private", tmp_path / name
    private.write_text("old")
    private.chmod(0o600)
    link.symlink_to(private)
    WRITERS[name](link)
    assert link.is_symlink()
    assert private.read_text() != "old"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    link.unlink()
    link.symlink_to(tmp_path / "later")
    WRITERS[name](link)
    assert link.is_symlink()
    assert (tmp_path / "later").read_text()


def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    page.chmod(0o644)
    write_user_file(page, b"reports", mode=0o600)
    assert (page.read_bytes(), stat.S_IMODE(page.stat().st_mode)) == (b"reports", 0o600)


def test_what_cannot_be_written_is_one_line_before_the_work(tmp_path: Path) -> None:
    loop, file = tmp_path / "loop", tmp_path / "file"
    loop.symlink_to(loop)
    file.write_text("")
    places = [tmp_path, loop, file / "below", tmp_path / ("x" * 300), Path("/proc/scores.csv")]
    for place in places:
        with pytest.raises(HarnessError, match=r"is a folder|cannot be written") as error:
            writable_file(place)
        assert len(str(error.value)) < 400
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]
    assert writable_file(tmp_path / "new" / "scores.csv") == tmp_path / "new" / "scores.csv"


def test_no_output_replaces_a_file_of_a_store_or_its_own_input(tmp_path: Path) -> None:
    store = tmp_path / "store"
    (store / "results" / "toy").mkdir(parents=True)
    (store / "store.json").write_text("{}")
    result = store / "results" / "toy" / "row.json"
    result.write_text("numbers")
    for place in (result, store / "results" / "new.json", store / "store.json"):
        with pytest.raises(HarnessError, match="is a file of the store"):
            writable_file(place)
    for folder in (store / "results", store / "results" / "toy", store / "cells" / "new"):
        with pytest.raises(HarnessError, match="is a file of the store"):
            writable_folder(folder)
    assert writable_folder(store / "tables" / "mine") == store / "tables" / "mine"
    assert writable_file(store / "tables" / "bundle.json") == store / "tables" / "bundle.json"
    assert writable_file(store / "bundle.json") == store / "bundle.json"
    link = tmp_path / "link"
    link.symlink_to(result)
    with pytest.raises(HarnessError, match=r"--out .*link is a file of reports"):
        other_than(link, result, "--out")
    other_than(tmp_path / "new.csv", result, "--out")


def test_progress_on_a_full_disk_ends_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)  # which is number 2, as in a command
    before = os.dup(2)
    try:
        with open("/dev/full", "w") as full:
            os.dup2(full.fileno(), 2)
            console = stderr()
            os.dup2(before, 2)
        for _ in range(3):
            console.print("a line")
        console.file.flush()
    finally:
        os.close(before)
    assert capfd.readouterr().err == ""


def test_a_table_of_results_is_not_replaced_by_what_is_made_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "leaderboard.json"
    results.write_text(Leaderboard.of(small_store(tmp_path / "store")).to_json())
    before = results.read_bytes()
    for words in (
        ["bundle", "write", str(results), "--results", str(results)],
        ["leaderboard", "--results", str(results), "--share", str(results)],
        ["leaderboard", "--results", str(results), "--format", "json", "--out", str(tmp_path)],
    ):
        code, _, error = invoke(capsys, *words)
        assert code == 2
        assert "is the file that it is made of" in error
        assert results.read_bytes() == before
