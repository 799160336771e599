"""Rows of a CSV file with their line numbers, and every row that does not fit, in one pass."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.datasets.readers.records import Problem
from harness.datasets.readers.tables import read_text


@dataclass(frozen=True, slots=True)
class Row:
    """One row: ``where`` is ``FILE, line N`` (the line it starts on), ``cells`` column -> text, stripped."""

    where: str
    cells: Mapping[str, str]


def read_csv(path: Path, required: Iterable[str], label: str = "") -> tuple[list[Row], list[Problem]]:
    """All rows under a header, whatever their columns, and the rows of another length.

    Args:
        required: columns that must be there.
        label: how messages call the file; by default its name.

    Raises:
        HarnessError: the file is absent, not UTF-8 or not CSV, has no header or lacks a column.
    """
    name = label or path.name
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[Row] = []
    problems: list[Problem] = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(path, header, required)
        start = reader.line_num + 1
        for cells in reader:
            where, start = f"{name}, line {start}", reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) == len(header):
                rows.append(Row(where, dict(zip(header, (cell.strip() for cell in cells), strict=True))))
            else:
                message = f"{len(cells)} cells where the header has {len(header)}"
                problems.append(Problem("bad-row", where, message, "quote cells that hold a comma"))
    except csv.Error as error:
        raise HarnessError(f"{path}, line {reader.line_num}: not CSV: {error}") from error
    return rows, problems


def _check_header(path: Path, header: list[str], required: Iterable[str]) -> None:
    if not any(header):
        raise HarnessError(f"{path}, line 1: no header", "the first line names the columns")
    columns = list(required)
    absent = [column for column in columns if column not in header]
    if absent:
        # A first line with none of the columns may be a study's row, whose text no message repeats.
        has = f"it has {', '.join(filter(None, header))}" if len(absent) < len(columns) else ""
        hint = has or "the first line names the columns"
        raise HarnessError(f"{path}, line 1: no column {', '.join(absent)}", hint)
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise HarnessError(f"{path}, line 1: column {', '.join(map(repr, twice))} is there twice")
