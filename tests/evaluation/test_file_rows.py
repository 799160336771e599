"""Answers from files as rows of a store: the numbers of the method that wrote them, and marked everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import harness
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import Task
from harness.evaluation.file_rows.answers import FileAnswers
from harness.evaluation.file_rows.rows import add_row
from harness.evaluation.file_rows.target import Target
from harness.evaluation.run import run
from harness.leaderboard.leaderboard import Leaderboard
from harness.store.store import Store
from tests.cli.test_cli import invoke
from tests.helpers import toys

LABEL = "ours (from files)"


@pytest.fixture
def store(toy_world: Path) -> Path:
    """A store with a run of ``echo``, and what it answered as files beside it."""
    settings = RunSettings.of(
        methods=("echo",),
        dataset="toy",
        missing=(0.5,),
        mask_seeds=3,
        metrics=toys.FAST_METRICS,
        store=toy_world / "store",
        workers=1,
    )
    run(settings, toys.Quiet())
    for path in (toy_world / "store").rglob("predictions/*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        texts = {row["id"]: row["report"] for row in rows if "report" in row}
        (toy_world / f"{path.stem}.json").write_text(json.dumps(texts))
    return toy_world / "store"


def files_of(store: Path, *states: str) -> dict[str, Path]:
    return {state: store.parent / f"{state}.json" for state in states}


def test_a_row_from_a_methods_own_answers_has_the_methods_numbers(store: Path) -> None:
    target = Target.of(store)
    row = add_row(
        target, "ours", FileAnswers.read(target, Task.REPORT, files_of(store, "full", "context", "frontal"))
    )
    assert not row.failed
    stored = Store(store).results()
    method = {(each.drop, each.metric, each.rate): each for each in stored if each.method == "echo"}
    own = {(each.drop, each.metric, each.rate): each for each in stored if each.method == LABEL}
    assert {drop for drop, _, rate in own if rate} == {"context", "frontal"}
    assert {drop for drop, _, _ in own} == {drop for drop, _, _ in method}
    for place, each in own.items():
        assert each.value == pytest.approx(method[place].value, abs=1e-12), place
        assert each.ci95 == pytest.approx(method[place].ci95, abs=1e-12), place
        assert (each.signature, each.test_set) == (method[place].signature, method[place].test_set)


def test_a_row_stands_beside_the_methods_and_says_where_it_comes_from(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", str(store.parent / "full.json"), "--store", str(store), "--as", "ours"]
    code, output, error = invoke(capsys, *words)
    assert code == 0, error
    assert "harness leaderboard --store" in output
    board = Leaderboard.of(Store(store))
    (table,) = [each for each in board.tables if each.group == "report text" and not each.curve_alone]
    assert {row.method for row in table.rows} == {"echo", LABEL}
    row = next(row for row in table.rows if row.method == LABEL)
    assert row.audit == "not audited"
    facts = board.results[row.keys[0]]
    assert facts.answers["full"].startswith("full.json sha256:")
    assert (facts.code, facts.card["reads"]) == ("", [])
    assert facts.command.startswith("harness score --task report --predictions FILE")
    assert any(f"{LABEL}: not audited; full.json" in line for line in table.remarks.values())
    code, _, error = invoke(capsys, "reproduce", row.keys[0], "--store", str(store))
    assert code == 2
    assert "not a row of harness run" in error


def test_other_ids_other_names_and_other_references_are_refused(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Target.of(store)
    texts = json.loads((store.parent / "full.json").read_text())
    texts["elsewhere"] = texts.pop("test3")
    other = store.parent / "other.json"
    other.write_text(json.dumps(texts))
    with pytest.raises(
        HarnessError, match=r"other\.json lacks 1 of the ids in the test split of toy: 'test3'"
    ):
        FileAnswers.read(target, Task.REPORT, {"full": other})
    answers = FileAnswers.read(target, Task.REPORT, files_of(store, "full"))
    for name, message in (("echo", "a method has this name"), ("a[b]", "no name of a row"), ("", "no name")):
        with pytest.raises(HarnessError, match=message):
            add_row(target, name, answers)
    with pytest.raises(HarnessError, match="'axial' is no modality of toy"):
        FileAnswers.read(target, Task.REPORT, {"full": other, "no-axial": other})
    with pytest.raises(HarnessError, match="toy has no task diagnose"):
        FileAnswers.read(target, Task.DIAGNOSE, {"full": other})
    words = ["score", str(other), str(other), "--store", str(store), "--as", "ours"]
    assert invoke(capsys, *words)[0] == 2
    assert invoke(capsys, "score", "--references", *words[1:])[0] == 2
    code, _, error = invoke(
        capsys, "score", str(other), "--store", str(store.parent / "none"), "--as", "ours"
    )
    assert code == 2
    assert "no results store" in error


def test_a_newer_file_takes_the_place_of_an_older_one(store: Path) -> None:
    target = Target.of(store)
    for text in ("heart normal.", "no effusion."):
        (store.parent / "same.json").write_text(json.dumps({each.id: text for each in target.studies}))
        answers = FileAnswers.read(target, Task.REPORT, {"full": store.parent / "same.json"})
        newest = add_row(target, "ours", answers).keys
    rows = [
        row for row in Leaderboard.of(Store(store)).rows if row.method == LABEL and row.metric == "bleu_4"
    ]
    assert {row.key for row in rows} == set(newest)


def judged(store: Path, name: str, shift: int) -> Path:
    """Scores of another program for the 40 test studies."""
    path = store.parent / name
    rows = [f"test{number},{(number + shift) % 7},{number % 3}" for number in range(40)]
    path.write_text("\n".join(["id,green,errors:lower", *rows]))
    return path


def test_judgements_are_columns_with_intervals_and_ranks(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, shift in (("ours", 0), ("theirs", 3)):
        words = ["--store", str(store), "--as", name, "--extra", str(judged(store, f"{name}.csv", shift))]
        code, output, error = invoke(capsys, "score", str(store.parent / "full.json"), *words)
        assert code == 0, error
        assert "green" in output
    board = Leaderboard.of(Store(store))
    (table,) = [each for each in board.tables if each.group == "imported scores"]
    assert {row.method for row in table.rows} == {LABEL, "theirs (from files)"}
    for row in table.rows:
        assert table.ranks(row) is not None
        number = row.at("green", 0.0)
        assert number is not None
        assert number.ci95 is not None
        assert number.ci95[0] < number.value < number.ci95[1]
    rows = {(each.method, each.metric): each for each in board.rows if each.group == "imported scores"}
    assert rows[LABEL, "green"].value == pytest.approx(sum(number % 7 for number in range(40)) / 40)
    assert rows[LABEL, "green"].signature == "imported|column:green|better:higher|v:1"
    assert rows[LABEL, "errors"].higher_is_better is False
    assert {each.rate for each in board.rows if each.metric == "green"} == {0.0}
    assert "extra ours.csv" in board.results[rows[LABEL, "green"].key].answers


def test_judgements_of_other_studies_or_with_a_metric_s_name_are_refused(store: Path) -> None:
    target = Target.of(store)
    path = judged(store, "judge.csv", 0)
    content = path.read_text()
    path.write_text(content.replace("test39,", "elsewhere,"))
    with pytest.raises(HarnessError, match="'test39'"):
        FileAnswers.read(target, Task.REPORT, files_of(store, "full"), extra=[path])
    path.write_text(content.replace("green", "bleu_4"))
    with pytest.raises(HarnessError, match="bleu_4 is the name of a metric"):
        FileAnswers.read(target, Task.REPORT, files_of(store, "full"), extra=[path])


def test_a_row_from_python_is_that_of_the_command(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = files_of(store, "full", "context")
    row = harness.add_row(store, "from python", files, extra=[judged(store, "judge.csv", 0)])
    assert not row.failed
    words = [word for state, path in files.items() for word in ("--missing", f"{state}={path}")]
    code, _, error = invoke(capsys, "score", *words, "--store", str(store), "--as", "from shell")
    assert code == 0, error
    stored = Store(store).results()
    ours, theirs = (
        {
            (each.drop, each.metric, each.rate): (each.value, each.ci95)
            for each in stored
            if each.method == f"{name} (from files)" and each.group != "imported scores"
        }
        for name in ("from python", "from shell")
    )
    assert ours == theirs
    assert any(each.metric == "green" for each in row.measurements)
    alone = harness.add_row(str(store), "one file", str(files["full"]))
    assert {each.rate for each in alone.measurements if each.value is not None} == {0.0}


def test_metrics_get_the_context_of_the_test_studies(store: Path) -> None:
    target = Target.of(store)
    assert [each.context for each in target.references] == [each.context for each in target.studies]
    assert any(each.context for each in target.references)
