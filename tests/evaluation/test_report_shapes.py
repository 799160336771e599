"""Shapes of report files that other programs write: read right, or refused with the shape that they have."""

from __future__ import annotations

import gzip
import json
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core import user_files
from harness.core.errors import HarnessError
from harness.evaluation.report_files import content
from harness.evaluation.report_files.joining import alike, joined_ids
from harness.evaluation.report_files.reader import read_reports

TEXTS = ["Heart is large.", "Small effusion on the left.", "Lungs are clear."]
IDS = ["s7", "s5", "s6"]
BY_ID = dict(zip(IDS, TEXTS, strict=True))
BY_PLACE = dict(zip("123", TEXTS, strict=True))


def lines(record: Callable[[str, str], Any]) -> str:
    return "\n".join(json.dumps(record(name, text)) for name, text in BY_ID.items())


def chat(name: str, text: str) -> dict[str, Any]:
    message = {"index": 0, "message": {"role": "assistant", "content": text}}
    body = {"id": "r1", "object": "chat.completion", "choices": [message]}
    return {"custom_id": name, "response": {"status_code": 200, "body": body}, "error": None}


def parts(name: str, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    return {"custom_id": name, "result": {"type": "succeeded", "message": message}}


COUNTED = [str(number) for number in range(3)]
ROWS = [[name, text] for name, text in BY_ID.items()]
READ_BY_ID = {
    "index.json": json.dumps(
        {row: {"study_id": name, "report": text} for row, (name, text) in zip(COUNTED, ROWS, strict=True)}
    ),
    "index-is-id.json": json.dumps({name: {"report": text} for name, text in ROWS}),
    "columns.json": json.dumps(
        {"study_id": dict(zip(COUNTED, IDS, strict=True)), "report": dict(zip(COUNTED, TEXTS, strict=True))}
    ),
    "columns-index-is-id.json": json.dumps({"report": BY_ID}),
    "split.json": json.dumps({"columns": ["study_id", "report"], "index": [0, 1, 2], "data": ROWS}),
    "split-index-is-id.json": json.dumps(
        {"columns": ["report"], "index": IDS, "data": [[text] for text in TEXTS]}
    ),
    "batch.jsonl": lines(chat),
    "parts.jsonl": lines(parts),
    "batch.json": json.dumps([chat(name, text) for name, text in ROWS]),
    "response.jsonl": lines(lambda name, text: {"id": name, "prompt": "Describe it.", "response": text}),
}


@pytest.mark.parametrize("name", READ_BY_ID)
def test_tables_of_pandas_and_outputs_of_batches_are_read_by_id(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(READ_BY_ID[name])
    assert dict(read_reports(path).texts) == BY_ID


READ_IN_ORDER = {
    "texts.jsonl": "\n".join(map(json.dumps, TEXTS)),
    "columns.json": json.dumps({"report": dict(zip(COUNTED, TEXTS, strict=True))}),
    "split.json": json.dumps({"columns": ["report"], "index": [0, 1, 2], "data": [[text] for text in TEXTS]}),
}


@pytest.mark.parametrize("name", READ_IN_ORDER)
def test_what_has_no_ids_is_read_in_order(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(READ_IN_ORDER[name])
    reports = read_reports(path)
    assert (dict(reports.texts), reports.order) == (BY_PLACE, "list")


REFUSED = {
    "nested.json": (json.dumps({"p1": {"s1": TEXTS[0], "s2": TEXTS[1]}}), "patients with studies inside"),
    "records.json": (
        json.dumps({"p1": {"s1": {"report": TEXTS[0]}}, "p2": {"s2": {"report": TEXTS[1]}}}),
        "patients with studies inside: 'p1' -> 's1'",
    ),
    "lists.json": (
        json.dumps({"p1": [{"study_id": "s1", "report": TEXTS[0]}], "p2": [{}]}),
        "lists of records",
    ),
    "studies.json": (json.dumps([{"patient_id": "p1", "studies": [{"id": "s1"}]}]), "several studies"),
    "choices.jsonl": (
        lines(lambda name, text: {"id": "c1", "choices": [{"message": {"content": text}}]}),
        "line 1 looks like an answer of a chat program ('choices')",
    ),
    "messages.jsonl": (
        lines(lambda name, text: {"id": name, "messages": [{"role": "assistant", "content": text}]}),
        "line 1 looks like a conversation ('messages')",
    ),
    "two-answers.jsonl": (
        json.dumps(
            {
                "custom_id": "s1",
                "response": {"body": {"choices": [{"message": {"content": text}} for text in TEXTS]}},
            }
        ),
        "line 1 has 3 answers, one is scored",
    ),
    "pairs.jsonl": (lines(lambda name, text: [name, text]), "line 1 looks like a pair"),
    "quoted.txt": ("\n".join(map(json.dumps, TEXTS)), "each of its lines stands in quotes"),
    "printed.txt": (",\n".join(map(repr, TEXTS)), "each of its lines stands in quotes"),
    "column.txt": ("\n".join(map(json.dumps, ["report", *TEXTS])), "a CSV file of one column"),
    "half-id.json": ('{"s\\ud800": "Heart is large."}', "an id holds half a character"),
    "twice.jsonl": ('{"id": "s1", "report": "a", "report": "b"}', "'report' occurs twice in one record"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_named(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(HarnessError) as caught:
        read_reports(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(text in str(caught.value) for text in TEXTS)


def test_a_request_that_failed_has_no_report(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    failed = {"custom_id": "s9", "response": None, "error": {"code": "500"}}
    path.write_text(lines(chat) + "\n" + json.dumps(failed))
    reports = read_reports(path)
    assert reports.nulls == ("s9",)
    assert dict(reports.texts) == BY_ID | {"s9": ""}


FORMS = [
    ("5.04E+07", "50400000", "the form of a number"),
    ("5.04E+07", "50400001", "a spreadsheet rounded"),
    ("#1", "1", "quotes, brackets or a wrapper"),
    ('="12"', "12", "quotes, brackets or a wrapper"),
    ("'12", "12", "quotes, brackets or a wrapper"),
    ("s1.", "s1", "quotes, brackets or a wrapper"),
    ("1,000", "1000", "the form of a number"),
    ("1'000", "1000", "the form of a number"),
    ("1 000", "1000", "blanks"),
    ("12.0", "12", "the form of a number"),
    ("+12", "12", "the form of a number"),
    ("0012", "12", "zeros in front"),
    ("s\u00e9", "se\u0301", "Unicode form"),
    ("\uff11\uff12", "12", "Unicode form"),
    ("s\u200b1", "s1", "Unicode form"),
    ("S1", "s1", "capitals"),
    ("p10/s1", "s1", "folders or file endings"),
]


@pytest.mark.parametrize(("one", "other", "form"), FORMS)
def test_ids_that_differ_in_form_alone_are_named(one: str, other: str, form: str, tmp_path: Path) -> None:
    sides = []
    for number, name in enumerate((one, other)):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({name: TEXTS[0]}))
        sides.append(read_reports(path))
    with pytest.raises(HarnessError) as caught:
        joined_ids(*sides)
    assert form in str(caught.value)
    if form in ("the form of a number", "zeros in front", "Unicode form", "capitals", "blanks"):
        assert alike([one, other]) == [one, other]


def test_a_file_may_hold_a_million_reports() -> None:
    assert user_files.MOST_REPORT_BYTES > 1_000_000 * 1_000


def test_devices_and_files_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "a.json"
    link.symlink_to("/dev/zero")
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(bytes(1 << 24)))
    tracemalloc.start()
    for path in (Path("/dev/zero"), link):
        with pytest.raises(HarnessError, match="a device, no file"):
            read_reports(path)
    monkeypatch.setattr(content, "MOST_REPORT_BYTES", 1 << 20)
    monkeypatch.setattr(user_files.gunzipped, "__defaults__", (1 << 20,))
    large = tmp_path / "large.txt"
    large.write_bytes(b"a" * ((1 << 20) + 1))
    for path in (large, bomb):
        with pytest.raises(HarnessError, match="more than 1 MiB"):
            read_reports(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()


def test_a_pipe_without_end_is_read_up_to_less_than_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_files, "MOST_BYTES", 1 << 10)
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)
    os.write(held, b"a" * ((1 << 10) + 1))
    with pytest.raises(HarnessError, match="more than 0 MiB"):
        read_reports(pipe)
    os.close(held)


def test_a_pipe_without_writer_ends_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    started = time.monotonic()
    with pytest.raises(HarnessError, match="no reports in it"):
        read_reports(pipe)
    assert time.monotonic() - started < 5.0
    read, write = os.pipe()
    os.write(write, json.dumps(BY_ID).encode())
    os.close(write)
    named = tmp_path / "open.json"
    named.symlink_to(f"/proc/self/fd/{read}")
    assert dict(read_reports(named).texts) == BY_ID
    os.close(read)


def test_a_long_id_is_not_repeated_in_a_message(tmp_path: Path) -> None:
    sides = []
    for number, name in enumerate(("a" * 5000, "A" * 5000)):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({name: TEXTS[0]}))
        sides.append(read_reports(path))
    with pytest.raises(HarnessError, match="differ only in capitals") as caught:
        joined_ids(*sides)
    assert len(str(caught.value)) < 500


def test_a_long_key_is_cut_in_a_message(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"word " * 2000: 3}))
    with pytest.raises(HarnessError) as caught:
        read_reports(path)
    assert len(str(caught.value)) < 800
