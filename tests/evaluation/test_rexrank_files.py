"""Submissions to ReXrank: its own records with the prediction added, and references of any other shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.evaluation import score_files
from harness.evaluation.report_files.rexrank import rexrank_json
from tests.cli.test_cli import invoke

TRUTH = {"s1": "The heart is large.", "s2": "No effusion.", "s3": ""}
OURS = {"s3": "Clear lungs.", "s1": "The heart is large.", "s2": "Left effusion."}


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def test_records_of_rexrank_keep_their_fields(tmp_path: Path) -> None:
    record = {"image_path": ["a.png"], "context": "Age:50-60.", "section_impression": "Normal."}
    truth = {name: record | {"section_findings": text} for name, text in TRUTH.items()}
    files = written(tmp_path, "truth.json", truth), written(tmp_path, "ours.json", OURS)
    submission = json.loads(rexrank_json(*files))
    assert list(submission) == list(TRUTH)
    for name, fields in submission.items():
        assert fields == truth[name] | {"model_prediction": OURS[name]}


def test_a_submission_is_scored_as_the_files_that_it_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "submission.json"
    truth, ours = written(tmp_path, "truth.json", TRUTH), written(tmp_path, "ours.json", OURS)
    words = ["score", str(truth), str(ours), "--metrics", "rouge_l,bleu"]
    code, _, error = invoke(capsys, *words, "--rexrank", str(out))
    assert code == 0, error
    submission = json.loads(out.read_text())
    assert all(
        {"section_findings", "section_impression", "model_prediction"} == set(fields)
        for fields in submission.values()
    )
    expected = score_files.score(truth, ours, ["rouge_l", "bleu"])
    again = score_files.score(out, out, ["rouge_l", "bleu"])
    assert again.scores == expected.scores
    code, _, error = invoke(capsys, *words, "--rexrank", str(ours))
    assert (code, "is a file of reports" in error) == (2, True)


def test_files_without_ids_are_no_submission(tmp_path: Path) -> None:
    truth, ours = written(tmp_path, "truth.json", ["a", "b"]), written(tmp_path, "ours.json", ["a", "c"])
    with pytest.raises(HarnessError, match="needs ids"):
        rexrank_json(truth, ours)
