"""Labels and probabilities from tables: what is read, what is refused with a way out, and equal numbers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from harness.core.errors import HarnessError
from harness.evaluation.probability_files.scoring import score_probabilities
from harness.evaluation.probability_files.tables import LabelReading, joined
from tests.cli.test_cli import invoke

NAMES = ("Edema", "Mass", "Cyst")


def frames(n: int = 80) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labels, and probabilities that tell them apart a little, in another order of rows and columns."""
    rng = np.random.default_rng(0)
    labels = (rng.random((n, 3)) < 0.3).astype(int)
    probabilities = np.clip(0.3 * labels + 0.7 * rng.random((n, 3)), 0, 1)
    ids = [f"s{number}" for number in range(n)]
    truth = pd.DataFrame(labels, columns=list(NAMES))
    truth.insert(0, "patient", [f"p{number // 2}" for number in range(n)])
    truth.insert(0, "id", ids)
    predicted = pd.DataFrame(probabilities, columns=list(NAMES))[["Mass", "Cyst", "Edema"]]
    predicted["study_id"] = ids
    return truth, predicted.sample(frac=1, random_state=1)


def value(scores: Any, name: str) -> float:
    (score,) = [each for each in scores.scores if each.metric == name]
    return float(score.estimate.value)


def test_a_cell_that_holds_several_values_is_refused(tmp_path: Path) -> None:
    truth, predicted = frames(12)
    truth["patient"] = [["a"]] * 12
    truth.to_parquet(tmp_path / "truth.parquet")
    predicted.to_csv(tmp_path / "predicted.csv", index=False)
    with pytest.raises(HarnessError, match="column 'patient' holds several values in a cell"):
        score_probabilities(tmp_path / "truth.parquet", tmp_path / "predicted.csv")


def test_ids_and_columns_are_joined_by_name_and_the_number_is_that_of_scikit_learn(tmp_path: Path) -> None:
    truth, predicted = frames()
    in_order = predicted.set_index("study_id").loc[truth["id"]]
    expected = np.mean([roc_auc_score(truth[name], in_order[name]) for name in NAMES])
    in_memory = score_probabilities(truth, predicted)
    assert value(in_memory, "auroc_macro") == pytest.approx(expected, abs=1e-12)
    truth.to_csv(tmp_path / "truth.tsv", sep="\t", index=False)
    predicted.to_parquet(tmp_path / "predicted.parquet")
    from_files = score_probabilities(tmp_path / "truth.tsv", tmp_path / "predicted.parquet")
    assert [each.estimate for each in from_files.scores] == [each.estimate for each in in_memory.scores]
    names = {each.metric for each in in_memory.scores}
    assert {"f1_macro", "brier", "ece", "aurc"} <= names
    assert "f1_macro_tuned" not in names  # it chooses on validation studies, which no table has


def test_intervals_resample_patients() -> None:
    truth, predicted = frames()
    of_patients = score_probabilities(truth, predicted, ["brier"]).scores[0].estimate
    of_studies = score_probabilities(truth.drop(columns="patient"), predicted, ["brier"]).scores[0].estimate
    assert of_patients.value == of_studies.value
    assert of_patients.ci95 != of_studies.ci95


def test_a_column_of_names_holds_exclusive_classes() -> None:
    rng = np.random.default_rng(1)
    ids = [f"s{number}" for number in range(30)]
    truth = pd.DataFrame({"id": ids, "diagnosis": rng.choice(NAMES, 30)})
    predicted = pd.DataFrame(rng.dirichlet([1, 1, 1], 30), columns=list(NAMES))
    predicted.insert(0, "id", ids)
    scores = score_probabilities(truth, predicted)
    chosen = predicted[list(NAMES)].to_numpy().argmax(1)
    right = np.mean([NAMES[index] == name for index, name in zip(chosen, truth["diagnosis"], strict=True)])
    assert value(scores, "accuracy") == pytest.approx(right)
    assert all("labels:single" in each.signature for each in scores.scores)
    rounded = predicted.round(3)
    assert any("by rounding" in str(remark) for remark in score_probabilities(truth, rounded).remarks)


def test_what_a_table_cannot_say_is_asked_about_and_counted() -> None:
    truth, predicted = frames(12)
    truth["Edema"] = truth["Edema"].astype(object)
    truth.loc[3, "Edema"] = -1
    with pytest.raises(HarnessError, match=r"1 studies have uncertain labels, -1: 's3' \(--uncertain"):
        joined(truth, predicted, LabelReading())
    for policy, label in (("positive", 1), ("negative", 0)):
        studies = joined(truth, predicted, LabelReading(uncertain=policy))
        assert studies.truth[3, 0] == label
        assert studies.remarks == (
            ("uncertain labels", f"have uncertain labels, counted as {policy}", ("s3",)),
        )
    truth.loc[3, "Edema"] = None
    with pytest.raises(HarnessError, match="--blank negative"):
        joined(truth, predicted, LabelReading())
    assert joined(truth, predicted, LabelReading(blank="negative")).truth[3, 0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, p: (t, p.assign(Mass=p["Mass"] * 10 - 5)), r"outside \[0, 1\].*logits"),
        (lambda t, p: (t, p.drop(columns="Cyst")), "no column 'Cyst'.*--findings"),
        (lambda t, p: (t, p.iloc[1:]), "lacks 1 of the ids"),
        (lambda t, p: (t, pd.concat([p, p.iloc[:1]])), "occur twice"),
        (lambda t, p: (t.rename(columns={"id": "name"}), p), "no column of ids"),
        (lambda t, p: (t.assign(id=["007", "7", *t["id"][2:]]), p), "differ in form alone"),
        (lambda t, p: (t.assign(Mass=2), p), "'Mass' of 's0' is no label"),
        (lambda t, p: (t, p.assign(Mass=None)), "no number for 12 studies"),
        (lambda t, p: (t.rename(columns={"Mass": "edema"}), p), "'edema' occurs twice|'Edema' occurs twice"),
        (lambda t, p: (t.assign(**{"label:Mass": 0}), p), "'Mass' occurs twice"),
        (
            lambda t, p: (t.assign(patient=["", *t["patient"][1:]]), p),
            "1 studies have no patient: 's0'.*leave the column out",
        ),
        (lambda t, p: (t.assign(patient="nan"), p), "12 studies have no patient"),
        (lambda t, p: (t.assign(patient=["1", "1.0"] * 6), p), "patients differ in form alone"),
        (lambda t, p: (t.assign(subject_id=t["patient"]), p), "several columns of patients.*keep one"),
        (lambda t, p: (t, p.assign(patient="p0")), "another patient than in labels.*leave the column out"),
        (lambda t, p: (t.assign(id=["NaN", *t["id"][1:]]), p), "no id in line 2"),
        (lambda t, p: (t, p.assign(Mass="0_1")), "no number for 12 studies"),
        (lambda t, p: (t, p.assign(Mass="\u0660.\u0665")), "no number for 12 studies"),
        (lambda t, p: (t, p.assign(Mass="0,5")), "decimal point"),
        (lambda t, p: (t, p.assign(Mass="50%")), "no percent sign"),
        (lambda t, p: (t.assign(**{"Unnamed: 0": "x"}), p), "column 6 has no name"),
        (lambda t, p: (t.assign(split="test"), p), "no column 'split'.*delete columns that are no labels"),
    ],
)
def test_tables_that_say_something_else_are_refused(change: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        score_probabilities(*change(*frames(12)))


TEXT = "The heart is normal in size and the lungs are clear without effusion or pneumothorax"


@pytest.mark.parametrize(
    "change",
    [
        lambda t, p: (t.assign(id=TEXT + t["id"], Mass=2), p.assign(study_id=TEXT + p["study_id"])),
        lambda t, p: (t.assign(id=TEXT + t["id"]), p.assign(study_id=TEXT + p["study_id"], Mass=7)),
        lambda t, p: (
            t.assign(id=TEXT + t["id"])[["id"]].assign(dx="x"),
            p.assign(study_id=TEXT + p["study_id"]),
        ),
        lambda t, p: (t.rename(columns={"Mass": "The heart is normal in size"}), p),
        lambda t, p: (t.assign(Mass=TEXT), p),
    ],
)
def test_no_message_shows_a_text(change: Any) -> None:
    with pytest.raises(HarnessError) as caught:
        score_probabilities(*change(*frames(12)))
    assert "heart is normal" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda t, p: (t.replace({0: "FALSE", 1: "TRUE"}), p),
        lambda t, p: (t.assign(**{"Unnamed: 0": range(12)}), p.assign(**{"": ""})),
        lambda t, p: (
            t.drop(columns="patient"),
            p.merge(t[["id", "patient"]], left_on="study_id", right_on="id"),
        ),
    ],
)
def test_the_same_table_in_another_form_has_the_same_numbers(change: Any) -> None:
    truth, predicted = frames(12)
    changed, answers = change(truth, predicted)
    answers = answers.drop(columns="id", errors="ignore")
    expected = score_probabilities(truth, predicted, ["auroc", "brier"]).scores
    assert score_probabilities(changed, answers, ["auroc", "brier"]).scores == expected


def test_one_column_is_a_finding_or_classes() -> None:
    truth, predicted = frames(12)
    finding = joined(
        truth[["id", "Mass"]].astype(object).replace({0: None}),
        predicted[["study_id", "Mass"]],
        LabelReading(blank="negative"),
    )
    assert finding.multilabel
    assert finding.truth[:, 0].tolist() == truth["Mass"].tolist()
    classes = pd.DataFrame({"id": truth["id"], "diagnosis": [0, 1, 2] * 4})
    answers = pd.DataFrame({"id": truth["id"], "0": 0.5, "1": 0.25, "2": 0.25})
    assert joined(classes, answers, LabelReading()).truth.sum(axis=0).tolist() == [4, 4, 4]
    with pytest.raises(HarnessError, match="without --findings"):
        joined(classes, answers, LabelReading(labels=("0", "1")))


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (LabelReading(uncertain="u-ones"), "--uncertain u-ones.*positive or negative"),
        (LabelReading(blank="positive"), "--blank positive.*negative"),
        (LabelReading(labels=("Mass", "Mass")), "'Mass' twice"),
    ],
)
def test_readings_that_are_none(reading: LabelReading, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        joined(*frames(12), reading)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "no table.*write CSV"),
        ("a.csv", b'[{"id": "a", "report": "Clear."}]', "JSON is no table.*write CSV"),
        ("a.csv", "id,Mass\ns0,1\n".encode("utf-16"), "not UTF-8.*write CSV"),
        ("a.parquet", b"PAR1", "no Parquet file"),
        ("a.PQ", b"PAR1", "no Parquet file"),
        ("a.csv", b"id,Edema,Mass,Cyst\n", "no rows"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HarnessError, match=message):
        joined(frames(12)[0], tmp_path / name, LabelReading())


@pytest.mark.parametrize("ending", [b"\n \n", b",,,,\n", b"\r\n\r\n"])
def test_empty_rows_and_blanks_before_quotes_do_not_count(tmp_path: Path, ending: bytes) -> None:
    truth, predicted = frames(12)
    text = truth.to_csv(index=False, quoting=csv.QUOTE_ALL).replace(",", ", ")
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8-sig") + ending)
    assert np.array_equal(joined(tmp_path / "a.csv", predicted, LabelReading()).truth, truth[list(NAMES)])


def test_labels_alone_and_exclusive_ones() -> None:
    truth, predicted = frames(40)
    some = score_probabilities(truth, predicted.drop(columns="Cyst"), reading=LabelReading(labels=("Mass",)))
    assert any("common:1of1" in score.signature for score in some.scores)
    with pytest.raises(HarnessError, match="no class or several"):
        joined(truth, predicted, LabelReading(exclusive=True))


def test_the_command_prints_and_refuses_options_of_the_other_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, predicted = frames()
    truth.to_csv(tmp_path / "truth.csv", index=False)
    predicted.to_csv(tmp_path / "predicted.csv", index=False)
    files = ("--references", str(tmp_path / "truth.csv"), "--predictions", str(tmp_path / "predicted.csv"))
    code, output, _ = invoke(capsys, "score", "--task", "diagnose", *files, "--format", "json")
    assert code == 0
    content = json.loads(output)
    assert content["n"] == 80
    assert content["metrics"]["auroc_macro"]["signature"].startswith("auroc|labels:multi")
    code, _, error = invoke(capsys, "score", "--task", "diagnose", *files, "--tokenizer", "ptb")
    assert (code, "--tokenizer is not for this table" in error) == (2, True)
    code, _, error = invoke(
        capsys, "score", "--task", "diagnose", *files, "--per-label", "--metrics", "auroc"
    )
    assert (code, "--metrics is not for this table" in error) == (2, True)
    code, _, error = invoke(capsys, "score", "--task", "draw", *files)
    assert (code, "--task draw" in error) == (2, True)


def test_labels_of_reports_have_chexpert_columns_and_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("spacy")
    reports = {"s1": "Large left effusion. No pneumothorax.", "s2": "Possible pneumonia."}
    (tmp_path / "reports.json").write_text(json.dumps(reports))
    code, _, _ = invoke(
        capsys, "label", str(tmp_path / "reports.json"), "--out", str(tmp_path / "labels.csv")
    )
    assert code == 0
    with (tmp_path / "labels.csv").open(newline="") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    assert rows["s1"]["Pleural Effusion"] == "1"
    assert rows["s1"]["Pneumothorax"] == "0"
    assert rows["s2"]["Pneumonia"] == "-1"
    assert rows["s2"]["Fracture"] == ""
    assert len(rows["s1"]) == 15


def test_numbers_without_both_kinds_of_studies_say_so(tmp_path: Path) -> None:
    truth, predicted = frames(40)
    truth[list(NAMES)] = 0
    scores = score_probabilities(truth, predicted, ["auroc"])
    assert all(np.isnan(score.estimate.value) for score in scores.scores)
    assert set(scores.notes.values()) == {
        "undefined: no label has both studies with it and studies without it"
    }


def test_decisions_and_equal_probabilities_are_told() -> None:
    truth, predicted = frames(40)
    decisions = predicted.copy()
    decisions[list(NAMES)] = (predicted[list(NAMES)] > 0.5).astype(float)
    (remark,) = score_probabilities(truth, decisions, ["auroc"]).remarks
    assert str(remark).startswith("40 of 40 studies have only probabilities of 0 and 1")
    predicted[list(NAMES)] = 0.5
    (remark,) = score_probabilities(truth, predicted, ["auroc"]).remarks
    assert "have the same probabilities" in str(remark)


def test_columns_that_differ_in_capitals_alone_are_named() -> None:
    truth, predicted = frames(40)
    with pytest.raises(HarnessError, match="capitals count"):
        score_probabilities(truth, predicted.rename(columns=str.lower))
