"""Outputs of programs that talk to language models: batches with ids are read, other shapes are named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.evaluation.report_files.fields import folded

_BATCH_ID = "custom_id"
_SIGNS = {
    "messages": "a conversation",
    "conversations": "a conversation",
    "choices": "an answer of a chat program",
    "outputs": "an output of a server of models",
    "candidates": "an answer of a chat program",
    "studies": "a patient with several studies",
    "reports": "a patient with several reports",
}
"""Field that holds a list of objects, and what has such a field."""

CHAT_HINT = "write {id, report} records, with the id of the study and the answer alone"


def is_batch(record: Mapping[str, Any]) -> bool:
    """Whether a record is a line of a batch's output file: ``custom_id`` with ``response`` or ``result``."""
    answers = [record[key] for key in ("response", "result") if key in record]
    return _BATCH_ID in record and bool(answers) and isinstance(answers[0], dict | None)


def batch_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Id and report of a line of a batch's output file; the report of a request that failed is None.

    Raises:
        ValueError: the answer holds no text, or several.
    """
    texts = _texts(record)
    if len(texts) > 1:
        raise ValueError(f"has {len(texts)} answers, one is scored")
    return {"id": record[_BATCH_ID], "report": texts[0] if texts else None}


def _texts(record: Mapping[str, Any]) -> list[str]:
    result = record.get("response") or record.get("result") or {}
    body = result.get("body") or {} if "response" in record else {"choices": [result]}
    messages = [
        choice.get("message") or {} for choice in body.get("choices") or [] if isinstance(choice, dict)
    ]
    texts = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):  # parts, of which some are text
            content = "\n".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
        if isinstance(content, str):
            texts.append(content)
    return texts


def chat_shape(record: Mapping[str, Any]) -> str | None:
    """What a record looks like that holds a list of others, as chat programs write it; None for any other."""
    for name, value in record.items():
        of_objects = isinstance(value, list) and value and all(isinstance(each, dict) for each in value)
        if of_objects and folded(name) in _SIGNS:
            return f"{_SIGNS[folded(name)]} ({name!r})"
    return None
