"""Reports that a program already holds: lists, mappings, and the series and tables of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.core.errors import HarnessError
from harness.evaluation.report_files.fields import Entry, Records, Reports, Side, Source, id_of, text_of
from harness.evaluation.report_files.reader import ReportFile, checked, read_reports

if TYPE_CHECKING:
    import pandas as pd

Texts: TypeAlias = (
    "str | Path | Sequence[str | None] | Mapping[Any, str | None] | pd.Series[Any] | pd.DataFrame"
)
"""Reports: the path of a file, texts in order, texts by id, or a table with the columns of a CSV file."""


def reports_of(texts: Texts, side: Side, null_words: Sequence[str]) -> ReportFile:
    """Reports by id, held to the rules for files.

    Args:
        texts: a path; a list of texts, joined by position; a mapping id -> text; a series, joined by its
            index, or by position where the index only counts; a data frame with ``id`` and ``report``.
        side: what the reports are.
        null_words: texts that mean "no report", in lower case.

    Raises:
        HarnessError: none of these, or as ``read_reports``.
    """
    if isinstance(texts, str | Path):
        return read_reports(Path(texts), side, null_words)
    source = Source(Path(side), side)
    return checked(source, _reports(texts, source), null_words)


def _reports(texts: Any, source: Source) -> Reports:
    if isinstance(texts, Mapping):
        return Reports("a mapping", _by_id(texts.items(), source))
    if hasattr(texts, "to_dict") and hasattr(texts, "columns"):
        return _of_table(texts, source)
    if hasattr(texts, "index") and hasattr(texts, "items"):
        if _only_counts(texts.index):
            return Reports("a series", _by_position(texts.tolist(), source), "list")
        return Reports("a series", _by_id(texts.items(), source))
    if isinstance(texts, Iterable) and not isinstance(texts, bytes):
        return Reports("a list", _by_position(texts, source), "list")
    raise HarnessError(
        f"{source.side}: a {type(texts).__name__} holds no reports",
        "give a path, a list of texts, a mapping id -> text, a series or a data frame",
    )


def _of_table(table: pd.DataFrame, source: Source) -> Reports:
    records = Records(source)
    rows = table.to_dict("records")
    entries = [
        records.entry(f"row {number}", {str(name): value for name, value in row.items()})
        for number, row in enumerate(rows, start=1)
    ]
    return Reports("a data frame", entries)


def _by_id(items: Iterable[tuple[Any, Any]], source: Source) -> list[Entry]:
    entries = []
    for key, value in items:
        name = id_of(key)
        if name is None:
            raise source.error(f"{key!r} is no id of a study")
        entries.append(Entry(name, _text(value, f"the value of {name!r}", source)))
    return entries


def _by_position(texts: Iterable[Any], source: Source) -> list[Entry]:
    return [
        Entry(str(number), _text(value, f"item {number}", source))
        for number, value in enumerate(texts, start=1)
    ]


def _text(value: Any, place: str, source: Source) -> str | None:
    """A text; None for what stands for none, pandas' NA among it."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    try:
        return text_of(value)
    except ValueError as error:
        raise source.error(f"{place} {error}") from error


def _only_counts(index: Any) -> bool:
    """Whether an index is pandas' default one: 0, 1, 2 and so on."""
    return type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1)
