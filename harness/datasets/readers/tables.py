"""Tables and texts of releases, plain or gzipped: an error names file and line, never content."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.user_files import gunzipped, read_user_file

_OTHERS = {
    codecs.BOM_UTF16_LE: "UTF-16: save it as UTF-8",
    codecs.BOM_UTF16_BE: "UTF-16: save it as UTF-8",
    b"PK\x03\x04": "a zip archive or a spreadsheet: save it as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "a spreadsheet: save it as CSV in UTF-8",
    b"PAR1": "a Parquet file: save it as CSV",
}
_CONVERT = "restore it or convert it to UTF-8"
_MOST_BYTES = 2**30
_FIELD_LIMIT = 1 << 20
"""A longer cell means an unclosed quote; reports are a few kilobytes."""


def read_text(path: Path) -> str:
    """A whole UTF-8 file, gunzipped where its name ends in ``.gz``.

    Raises:
        HarnessError: no such file, damaged gzip, not UTF-8.
    """
    try:
        content = read_user_file(path, _MOST_BYTES)
        if path.suffix == ".gz":
            content = gunzipped(path, content, _MOST_BYTES)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = next(
            (f"it is {what}" for magic, what in _OTHERS.items() if content.startswith(magic)), _CONVERT
        )
        raise HarnessError(f"{path}: not UTF-8 text at byte {error.start}", hint) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise HarnessError(f"{path}: damaged gzip file: {error}", "download it again") from error
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}", "is --root the right folder?") from error


def read_json(path: Path) -> Any:
    """Parsed JSON.

    Raises:
        HarnessError: see ``read_text``; or no JSON, with line and column.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise HarnessError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}",
            "download it again",
        ) from error
    except (ValueError, RecursionError) as error:
        raise HarnessError(
            f"{path}: not readable JSON: {type(error).__name__}", "download it again"
        ) from error


def read_rows(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[str, ...]]:
    """The named cells of each row of a CSV file, after the number of the line that the row ends on.

    Args:
        columns: names that the header must hold.
        optional: names whose cells are ``""`` where the header lacks them; they follow ``columns``.

    Raises:
        HarnessError: see ``read_text``; or no CSV, a column absent or twice, a row of another length.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    csv.field_size_limit(_FIELD_LIMIT)
    try:
        header = [name.strip() for name in next(reader, [])]
        places = _places(path, header, columns)
        places += [header.index(name) if name in header else -1 for name in optional]
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise HarnessError(
                    f"{path}, line {reader.line_num}: {len(row)} cells, expected {len(header)}"
                )
            cells = ("" if place < 0 else row[place] for place in places)
            yield (str(reader.line_num), *cells)
    except csv.Error as error:
        raise HarnessError(f"{path}, line {reader.line_num}: not CSV: {error}") from error


def _places(path: Path, header: list[str], columns: Sequence[str]) -> list[int]:
    absent = [name for name in columns if name not in header]
    if absent:
        raise HarnessError(f"{path}: no column {', '.join(absent)}", f"it has {', '.join(header) or 'none'}")
    twice = [name for name in columns if header.count(name) > 1]
    if twice:
        raise HarnessError(f"{path}: column {', '.join(twice)} is there twice")
    return [header.index(name) for name in columns]
