"""Reports that are data: JSON and printed Python as lines ``name: answer.``"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.metrics.clinical.report_answers import ANSWER, DENIED, DOUBTED

_MOST = 20_000
"""Longer texts are no report."""

_FENCED = re.compile(r"```[a-z0-9]*[ \t]*\n?(.*?)```", re.IGNORECASE | re.DOTALL)
_NAMES = (
    *("finding", "name", "observation", "condition", "pathology", "disease", "abnormality", "diagnosis"),
    *("item", "entity", "question", "label"),
)
_ANSWERS = (
    *("present", "is_present", "presence", "status", "state", "answer", "value", "result", "prediction"),
    *("assessment", "exists", "detected", "certainty", "severity", "label", "probability", "score"),
)
_DENYING = re.compile(DENIED, re.IGNORECASE)
_STATING = re.compile(
    r"(?:(?:pertinent|relevant|other|key)[ ]+)?"
    r"(?:positives?|present|detected|confirmed|abnormal|positive findings?)",
    re.IGNORECASE,
)
_DOUBTING = re.compile(DOUBTED, re.IGNORECASE)
_ANSWER = re.compile(ANSWER, re.IGNORECASE)


def with_records(text: str) -> str:
    """``text`` whose JSON, or printed dictionaries and lists of Python, are lines.

    ``{"effusion": {"present": false}}`` becomes ``effusion: no.`` and ``{"absent": ["edema"]}`` becomes
    ``no edema.``
    """
    if len(text) > _MOST or not ("{" in text or text.lstrip().startswith("[") or "```" in text):
        return text
    text = _FENCED.sub(r"\n\n\1\n\n", text)
    start = min((place for place in (text.find("{"), text.find("[")) if place >= 0), default=-1)
    end = max(text.rfind("}"), text.rfind("]")) + 1
    if start < 0 or end <= start:
        return text
    value = _value(text[start:end])
    if not isinstance(value, dict | list):
        return text
    return "\n\n".join([text[:start], *_lines(value), text[end:]])


def _value(content: str) -> Any:
    for read in (json.loads, lambda words: json.loads(f"[{words}]"), ast.literal_eval):
        try:
            return read(content)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return None


def _lines(value: Any, name: str = "") -> Iterator[str]:
    """Sentences of a value that stands under a name."""
    if isinstance(value, Mapping):
        yield from _of_object(value, name)
    elif isinstance(value, list | tuple | set):
        yield from _of_list(list(value), name)
    elif name:
        yield f"{name}: {_word(value)}."
    elif isinstance(value, str):
        yield value


def _of_object(value: Mapping[Any, Any], name: str) -> Iterator[str]:
    fields = {_plain(str(key)): each for key, each in value.items()}
    key = next((key for key in _NAMES if isinstance(fields.get(key), str)), None)
    subject = str(fields[key]) if key else name
    answer = next((each for each in _ANSWERS if each != key and _is_answer(fields.get(each))), None)
    if subject and answer and (key or not _is_heading(name)):
        yield f"{subject}: {_word(fields[answer])}."
        rest = [each for each in fields.items() if each[0] not in (key, *_ANSWERS)]
    else:
        rest = list(fields.items())
    for field, each in rest:
        if (
            isinstance(each, str)
            and (field == key or not _ANSWER.fullmatch(each.strip()))
            and field in _NAMES
        ):
            yield each
        else:
            yield from _lines(each, field.replace("_", " "))


def _of_list(items: Sequence[Any], name: str) -> Iterator[str]:
    word = "no " if _DENYING.fullmatch(name) else "possible " if _DOUBTING.fullmatch(name) else ""
    for item in items:
        if isinstance(item, str):
            yield f"{word}{item}." if word or not name or _is_heading(name) else f"{name}: {item}."
        else:
            yield from _lines(item)


def _is_heading(name: str) -> bool:
    """Whether a name says of findings that they are there, or is one of a section."""
    return not name or bool(
        _STATING.fullmatch(name)
        or _DENYING.fullmatch(name)
        or re.fullmatch(r"findings?|impressions?|report", name)
    )


def _is_answer(value: Any) -> bool:
    if isinstance(value, bool | int | float):
        return True
    return isinstance(value, str) and _ANSWER.fullmatch(value.strip()) is not None


def _plain(key: str) -> str:
    """A key in lower case, its words joined by ``_``."""
    return "_".join(re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|[-_]", " ", key).lower().split())


def _word(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool | int) and value in (0, 1):
        return "yes" if value else "no"
    return str(value).strip()
