"""Labels of a table as references: what sklearn computes of the same labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score

from harness.core.errors import HarnessError
from harness.core.metric_options import MetricOptions
from harness.core.types import CHEXPERT_LABELS
from harness.evaluation.label_references import score_against_labels
from harness.evaluation.report_labels import label_reports
from tests.cli.test_cli import invoke

RNG = np.random.default_rng(3)
CODES = np.array(["1", "0", "-1", ""])


def table(path: Path, cells: np.ndarray) -> Path:
    lines = [f"s{number}," + ",".join(row) for number, row in enumerate(cells)]
    path.write_text("\n".join([",".join(("id", *CHEXPERT_LABELS)), *lines]))
    return path


@pytest.fixture
def cells() -> tuple[np.ndarray, np.ndarray]:
    truth, ours = CODES[RNG.integers(0, 4, (2, 40, 14))]
    return truth, ours


@pytest.mark.parametrize(("uncertain", "positive"), [("positive", ("1", "-1")), ("negative", ("1",))])
def test_two_tables_have_the_scores_of_sklearn(
    tmp_path: Path, cells: tuple[np.ndarray, np.ndarray], uncertain: str, positive: tuple[str, ...]
) -> None:
    truth, ours = (table(tmp_path / f"{name}.csv", own) for name, own in zip("ab", cells, strict=True))
    options = MetricOptions(uncertain=uncertain)
    scores = {each.metric: each for each in score_against_labels(truth, ours, options=options).scores}
    expected, predicted = (np.isin(own, positive) for own in cells)
    for average in ("micro", "macro"):
        value = scores[f"labels_f1_{average}_14"].estimate.value
        assert value == pytest.approx(f1_score(expected, predicted, average=average, zero_division=0))
    signature = scores["labels_f1_micro_14"].signature
    assert signature.startswith(f"labels_f1|refs:label-table|uncertain:{uncertain}|")


def test_reports_are_read_by_the_labeller_and_counted_per_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {
        f"s{number}": ("Mild edema.", "No edema.", "Possible edema.")[number % 3] for number in range(12)
    }
    codes = label_reports(texts).codes
    cells = np.array([["" if np.isnan(each) else str(int(each)) for each in row] for row in codes])
    truth = table(tmp_path / "truth.csv", cells)
    reports = tmp_path / "ours.json"
    reports.write_text(json.dumps(texts))
    (first, *_) = score_against_labels(truth, reports, ["chexpert_rules_f1_micro_14"]).scores
    assert first.estimate.value == 1.0
    assert "|refs:label-table|" in first.signature
    words = ["score", "--labels", str(truth), str(reports), "--per-label", "--format", "json"]
    code, output, error = invoke(capsys, *words)
    assert code == 0, error
    rows = [row for row in json.loads(output)["rows"] if row["label"] == "Edema"]
    assert [row["score"] for row in rows] == ["precision", "recall", "f1"]
    assert {(row["positives"], row["uncertain"], row["blank"], row["predicted"]) for row in rows} == {
        (8, 4, 0, 8)
    }


def test_precision_per_label_is_that_of_sklearn(
    tmp_path: Path, cells: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, ours = (table(tmp_path / f"{name}.csv", own) for name, own in zip("ab", cells, strict=True))
    words = ["score", "--labels", str(truth), str(ours), "--per-label", "--uncertain", "negative"]
    code, output, error = invoke(capsys, *words, "--format", "json")
    assert code == 0, error
    values = {row["label"]: row["value"] for row in json.loads(output)["rows"] if row["score"] == "precision"}
    expected = precision_score(cells[0] == "1", cells[1] == "1", average=None, zero_division=0)
    assert [values[name] for name in CHEXPERT_LABELS] == pytest.approx(expected)


def test_metrics_that_are_not_for_labels_are_refused(
    tmp_path: Path, cells: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, ours = (table(tmp_path / f"{name}.csv", own) for name, own in zip("ab", cells, strict=True))
    words = ["score", "--labels", str(truth), str(ours), "--metrics"]
    for names in ("nonsense", "bleu,auroc", "labels_f1,bleu"):
        code, output, error = invoke(capsys, *words, names)
        assert (code, output) == (2, "")
        assert "a table of labels against another has labels_f1 alone" in error
    assert invoke(capsys, *words, "labels_f1")[0] == 0
    reports = tmp_path / "ours.json"
    reports.write_text(json.dumps({f"s{number}": "No edema." for number in range(40)}))
    with pytest.raises(HarnessError, match="--metrics bleu: it compares no reports with a table of labels"):
        score_against_labels(truth, reports, ["bleu", "chexpert_rules_f1"])


def test_what_is_no_table_of_labels_is_refused(
    tmp_path: Path, cells: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, ours = (table(tmp_path / f"{name}.csv", own) for name, own in zip("ab", cells, strict=True))
    lines = truth.read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join([lines[0].replace("Edema", "Oedema"), *lines[1:]]))
    with pytest.raises(HarnessError, match="no column 'Edema'"):
        score_against_labels(tmp_path / "few.csv", ours)
    (tmp_path / "two.csv").write_text("\n".join([lines[0], "s0,2" + "," * 13, *lines[2:]]))
    with pytest.raises(HarnessError, match="'No Finding' of 's0' is no label"):
        score_against_labels(tmp_path / "two.csv", ours)
    (tmp_path / "short.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(HarnessError, match="lacks 1 of the ids"):
        score_against_labels(truth, tmp_path / "short.csv")
    code, _, error = invoke(capsys, "score", "--labels", str(truth), str(ours), "--tokenizer", "ptb")
    assert code == 2
    assert "--tokenizer is not for this table" in error
