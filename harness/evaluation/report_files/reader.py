"""The one reader of report files: the content says the shape, and what is not recognised is refused.

An ending says what is expected. Plain text is what ends in none of ``STRUCTURED``; if it holds JSON or a
table after all, it is refused, because a header would become a study and pairs would go by line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.evaluation.report_files.content import decoded, read_bytes
from harness.evaluation.report_files.fields import NULL_WORDS, Entry, Reports, Side, Source, listed
from harness.evaluation.report_files.json_shapes import from_json, refuse_json
from harness.evaluation.report_files.tables import (
    delimiter_of,
    from_arrow,
    from_csv,
    from_folder,
    from_parquet,
    refuse_table,
)

LINES = (".jsonl", ".ndjson")
JSON = (".json", *LINES)
TABLES = (".csv", ".tsv", ".tab")
BINARY = (".parquet", ".pq", ".arrow", ".feather")
STRUCTURED = (*JSON, *TABLES, *BINARY)
NOT_READ = (".xml", ".html", ".htm", ".yaml", ".yml", ".xls", ".xlsx", ".doc", ".docx", ".pkl", ".npz", ".h5")

_MARKUP = re.compile(
    r"\s*<(?:[?]xml|!doctype|html)\b|\s*<(\w{4,})[^<>]*>.*</\1>\s*$", re.IGNORECASE | re.DOTALL
)
"""XML and HTML as a whole; a text may begin with a tag such as ``<s>``."""


@dataclass(frozen=True, slots=True)
class ReportFile:
    """Reports by id, in the order of the file.

    Attributes:
        path: where they come from.
        shape: of the file, in words.
        texts: id -> report; "" is a report without words.
        order: what joins it with another file: ``ids``, positions in a ``list``, or ``lines``. Ids of the
            last two are positions, counted from 1.
        patients: id -> patient, for the studies whose patient the file names.
        nulls: ids of reports that are absent or a null word; their text is "".
        repeated: ids that occur several times, always with the same text.
        more: id -> further texts of a study, where several are allowed; none is absent.
        contexts: id -> age, sex and indication, where the file names them.
    """

    path: Path
    shape: str
    texts: Mapping[str, str]
    order: str
    patients: Mapping[str, str]
    nulls: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)


def read_reports(
    path: Path,
    side: Side = "predictions",
    null_words: Sequence[str] = NULL_WORDS,
    several: bool = False,
) -> ReportFile:
    """Read a file of reports, or the folder of a dataset.

    Args:
        path: the file; it may be compressed with gzip.
        side: what it is read for, where it holds references and predictions.
        null_words: texts that mean "no report", in lower case.
        several: a study may have several texts.

    Raises:
        HarnessError: no such file, nothing in it, an unknown shape, an id twice with different texts.
        UnavailableError: Parquet without pyarrow.
    """
    source = Source(path, side, several)
    reports = from_folder(source) if path.is_dir() else _of_file(source)
    return checked(source, reports, null_words)


def checked(source: Source, reports: Reports, null_words: Sequence[str]) -> ReportFile:
    """Reports by id.

    Raises:
        HarnessError: there are none, an id stands twice with different texts, a text holds what is no text.
    """
    if not reports.entries:
        raise source.error("no reports in it", "it is empty")
    words = frozenset(word.strip().casefold() for word in null_words)
    texts: dict[str, tuple[str, ...]] = {}
    nulls: list[str] = []
    repeated: dict[str, None] = {}
    for entry in reports.entries:
        own, is_null = _own_texts(source, entry, words)
        if entry.id in texts:
            before = texts[entry.id]
            if own == before or (source.several and set(own) <= set(before)):
                repeated[entry.id] = None
                continue
            if not source.several:
                raise source.error(
                    f"id {listed([entry.id])} occurs twice, with different texts", "keep one report per id"
                )
            own = tuple(dict.fromkeys(text for text in (*before, *own) if text)) or own
        elif is_null:
            nulls.append(entry.id)
        texts[entry.id] = own
    return ReportFile(
        path=source.path,
        shape=reports.shape,
        texts={name: own[0] for name, own in texts.items()},
        order=reports.order,
        patients=_patients(source, reports),
        nulls=tuple(name for name in nulls if not texts[name][0]),
        repeated=tuple(repeated),
        more={name: own[1:] for name, own in texts.items() if len(own) > 1},
        contexts={entry.id: entry.context for entry in reports.entries if entry.context is not None},
    )


def _own_texts(source: Source, entry: Entry, null_words: frozenset[str]) -> tuple[tuple[str, ...], bool]:
    """The texts of an entry, "" where it has none, and whether it has none.

    Of several, those that are absent or null words go; of references, blank ones, too.
    """
    if not entry.more:
        text, is_null = _plain(source, entry, null_words)
        return (text,), is_null
    plain = [_plain(source, Entry(entry.id, text), null_words) for text in (entry.text, *entry.more)]
    blank_too = source.side == "references"
    own = tuple(text for text, is_null in plain if not is_null and (text.strip() or not blank_too))
    return (own, False) if own else (("",), True)


def _plain(source: Source, entry: Entry, null_words: frozenset[str]) -> tuple[str, bool]:
    """The text of an entry, "" where it has none, and whether it is absent or a null word."""
    text = None if entry.text is None else str.__str__(entry.text)  # a subclass may split otherwise
    if _has_half(entry.id):
        raise source.error("an id holds half a character", "write the file again")
    if text is None or (text.strip() and {text.strip().casefold(), _bare(text)} & null_words):
        return "", True
    if fault := fault_of(text):
        raise source.error(f"the report of {listed([entry.id])} {fault}", "write the file again")
    return text, False


def fault_of(text: str) -> str:
    """What makes a text no report, as the rest of a sentence; empty where nothing does."""
    if "\0" in text:
        return "contains a NUL character"
    return "holds half a character" if _has_half(text) else ""


def _has_half(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _bare(text: str) -> str:
    """A text in lower case without the quotes, brackets and full stops around it, as in ``(None)``."""
    return text.strip(" \t\r\n.()[]<>\"'").casefold()


def _patients(source: Source, reports: Reports) -> dict[str, str]:
    patients: dict[str, str] = {}
    for entry in reports.entries:
        if entry.patient is not None and patients.setdefault(entry.id, entry.patient) != entry.patient:
            raise source.error(f"id {listed([entry.id])} has two patients", "keep one report per id")
    return patients


def _of_file(source: Source) -> Reports:
    data = read_bytes(source.path)
    if data.startswith(b"PAR1"):
        return from_parquet(source, data)
    if data.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return from_arrow(source, data)
    ending = _ending(source.path)
    content = decoded(source.path, data)
    if ending in NOT_READ or (ending not in STRUCTURED and _MARKUP.match(content)):
        what = ending[1:] if ending in NOT_READ else "XML or HTML"
        raise source.error(f"looks like {what}", "write the reports as JSON or CSV, with ids")
    if not content.strip():
        return _from_plain(source, content) if ending not in STRUCTURED else Reports("empty", ())
    if ending in BINARY:
        raise source.error(f"is no {ending[1:]} file", "write it again, or name it after what it holds")
    if ending not in STRUCTURED:
        refusal = refuse_json(source, content) or refuse_table(source, content)
        if refusal is not None:
            raise refusal
        return _from_plain(source, content)
    is_json = content.lstrip()[0] in "{["
    if ending in JSON and (is_json or delimiter_of(content, source) is None):
        return from_json(source, content, ending in LINES)
    return from_json(source, content, False) if is_json else from_csv(source, content)


def _ending(path: Path) -> str:
    """The last ending in lower case, that before ``.gz`` included."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower()


def _from_plain(source: Source, content: str) -> Reports:
    """One report per line. A carriage return inside a line is refused: it may or may not end a report."""
    if "\r" in content and "\n" not in content:
        content = content.replace("\r", "\n")  # of an old Macintosh
    lines = [line.removesuffix("\r") for line in content.removesuffix("\n").split("\n")] if content else []
    for number, line in enumerate(lines, start=1):
        if "\r" in line:
            raise source.error(f"line {number} holds a carriage return", "end each line with a line feed")
    return Reports("plain text", [Entry(str(number), line) for number, line in enumerate(lines, 1)], "lines")
