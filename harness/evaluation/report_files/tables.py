"""Tables with a header: CSV and its relatives, Parquet, Arrow, and folders of Hugging Face datasets."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError, UnavailableError
from harness.core.packages import absent, install
from harness.evaluation.arrow_files import arrow_table, parquet_table
from harness.evaluation.report_files.content import read_bytes
from harness.evaluation.report_files.fields import (
    EXPECTED,
    IDS,
    Entry,
    Fields,
    Records,
    Reports,
    Source,
    fields_of,
    folded,
    names_text,
    shown,
)

if TYPE_CHECKING:
    import pyarrow

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_EXCEL = re.compile(r"sep=(.)\r?\n")
_KEYED = re.compile(r"[^\s,;|:]*\d[^\s,;|:]*[,;|:]|(?=\S*\d)(?=\S*[A-Za-z_])[\w./-]{2,}(?= )")
"""How a line begins that has an id: with a digit in it, and a delimiter or a letter."""

_QUOTED = re.compile(r"\"[^\"]*\",?|'[^']*',?|\"(?:[^\"\\]|\\.|\"\")*\",?")
"""A line in quotes, as of printed lists."""

_NUMBERED = re.compile(r"\[?\(?(\d{1,9})[\])]?[.:]?\s")
"""How a line begins that is numbered."""


def delimiter_of(content: str, source: Source) -> str | None:
    """The character between the names of a header with an id and a report; None without such a header."""
    for delimiter in DELIMITERS:
        try:
            fields = fields_of(_header(content, delimiter), source.side, source.several)
        except (ValueError, csv.Error):
            continue
        if fields.id is not None:
            return delimiter
    return None


def _header(content: str, delimiter: str) -> list[str]:
    first = next(csv.reader(io.StringIO(content[: 1 << 16], newline=""), delimiter=delimiter), [])
    return [name.strip() for name in first]


def from_csv(source: Source, content: str) -> Reports:
    """Reports of a table of text, whatever its delimiter.

    Raises:
        HarnessError: no header with an id and a report, or a row with another number of cells.
    """
    marked = _EXCEL.match(content)
    content = content[marked.end() :] if marked else content
    delimiter = delimiter_of(content, source)
    if delimiter is None:
        raise _no_header(source, content)
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(content) + 1))
    try:
        return Reports(f"a table with {DELIMITERS[delimiter]}", list(_rows(source, content, delimiter)))
    finally:
        csv.field_size_limit(limit)


def _no_header(source: Source, content: str) -> HarnessError:
    first = content.split("\n", 1)[0].strip()
    if not first or first.startswith("#"):
        return source.error(
            f"line 1 is {'a comment' if first else 'blank'}, no header",
            "remove what stands before the header",
        )
    headers = []
    for delimiter in DELIMITERS:
        try:
            headers.append(_header(content, delimiter))
        except csv.Error:
            continue
    header = max(headers, key=len, default=[])
    try:
        fields_of(header, source.side, source.several)
        why = "no id"
    except ValueError as error:
        why = str(error)
    return source.error(f"columns are {shown(header)}: {why}", EXPECTED)


def _rows(source: Source, content: str, delimiter: str) -> Iterator[Entry]:
    names = _header(content, delimiter)
    spaced = len(names) > 1 and content.split("\n", 1)[0].count(delimiter + " ") == len(names) - 1
    records = Records(source)
    rows = csv.reader(
        io.StringIO(content, newline=""), delimiter=delimiter, strict=True, skipinitialspace=spaced
    )
    try:
        for number, row in enumerate(rows):
            if number == 0 or not any(map(str.strip, row)):
                continue
            if len(row) != len(names):
                raise source.error(
                    f"line {rows.line_num} has not {len(names)} cells",
                    f"quote cells that hold {DELIMITERS[delimiter]}",
                )
            yield records.entry(f"line {rows.line_num}", dict(zip(names, row, strict=True)))
    except csv.Error as error:
        raise source.error(f"line {rows.line_num}: {error}") from error


def _names_columns(content: str, delimiter: str) -> bool:
    """Whether the first line is a header: short names, one of them that of an id or of a report."""
    try:
        names = _header(content, delimiter)
    except csv.Error:
        return False
    short = all(len(name) <= 30 and "." not in name for name in names)
    return len(names) > 1 and short and any(names_text(name) or folded(name) in IDS for name in names)


def refuse_table(source: Source, content: str) -> HarnessError | None:
    """The error of a file of plain text that is a table, or None."""
    if re.match(r"\s*\|[^\n]+\|[ \t]*\n[ \t]*\|[ \t:|-]*-[ \t:|-]*\|", content):
        return source.error("looks like a Markdown table", "write it as CSV, with ids")
    delimiter = next((each for each in DELIMITERS if _names_columns(content, each)), None)
    if delimiter is not None:
        ending = "tsv" if delimiter == "\t" else "csv"
        return source.error(
            f"is no plain text, it is a table with {DELIMITERS[delimiter]} and a header", f"name it .{ending}"
        )
    lines = [line for line in content.split("\n") if line.strip()]
    quoted = all(_QUOTED.fullmatch(line.strip()) for line in lines)
    if quoted and names_text(lines[0].strip().strip("\"',")):
        return source.error("looks like a CSV file of one column, quoted", "add ids and name it .csv")
    if quoted and len(lines) > 1:
        return source.error(
            "each of its lines stands in quotes", "remove them, or name it .jsonl where the lines are JSON"
        )
    if names_text(lines[0]):
        return source.error(f"the first line, {lines[0].strip()!r}, is a header", "remove it")
    if len(lines) > 1 and len({line.count("\t") for line in lines}) == 1 and "\t" in lines[0]:
        return source.error(
            "looks like a table with tabs and no header", "add the line id<TAB>report and name it .tsv"
        )
    keys = [match[0] for line in lines if (match := _KEYED.match(line))]
    if len(lines) > 1 and len(set(keys)) == len(lines):
        return source.error(
            "looks like a table without a header, an id at the start of each line",
            "add the line id,report and name it .csv",
        )
    numbers = [int(match[1]) if (match := _NUMBERED.match(line)) else None for line in lines]
    if len(lines) > 1 and numbers in ([*range(len(lines))], [*range(1, len(lines) + 1)]):
        return source.error(
            "its lines are numbered", "remove the numbers, or write a table with id and report"
        )
    return None


def from_parquet(source: Source, data: bytes) -> Reports:
    """Reports of a Parquet file."""
    arrow = _arrow(source)
    try:
        table = parquet_table(arrow.BufferReader(data))
    except (arrow.ArrowException, OSError) as error:
        raise source.error("damaged Parquet", "write the file again") from error
    return Reports("Parquet", _from_table(source, table))


def from_arrow(source: Source, data: bytes) -> Reports:
    """Reports of an Arrow file or stream."""
    return Reports("Arrow", _from_table(source, _arrow_table(source, data)))


def from_folder(source: Source) -> Reports:
    """Reports of a folder that ``datasets`` wrote, or that holds the Parquet files of one split.

    Raises:
        HarnessError: the folder holds several splits, or no data.
    """
    folder, arrow = source.path, _arrow(source)
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(each.name for each in folder.iterdir() if (each / "state.json").is_file())
        raise (
            source.error(
                f"a dataset with the splits {', '.join(splits)}", f"name one, e.g. {folder / splits[0]}"
            )
            if splits
            else source.error("a dataset without splits")
        )
    if (folder / "state.json").is_file():
        names = _arrow_files(source)
        tables = [_arrow_table(source, read_bytes(folder / name)) for name in names]
        return Reports("a Hugging Face dataset", _from_table(source, arrow.concat_tables(tables)))
    parts = sorted(folder.glob("*.parquet"))
    if len({re.sub(r"-\d+-of-\d+$", "", part.stem) for part in parts}) > 1:
        raise source.error(f"a folder with {len(parts)} Parquet files", "name one of them")
    entries = [entry for part in parts for entry in from_parquet(source, read_bytes(part)).entries]
    if not parts:
        raise source.error("a folder that holds no dataset", "expected state.json, or Parquet files")
    return Reports("a folder of Parquet", entries)


def _arrow_files(source: Source) -> list[str]:
    try:
        state = json.loads(read_bytes(source.path / "state.json"))
        names = [str(each["filename"]) for each in state["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise source.error("damaged state.json", "save the dataset again") from error
    absent = [name for name in names if not (source.path / name).is_file()]
    if absent or state.get("_indices_files") or state.get("_indices_data_files"):
        raise source.error(
            f"{absent[0]} is absent" if absent else "the dataset is a selection of another's rows",
            "save it again, after flatten_indices()",
        )
    return names


def _arrow(source: Source) -> Any:
    if absent("pyarrow"):
        raise UnavailableError(
            f"{source.path}: Parquet and Arrow need pyarrow", f"{install('parquet')}, or write CSV"
        )
    import pyarrow

    return pyarrow


def _arrow_table(source: Source, data: bytes) -> pyarrow.Table:
    arrow = _arrow(source)
    try:
        return arrow_table(data)
    except (arrow.ArrowException, OSError) as error:
        raise source.error("damaged Arrow data", "write the file again") from error


def _from_table(source: Source, table: pyarrow.Table) -> Sequence[Entry]:
    names = list(table.column_names)
    try:
        fields: Fields = fields_of(names, source.side, source.several)
        if fields.id is None:
            raise ValueError("no id")
    except ValueError as error:
        raise source.error(f"columns are {shown(names)}: {error}", EXPECTED) from error
    records = Records(source)
    rows = table.select(list(dict.fromkeys(fields.names))).to_pylist()
    return [records.entry(f"row {number}", row) for number, row in enumerate(rows, start=1)]
