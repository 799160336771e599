"""The cells of a table of any form, as text."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from harness.core.arguments import described, file_of
from harness.core.errors import HarnessError
from harness.core.frames import as_pandas, is_table
from harness.core.user_files import read_user_file
from harness.evaluation.arrow_files import parquet_table
from harness.evaluation.report_files.frames import with_ids

if TYPE_CHECKING:
    import pandas as pd

Values: TypeAlias = "str | Path | pd.DataFrame"
"""A table: the path of a CSV, TSV or Parquet file, or a data frame, of any library whose tables have
``to_pandas()``."""

_SEPARATORS = (",", "\t", ";")
_FORM = "write CSV or TSV with a header, in UTF-8, or a .parquet file"
_UNNAMED = re.compile(r"(Unnamed: \d+)?")
"""What pandas calls a column without a name, such as the numbers of its rows."""


def cells_of(values: Values, side: str) -> tuple[Path, list[str], list[list[str]]]:
    """Place, header and rows, all cells as text, without nameless columns that are empty or number the rows.

    Raises:
        HarnessError: no table can be read, or a nameless column has something else.
    """
    path, header, rows = _cells(values, side)
    keep = [number for number, name in enumerate(header) if not _UNNAMED.fullmatch(name.strip())]
    for number in sorted(set(range(len(header))) - set(keep)):
        cells = [row[number].strip() for row in rows]
        counts = all(cell.isdecimal() for cell in cells) and len(set(cells)) == len(cells)
        if any(cells) and not counts:
            raise HarnessError(f"{path}: column {number + 1} has no name", "name it, or delete it")
    return path, [header[number] for number in keep], [[row[number] for number in keep] for row in rows]


def _cells(values: Values, side: str) -> tuple[Path, list[str], list[list[str]]]:
    """Place, header and rows, all cells as text."""
    if is_table(values):
        return _of_frame(Path(side), as_pandas(values, side))
    if not isinstance(values, str | Path):
        raise HarnessError(
            f"{side}: {described(values)} is no table",
            "give a path, or a data frame with ids",
        )
    path = file_of(values, side)
    if path.suffix.casefold() in (".parquet", ".pq"):
        try:
            return _of_frame(path, parquet_table(path).to_pandas())
        except (OSError, ValueError) as error:
            raise HarnessError(f"{path}: no Parquet file can be read", "write it again, or as CSV") from error
    try:
        text = read_user_file(path).decode("utf-8-sig")
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: not UTF-8 text at byte {error.start}", _FORM) from error
    if text.lstrip()[:1] in ("{", "["):
        raise HarnessError(f"{path}: JSON is no table", _FORM)
    head = text.partition("\n")[0]
    delimiter = max(_SEPARATORS, key=head.count)
    if not head.count(delimiter):
        raise HarnessError(f"{path}: no table: its first line has one column", _FORM)
    try:
        table = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True, skipinitialspace=True)
        lines = [row for row in table if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise HarnessError(f"{path}: not CSV: {error}") from error
    if not lines:
        raise HarnessError(f"{path}: no table: all its cells are empty", _FORM)
    for number, row in enumerate(lines, 1):
        if len(row) != len(lines[0]):
            raise HarnessError(f"{path}, row {number}: {len(row)} cells, the header has {len(lines[0])}")
    return path, lines[0], lines[1:]


def _of_frame(path: Path, frame: Any) -> tuple[Path, list[str], list[list[str]]]:
    frame = with_ids(frame, str(path))
    values = frame.to_numpy(object)
    for name, column in zip(frame.columns, values.T, strict=True):
        if any(isinstance(cell, list | tuple | set | dict | np.ndarray) for cell in column):
            raise HarnessError(f"{path}: column {str(name)[:60]!r} holds several values in a cell", _FORM)
    rows = [["" if _is_empty(cell) else _text(cell) for cell in row] for row in values]
    return path, [str(name) for name in frame.columns], rows


def _is_empty(cell: Any) -> bool:
    """Whether a cell is None, NaN, or pandas' NA, which equals nothing, itself included."""
    if getattr(cell, "ndim", 0):
        return False  # a table or an array: no number, as is said later
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or bool(cell != cell)


def _text(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, bool | np.bool_) else str(cell)
