"""Scores of every label alone: equal to scikit-learn's, undefined where nothing is to be divided."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from harness.evaluation.label_scores import probability_label_scores, report_label_scores
from tests.cli.test_cli import invoke
from tests.evaluation.test_probability_files import NAMES, frames

REPORTS = {
    "s1": ("Left effusion.", "Left effusion."),
    "s2": ("Left effusion.", "The lungs are clear."),
    "s3": ("The lungs are clear.", "Left effusion. Mild edema."),
    "s4": ("Mild edema.", "Mild edema."),
}
TRUTH = {name: pair[0] for name, pair in REPORTS.items()}
OURS = {name: pair[1] for name, pair in REPORTS.items()}


def test_labels_that_are_read_from_reports() -> None:
    pytest.importorskip("spacy")
    rows = {row.label: row for row in report_label_scores(TRUTH, OURS, ["chexpert_rules_f1"])}
    effusion = rows["Pleural Effusion"]
    assert (effusion.positives, effusion.called) == (2, 2)
    assert [effusion.scores[name].value for name in ("precision", "recall", "f1")] == [0.5, 0.5, 0.5]
    edema = rows["Edema"]
    assert edema.scores["precision"].value == 0.5
    assert edema.scores["recall"].value == 1.0
    fracture = rows["Fracture"].scores
    assert math.isnan(fracture["precision"].value)
    assert math.isnan(fracture["recall"].value)
    assert fracture["f1"].value == 0.0
    assert len(rows) == 14


def test_labels_that_are_probabilities_have_the_numbers_of_scikit_learn() -> None:
    truth, predicted = frames()
    rows = probability_label_scores(truth, predicted)
    called = predicted.set_index("study_id").loc[truth["id"]][list(NAMES)].to_numpy() >= 0.5
    expected = precision_recall_fscore_support(truth[list(NAMES)].to_numpy(), called, zero_division=np.nan)
    for place, row in enumerate(rows):
        assert row.label == NAMES[place]
        assert row.positives == expected[3][place]
        for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
            assert row.scores[name].value == pytest.approx(values[place], nan_ok=True)
        assert row.scores["auroc"].lo <= row.scores["auroc"].value <= row.scores["auroc"].hi


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("spacy")
    for name, texts in (("truth", TRUTH), ("ours", OURS)):
        (tmp_path / f"{name}.json").write_text(json.dumps(texts))
    files = ("--references", str(tmp_path / "truth.json"), "--predictions", str(tmp_path / "ours.json"))
    arguments = ("score", *files, "--metrics", "chexpert_rules_f1", "--per-label")
    code, output, _ = invoke(capsys, *arguments)
    assert code == 0
    assert "Pleural Effusion" in output
    assert "undefined" in output
    code, output, _ = invoke(capsys, *arguments, "--format", "json")
    rows = json.loads(output)["rows"]
    assert len(rows) == 14 * 3
    code, output, _ = invoke(capsys, *arguments, "--format", "csv")
    assert len(output.splitlines()) == 1 + 14 * 3
    code, output, _ = invoke(capsys, *arguments, "--format", "html")
    assert output.startswith("<!doctype html>")
    assert output.count('<th scope="row">') == 14
    assert "<td>0.500<span" in output
    assert "<td>undefined</td>" in output
    assert "default-src 'none'" in output
    code, _, error = invoke(capsys, *arguments[:-1], "--format", "html")
    assert (code, "--per-label alone" in error) == (2, True)
    code, _, error = invoke(capsys, *arguments, "--per-study", str(tmp_path / "x.csv"))
    assert (code, "--per-study is not for this table" in error) == (2, True)
    code, _, error = invoke(capsys, "score", *files, "--metrics", "bleu", "--per-label")
    assert code == 2
