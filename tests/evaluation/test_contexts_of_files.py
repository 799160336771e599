"""Age, sex and indication of the user's files reach the judge's prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.evaluation.report_files.pairing import paired_reports
from harness.metrics.judges.crimson import context_block

OURS = {"s1": "a", "s2": "b", "s3": "c"}
TABLE = (
    "id,report,age,Sex,indication\n"
    's1,The heart is large.,63,F,"Cough, fever."\n'
    "s2,No effusion.,,M,\n"
    "s3,Clear lungs.,nan,,n/a\n"
)


def contexts(path: Path) -> list[str | None]:
    return [each.context for each in paired_reports(path, {"": OURS}).targets]


def test_columns_of_a_table_are_the_context(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(TABLE)
    found = contexts(path)
    assert found == ["age 63, sex F. indication: Cough, fever.", "sex M. indication: ", None]
    assert context_block(found[0]) == (
        "Patient Context:\n    Age: 63\n    Sex: F\n    Indication: Cough, fever.\n"
    )
    assert context_block(found[1]) == "Patient Context:\n    Sex: M\n"
    assert context_block(found[2]) == ""


@pytest.mark.parametrize(
    ("record", "context"),
    [
        ({"age": 63.0}, "age 63. indication: "),
        ({"clinical_indication": "pain"}, "indication: pain"),
        ({"context": "Fell from a ladder."}, "Fell from a ladder."),
        (
            {"context": "<context>Age:50-60.Gender:M.Indication: dyspnea.Comparison: none.</context>"},
            "age 50-60, sex M. indication: dyspnea.",
        ),
        ({"history": None, "age": "N/A"}, None),
    ],
)
def test_records_name_it_in_many_ways(tmp_path: Path, record: dict[str, object], context: str | None) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({name: {"report": "Clear.", **record} for name in OURS}))
    assert contexts(path) == [context] * 3
    if context is not None and "50-60" in context:
        assert "    Age: 50-60\n    Sex: M\n    Indication: dyspnea.\n" in context_block(context)


def test_the_context_of_predictions_counts_for_nothing(tmp_path: Path) -> None:
    truth, ours = tmp_path / "truth.json", tmp_path / "ours.csv"
    truth.write_text(json.dumps({"s1": "a", "s2": "b", "s3": "c"}))
    ours.write_text(TABLE)
    paired = paired_reports(truth, {"": ours})
    assert [each.context for each in paired.targets] == [None] * 3
