"""Every shape of a report file, and what becomes of files that are none of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.core.errors import HarnessError
from harness.evaluation.report_files.joining import joined_ids
from harness.evaluation.report_files.pairing import ReportReading, paired_reports
from harness.evaluation.report_files.reader import ReportFile, read_reports


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, name: str, content: str | bytes) -> ReportFile:
    return read_reports(write(folder / name, content))


TEXTS = {"x": "No effusion.", "y": ""}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"x": "No effusion.", "y": [""]}'),
        ("a.json", '{"x": [{"caption": "No effusion."}], "y": [{"caption": ""}]}'),
        ("a.json", '[{"id": "x", "report": "No effusion."}, {"id": "y", "report": null}]'),
        (
            "a.json",
            '[{"image_id": "x", "id": 1, "caption": "No effusion."}, {"image_id": "y", "caption": ""}]',
        ),
        (
            "a.json",
            '{"images": [], "annotations": [{"image_id": "x", "id": 1, "caption": "No effusion."},'
            ' {"image_id": "y", "id": 2, "caption": ""}]}',
        ),
        (
            "a.json",
            '{"model": "m", "results": [{"id": "x", "report": "No effusion."}, {"id": "y", "report": ""}]}',
        ),
        (
            "a.json",
            '{"x": {"report": "Edema.", "model_prediction": "No effusion."}, "y": {"model_prediction": ""}}',
        ),
        ("a.json", '{"id": ["x", "y"], "report": ["No effusion.", NaN]}'),
        ("a.json", '{"id": {"0": "x", "1": "y"}, "report": {"0": "No effusion.", "1": null}}'),
        (
            "a.json",
            '{"predictions": {"x": "No effusion.", "y": ""}, "references": {"x": "Edema.", "y": "."}}',
        ),
        ("a.json", '{"ids": ["x", "y"], "references": ["Edema.", "."], "hypotheses": ["No effusion.", ""]}'),
        ("a.jsonl", '{"id": "x", "report": "No effusion."}\n\n{"id": "y", "text": ""}\n'),
        ("a.json", '{"id": "x", "report": "No effusion."}\r\n{"id": "y", "report": ""}\r\n'),
        ("a.csv", 'id,report,site\nx,"No effusion.",3\ny,,4\n'),
        ("a.csv", '\ufefftext,id\r\n"No effusion.",x\r\n"",y\r\n'),
        ("a.csv", "Study ID;Report\nx;No effusion.\ny;\n;\n\n"),
        ("a.csv", 'sep=;\nid;report\nx;No effusion.\ny;"nan"\n'),
        ("a.csv", 'id, report\nx, "No effusion."\ny, \n'),
        ("a.csv", "id,reference,prediction\nx,Edema.,No effusion.\ny,Edema.,N/A\n"),
        ("a.tsv", "id\treport\nx\tNo effusion.\ny\t<NA>\n"),
        ("a.csv", "id\treport\nx\tNo effusion.\ny\t\n"),
        ("a.csv", "id,report\nx,No effusion.\ny,\n".encode("utf-16")),
        ("a.json", "\ufeff" + '{"x": "No effusion.", "y": "None"}'),
        ("a.json.gz", gzip.compress(b'{"x": "No effusion.", "y": ""}', mtime=0)),
    ],
)
def test_every_shape_with_ids_reads_the_same(tmp_path: Path, name: str, content: str | bytes) -> None:
    file = read(tmp_path, name, content)
    assert {key: text.strip() for key, text in file.texts.items()} == TEXTS
    assert file.order == "ids"


def table() -> pa.Table:
    return pa.table({"site": [3, 4], "study_id": ["x", "y"], "report": ["No effusion.", None]})


def write_dataset(folder: Path) -> Path:
    """What ``save_to_disk`` of the package datasets writes."""
    folder.mkdir()
    for number in range(2):
        name = folder / f"data-0000{number}-of-00002.arrow"
        with pa.OSFile(str(name), "wb") as sink, pa.ipc.new_stream(sink, table().schema) as stream:
            stream.write_table(table().slice(number, 1))
    files = [{"filename": f"data-0000{number}-of-00002.arrow"} for number in range(2)]
    write(folder / "state.json", json.dumps({"_data_files": files, "_indices_data_files": None}))
    write(folder / "dataset_info.json", "{}")
    return folder


def test_arrow_whose_offsets_lead_out_of_its_text_is_damaged(tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table().schema) as stream:
        stream.write_table(table())
    data = sink.getvalue().to_pybytes()
    offsets = np.array([0, 1, 2], np.int32).tobytes()
    assert data.count(offsets) == 1
    with pytest.raises(HarnessError, match="damaged Arrow data"):
        read(tmp_path, "a.arrow", data.replace(offsets, np.array([0, 2**30, 2**30 + 1], np.int32).tobytes()))


def test_parquet_whose_checksum_does_not_fit_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    plain: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table(), path, write_page_checksum=True, **plain)
    data = path.read_bytes()
    assert data.count(b"No effusion.") == 1
    read(tmp_path, "a.parquet", data)
    with pytest.raises(HarnessError, match="damaged Parquet"):
        read(tmp_path, "a.parquet", data.replace(b"No effusion.", b"An effusion.", 1))


def test_columns_of_parquet_arrow_and_datasets(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "a.parquet")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table().schema) as file:
        file.write_table(table())
    splits = tmp_path / "splits"
    splits.mkdir()
    write(splits / "dataset_dict.json", '{"splits": ["test"]}')
    test = write_dataset(splits / "test")
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in range(2):
        pq.write_table(table().slice(number, 1), parts / f"test-0000{number}-of-00002.parquet")
    for path in (tmp_path / "a.parquet", tmp_path / "a.arrow", test, parts):
        read_file = read_reports(path)
        assert dict(read_file.texts) == TEXTS
        assert read_file.nulls == ("y",)
    with pytest.raises(HarnessError, match="the splits test"):
        read_reports(splits)
    (tmp_path / "none").mkdir()
    with pytest.raises(HarnessError, match="holds no dataset"):
        read_reports(tmp_path / "none")
    with pytest.raises(HarnessError, match="damaged Parquet"):
        read(tmp_path, "b.parquet", (tmp_path / "a.parquet").read_bytes()[:-9])
    numbers = pa.table({"id": [1.0, 2.0], "report": ["a", "b"]})
    doubled = pa.table([["1"], ["a"], ["b"]], names=["id", "report", "report"])
    pq.write_table(doubled, tmp_path / "two.parquet")
    with pytest.raises(HarnessError, match="report occurs twice"):
        read_reports(tmp_path / "two.parquet")
    pq.write_table(numbers, tmp_path / "n.parquet")
    assert list(read_reports(tmp_path / "n.parquet").texts) == ["1.0", "2.0"]


@pytest.mark.parametrize(
    ("name", "content", "order"),
    [
        ("a.json", '["No effusion.", "", "é"]', "list"),
        ("a.json", '[["No effusion."], null, "é"]', "list"),
        ("a.json", '{"references": ["a", "b", "c"], "hypotheses": ["No effusion.", "", "é"]}', "list"),
        ("a.txt", "No effusion.\n\né", "lines"),
        ("a", "No effusion.\r\n\r\né\r\n", "lines"),
        ("a.txt", "\ufeffNo effusion.\r\ré\r", "lines"),
        ("a.txt", "No effusion.\nnan\né\n".encode("utf-16"), "lines"),
    ],
)
def test_files_without_ids_count_their_reports(
    tmp_path: Path, name: str, content: str | bytes, order: str
) -> None:
    file = read(tmp_path, name, content)
    assert list(file.texts.values()) == ["No effusion.", "", "é"]
    assert file.order == order


BAD = [
    ("a.csv", "# made by x\nid,report\ns1,clear\n", "line 1 is a comment"),
    ("a.csv", "\nid,report\ns1,clear\n", "line 1 is blank"),
    ("a.md", "| id | report |\n|---|---|\n| s1 | clear |\n", "Markdown table"),
    (
        "a.json",
        '{"train": {"s1": "a"}, "test": {"s2": "b"}}',
        "looks like a file with the splits train, test",
    ),
    ("a.json", '{"columns": ["id", "report"], "data": [["s1"]]}', "a row has not 2 cells"),
    ("a.json", '{"x": "a", "x": "b"}', "'x' occurs twice, with different texts"),
    ("a.jsonl", '{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}', "'1' occurs twice"),
    ("a.jsonl", '{"id": 1, "text": "a", "text": "b"}', "'text' occurs twice in one record"),
    ("a.json", '[{"id": 1, "id": 2, "text": "b"}]', "'id' occurs twice in one record"),
    ("a.csv", "id,report\nx,a\nx,b\n", "'x' occurs twice"),
    ("a.csv", "id,report,report\nx,a,b\n", "report occurs twice"),
    ("a.json", '{"x": ["a", "b"]}', "'x' has 2 texts"),
    ("a.json", '{"x": 3}', "'x' is neither"),
    ("a.json", '[{"id": "x"}]', "item 1 needs report or text"),
    ("a.json", '[{"report": "x"}]', "item 1 has no id"),
    ("a.json", '["a", 3]', "item 2 is no string"),
    ("a.json", '[["a", "b"], ["c", "d"]]', "list of pairs"),
    ("a.json", "3", "neither list nor object"),
    ("a.json", '{"x": ', "not valid JSON"),
    ("a.json", "{'x': 'a'}", "printed Python"),
    ("a.json", '{"report": "a", "split": "test"}', "looks like one record"),
    (
        "a.json",
        '{"references": ["a", "b"], "hypotheses": ["c"]}',
        "different lengths: references 2, hypotheses 1",
    ),
    ("a.json", '{"references": ["a", "b"]}', "it has references and no predictions"),
    ("a.json", '{"train": [{"id": 1, "report": "a"}], "test": []}', "the splits train, test"),
    ("a.json", '{"x": {"findings": "a", "impression": "b"}}', "findings and impression could both"),
    ("a.json", '{"x": {"id": "y", "report": "b"}}', "another id inside"),
    ("a.json", '{" ": "b"}', "no id"),
    ("a.json", "", "no reports"),
    ("a.json", "[]", "no reports"),
    ("a.txt", "", "no reports"),
    ("a.csv", "id,report\n", "no reports"),
    ("a.csv", "study,report\nx,a\n", "columns are study, report: no id"),
    ("a.csv", "x,No effusion or pneumothorax is seen.\ny,a\n", r"columns are x, \(a text\)"),
    ("a.csv", "study_id,image_id,report\nx,y,a\n", "study_id and image_id could both"),
    ("a.csv", "id,report,text\nx,y,a\n", "report and text could both"),
    ("a.csv", "id,report\nx\n", "line 2 has not 2 cells"),
    ("a.csv", "id,report\nx,a,b\n", "line 2 has not 2 cells"),
    ("a.csv", 'id,report\nx,"a\n', "unexpected end"),
    ("a.csv", "id,report\nnan,a\n", "line 2 has no id"),
    ("a.csv", "id,report,patient_id\nx,a,1\nx,a,2\n", "'x' has two patients"),
    ("a.jsonl", '{"report": "a"}', "line 1 has no id"),
    ("a.jsonl", '{"id": true, "report": "a"}', "line 1 has no id"),
    ("a.jsonl", '{"id": "x"}', "needs report or text"),
    ("a.jsonl", '{"id": "x", "report": 5}', "report is neither text"),
    ("a.jsonl", '["x"]', "line 1 is no object"),
    ("a.jsonl", '{"id": "x", "report": "a"}\n{"id": "y", "rep', "line 2 is not valid JSON"),
    ("a.txt", b"fine\nnot \xff\n", "line 2 is not UTF-8.*WINDOWS-1252"),
    ("a.txt", "fine\nnot\0fine\n", "line 2 contains a NUL"),
    ("a.txt", "fine lungs".encode("utf-16-le"), "UTF-16 without a byte order mark"),
    ("a.txt", "fine\rlungs\nclear\n", "line 1 holds a carriage return"),
    ("a.txt", "id\treport\nx\tclear\n", "a table with tabs and a header.*tsv"),
    ("a.txt", "study,report\nx,clear\n", "a table with commas and a header.*csv"),
    ("a.txt", "x\tclear\ny\tedema\n", "a table with tabs and no header"),
    ("a.txt", "s1,clear\ns2,edema\n", "a table without a header"),
    ("a.txt", "s1: clear\ns2: edema\n", "a table without a header"),
    ("a.txt", "s1 clear\ns2 edema\n", "a table without a header"),
    ("a.txt", "<reports>\n<r>clear</r>\n</reports>", "looks like XML"),
    ("a.yaml", "s1: clear\ns2: edema\n", "looks like yaml"),
    ("a.txt", "report\nclear\n", "'report', is a header"),
    ("a.txt", "0. clear\n1. edema\n", "its lines are numbered"),
    ("a.txt", "1 clear\n2 edema\n", "its lines are numbered"),
    ("a.txt", "{'id': 's1', 'report': 'clear'}\n{'id': 's2', 'report': 'edema'}\n", "printed Python"),
    ("a.txt", "['clear', 'edema']\n", "printed Python"),
    ("a.txt", '{"x": "clear"}', "holds JSON.*name it .json"),
    ("a.txt", '{"id": 1, "report": "clear"}\n{"id": 2, "report": "edema"}', "holds JSON lines"),
    ("a.txt", '["clear"]', "holds JSON"),
    ("swapped.csv", "report,id\n1,no effusion .\n2,no effusion .\n", r"id \(a text\) occurs twice"),
    ("twice.csv", "id,report\nstudy 12,a\nstudy 12,b\n", "id 'study 12' occurs twice"),
    ("a.json", '{"x": "a\\u0000b"}', "'x' contains a NUL"),
    ("a.json", '{"x": "a \\ud800 b"}', "'x' holds half a character"),
    ("a.csv", b"PK\x03\x04...", "an Excel workbook"),
    ("a.json", b"\x80\x04\x95", "a Python pickle"),
    ("a.json.gz", gzip.compress(b"[]", mtime=0)[:-5], "damaged gzip"),
    ("a.parquet", "id,report\nx,a\n", "is no parquet file"),
]


@pytest.mark.parametrize(("name", "content", "says"), BAD)
def test_bad_file_is_one_clear_error(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(HarnessError, match=says) as caught:
        read_reports(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pneumothorax" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"nowhere\.json: no such file"):
        read_reports(tmp_path / "nowhere.json")


def test_one_file_holds_both_sides(tmp_path: Path) -> None:
    contents = [
        '{"references": ["a", "b"], "hypotheses": ["c", "d"]}',
        '{"references": [["a"], ["b"]], "hypotheses": ["c", "d"]}',
        '{"1": {"report": "a", "model_prediction": "c"}, "2": {"report": "b", "model_prediction": "d"}}',
        '[{"id": 1, "reference": "a", "prediction": "c"}, {"id": 2, "reference": "b", "prediction": "d"}]',
    ]
    for content in contents:
        path = write(tmp_path / "a.json", content)
        assert dict(read_reports(path, "references").texts) == {"1": "a", "2": "b"}, content
        assert dict(read_reports(path, "predictions").texts) == {"1": "c", "2": "d"}, content
    only = write(tmp_path / "b.json", '{"1": {"model_prediction": "c"}}')
    with pytest.raises(HarnessError, match="it has predictions and no references"):
        read_reports(only, "references")


def test_quoted_line_breaks_and_unusual_ones_stay_in_their_report(tmp_path: Path) -> None:
    text = "Clear.\nNo effusion.\u2028Normal heart.\x0b"
    file = read(tmp_path, "a.csv", f'id,report\nx,"{text}"\ny,b\n')
    assert dict(file.texts) == {"x": text, "y": "b"}
    lines = read(tmp_path, "a.txt", "Clear.\u2028Normal.\nb\x0c\n")
    assert list(lines.texts.values()) == ["Clear.\u2028Normal.", "b\x0c"]


# ---------------------------------------------------------------- joining


def test_ids_are_joined_and_never_zipped(tmp_path: Path) -> None:
    one = read(tmp_path, "one.json", '{"x": "a", "y": "b"}')
    two = read(tmp_path, "two.json", '{"y": "b", "x": "a"}')
    assert joined_ids(one, two) == ["x", "y"]
    other = read(tmp_path, "three.json", '{"x": "a", "z": "b"}')
    with pytest.raises(HarnessError, match=r"three\.json lacks 1 of the ids in .*one\.json: 'y'"):
        joined_ids(one, other)
    more = read(tmp_path, "four.json", '{"x": "a", "y": "b", "w": "c"}')
    with pytest.raises(HarnessError, match=r"one\.json lacks 1 of the ids in .*four\.json: 'w'"):
        joined_ids(one, more)
    lines = read(tmp_path, "five.txt", "a\nb\n")
    with pytest.raises(HarnessError, match=r"five\.txt has no ids"):
        joined_ids(one, lines)
    with pytest.raises(HarnessError, match=r"2 reports, .* has 3"):
        joined_ids(lines, read(tmp_path, "six.txt", "a\nb\nc\n"))
    with pytest.raises(HarnessError, match=r"is a JSON list and .* is plain text"):
        joined_ids(read(tmp_path, "seven.json", '["a", "b"]'), lines)


@pytest.mark.parametrize(
    ("mine", "theirs", "form"),
    [
        ("1", "1.0", "the form of a number"),
        ("S1", "s1", "capitals"),
        ("007", "7", "zeros in front"),
        (" s1", "s1", "blanks"),
        ("s1\u200b", "s1", "Unicode form"),
        ("e\u0301tude", "\u00e9tude", "Unicode form"),
        ("img/1.png", "1", "folders or file endings"),
        ("a\\1.dcm", "b/1.dcm", "folders or file endings"),
        ("s1", "1", "letters in front of a number"),
        ("a-1", "a_1", "hyphens and underscores"),
        ("IMG/S007.PNG", "s7", "capitals and folders or file endings and zeros in front"),
    ],
)
def test_ids_that_differ_in_form_are_named_and_not_joined(
    tmp_path: Path, mine: str, theirs: str, form: str
) -> None:
    one = read(tmp_path, "one.json", json.dumps({mine: "a", "same": "b"}))
    two = read(tmp_path, "two.json", json.dumps({theirs: "a", "same": "b"}))
    for pair in ((one, two), (two, one)):
        with pytest.raises(HarnessError, match="lacks 1 of the ids") as caught:
            joined_ids(*pair)
        assert repr(mine) in str(caught.value)
        assert repr(theirs) in str(caught.value)
        assert f"differ only in {form}" in str(caught.value)


@pytest.mark.parametrize(
    ("mine", "theirs", "what"),
    [
        ("1e3", "1000", "the form of a number"),
        ("5.0414267E7", "50414267", "the form of a number"),
        ("1,000", "1000", "the form of a number"),
        ("+1", "1", "the form of a number"),
        ("#1", "1", "quotes, brackets or a wrapper"),
        ('"s1"', "s1", "quotes, brackets or a wrapper"),
        ("('s1',)", "s1", "quotes, brackets or a wrapper"),
        ("['s1']", "s1", "quotes, brackets or a wrapper"),
        ("tensor(1)", "1", "quotes, brackets or a wrapper"),
        ("b's1'", "s1", "quotes, brackets or a wrapper"),
        ("p 1", "p1", "blanks"),
        ("5.04E+07", "50414267", "a spreadsheet rounded"),
    ],
)
def test_printed_and_rounded_ids_are_named(tmp_path: Path, mine: str, theirs: str, what: str) -> None:
    one = read(tmp_path, "one.json", json.dumps({mine: "a", "same": "b"}))
    two = read(tmp_path, "two.json", json.dumps({theirs: "a", "same": "b"}))
    for pair in ((one, two), (two, one)):
        with pytest.raises(HarnessError, match=what):
            joined_ids(*pair)


@pytest.mark.parametrize(
    "content",
    [
        '{"columns": ["id", "report"], "index": [0, 1], "data": [["s2", "b"], ["s1", "a"]]}',
        '{"model": "x", "results": {"s1": "a", "s2": "b"}}',
        '{"test": {"s1": "a", "s2": "b"}}',
        '{"results": {"s1": {"report": "a"}, "s2": {"report": "b"}}}',
        json.dumps(json.dumps({"s1": "a", "s2": "b"})),
    ],
)
def test_wrapped_reports_are_read_by_id(tmp_path: Path, content: str) -> None:
    assert dict(read(tmp_path, "a.json", content).texts) == {"s1": "a", "s2": "b"}


def remarks(references: Path, predictions: Path, null_words: list[str] | None = None) -> dict[str, int]:
    """``side kind`` -> count."""
    paired = paired_reports(references, {"": predictions}, ReportReading(null_words))
    return {f"{each.side} {each.kind}": each.count for each in paired.remarks}


def test_blank_lines_at_the_end_are_no_studies(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.txt", "clear lungs\nedema\n\n\n")
    mine = write(tmp_path / "mine.txt", "clear\nno edema\n")
    paired = paired_reports(truth, {"": mine})
    assert [target.report for target in paired.targets] == ["clear lungs", "edema"]
    assert remarks(truth, mine) == {"references blank lines": 2}
    ends_empty = write(tmp_path / "empty.txt", "clear\n\n")
    paired = paired_reports(truth, {"": ends_empty})
    assert [each.report for each in paired.systems[""]] == ["clear", ""]
    ends_null = write(tmp_path / "null.txt", "clear\nnan\n")
    assert remarks(truth, ends_null)["predictions null"] == 1


def test_texts_in_place_of_ids_are_not_shown(tmp_path: Path) -> None:
    one = read(tmp_path, "one.json", '{"x": "a"}')
    two = read(tmp_path, "two.json", '{"There is no pneumothorax.": "x"}')
    with pytest.raises(HarnessError, match="lacks 1 of the ids") as caught:
        joined_ids(two, one)
    assert "pneumothorax" not in str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        "None.",
        "(none)",
        '"nan"',
        "N/A.",
        "[null]",
        "nan",
        "NaN",
        "None",
        "N/A",
        "null",
        "<NA>",
        "",
        "  ",
        None,
    ],
)
def test_a_null_word_is_no_report(tmp_path: Path, word: str | None) -> None:
    truth = write(tmp_path / "truth.json", json.dumps({"x": "clear lungs", "y": word, "z": "edema"}))
    mine = write(tmp_path / "mine.json", json.dumps({"x": word, "y": word, "z": "edema"}))
    paired = paired_reports(truth, {"": mine})
    assert [target.id for target in paired.targets] == ["x", "z"]
    assert [prediction.report.strip() for prediction in paired.systems[""]] == ["", "edema"]
    counts = remarks(truth, mine)
    assert counts["references left out"] == counts["predictions empty"] == 1
    is_word = word is None or bool(word.strip())
    assert counts.get("predictions null", 0) == 2 * is_word
    if word is not None and word.strip():
        as_words = paired_reports(truth, {"": mine}, ReportReading([]))
        assert len(as_words.targets) == 3


def test_references_without_a_word_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '{"x": "nan", "y": ""}')
    with pytest.raises(HarnessError, match="no report in it has words"):
        paired_reports(path, {"": path})


def test_repeated_and_similar_ids_are_counted(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", "id,report\nx,clear\nx,clear\nX,edema\n")
    mine = write(tmp_path / "mine.csv", "id,report\nX,clear\nx,edema\n")
    counts = remarks(truth, mine)
    assert counts["references repeated"] == 1
    assert counts["references ids"] == counts["predictions ids"] == 2
