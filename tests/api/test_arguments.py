"""Arguments of the Python interface of another type: one line that names them; tables that mislead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import harness
from harness.core.errors import HarnessError
from harness.metrics import Bleu
from tests.helpers.foreign_tables import FailingTable, ForeignTable, LazyTable

IDS = [f"s{number}" for number in range(12)]
TRUE = ["the heart is normal in size .", "large left pleural effusion .", "the lungs are clear ."] * 4
MADE = [f"{text} case {number}" for number, text in enumerate(["the heart is normal .", "effusion ."] * 6)]
BY_ID, MADE_BY_ID = dict(zip(IDS, TRUE, strict=True)), dict(zip(IDS, MADE, strict=True))
LABELS = pd.DataFrame({"id": IDS, "A": [0, 1] * 6, "B": [1, 1, 0] * 4})
PROBABILITIES = pd.DataFrame({"id": IDS, "A": np.linspace(0, 1, 12), "B": np.linspace(1, 0, 12)})


def bleu(references: Any, predictions: Any) -> float:
    return harness.score(references, predictions, "bleu")["bleu_4"].value


def test_a_table_of_any_library_is_read_as_one_of_pandas() -> None:
    pa = pytest.importorskip("pyarrow")
    made = pd.DataFrame({"id": IDS, "report": MADE})[::-1]
    expected = bleu(BY_ID, made)
    ece = harness.score_probabilities(LABELS, PROBABILITIES, "ece")["ece"].value
    for table in (ForeignTable, pa.Table.from_pandas, pa.RecordBatch.from_pandas):
        assert bleu(BY_ID, table(made)) == expected
        pd.testing.assert_frame_equal(harness.label(table(made)), harness.label(made))
        scored = harness.score_probabilities(table(LABELS[::-1]), table(PROBABILITIES), "ece")
        assert scored["ece"].value == pytest.approx(ece, abs=1e-12)
    for other in (LazyTable(), FailingTable()):
        with pytest.raises(HarnessError, match=r"predictions: a \w+Table .*give a data frame of pandas"):
            bleu(BY_ID, other)
        with pytest.raises(HarnessError, match=r"probabilities: a \w+Table .*give a data frame of pandas"):
            harness.score_probabilities(LABELS, other)  # type: ignore[arg-type]


def test_an_index_of_ids_is_read_and_must_agree_with_a_column() -> None:
    named = pd.Index(IDS, name="id")
    expected = bleu(BY_ID, MADE_BY_ID)
    assert bleu(BY_ID, pd.DataFrame({"report": MADE}, named)[::-1]) == pytest.approx(expected)
    both = pd.DataFrame({"id": IDS, "report": MADE}, named)
    assert bleu(BY_ID, both) == pytest.approx(expected)
    with pytest.raises(HarnessError, match="predictions: its index 'id' and its column 'id' differ"):
        bleu(BY_ID, both.assign(id=IDS[::-1]))
    table = LABELS.set_index(named)
    first = harness.score_probabilities(LABELS, PROBABILITIES, "ece")["ece"]
    assert harness.score_probabilities(table, PROBABILITIES, "ece")["ece"] == first
    with pytest.raises(HarnessError, match="labels: its index 'id' and its column 'id' differ"):
        harness.score_probabilities(table.assign(id=IDS[::-1]), PROBABILITIES, "ece")


def test_numbers_of_numpy_are_ids() -> None:
    made = {np.int64(number): text for number, text in enumerate(MADE)}
    true = dict(enumerate(TRUE))
    assert bleu(true, dict(reversed(made.items()))) == pytest.approx(bleu(TRUE, MADE))
    with pytest.raises(HarnessError, match="is no id of a study"):
        bleu(true, {np.bool_(True): "text"})


def test_records_are_joined_by_their_ids() -> None:
    made = [{"id": name, "report": text} for name, text in MADE_BY_ID.items()]
    assert bleu(BY_ID, made[::-1]) == pytest.approx(bleu(BY_ID, MADE_BY_ID))
    true = [{"study_id": name, "report": text} for name, text in BY_ID.items()]
    assert bleu(true, made[::-1]) == pytest.approx(bleu(BY_ID, MADE_BY_ID))
    with pytest.raises(HarnessError, match="item 12 has no id, others have"):
        bleu(BY_ID, [*made[:-1], "text"])
    with pytest.raises(HarnessError, match="item 12 has no id"):
        bleu(BY_ID, [*made[:-1], {"report": "text"}])


def test_a_reward_joins_nothing_and_refuses_another_order() -> None:
    reward = harness.reward("bleu_2")
    made, true = pd.Series(MADE, IDS), pd.Series(TRUE, IDS)
    expected = reward(MADE, TRUE)
    assert reward(made, true) == expected  # type: ignore[arg-type]
    assert reward((text for text in MADE), iter(TRUE)) == expected  # type: ignore[arg-type]
    with pytest.raises(HarnessError, match="the indices of predictions and references differ"):
        reward(made, true.sample(frac=1, random_state=0))  # type: ignore[arg-type]
    with pytest.raises(HarnessError, match="predictions are None"):
        reward(None, TRUE)  # type: ignore[arg-type]


def names() -> Iterator[str]:
    yield "bleu"


def test_names_of_metrics_may_be_any_list() -> None:
    expected = harness.score(TRUE, MADE, "bleu").to_frame()
    for metrics in (("bleu",), np.array(["bleu"]), pd.Series(["bleu"]), names()):
        pd.testing.assert_frame_equal(harness.score(TRUE, MADE, metrics).to_frame(), expected)  # type: ignore[arg-type]
    subset = harness.ReportReading(subset=(name for name in IDS[:3]))  # type: ignore[arg-type]
    assert harness.score(BY_ID, MADE_BY_ID, "bleu", reading=subset)["bleu_4"].n == 3


REFUSED: list[tuple[str, Callable[[], object]]] = [
    ("metrics: an int was given .give names of metrics", lambda: score(metrics=5)),
    ("metrics: None was given", lambda: score(metrics=[None])),
    ("metrics: the class Bleu was given", lambda: score(metrics=[Bleu])),
    ("metrics: a Bleu was given", lambda: score(metrics=[Bleu()])),
    ("metrics: a dict was given", lambda: score(metrics={"bleu": 1})),
    ("no metric is named", lambda: score(metrics=iter(()))),
    ("reading: an int was given", lambda: score(reading=5)),
    ("reading.subset: a str was given", lambda: score(reading=harness.ReportReading(subset="s1"))),
    ("reading.null_words: a str", lambda: score(reading=harness.ReportReading(null_words="nil"))),
    ("tokenizer: an int was given", lambda: score(tokenizer=5)),
    ("uncertain: a float was given", lambda: score(uncertain=2.5)),
    ("reference_words: a float was given .give a whole number", lambda: score(reference_words=2.5)),
    ("null_words: a str was given", lambda: harness.label(MADE, null_words="nil")),
    ("trials: a str was given .give a whole number", lambda: compare(trials="x")),
    ("trials: a float was given", lambda: compare(trials=2.5)),
    ("trials: a float was given", lambda: compare(trials=float("nan"))),
    ("trials: a bool was given", lambda: compare(trials=True)),
    ("trials must be at least 1, got -1", lambda: compare(trials=-1)),
    ("the name of a system: None", lambda: harness.compare(TRUE, {None: MADE, "b": MADE})),  # type: ignore[dict-item]
    ("a system has an empty name", lambda: harness.compare(TRUE, {"": MADE, "b": MADE})),
    ("two systems are called 1", lambda: harness.compare(TRUE, {1: MADE, "1": MADE})),  # type: ignore[dict-item]
    ("metric: an int was given .give the name of one number, such", lambda: harness.reward(3)),  # type: ignore[arg-type]
    ("metric: a list was given", lambda: harness.score(TRUE, MADE, "bleu")[["bleu_4"]]),  # type: ignore[index]
    ("result: an int was given", lambda: harness.intervals(5)),  # type: ignore[arg-type]
    ("resamples: a str was given", lambda: harness.intervals(Bleu()(MADE, TRUE), "x")),  # type: ignore[arg-type]
    ("reading: an int was given .give a harness.LabelReading", lambda: score_probabilities(5)),
    ("reading.labels: a str was given", lambda: score_probabilities(harness.LabelReading(labels="A"))),  # type: ignore[arg-type]
    ("files: an int was given", lambda: harness.score_images(5)),  # type: ignore[arg-type]
    ("files.real: an int was given", lambda: harness.score_images(harness.ImageFiles(5, "x"))),  # type: ignore[arg-type]
    ("store: an int was given", lambda: harness.Leaderboard.from_store(5)),  # type: ignore[arg-type]
    ("only: a str was given", lambda: harness.Leaderboard.from_store("x", only="key")),
    ("path: None was given", lambda: harness.Leaderboard.from_json(None)),  # type: ignore[arg-type]
    ("path: a bytes was given", lambda: harness.Leaderboard.from_json(b"{}")),  # type: ignore[arg-type]
    ("methods: an int was given", lambda: harness.evaluate(5)),  # type: ignore[arg-type]
    ("no method is named", lambda: harness.evaluate([])),
    ("methods: a dict was given", lambda: harness.evaluate({"dia": {"lr": 1}})),  # type: ignore[arg-type]
    ("missing: an int was given", lambda: harness.evaluate("template", missing=5)),  # type: ignore[arg-type]
    ("missing: a str was given", lambda: harness.evaluate("template", missing="0.5")),  # type: ignore[arg-type]
    ("store: an int was given .give a folder", lambda: harness.evaluate("template", store=5)),  # type: ignore[arg-type]
    ("methods: an int was given", lambda: harness.audit(5)),  # type: ignore[arg-type]
    ("no method is named", lambda: harness.audit([])),
    ("name: an int was given", lambda: harness.load_dataset(5)),  # type: ignore[arg-type]
    ("root: an int was given", lambda: harness.load_dataset("csv", 5)),  # type: ignore[arg-type]
    ("info: None was given .give facts about a dataset", lambda: harness.load_method("kedr", None)),  # type: ignore[arg-type]
    ("info: an ExampleData was given", lambda: load_method("template", info=harness.load_dataset("example"))),
    ("name: a list was given", lambda: load_method(["template", "noise"])),
    ("preset: an int was given", lambda: load_method("template", preset=5)),
    ("overrides: an int was given", lambda: load_method("template", overrides=5)),
    ("checkpoint: an int was given", lambda: load_method("template", checkpoint=5)),
    ("store: an int was given .give the path of a store", lambda: add_row(store=5)),
    ("name: an int was given .give the name of a system", lambda: add_row(name=5)),
    ("answers: an int was given", lambda: add_row(answers=5)),
    ("task: 'reports' is none .give report or diagnose", lambda: add_row(task="reports")),
    ("extra: a str was given .give a list of paths", lambda: add_row(extra="scores.csv")),
    ("dataset: an int was given", lambda: add_row(dataset=5)),
]
"""What the line says, and a call."""


def score(**arguments: Any) -> object:
    return harness.score(TRUE, MADE, **{"metrics": "bleu", **arguments})


def compare(**arguments: Any) -> object:
    return harness.compare(TRUE, {"a": MADE, "b": TRUE}, "bleu", **arguments)


def load_method(name: Any, **arguments: Any) -> object:
    return harness.load_method(name, **{"info": harness.load_dataset("example").info, **arguments})


def score_probabilities(reading: Any) -> object:
    return harness.score_probabilities(LABELS, PROBABILITIES, "ece", reading)


def add_row(**arguments: Any) -> object:
    return harness.add_row(**{"store": "absent", "name": "mine", "answers": "absent.csv", **arguments})


@pytest.mark.parametrize(("message", "call"), REFUSED)
def test_an_argument_of_another_type_is_named(
    message: str, call: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HarnessError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ['{"s0": "SECRET ' + "x" * 300 + '"}', "SECRET\0", "SECRET/" * 1000, "SECRET\ud800"]
)
def test_a_text_that_is_no_path_is_not_repeated(text: str) -> None:
    table = {"s0": "no effusion", "s1": "effusion"}
    calls: list[Callable[[], object]] = [
        lambda: harness.score(text, table, "bleu"),
        lambda: harness.score(table, text, "bleu"),
        lambda: harness.compare(table, {"a": table, "b": text}, "bleu"),
        lambda: harness.score_probabilities(text, text, "ece"),
        lambda: harness.score_images(harness.ImageFiles(text, text)),
        lambda: harness.label(text),
    ]
    for call in calls:
        with pytest.raises(
            HarnessError, match=r"a text of \d+ characters was given, which is no path"
        ) as caught:
            call()
        assert "SECRET" not in str(caught.value)


def test_more_trials_than_any_machine_has_time_for_are_refused() -> None:
    table = {"s0": "no effusion", "s1": "effusion"}
    with pytest.raises(HarnessError, match="trials: 1000000000000 were asked for"):
        harness.compare(table, {"a": table, "b": table}, "bleu", trials=10**12)


def test_arrays_without_a_dimension_and_tables_in_cells_are_refused_in_one_line() -> None:
    table = {"a": "no effusion"}
    odd = pd.DataFrame({"id": list("abc"), "E": pd.Series([pd.Series([1, 2]), 0.1, 0.2], dtype=object)})
    truth = pd.DataFrame({"id": list("abc"), "E": [0, 1, 0]})
    calls: list[Callable[[], object]] = [
        lambda: harness.score(np.array("x"), table, ["bleu"]),
        lambda: harness.score(table, np.array("x"), ["bleu"]),
        lambda: harness.label(np.array("x")),
        lambda: harness.label(table, null_words=np.array("x")),  # type: ignore[arg-type]
        lambda: harness.score_probabilities(truth, odd, ["auroc"]),
        lambda: harness.score_probabilities(truth, odd.rename(columns={"id": "E", "E": "id"}), ["auroc"]),
    ]
    for call in calls:
        with pytest.raises(HarnessError):
            call()
