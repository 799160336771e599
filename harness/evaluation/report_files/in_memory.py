"""Reports that a program already holds: lists, mappings, and the series and tables of pandas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from harness.core.arguments import described, file_of, has_items
from harness.core.errors import HarnessError
from harness.core.frames import as_pandas, is_table
from harness.evaluation.report_files.fields import (
    IDS,
    SEVERAL_ADVICE,
    Entry,
    Records,
    Reports,
    Side,
    Source,
    entry_of,
    folded,
    id_of,
)
from harness.evaluation.report_files.frames import with_ids
from harness.evaluation.report_files.joining import joined_ids
from harness.evaluation.report_files.reader import ReportFile, checked, read_reports

if TYPE_CHECKING:
    import pandas as pd

Texts: TypeAlias = (
    "str | Path | Sequence[str | Path | Sequence[str | None] | None] "
    "| Sequence[Mapping[str, Any]] | Mapping[Any, str | Sequence[str | None] | None] "
    "| pd.Series[Any] | pd.DataFrame"
)
"""Reports: the path of a file, texts in order, texts by id, records, or a table with the columns of a CSV
file."""


def reports_of(texts: Texts, side: Side, null_words: Sequence[str], several: bool = False) -> ReportFile:
    """Reports by id, held to the rules for files.

    Args:
        texts: a path; a list of texts, joined by position; a mapping id -> text; a series, joined by its
            index, or by position where the index only counts; a data frame with ``id`` and ``report``, of
            pandas or of a library whose tables have ``to_pandas()``; a list of mappings that name an id.
            Where several texts of one study are allowed, also a list of texts in place of one, columns
            ``reference_1``, ``reference_2``, .., and a list of ``Path`` objects, whose texts join by study.
        side: what the reports are.
        null_words: texts that mean "no report", in lower case.
        several: a study may have several texts.

    Raises:
        HarnessError: none of these, or as ``read_reports``.
    """
    if isinstance(texts, str | Path):
        return read_reports(file_of(texts, side), side, null_words, several)
    source = Source(Path(side), side, several)
    if isinstance(texts, list | tuple) and texts and all(isinstance(each, Path) for each in texts):
        files = [read_reports(path, side, null_words, several) for path in texts]
        if len(files) > 1 and not several:
            raise source.error(f"{len(files)} files", SEVERAL_ADVICE)
        return merged(files, side)
    return checked(source, _reports(texts, source), null_words)


def merged(files: Sequence[ReportFile], side: Side) -> ReportFile:
    """Files of the same studies as one, in which each study has the texts of all of them.

    Raises:
        HarnessError: an id of one file only.
    """
    first, *others = files
    more = {name: list(first.more.get(name, ())) for name in first.texts}
    for other in others:
        for name in joined_ids(first, other):
            more[name] += [other.texts[name], *other.more.get(name, ())]
    nulls = tuple(name for name in first.nulls if not any(more[name]))
    texts = {name: [first.texts[name], *more[name]] for name in first.texts}
    if side == "references":
        texts = {name: [text for text in own if text.strip()] or [""] for name, own in texts.items()}
    return replace(
        first,
        texts={name: own[0] for name, own in texts.items()},
        more={name: tuple(own[1:]) for name, own in texts.items() if len(own) > 1},
        nulls=nulls,
    )


def _reports(texts: Any, source: Source) -> Reports:
    if isinstance(texts, Mapping):
        return Reports("a mapping", _by_id(texts.items(), source))
    if is_table(texts):
        return _of_table(as_pandas(texts, source.side), source)
    if hasattr(texts, "index") and hasattr(texts, "items"):
        if _only_counts(texts.index):
            return Reports("a series", _by_position(texts.tolist(), source), "list")
        return Reports("a series", _by_id(texts.items(), source))
    if has_items(texts) and not isinstance(texts, bytes | Set):
        each = list(texts)
        if any(isinstance(text, Mapping) and _names_an_id(text) for text in each):
            return Reports("a list of records", _of_records(each, source))
        return Reports("a list", _by_position(each, source), "list")
    raise HarnessError(
        f"{source.side}: {described(texts)} holds no reports",
        "give a path, a list of texts, a mapping id -> text, a series or a data frame",
    )


def _of_table(table: pd.DataFrame, source: Source) -> Reports:
    records = Records(source)
    names = Counter(map(str, table.columns))
    if twice := [name for name, count in names.items() if count > 1]:
        raise source.error(f"two columns are called {twice[0]!r}", "rename or drop one")
    rows = with_ids(table, str(source.path)).to_dict("records")
    entries = [
        records.entry(f"row {number}", {str(name): value for name, value in row.items()})
        for number, row in enumerate(rows, start=1)
    ]
    return Reports("a data frame", entries)


def _names_an_id(record: Mapping[Any, Any]) -> bool:
    return any(isinstance(name, str) and folded(name) in IDS for name in record)


def _of_records(items: Sequence[Any], source: Source) -> list[Entry]:
    """The entries of mappings such as ``{"id": .., "report": ..}``; ids of some items alone are refused."""
    records = Records(source)
    entries = []
    for number, item in enumerate(items, start=1):
        if not isinstance(item, Mapping):
            raise source.error(f"item {number} has no id, others have", "give all items an id, or none")
        entries.append(records.entry(f"item {number}", {str(name): value for name, value in item.items()}))
    return entries


def _by_id(items: Iterable[tuple[Any, Any]], source: Source) -> list[Entry]:
    entries = []
    for key, value in items:
        name = id_of(key.item() if isinstance(key, np.generic) else key)
        if name is None:
            raise source.error(f"{key!r} is no id of a study")
        entries.append(_entry(name, value, f"the value of {name!r}", source))
    return entries


def _by_position(texts: Iterable[Any], source: Source) -> list[Entry]:
    return [
        _entry(str(number), value, f"item {number}", source) for number, value in enumerate(texts, start=1)
    ]


def _entry(name: str, value: Any, place: str, source: Source) -> Entry:
    """The entry of a study; pandas' NA stands for no text."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return Entry(name, None)
    try:
        return entry_of(name, list(value) if isinstance(value, tuple) else value, source.several)
    except ValueError as error:
        hint = SEVERAL_ADVICE if isinstance(value, list | tuple) and len(value) > 1 else ""
        raise source.error(f"{place} {error}", hint) from error


def _only_counts(index: Any) -> bool:
    """Whether an index is pandas' default one: 0, 1, 2 and so on."""
    return type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1)
