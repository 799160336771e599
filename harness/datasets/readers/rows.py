"""Rows of a CSV file with their line numbers, and every row that does not fit, in one pass."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.datasets.readers.records import Problem
from harness.datasets.readers.tables import read_text

_SPOKEN = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}


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
    lines = Lines(label or path.name, path, read_text(path))
    return rows_of(lines, required, [cell.strip() for cell in lines.header()])


@dataclass(frozen=True, slots=True)
class Lines:
    """The text of a CSV file.

    Attributes:
        label: how messages call the file.
        separator: between cells.
        skipped: lines before the header.
    """

    label: str
    path: Path
    text: str
    separator: str = ","
    skipped: int = 0

    def header(self) -> list[str]:
        """The cells of the header as they stand.

        Raises:
            HarnessError: not CSV.
        """
        try:
            return next(self.reader(), [])
        except csv.Error as error:
            raise HarnessError(f"{self.path}, line {1 + self.skipped}: not CSV: {error}") from error

    def reader(self) -> Any:
        """A reader that gives the header first."""
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.separator, strict=True)
        for _ in range(self.skipped):
            next(reader, [])
        return reader


def rows_of(lines: Lines, required: Iterable[str], header: Sequence[str]) -> tuple[list[Row], list[Problem]]:
    """All rows below the header, and a problem for each row of another length.

    Args:
        required: columns that must be there.
        header: name of each column; a column without a name is left out.

    Raises:
        HarnessError: not CSV, no header, a column that is absent or there twice.
    """
    _check_header(lines, header, required)
    reader = lines.reader()
    rows: list[Row] = []
    problems: list[Problem] = []
    try:
        next(reader, [])
        start = reader.line_num + 1
        for cells in reader:
            where, start = f"{lines.label}, line {start}", reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) == len(header):
                named = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if name}
                rows.append(Row(where, named))
            else:
                message = f"{len(cells)} cells where the header has {len(header)}"
                hint = f"quote cells that hold a {_SPOKEN.get(lines.separator, lines.separator)}"
                problems.append(Problem("bad-row", where, message, hint))
    except csv.Error as error:
        raise HarnessError(f"{lines.path}, line {reader.line_num}: not CSV: {error}") from error
    return rows, problems


def _check_header(lines: Lines, header: Sequence[str], required: Iterable[str]) -> None:
    where = f"{lines.path}, line {1 + lines.skipped}"
    if not any(header):
        raise HarnessError(f"{where}: no header", "the first line names the columns")
    columns = list(required)
    absent = [column for column in columns if column not in header]
    if absent:
        # A first line with none of the columns may be a study's row, whose text no message repeats.
        has = f"it has {', '.join(filter(None, header))}" if len(absent) < len(columns) else ""
        hint = has or "the first line names the columns"
        raise HarnessError(f"{where}: no column {', '.join(absent)}", hint)
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise HarnessError(f"{where}: column {', '.join(map(repr, twice))} is there twice")
