"""JSON and JSON lines: lists, objects, records, columns, and the shapes of COCO, RadEval and ReXrank."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.core.errors import HarnessError
from harness.evaluation.report_files.chats import CHAT_HINT, batch_record, chat_shape, is_batch
from harness.evaluation.report_files.fields import (
    IDS,
    SEVERAL_ADVICE,
    Entry,
    Records,
    Reports,
    Source,
    entry_of,
    fields_of,
    folded,
    id_of,
    names_text,
)

_SHAPES = "expected a list of strings, a list of records with id and report, or an object id -> text"
_SPLITS = {"train", "val", "valid", "validation", "dev", "test"}
_WRAPPERS = {*_SPLITS, "results", "result", "reports", "data", "outputs"}
"""Names of an object that holds the reports, beside what describes the file."""


class JsonObject(dict[str, Any]):
    """A JSON object that knows all its pairs, those of a repeated key included."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


_DECODER = json.JSONDecoder(object_pairs_hook=JsonObject)
"""Made once: ``json.loads`` would make one for every line."""


def parsed(content: str) -> Any:
    """A JSON value whose objects are ``JsonObject``.

    Raises:
        ValueError, RecursionError: it is no JSON.
    """
    return _DECODER.decode(content)


def from_json(source: Source, content: str, lines: bool) -> Reports:
    """Reports of a JSON value, or of one JSON object per line.

    Args:
        source: where the content comes from.
        content: is not blank.
        lines: the file's ending says that each line is a record.

    Raises:
        HarnessError: no JSON, or a shape that is not among those that are read.
    """
    try:
        value = parsed(content)
    except (ValueError, RecursionError) as error:
        rows = [line for line in content.split("\n") if line.strip()]
        if lines or (len(rows) > 1 and rows[0].strip().startswith("{") and _is_json(rows[0])):
            return _of_lines(source, content)
        python = content.lstrip()[:2] in ("{'", "['") or "None" in str(error)
        hint = "it looks like printed Python: write it with json.dumps" if python else ""
        raise source.error(f"not valid JSON: {error}", hint) from error
    if lines and "\n" not in content.strip():
        return _of_lines(source, content)
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[") and _is_json(value):
        return from_json(source, value, False)  # encoded twice
    if isinstance(value, list):
        return _from_list(source, value)
    if isinstance(value, JsonObject):
        return _from_object(source, value)
    raise source.error("neither list nor object", _SHAPES)


def _is_json(content: str) -> bool:
    try:
        parsed(content)
    except (ValueError, RecursionError):
        return False
    return True


def _of_lines(source: Source, content: str) -> Reports:
    """Reports of one JSON value per line: records with ids, or texts in order."""
    rows = [line for line in content.split("\n") if line.strip()]
    if all(row.lstrip()[0] == '"' or row.strip() == "null" for row in rows) and all(map(_is_json, rows)):
        texts = [parsed(row) for row in rows]
        entries = [Entry(str(number), text) for number, text in enumerate(texts, start=1)]
        return Reports("JSON lines of texts", entries, "list")
    return Reports("JSON lines", list(_from_lines(source, content)))


def _from_lines(source: Source, content: str) -> Iterator[Entry]:
    records = Records(source)
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = parsed(line)
        except (ValueError, RecursionError) as error:
            raise source.error(f"line {number} is not valid JSON: {error}") from error
        if not isinstance(record, JsonObject):
            what = "looks like a pair" if isinstance(record, list) and len(record) == 2 else "is no object"
            raise source.error(f"line {number} {what}", "expected id and report in each line")
        yield _record(source, records, f"line {number}", record)


def _record(
    source: Source, records: Records, place: str, record: JsonObject, key: str | None = None
) -> Entry:
    names = [name for name, _ in record.pairs]
    if len(names) > len(record):
        twice = next(name for name in names if names.count(name) > 1)
        raise source.error(f"{place}: {twice!r} occurs twice in one record", "keep one of them")
    if is_batch(record):
        try:
            return records.entry(place, batch_record(record))
        except ValueError as error:
            raise source.error(f"{place} {error}", CHAT_HINT) from error
    shape = None if any(map(names_text, names)) else chat_shape(record)
    if shape is not None:
        raise source.error(f"{place} looks like {shape}", CHAT_HINT)
    return records.entry(place, record, key)


def _from_list(source: Source, items: Sequence[Any]) -> Reports:
    if items and all(isinstance(item, JsonObject) for item in items):
        records = Records(source)
        entries = [
            _record(source, records, f"item {number}", item) for number, item in enumerate(items, start=1)
        ]
        coco = all("image_id" in item and "caption" in item for item in items)
        return Reports("a COCO result list" if coco else "a list of records", entries)
    if items and all(isinstance(item, list) and len(item) == 2 for item in items):
        raise source.error("looks like a list of pairs", "write an object id -> text")
    entries = [_entry(source, str(number), f"item {number}", item) for number, item in enumerate(items, 1)]
    return Reports("a JSON list", entries, "list")


def _entry(source: Source, name: str, place: str, value: Any) -> Entry:
    try:
        return entry_of(name, value, source.several)
    except ValueError as error:
        what = "is no string" if place.startswith("item") and not isinstance(value, list) else str(error)
        hint = SEVERAL_ADVICE if isinstance(value, list) and len(value) > 1 else _SHAPES
        raise source.error(f"{place} {what}", hint) from error


def _from_object(source: Source, value: JsonObject) -> Reports:
    plain = {folded(name) for name in value}
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return _from_list(source, _split_rows(source, value))
    objects = {folded(name): each for name, each in value.items() if isinstance(each, JsonObject)}
    if len(objects) > 1 and set(objects) <= _SPLITS:
        raise source.error(
            f"looks like a file with the splits {', '.join(objects)}", "write one split to a file"
        )
    if len(objects) == 1 and set(objects) <= _WRAPPERS and not plain & set(IDS) and _holds_reports(objects):
        return _from_object(source, next(iter(objects.values())))
    lists = {folded(name) for name, each in value.items() if isinstance(each, list)}
    if len(lists & _SPLITS) == len(value) > 1:
        raise source.error(
            f"looks like an annotation file with the splits {', '.join(value)}",
            "write the records of one split to a file",
        )
    wrapped = [each for each in value.values() if _are_records(each)]
    of_objects = [each for each in value.values() if isinstance(each, list) and any(map(_is_object, each))]
    if "annotations" in lists or (len(wrapped) == len(of_objects) == 1 and not plain & set(IDS)):
        return _from_list(source, value["annotations"] if "annotations" in lists else wrapped[0])
    if any(names_text(name) for name in plain):
        return _from_columns(source, value)
    if value and all(isinstance(each, JsonObject) for each in value.values()):
        _refuse_patients(source, value)
        counted = _counts(value) and all(any(folded(name) in IDS for name in each) for each in value.values())
        records = Records(source)
        entries = [
            _record(source, records, f"the value of {key!r}", each, None if counted else key)
            for key, each in value.pairs
        ]
        return Reports("an object row -> record" if counted else "an object id -> record", entries)
    if any(_other_ids(key, each) for key, each in value.pairs):
        raise source.error(
            "looks like an object of lists of records, as of patients with studies", _FLAT_HINT
        )
    entries = [_entry(source, key, f"the value of {key!r}", each) for key, each in value.pairs]
    if any(entry.id.strip() == "" for entry in entries):
        raise source.error("a report has no id", _SHAPES)
    return Reports("an object id -> text", entries)


_FLAT_HINT = "write one object study -> report, or records with patient_id, id and report"


def _refuse_patients(source: Source, value: Mapping[str, JsonObject]) -> None:
    """An error for objects inside objects, of which none is a record."""
    for key, each in value.items():
        plain = not any(map(names_text, each)) and not any(folded(name) in IDS for name in each)
        if plain and each and all(isinstance(inner, str | JsonObject | None) for inner in each.values()):
            raise source.error(
                f"looks like patients with studies inside: {key!r} -> {next(iter(each))!r}", _FLAT_HINT
            )


def _holds_reports(objects: Mapping[str, JsonObject]) -> bool:
    """Whether the one object is no record itself: none of its keys is a field of a report."""
    (inner,) = objects.values()
    return bool(inner) and not any(map(names_text, inner)) and not set(map(folded, inner)) & set(IDS)


def _split_rows(source: Source, value: JsonObject) -> list[Any]:
    """Records, or texts in order, of what pandas writes with ``orient="split"``.

    The index holds the ids where no column does, unless it only counts.
    """
    columns, rows, index = list(map(str, value["columns"])), value["data"], value.get("index")
    if any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
        raise source.error(f"a row has not {len(columns)} cells", "write it again with orient='records'")
    if not any(folded(name) in IDS for name in columns) and isinstance(index, list):
        if len(index) != len(rows):
            raise source.error(f"an index of {len(index)} names {len(rows)} rows", "write it again")
        if _counts(index):
            place = columns.index(fields_of(columns, source.side).text)
            return [row[place] for row in rows]
        columns, rows = ["id", *columns], [[name, *row] for name, row in zip(index, rows, strict=True)]
    return [JsonObject(list(zip(columns, row, strict=True))) for row in rows]


def _counts(names: Iterable[Any]) -> bool:
    """Whether names of rows only count them, from 0 or 1 on: such rows have no ids."""
    listed = list(map(str, names))
    return listed in ([str(n) for n in range(start, start + len(listed))] for start in (0, 1))


def _other_ids(key: str, value: Any) -> bool:
    """Whether a value is a list of records of which one has an id of its own, another than the key."""
    if not isinstance(value, list):
        return False
    records = [item for item in value if isinstance(item, JsonObject)]
    return any(folded(name) in IDS and str(each[name]) != key for each in records for name in each)


def _is_object(value: Any) -> bool:
    return isinstance(value, JsonObject)


def _are_records(value: Any) -> bool:
    """Whether a value is a list of objects that each have an id."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(item, JsonObject)
            and any(folded(name) in IDS for name in item)
            and any(map(names_text, item))
            for item in value
        )
    )


def _from_columns(source: Source, value: JsonObject) -> Reports:
    """An object whose keys are names of fields: columns, one record, or both sides of a score."""
    names = [name for name, _ in value.pairs]
    try:
        fields = fields_of(names, source.side, source.several)
    except ValueError as error:
        raise source.error(f"looks like an object of fields ({', '.join(names[:6])}): {error}") from error
    texts = value[fields.text]
    ids = value[fields.id] if fields.id is not None else _ids_beside(value)
    if isinstance(texts, list) and texts and all(isinstance(each, JsonObject) for each in texts):
        return _from_list(source, texts)
    if isinstance(texts, list):
        _same_length(source, value)
        if isinstance(ids, list):
            return Reports("columns", list(_columns(source, dict(enumerate(ids)), dict(enumerate(texts)))))
        return Reports(f"a list under {fields.text!r}", _from_list(source, texts).entries, "list")
    if isinstance(texts, JsonObject):
        if not isinstance(ids, JsonObject) and _counts(texts):
            return _from_list(source, list(texts.values()))
        rows = ids if isinstance(ids, JsonObject) else dict(zip(texts, texts, strict=True))
        return Reports("columns", list(_columns(source, rows, texts)))
    if fields.id is None or isinstance(ids, list | dict):
        raise source.error(f"looks like one record ({', '.join(names[:6])}), without an id", _SHAPES)
    return Reports("one record", [_record(source, Records(source), "the record", value)])


def _ids_beside(value: Mapping[str, Any]) -> Any:
    """A list of ids under a name in the plural, such as ``ids``."""
    plural = {f"{name}s" for name in IDS}
    return next((each for name, each in value.items() if folded(name) in plural), None)


def _same_length(source: Source, value: Mapping[str, Any]) -> None:
    lengths = {name: len(each) for name, each in value.items() if isinstance(each, list)}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise source.error(f"lists of different lengths: {counts}", "give each study one item in every list")


def _columns(source: Source, ids: Mapping[Any, Any], texts: Mapping[Any, Any]) -> Iterator[Entry]:
    for row, text in texts.items():
        name = id_of(ids.get(row))
        if name is None:
            raise source.error(f"row {row} has no id")
        yield _entry(source, name, f"the report of {name!r}", text)


def refuse_json(source: Source, content: str) -> HarnessError | None:
    """The error of a file of plain text that holds JSON, or None."""
    start = content.lstrip()[:1]
    if start not in ("{", "["):
        return None
    if _is_json(content):
        return source.error("is no plain text, it holds JSON", "name it .json")
    first = content.lstrip().split("\n", 1)[0]
    if first.startswith(("{'", "['")) and first.rstrip().endswith(("'}", "']", "{", "[", ",")):
        return source.error("is no plain text, it holds printed Python", "write it with json.dumps")
    if start == "{" and _is_json(first):
        return source.error("is no plain text, it holds JSON lines", "name it .jsonl")
    return None
