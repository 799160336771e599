"""``--extra``: scores that another program gave, with intervals, tests and columns."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core.errors import HarnessError
from harness.evaluation import score_files
from harness.evaluation.extra_scores import read_extra, with_extra
from harness.metrics.base import SIGNATURE

IDS = [f"s{number}" for number in range(12)]
TRUTH = {name: f"The heart is {'large' if number % 2 else 'normal'}." for number, name in enumerate(IDS)}
OURS = dict.fromkeys(IDS, "The heart is large.")


def table(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def numbers(path: Path, shift: float = 0.0, header: str = "id,green,errors:lower") -> Path:
    """Every second study is worse; ids stand in another order than in the references."""
    rows = [f"{name},{shift + number % 2},{3 - number % 2}" for number, name in enumerate(IDS)]
    return table(path, header, rows[::-1])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {}
    for name, texts in (("truth", TRUTH), ("ours", OURS), ("theirs", TRUTH)):
        paths[name] = tmp_path / f"{name}.json"
        paths[name].write_text(json.dumps(texts))
    return paths


def harness(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.stdout


def test_a_column_has_value_interval_direction_and_signature(files: dict[str, Path], tmp_path: Path) -> None:
    extra = numbers(tmp_path / "judge.csv")
    scores = score_files.score(files["truth"], files["ours"], ["rouge_l"])
    rows = {row.metric: row for row in with_extra(scores, files["truth"], [extra]).scores}
    assert list(rows) == ["rouge_l", "green", "errors"]
    green = rows["green"]
    assert green.estimate.value == 0.5
    assert green.estimate.n == 12
    assert 0.1 < green.estimate.lo < 0.5 < green.estimate.hi < 0.9
    assert green.higher_is_better
    assert rows["errors"].higher_is_better is False
    assert rows["errors"].estimate.value == 2.5
    assert re.fullmatch(SIGNATURE, green.signature)
    changed = numbers(tmp_path / "other.csv", shift=0.25)
    again = with_extra(scores, files["truth"], [changed]).scores[1]
    assert again.signature != green.signature


def test_the_command_prints_columns_and_each_study(files: dict[str, Path], tmp_path: Path) -> None:
    extra, out = numbers(tmp_path / "judge.csv"), tmp_path / "studies.csv"
    base = ("score", files["truth"], files["ours"], "--metrics", "rouge_l", "--extra", extra)
    facts = json.loads(harness(*base, "--format", "json"))
    assert facts["metrics"]["green"]["value"] == 0.5
    assert "errors ↓" in harness(*base) or "errors" in harness(*base)
    harness(*base, "--per-study", out)
    rows = list(csv.DictReader(out.open()))
    assert [float(row["green"]) for row in rows] == [number % 2 for number in range(12)]


def test_systems_are_compared_by_their_own_tables(files: dict[str, Path], tmp_path: Path) -> None:
    first, second = numbers(tmp_path / "a.csv"), numbers(tmp_path / "b.csv", shift=-0.5)
    base = ["compare", "--references", files["truth"], "--metrics", "rouge_l", "--trials", 500]
    base += ["--system", f"ours={files['ours']}", "--system", f"theirs={files['theirs']}"]
    tables = ["--extra", f"ours={first}", "--extra", f"theirs={second}", "--format", "json"]
    rows = {row["metric"]: row for row in json.loads(harness(*base, *tables))["rows"]}
    assert list(rows) == ["rouge_l", "green", "errors"]
    assert rows["green"]["difference"] == pytest.approx(0.5)
    assert rows["green"]["p_value"] == pytest.approx(1 / 501, abs=3e-3)
    assert rows["errors"]["difference"] == 0
    assert rows["errors"]["p_value"] == 1
    alone = CliRunner().invoke(app, [str(each) for each in [*base, "--extra", f"ours={first}"]])
    assert alone.exit_code != 0
    renamed = numbers(tmp_path / "c.csv", header="id,green,errors")
    other = CliRunner().invoke(
        app, [str(each) for each in [*base, "--extra", f"ours={first}", "--extra", f"theirs={renamed}"]]
    )
    assert "columns of ours and theirs differ" in " ".join(str(other.exception or other.output).split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,green\ns0,0.5\ns0,0.6\n", "1 ids occur twice, or differ in form alone: 's0'"),
        ("id,green\ns0,0.5\nS0,0.6\n", "differ in form alone"),
        ("id,green\ns0,0.5\ns1,good\ns2,\n", "green is no number for 2 of 3 studies: 's1', 's2'"),
        ("id,green\ns0,0.5\ns1,nan\n", "green is no number for 1 of 2"),
        ("id;green\ns0;0,5\ns1;1\n", "green is no number for 1 of 2"),
        ("id,green\ns0,1e999\ns1,1\n", "infinite"),
        ("id,the judge's own score\ns0,1\n", "no name of a metric"),
        ("id,green:down\ns0,1\n", "no name of a metric"),
        ("id,green,green:lower\ns0,1,1\n", "two columns of one name"),
        ("id,why\ns0,no score\n", "no column of numbers"),
        ("study,green\ns0,1\n", "0 columns of ids"),
        ("id,green\n,1\n", "1 rows without an id"),
        ("id,green\n", "no rows"),
    ],
)
def test_odd_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "judge.csv"
    path.write_text(content)
    with pytest.raises(HarnessError) as raised:
        read_extra(path)
    assert message in str(raised.value)


def test_ids_on_one_side_are_named(files: dict[str, Path], tmp_path: Path) -> None:
    scores = score_files.score(files["truth"], files["ours"], ["rouge_l"])
    rows = [f"{name},1" for name in IDS]
    for lines, named in ((rows[1:], "s0"), ([*rows, "s99,1"], "s99")):
        with pytest.raises(HarnessError, match=named):
            with_extra(scores, files["truth"], [table(tmp_path / "judge.csv", "id,green", lines)])
    with pytest.raises(HarnessError, match="rouge_l is the name of another column"):
        with_extra(scores, files["truth"], [table(tmp_path / "judge.csv", "id,rouge_l", rows)])


def test_explanations_are_left_out_and_never_shown(tmp_path: Path) -> None:
    judge = table(tmp_path / "judge.csv", "id,green,why", [f"{name},1,the heart is {name}" for name in IDS])
    extra = read_extra(judge)
    assert [column.name for column in extra.columns] == ["green"]
    (remark,) = extra.remarks
    assert "why" in str(remark)
    assert "heart" not in str(remark)


def test_studies_without_a_reference_do_not_count(tmp_path: Path) -> None:
    truth = {**TRUTH, "s3": ""}
    scores = score_files.score(truth, OURS, ["rouge_l"])
    assert len(scores.ids) == 11
    row = with_extra(scores, truth, [numbers(tmp_path / "judge.csv")]).scores[1]
    assert row.estimate.value == pytest.approx(np.mean([number % 2 for number in range(12) if number != 3]))
    assert row.estimate.n == 11


def test_patients_are_resampled(tmp_path: Path) -> None:
    lines = [f"{name},p{number // 6},{text}" for number, (name, text) in enumerate(TRUTH.items())]
    truth = table(tmp_path / "truth.csv", "id,patient_id,report", lines)
    scores = score_files.score(truth, OURS, ["rouge_l"])
    judge = table(
        tmp_path / "judge.csv", "id,green", [f"{name},{number // 6}" for number, name in enumerate(IDS)]
    )
    estimate = with_extra(scores, truth, [judge]).scores[1].estimate
    assert (estimate.lo, estimate.hi) == (0.0, 1.0)  # two patients


def test_other_tables_take_no_extra(files: dict[str, Path], tmp_path: Path) -> None:
    arguments = [
        "score",
        files["truth"],
        files["ours"],
        "--per-label",
        "--extra",
        numbers(tmp_path / "judge.csv"),
    ]
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code != 0
    assert "--extra is not for this table" in str(result.exception or result.output)


def test_csv_has_the_columns_too(files: dict[str, Path], tmp_path: Path) -> None:
    arguments = ("score", files["truth"], files["ours"], "--metrics", "rouge_l", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(harness(*arguments, "--extra", numbers(tmp_path / "judge.csv")))))
    assert [row["metric"] for row in rows] == ["rouge_l", "green", "errors"]


def test_a_table_without_a_single_number_names_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("id,crimson,judge\na,nan,\nb,nan,none\n")
    with pytest.raises(HarnessError, match="no column of numbers: no cell of 'crimson', 'judge' is one"):
        read_extra(path)
