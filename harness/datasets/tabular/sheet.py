"""The rows of a user's table: its separator, the names of its columns, its cells."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.core.errors import HarnessError
from harness.datasets.readers.records import Problem
from harness.datasets.readers.rows import Lines, Row, rows_of
from harness.datasets.readers.tables import read_text
from harness.datasets.tabular.options import SEPARATORS, TableOptions

LABELS = "labels"
PREFIXES = ("image", "label", "attribute")
"""What stands before the colon in names of columns."""
_ONE_LABEL = "label"
_EXCEL = "sep="
"""A first line that says which separator follows."""


def read_sheet(
    path: Path, options: TableOptions, required: Sequence[str], optional: Sequence[str]
) -> tuple[list[Row], list[Problem]]:
    """Rows by the names of their columns, and what is to be said of the table's form.

    Args:
        required: columns that must be there.
        optional: further columns that have a meaning; case and invisible characters do not matter.

    Raises:
        HarnessError: the file is absent, not UTF-8 or not CSV, has no header, lacks a column or has it twice.
    """
    lines = Lines(path.name, path, read_text(path))
    if lines.text[: len(_EXCEL)].casefold() == _EXCEL:
        lines = replace(lines, skipped=1)
    separator = SEPARATORS[options.separator] if options.separator else _separator(lines, required)
    lines = replace(lines, separator=separator)
    cells = lines.header()
    header = _renamed([_visible(cell) for cell in cells], [*required, *optional])
    if [name for name in required if name not in header] == ["split"]:
        where = f"{path}, line {1 + lines.skipped}"
        raise HarnessError(f"{where}: no column split", "--set csv.split=0.7/0.1/0.2 draws one by patient")
    rows, problems = rows_of(lines, required, header)
    return rows, [*_remarks(lines, cells, header, options), *problems]


def _separator(lines: Lines, required: Sequence[str]) -> str:
    """The separator that gives most of the columns that must be there; of several the first."""

    def columns(separator: str) -> int:
        try:
            header = replace(lines, separator=separator).header()
        except HarnessError:  # quotes that end before another separator than this one
            return 0
        return len(set(required) & {_visible(cell).lower() for cell in header})

    return max(SEPARATORS.values(), key=columns)


def _visible(name: str) -> str:
    """The name without blanks at its ends, non-breaking blanks and invisible characters."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return " ".join(plain.split())


def _renamed(header: list[str], names: Sequence[str]) -> list[str]:
    """Names that differ from one with a meaning in case alone are that name, where it is not there itself.

    ``label`` is ``labels``, and what stands before a colon, as in ``Image: ap``, is in small letters.
    """
    own = {name.casefold(): name for name in names if name not in header}
    renamed = [own.get(name.casefold(), name) for name in header]
    if LABELS in names and LABELS not in renamed:
        renamed = [LABELS if name.casefold() == _ONE_LABEL else name for name in renamed]
    return [_prefixed(name) for name in renamed]


def _prefixed(name: str) -> str:
    before, colon, after = name.partition(":")
    prefix = before.strip().casefold()
    return f"{prefix}:{after.strip()}" if colon and prefix in PREFIXES else name


def _remarks(
    lines: Lines, cells: Sequence[str], header: Sequence[str], options: TableOptions
) -> list[Problem]:
    where = f"{lines.label}, line {1 + lines.skipped}"
    remarks = []
    if lines.separator != "," and not options.separator:
        word = next(word for word, mark in SEPARATORS.items() if mark == lines.separator)
        message, hint = f"cells are separated by a {word}", f"--set csv.separator={word} says so"
        remarks.append(Problem("separator", where, message, hint, fatal=False))
    for cell, name in zip(cells, header, strict=True):
        if name and cell.strip() != name:
            message = f"column {_visible(cell)!r} is read as {name}"
            remarks.append(Problem("column-name", where, message, f"write {name}", fatal=False))
    nameless = sum(not name for name in header)
    if nameless:
        message = f"{nameless} columns without a name are not read"
        remarks.append(Problem("column-name", where, message, "delete them", fatal=False))
    return remarks
