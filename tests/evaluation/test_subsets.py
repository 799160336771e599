"""A subset of the studies, by ids: the numbers of files that hold it alone, for every kind of table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.core.types import CHEXPERT_LABELS
from harness.evaluation.label_references import score_against_labels
from harness.evaluation.label_scores import probability_label_scores, report_label_scores
from harness.evaluation.probability_files.scoring import score_probabilities
from harness.evaluation.probability_files.tables import LabelReading
from harness.evaluation.report_files.pairing import ReportReading
from harness.evaluation.state_files import score_probability_states, score_report_states
from tests.cli.test_cli import invoke
from tests.evaluation.test_probability_files import frames
from tests.evaluation.test_state_files import FULL, TRUTH, WITHOUT

SOME = [f"s{number}" for number in range(3, 27, 2)]
READING, TABLE = ReportReading(subset=SOME), LabelReading(subset=tuple(SOME))


def part(texts: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if name in SOME}


def rows(table: pd.DataFrame, ids: str) -> pd.DataFrame:
    return table[table[ids].isin(SOME)]


def test_states_of_reports() -> None:
    some = score_report_states(TRUTH, {"full": FULL, "no-context": WITHOUT}, ["bleu_4"], reading=READING)
    alone = score_report_states(part(TRUTH), {"full": part(FULL), "no-context": part(WITHOUT)}, ["bleu_4"])
    assert some.scores == alone.scores
    assert some.ids == tuple(SOME)
    assert "12 of 30 studies are in the subset" in str(some.remarks[0])


def test_states_of_probabilities() -> None:
    truth, predicted = frames()
    other = predicted.assign(Edema=0.5)
    some = score_probability_states(truth, {"full": predicted, "lateral": other}, ["brier"], TABLE)
    small = {"full": rows(predicted, "study_id"), "lateral": rows(other, "study_id")}
    assert some.scores == score_probability_states(rows(truth, "id"), small, ["brier"]).scores


def test_labels_of_reports_and_of_probabilities() -> None:
    pytest.importorskip("spacy")
    some = report_label_scores(TRUTH, FULL, ["chexpert_rules_f1"], reading=READING)
    alone = report_label_scores(part(TRUTH), part(FULL), ["chexpert_rules_f1"])
    assert [each.positives for each in some] == [each.positives for each in alone]
    assert str(some) == str(alone)
    truth, predicted = frames()
    by_label = probability_label_scores(truth, predicted, TABLE)
    small = probability_label_scores(rows(truth, "id"), rows(predicted, "study_id"))
    assert str(by_label) == str(small)


def test_probabilities_and_labels_of_a_table(tmp_path: Path) -> None:
    truth, predicted = frames()
    some = score_probabilities(truth, predicted, ["auroc", "ece"], TABLE)
    alone = score_probabilities(rows(truth, "id"), rows(predicted, "study_id"), ["auroc", "ece"])
    assert some.scores == alone.scores
    assert "are the subset of 80" in str(some.remarks[0])
    labels = pd.DataFrame({"id": list(TRUTH)} | dict.fromkeys(CHEXPERT_LABELS, 1))
    table = tmp_path / "labels.csv"
    labels.to_csv(table, index=False)
    scores = score_against_labels(table, table, reading=READING)
    assert scores.ids == tuple(SOME)
    with pytest.raises(HarnessError, match="lacks 1 ids of the subset: 's99'"):
        score_probabilities(truth, predicted, None, LabelReading(subset=("s99",)))


def test_the_command_takes_it_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("spacy")
    truth, predicted = frames()
    truth.to_csv(tmp_path / "truth.csv", index=False)
    predicted.to_csv(tmp_path / "ours.csv", index=False)
    for name, texts in (("truth", TRUTH), ("full", FULL), ("without", WITHOUT)):
        (tmp_path / f"{name}.json").write_text(json.dumps(texts))
    (tmp_path / "ids.txt").write_text("\n".join(SOME))
    subset = ["--subset", str(tmp_path / "ids.txt"), "--format", "json"]
    tables = ["--task", "diagnose", "--references", str(tmp_path / "truth.csv")]
    reports = ["--references", str(tmp_path / "truth.json")]
    full, without = str(tmp_path / "full.json"), str(tmp_path / "without.json")
    ours = str(tmp_path / "ours.csv")
    for words in (
        [*reports, "--missing", f"full={full}", "--missing", f"no-context={without}", "--metrics", "bleu"],
        [*reports, "--predictions", full, "--metrics", "chexpert_rules_f1", "--per-label"],
        [*tables, "--predictions", ours, "--metrics", "auroc"],
        [*tables, "--predictions", ours, "--per-label"],
        [*tables, "--missing", f"full={ours}", "--missing", f"lateral={ours}", "--metrics", "brier"],
    ):
        code, output, error = invoke(capsys, "score", *words, *subset)
        assert code == 0, error
        content = json.loads(output)
        n = content["n"] if "n" in content else content["rows"][0]["n"]
        assert n == len(SOME), words
