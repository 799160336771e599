"""Reading reports from any system's file, strictly: nothing is guessed, reordered or dropped.

The file's ending says the format: ``.json`` (a list of strings, or an object id -> text or id -> [text]),
``.jsonl`` (objects with ``id`` and ``report`` or ``text``), ``.csv`` (columns of these names); anything else
is plain text, one report per line. Objects and rows may carry a ``patient_id``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError

_SHAPES = "expected a list of strings, or an object id -> text"
_FIELDS = ("report", "text")


@dataclass(frozen=True, slots=True)
class TextFile:
    """Reports by id, in the order of the file.

    Attributes:
        path: where they come from.
        texts: id -> report; "" is a report without words.
        patients: id -> patient, for the studies whose patient the file names.
        numbered: the file has no ids; they are positions, counted from 1.
    """

    path: Path
    texts: Mapping[str, str]
    patients: Mapping[str, str]
    numbered: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    id: str
    text: str
    patient: str | None = None


def read_texts(path: Path) -> TextFile:
    """Read a file of reports.

    Raises:
        HarnessError: no such file, not UTF-8, a NUL byte, nothing in it, the wrong shape, an id twice.
    """
    content = _decoded(path)
    suffix = path.suffix.lower()
    readers: dict[str, Callable[[Path, str], Iterator[_Entry]]] = {
        ".json": _from_json,
        ".jsonl": _from_lines,
        ".ndjson": _from_lines,
        ".csv": _from_csv,
    }
    entries = list(readers.get(suffix, _from_plain)(path, content))
    if not entries:
        raise HarnessError(f"{path}: no reports in it", "the file is empty")
    texts: dict[str, str] = {}
    for entry in entries:
        if entry.id in texts:
            raise HarnessError(f"{path}: id {entry.id!r} occurs twice", "keep one report per id")
        if "\0" in entry.text:
            raise HarnessError(f"{path}: the report of {entry.id!r} contains a NUL character", "remove it")
        texts[entry.id] = entry.text
    patients = {entry.id: entry.patient for entry in entries if entry.patient is not None}
    numbered = suffix not in readers or (suffix == ".json" and content.lstrip().startswith("["))
    return TextFile(path, texts, patients, numbered)


def joined_ids(references: TextFile, predictions: TextFile) -> list[str]:
    """Ids of both files, in the references' order.

    Raises:
        HarnessError: an id on one side only, or one file has ids and the other has none.
    """
    ours, theirs = references.texts, predictions.texts
    if references.numbered != predictions.numbered:
        plain, other = (references, predictions) if references.numbered else (predictions, references)
        raise HarnessError(
            f"{plain.path} has no ids and {other.path} has", "write both with ids, or both without"
        )
    if references.numbered and len(ours) != len(theirs):
        raise HarnessError(
            f"{references.path} has {len(ours)} reports, {predictions.path} has {len(theirs)}",
            "files without ids are joined by position and must be equally long",
        )
    for one, other in ((references, predictions), (predictions, references)):
        absent = [name for name in one.texts if name not in other.texts]
        if absent:
            shown = ", ".join(map(repr, absent[:3])) + (", ..." if len(absent) > 3 else "")
            raise HarnessError(
                f"{other.path} lacks {len(absent)} of the ids in {one.path}: {shown}",
                "every study needs one report in both files; an empty one counts",
            )
    return list(ours)


def _decoded(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HarnessError(f"{path}: line {line} is not UTF-8", "save the file as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise HarnessError(f"{path}: line {line} contains a NUL byte", "remove it")
    return text


def _from_json(path: Path, content: str) -> Iterator[_Entry]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise HarnessError(f"{path}: id {key!r} occurs twice", "keep one report per id")
            seen[key] = value
        return seen

    if not content.strip():
        return
    try:
        value = json.loads(content, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{path}: not valid JSON: {error}") from error
    if isinstance(value, list):
        for number, item in enumerate(value, start=1):
            if not isinstance(item, str):
                raise HarnessError(f"{path}: item {number} is no string", _SHAPES)
            yield _Entry(str(number), item)
    elif isinstance(value, dict):
        for key, item in value.items():
            text = item[0] if isinstance(item, list) and len(item) == 1 else item
            if not isinstance(text, str):
                many = isinstance(item, list) and len(item) > 1
                what = f"has {len(item)} texts, one is scored" if many else "is neither text nor [text]"
                raise HarnessError(f"{path}: the value of {key!r} {what}", _SHAPES)
            yield _Entry(key, text)
    else:
        raise HarnessError(f"{path}: neither list nor object", _SHAPES)


def _from_lines(path: Path, content: str) -> Iterator[_Entry]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise HarnessError(f"{path}: line {number} is not valid JSON: {error}") from error
        if not isinstance(record, dict):
            raise HarnessError(f"{path}: line {number} is no object", "expected id and report in each line")
        yield _entry(path, number, record)


def _from_csv(path: Path, content: str) -> Iterator[_Entry]:
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(content) + 1))
    try:
        rows = csv.DictReader(io.StringIO(content, newline=""), strict=True)
        columns = rows.fieldnames or []
        repeated = {column for column in columns if columns.count(column) > 1}
        if columns and ("id" not in columns or not set(_FIELDS) & set(columns) or repeated):
            raise HarnessError(
                f"{path}: columns are {', '.join(columns)}", "expected id and report (or text), each once"
            )
        for row in rows:
            if None in row or None in row.values():  # DictReader's marks of a long or a short row
                raise HarnessError(f"{path}: line {rows.line_num} has not {len(columns)} cells")
            yield _entry(path, rows.line_num, row)
    except csv.Error as error:
        raise HarnessError(f"{path}: line {rows.line_num}: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _from_plain(path: Path, content: str) -> Iterator[_Entry]:
    if not content:
        return
    for number, line in enumerate(content.removesuffix("\n").split("\n"), start=1):
        yield _Entry(str(number), line.removesuffix("\r"))


def _entry(path: Path, line: int, record: Mapping[str, Any]) -> _Entry:
    name, patient = record.get("id"), record.get("patient_id")
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise HarnessError(f"{path}: line {line} has no id")
    given = [field for field in _FIELDS if field in record]
    if len(given) != 1:
        raise HarnessError(
            f"{path}: line {line} (id {name!r}) needs report or text, not {given or 'neither'}"
        )
    text = record[given[0]]
    if not isinstance(text, str):
        raise HarnessError(
            f"{path}: line {line} (id {name!r}): {given[0]} is no string",
            "write an empty text if that is meant",
        )
    return _Entry(str(name), text, str(patient) if patient not in (None, "") else None)
