"""What is printed goes into a file of its own, and progress does not."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from harness.core.files import set_aside
from harness.core.printed import printed_into, printed_nowhere


def test_what_is_printed_goes_into_the_file_and_progress_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, path = tmp_path / "other.txt", tmp_path / "cell" / "output.txt"
    other.write_text("kept")
    path.parent.mkdir()
    path.symlink_to(other)
    with printed_into(path) as outside:
        print("a word")
        print("an error \ud800", file=sys.stderr)
        outside(lambda share, status: print(share, status))(0.5, "epoch 1")
    assert capsys.readouterr() == ("0.5 epoch 1\n", "")
    assert path.read_text() == "a word\nan error \\ud800\n"
    assert other.read_text() == "kept"
    with printed_into(path.with_name("none.txt")):
        pass
    assert [each.name for each in path.parent.iterdir()] == ["output.txt"]


def test_code_that_is_no_python_prints_into_the_file_and_the_harness_itself_is_heard(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with printed_into(tmp_path / "output.txt"):
        os.write(1, b"one ")
        os.write(2, b"two")
        set_aside(tmp_path / "damaged", "it is no array")
        logging.getLogger("harness").warning("a report, logged by a plugin")
    assert (tmp_path / "output.txt").read_text() == "one two"
    told = f"{tmp_path}/damaged: damaged, set aside as damaged.damaged: it is no array\n"
    with printed_nowhere():
        print("three")
        os.write(2, b"four")
    assert capfd.readouterr() == ("", told)
