"""Contexts that are none: text of the report in them, or words that say nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.core.null_words import is_null
from harness.datasets.readers.records import Problem

_HEADING = re.compile(
    r"\b(?:FINDINGS?|IMPRESSIONS?)\b|\b(?i:findings?|impressions?|conclusions?)(?:\(s\))?\s*:"
    r"|(?:^|(?<=[.;:]\s))(?i:results?|imp)\s*:"
)
_LABEL = re.compile(r"^(?:age \d+)?(?:, )?(?:sex \w+)?(?:\. )?(?:indication|history): ")
_NOTHING = frozenset(
    (
        *("unknown", "not known", "none given", "not given", "not available", "unavailable", "not provided"),
        *("none provided", "not applicable", "not stated", "not specified", "no indication", "no history"),
        *("no indication given", "no history given", "no clinical information", "no information"),
        *("no data", "not recorded", "not documented", "unspecified", "missing", "n a", "none recorded"),
    )
)
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"[.;:!?](?:\s|$)|\n")
_SHORTEST_REPORT, _SHORTEST_SENTENCE = 4, 6
_SHORTEST_SHORT = 2
"""Words that a report or a sentence needs before its place in a context is no coincidence; words that a short
sentence needs, which a person should look at."""

Texts = tuple[str, str, str | None, str | None]
"""A study's id, the row that lists it, its context and its report."""


def says_nothing(context: str) -> bool:
    """Whether a context is empty, a null word such as ``nan``, or words such as ``not given``."""
    words = " ".join(_WORD.findall(context.casefold().replace("_", " ")))
    return is_null(context) or is_null(words) or words in _NOTHING


def holds_report(context: str, report: str) -> bool:
    """Whether the report, or a sentence of it of six words or more, stands in the context."""
    words = _plain(context)
    sentences = [_plain(sentence) for sentence in _SENTENCE_END.split(report)]
    long = [sentence for sentence in sentences if sentence.count(" ") > _SHORTEST_SENTENCE]
    whole = _plain(report)
    return any(part in words for part in long) or (whole.count(" ") > _SHORTEST_REPORT and whole in words)


def holds_short_sentence(context: str, report: str) -> bool:
    """Whether a sentence of the context, of two words or more, is a sentence of the report."""
    ours, theirs = (
        {_plain(sentence) for sentence in _SENTENCE_END.split(text)} for text in (context, report)
    )
    return any(sentence.count(" ") > _SHORTEST_SHORT for sentence in ours & theirs)


def context_remarks(studies: Iterable[Texts]) -> list[Problem]:
    """A remark for each kind of context that is none, with its number of studies and the first of them."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, where, context, report in studies:
        if context is None:
            continue
        if holds_report(context, report or ""):
            kinds.setdefault("report-in-context", []).append((name, where))
        elif holds_short_sentence(context, report or ""):
            kinds.setdefault("sentence-in-context", []).append((name, where))
        elif _HEADING.search(context):
            kinds.setdefault("heading-in-context", []).append((name, where))
        if says_nothing(_LABEL.sub("", context)):
            kinds.setdefault("empty-context", []).append((name, where))
    return [_remark(kind, rows) for kind, rows in kinds.items()]


_SAID = {
    "report-in-context": (
        "contexts hold text of their study's report",
        "methods that read the context read the answer: cut it out",
    ),
    "sentence-in-context": (
        "contexts hold a short sentence of their study's report",
        "is it what the image was asked about, or the answer? cut out the answer",
    ),
    "heading-in-context": (
        "contexts hold FINDINGS, IMPRESSION or RESULT as a heading",
        "is text of a report behind it? cut it out",
    ),
    "empty-context": ("contexts say nothing", "leave out what says nothing: it counts as present"),
}


def _remark(kind: str, rows: list[tuple[str, str]]) -> Problem:
    what, hint = _SAID[kind]
    name, where = rows[0]
    return Problem(kind, where, f"{len(rows)} {what}; {name} is the first", hint, fatal=False)


def _plain(text: str) -> str:
    """Words with a blank before and behind each, so that only whole words match."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "
