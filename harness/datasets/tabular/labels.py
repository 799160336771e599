"""Labels of a user's table: names in one column, or codes in one or many; what is not clear is asked.

A cell of ``labels`` is one class, or findings with ``;`` between or behind them. Other shapes are recognised:
lists as Python writes them, codes (1, 0, -1, yes, no) in the cell or in columns ``label:NAME``, or columns
that are named like CheXpert's labels. Where a shape has two meanings, the problem says which option decides.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from harness.core.null_words import is_null
from harness.core.types import CHEXPERT_LABELS
from harness.datasets.readers.records import Problem
from harness.datasets.readers.rows import Row
from harness.datasets.tabular.codes import CodeReader, is_code
from harness.datasets.tabular.forms import joined, plain_form, shown, variants
from harness.datasets.tabular.names import Doubts, odd_names
from harness.datasets.tabular.options import LABEL_SEPARATORS, TableOptions

COLUMN, PREFIX = "labels", "label:"
_CHEXPERT = {plain_form(name): name for name in CHEXPERT_LABELS}
_ALWAYS_ASKED = ("pipe", "comma", "newline", "tab")
"""These stand between findings more often than in a name; the others are asked about where parts recur."""
_ASKED = {word: mark for word, mark in LABEL_SEPARATORS.items() if word not in ("semicolon", "none")}
_PAIR = re.compile(r"""\s*["']?(?P<name>[^:="']+?)["']?\s*[:=]\s*["']?(?P<code>[^\s"']*)["']?\s*""")
_NO_FINDING = ("no finding", "no findings", "normal", "none", "healthy")
_WIDE_MARKS = str.maketrans("\uff1b\uff0c\u3001\uff5c\uff0f", ";,,|/")
"""Marks between labels that East Asian keyboards write."""
_VECTOR = re.compile(r"[\s;,|]+")
_SAME_COUNT = '--set "csv.label_names=NAME;NAME;..." names them in order'


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a table.

    Attributes:
        names: of the labels, sorted.
        of_row: float32 (n_labels,) for each row, None for a row without labels.
        multilabel: independent findings, not exclusive classes.
        problems: what is wrong or has to be asked.
        columns: columns that hold codes of labels.
    """

    names: tuple[str, ...] = ()
    of_row: Sequence[NDArray[np.float32] | None] = ()
    multilabel: bool = False
    problems: list[Problem] = field(default_factory=list)
    columns: tuple[str, ...] = ()


def read_labels(rows: Sequence[Row], options: TableOptions) -> Labels:
    """The labels of all rows, from whichever columns hold them."""
    columns = _code_columns(rows)
    if not columns:
        return _of_cells(rows, options)
    names = tuple(columns.values())
    reader = CodeReader(options.uncertain)
    values = [reader.read([row.cells[column] for column in columns], row.where) for row in rows]
    problems = reader.problems()
    if any(not is_null(row.cells.get(COLUMN, "")) for row in rows):
        message = f"labels stand in the column {COLUMN} and in {next(iter(columns))!r}"
        problems.append(Problem("two-kinds-of-labels", rows[0].where, message, "delete one of the two"))
    if not all(column.startswith(PREFIX) for column in columns):
        message = f"{len(columns)} columns named like CheXpert's labels are read as labels"
        hint = f"{PREFIX}NAME is their usual name"
        problems.append(Problem("label-columns", rows[0].where, message, hint, fatal=False))
    problems += variants("label-variants", "labels", [(name, rows[0]) for name in names])
    return Labels(names, _arrays(values), True, problems, tuple(columns))


def _code_columns(rows: Sequence[Row]) -> dict[str, str]:
    """Column -> label of the columns with codes: ``label:NAME``, else those named like CheXpert's labels."""
    header = tuple(rows[0].cells) if rows else ()
    prefixed = {column: column.removeprefix(PREFIX).strip() for column in header if column.startswith(PREFIX)}
    if prefixed or COLUMN in header:
        return prefixed
    named = {column: _CHEXPERT[plain_form(column)] for column in header if plain_form(column) in _CHEXPERT}
    cells = [row.cells[column] for row in rows for column in named]
    return named if all(is_null(cell) or is_code(cell) for cell in cells) else {}


def _of_cells(rows: Sequence[Row], options: TableOptions) -> Labels:
    """Labels of the column ``labels``."""
    cells = [
        "" if _absent(row.cells.get(COLUMN, "")) else row.cells[COLUMN].translate(_WIDE_MARKS) for row in rows
    ]
    filled = [(cell, row) for cell, row in zip(cells, rows, strict=True) if cell]
    if not filled:
        return Labels(of_row=[None] * len(rows))
    parsed = _as_lists([cell for cell, _ in filled])
    if options.codes:
        return _mapped(cells, rows, options)
    vectors = [_VECTOR.split(cell.strip("[]() ")) for cell, _ in filled]
    if all(is_code(code) or is_null(code) for vector in vectors for code in vector):
        return _coded(cells, rows, options)
    pairs = [_pairs(cell) for cell in cells]
    if all(own is not None for own in pairs):
        return _paired([own or {} for own in pairs], rows, options)
    if parsed is None:
        separator = ";" if not options.label_separator else LABEL_SEPARATORS[options.label_separator]
        items = [_split(cell, separator) for cell, _ in filled]
        multilabel = bool(separator) and any(separator in cell for cell, _ in filled)
        problems = _joined(filled, items) if not options.label_separator else _other_mark(filled, separator)
    else:
        items, multilabel, problems = parsed, True, []
    marks = Doubts.of(items, options)
    problems += marks.problems([row for _, row in filled])
    doubted = [bool(names) and not plain for names, plain in zip(items, marks.plain, strict=True)]
    items = [list(names) for names in marks.plain]
    named = [(name, row) for names, (_, row) in zip(items, filled, strict=True) for name in names]
    rest = iter(items)
    own = [next(rest) if cell else [] for cell in cells]
    of_cell = iter(doubted)
    negative = [next(of_cell) and multilabel if cell else False for cell in cells]
    if not options.variants and not problems:
        problems = variants("label-variants", "labels", named)
    elif options.variants == "join":
        spelling = joined([name for name, _ in named])
        own = [[spelling[name] for name in names] for names in own]
    problems += [*odd_names(named), *_contradictions(own, rows)]
    labels = _by_name(own, multilabel, problems, options)
    nothing = np.zeros(len(labels.names), dtype=np.float32)  # of a row whose labels all count as negative
    answers = zip(labels.of_row, negative, strict=True)
    return replace(labels, of_row=[nothing.copy() if is_negative else row for row, is_negative in answers])


def _absent(cell: str) -> bool:
    """Whether a cell holds no label; ``None`` is what people call the class without findings."""
    return is_null(cell) and cell.casefold() != "none"


def _contradictions(own: Sequence[Sequence[str]], rows: Sequence[Row]) -> list[Problem]:
    """A remark on rows that have findings and say that there are none."""
    wrong = [
        row
        for names, row in zip(own, rows, strict=True)
        if len(set(names)) > 1 and any(plain_form(name) in _NO_FINDING for name in names)
    ]
    if not wrong:
        return []
    message = f"{len(wrong)} rows have No Finding or Normal beside a finding, this one first; both count"
    return [Problem("contradictory-labels", wrong[0].where, message, "delete one of the two", fatal=False)]


def _split(cell: str, separator: str) -> list[str]:
    parts = cell.split(separator) if separator else [cell]
    return [part.strip() for part in parts if part.strip()]


def _as_lists(cells: Sequence[str]) -> list[list[str]] | None:
    """Cells that all are lists as Python and JSON write them."""
    if not all(cell.startswith("[") and cell.endswith("]") for cell in cells):
        return None
    lists = []
    for cell in cells:
        try:
            content = ast.literal_eval(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
        if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
            return None
        lists.append([item.strip() for item in content if item.strip()])
    return lists


def _pairs(cell: str) -> dict[str, str] | None:
    """Label -> code of a cell such as ``Edema:1; Fracture:0``; None where it is no such list."""
    parts = [part for part in re.split(r"[;,|]", cell.strip("{} ")) if part.strip()]
    matches = [_PAIR.fullmatch(part) for part in parts]
    pairs = {match["name"].strip(): match["code"] for match in matches if match}
    if not all(matches) or not all(is_code(code) or is_null(code) for code in pairs.values()):
        return None
    return pairs


def _paired(pairs: Sequence[Mapping[str, str]], rows: Sequence[Row], options: TableOptions) -> Labels:
    """Labels of cells that give each finding its code; a finding that a cell leaves out is negative."""
    names = sorted({name for own in pairs for name in own})
    reader = CodeReader(options.uncertain)
    values = [
        reader.read([own.get(name, "") for name in names], row.where)
        for own, row in zip(pairs, rows, strict=True)
    ]
    named = [(name, row) for own, row in zip(pairs, rows, strict=True) for name in own]
    return Labels(
        tuple(names), _arrays(values), True, reader.problems() + variants("label-variants", "labels", named)
    )


def _other_mark(filled: Sequence[tuple[str, Row]], separator: str) -> list[Problem]:
    """A problem for the first cell with a ``;`` where the option names another separator."""
    rows = [row for cell, row in filled if ";" in cell.rstrip("; ") and separator not in ("", ";")]
    if not rows:
        return []
    message = f"{len(rows)} cells of labels have a ';' beside {separator!r}, this one first"
    return [Problem("joined-labels", rows[0].where, message, "write one mark between findings everywhere")]


def _joined(filled: Sequence[tuple[str, Row]], items: Sequence[Sequence[str]]) -> list[Problem]:
    """A problem for the first label that another mark than ``;`` may join of several."""
    names = {name for names in items for name in names}
    for word, mark in _ASKED.items():
        parts = {name: [part.strip() for part in name.split(mark)] for name in names if mark in name}
        recurring = Counter(part for own in parts.values() for part in set(own))
        recurring.update(names - set(parts))
        for (_, row), own in zip(filled, items, strict=True):
            for name in own:
                if name not in parts:
                    continue
                if word in _ALWAYS_ASKED or any(recurring[part] > 1 for part in parts[name]):
                    message = f"labels {shown(name)}: several findings joined by {mark!r}, or one name?"
                    hint = (
                        f"--set csv.label_separator={word} splits them, "
                        "=semicolon or =none takes the mark for a part of the name"
                    )
                    return [Problem("joined-labels", row.where, message, hint)]
    return []


def _coded(cells: Sequence[str], rows: Sequence[Row], options: TableOptions) -> Labels:
    """Labels of cells that hold codes alone: one, or one for each name."""
    vectors = [_VECTOR.split(cell.strip("[]() ")) if cell else [] for cell in cells]
    counts = Counter(len(vector) for vector in vectors if vector)
    count = counts.most_common(1)[0][0]
    names = options.names
    first = next(row for vector, row in zip(vectors, rows, strict=True) if vector)
    if len(names) != count:
        shown = "/".join(sorted({code.casefold() for vector in vectors for code in vector})[:6])
        what = f"codes ({shown})" if count == 1 else f"lists of {count} codes ({shown})"
        message = f"labels are {what}: of which finding?"
        hint = _SAME_COUNT
        if count == 1:
            classes = ";".join(f"{code}=NAME" for code in shown.split("/"))
            hint = f'--set csv.label_names=NAME names the finding, --set "csv.label_names={classes}" classes'
        problem = Problem("coded-labels", first.where, message, hint)
        return Labels(of_row=[None] * len(rows), problems=[problem])
    reader = CodeReader(options.uncertain)
    values: list[list[float] | None] = []
    problems = []
    for vector, row in zip(vectors, rows, strict=True):
        if vector and len(vector) != count:
            message = f"{len(vector)} codes of labels where other rows have {count}"
            problems.append(Problem("bad-label", row.where, message))
        values.append(reader.read(vector, row.where) if len(vector) == count else None)
    return Labels(tuple(names), _arrays(values), True, problems + reader.problems())


def _mapped(cells: Sequence[str], rows: Sequence[Row], options: TableOptions) -> Labels:
    """Exclusive classes by the codes that ``label_names`` names."""
    classes = {plain_form(code): name for code, name in options.codes.items()}
    own, problems = [], []
    for cell, row in zip(cells, rows, strict=True):
        own.append([classes[plain_form(cell)]] if plain_form(cell) in classes else [])
        if cell and not own[-1]:
            hint = f"csv.label_names has {', '.join(options.codes)}"
            problems.append(Problem("bad-label", row.where, f"label {shown(cell)} has no name", hint))
    return _by_name(own, False, problems, options)


def _by_name(
    own: Sequence[Sequence[str]], multilabel: bool, problems: list[Problem], options: TableOptions
) -> Labels:
    """Labels from the names of each row; ``label_names`` may name classes that no row has."""
    names = sorted({name for names in own for name in names} | set(options.names))
    values = [[float(name in row) for name in names] if row else None for row in own]
    return Labels(tuple(names), _arrays(values), multilabel, problems)


def _arrays(values: Sequence[Sequence[float] | None]) -> list[NDArray[np.float32] | None]:
    return [None if row is None else np.array(row, dtype=np.float32) for row in values]
