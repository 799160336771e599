"""The data of the sinners, read from files below a root: what a box hides from methods."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.helpers.doubles_box import ANSWERS, DATABASE
from tests.helpers.sin_data import SinData


class FileData(SinData):
    """Reports and labels of the test studies lie in a file, and in a database."""

    root: Path

    @classmethod
    def open(cls, root: Path | None = None, *, image_size: int | None = None) -> FileData:
        assert root is not None
        data = cls()
        data.root = root
        (root / ANSWERS).read_bytes()
        return data


def write(root: Path) -> None:
    """The files."""
    reports = {study.id: study.report for study in SinData().studies("test")}
    (root / ANSWERS).write_text(json.dumps(reports))
    (root / DATABASE).unlink(missing_ok=True)
    with sqlite3.connect(root / DATABASE) as database:
        database.execute("create table reports (id, report)")
        database.executemany("insert into reports values (?, ?)", reports.items())
