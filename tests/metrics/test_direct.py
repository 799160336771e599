"""Metrics that are called by hand: which values are studies, in which order, and whose they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference
from harness.metrics import Auroc, Bleu, Ece, MsSsim
from harness.statistics.bootstrap import bootstrap_weights, estimate
from tests.helpers.foreign_tables import FailingTable, ForeignTable, HeadlessTable, LazyTable

torch = pytest.importorskip("torch")

N = 40
MADE = np.random.default_rng(0).random((N, 2))
TRUE = np.random.default_rng(1).integers(0, 2, (N, 2))
IDS = [f"s{number}" for number in range(N)]
P, T = pd.DataFrame(MADE, IDS, ["A", "B"]), pd.DataFrame(TRUE, IDS, ["A", "B"])
TEXTS = [f"the heart is normal , case {number} ." for number in range(N)]
PATIENTS = [f"p{number // 8}" for number in range(N)]


def rows(frame: pd.DataFrame) -> list[Any]:
    return [row for _, row in frame.iterrows()]


def test_a_table_of_any_library_is_read_as_one_of_pandas() -> None:
    pa = pytest.importorskip("pyarrow")
    expected = Auroc()(MADE, TRUE)
    assert expected.n == N
    p, t = P.reset_index(drop=True), T.reset_index(drop=True)
    for made, true in (
        (pa.table(p), pa.table(t)),
        (pa.RecordBatch.from_pandas(p), pa.RecordBatch.from_pandas(t)),
        (ForeignTable(p), ForeignTable(t)),
        (ForeignTable(p), t),
        (pa.table(p), TRUE),
    ):
        result = Auroc()(made, true)
        assert result.n == N
        assert result.values == expected.values


@pytest.mark.parametrize("table", [LazyTable(), HeadlessTable(), FailingTable()])
def test_a_table_that_pandas_cannot_have_is_refused(table: object) -> None:
    with pytest.raises(HarnessError, match=r"ece: predictions: a \w+Table .*give a data frame") as caught:
        Ece()(table, TRUE)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
    with pytest.raises(HarnessError, match="bleu: references are a table"):
        Bleu()(TEXTS, ForeignTable(P))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "true", "message"),
    [
        (ForeignTable(P), ForeignTable(T[["B", "A"]]), "the columns of predictions and references differ"),
        (P.reset_index(drop=True), ForeignTable(T[["B", "A"]]), "the columns of predictions and references"),
        (rows(P[["B", "A"]]), rows(T), "the columns of predictions and references differ"),
        (rows(P[["B", "A"]]), T, "the columns of predictions and references differ"),
        (rows(P), rows(T)[::-1], "the indices of predictions and references differ"),
        (P, rows(T)[::-1], "the indices of predictions and references differ"),
        ([*rows(P)[:-1], rows(P[["B", "A"]])[-1]], TRUE, "the indices of the rows of predictions differ"),
        (P["A"], T["A"][::-1], "the indices of predictions and references differ"),
    ],
)
def test_names_in_another_order_are_refused(made: Any, true: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=f"ece: {message}"):
        Ece()(made, true)


def test_rows_in_one_order_are_scored() -> None:
    expected = Ece()(MADE, TRUE).values
    assert Ece()(rows(P), rows(T)).values == expected
    assert Ece()(rows(P), T).values == expected
    same = [pd.Series(row, ["A", "B"], name="probabilities") for row in MADE]
    true = [pd.Series(row, ["A", "B"], name="labels") for row in TRUE]
    assert Ece()(same, true).values == expected
    unnamed = [pd.Series(row) for row in MADE], [pd.Series(row) for row in TRUE]
    assert Ece()(*unnamed).values == expected
    assert Ece()(same[:1], true[:1]).n == 1


@pytest.mark.parametrize(
    ("patients", "message"),
    [
        (dict(zip(IDS, PATIENTS, strict=True)), "patients are a dict .give a list, one patient per study"),
        (set(IDS), "patients are a set"),
        ("x" * N, "patients are a str"),
        (5, "patients are an int"),
        (pd.DataFrame({"patient": PATIENTS}), "patients are a DataFrame"),
        (PATIENTS[1:], "39 patients for 40 studies"),
        (pd.Series(PATIENTS, IDS)[::-1], "the indices of patients and predictions differ"),
        ([float("nan")] * N, "40 of 40 patients are unknown.*leave patients out, or give one for each"),
        ([None] * N, "40 of 40 patients are unknown"),
        ([*PATIENTS[:3], np.nan, *PATIENTS[4:]], "1 of 40 patients are unknown, .* of study 3"),
        (pd.Series([pd.NA, *PATIENTS[1:]], IDS), "1 of 40 patients are unknown, .* of study 0"),
        (["", *PATIENTS[1:]], "1 of 40 patients are unknown"),
        (np.ma.masked_array(range(N), [True] + [False] * (N - 1)), "1 of 40 patients are unknown"),
    ],
)
def test_patients_are_one_per_study_in_order(patients: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=f"bleu: {message}"):
        Bleu()(pd.Series(TEXTS, IDS), pd.Series(TEXTS, IDS), patients)


def test_patients_of_every_shape_give_the_same_intervals() -> None:
    pa = pytest.importorskip("pyarrow")
    numbers = [number // 8 for number in range(N)]
    by_shape = [
        Ece()(P, T, patients)
        for patients in (numbers, np.array(numbers), torch.tensor(numbers), pd.Series(numbers, IDS))
    ]
    by_shape += [Ece()(P, T, pa.array(numbers)), Ece()(P, T, (each for each in numbers))]  # type: ignore[arg-type]
    assert {each.patients for each in by_shape} == {tuple(map(str, numbers))}
    own = estimate(by_shape[0].metric, by_shape[0].statistics, bootstrap_weights(by_shape[0].patients, 50))
    assert own["ece"].lo < own["ece"].hi


def test_patients_that_objects_name_are_not_replaced_without_a_word() -> None:
    made = [Prediction(report=text) for text in TEXTS[:2]]
    true = [Reference(f"s{number}", f"p{number}", text) for number, text in enumerate(TEXTS[:2])]
    assert Bleu()(made, true, ["p0", "p1"]).patients == ("p0", "p1")
    with pytest.raises(HarnessError, match="study s1 has another patient in patients than in its Reference"):
        Bleu()(made, true, ["p0", "p2"])


def test_tensors_are_read_or_refused_in_one_line() -> None:
    half = torch.tensor(MADE).bfloat16()
    assert Ece()(half, torch.tensor(TRUE)).values == Ece()(half.float().numpy(), TRUE).values
    assert Ece()(list(half), TRUE).values == Ece()(half, TRUE).values
    image = torch.zeros(1, 176, 176, dtype=torch.uint8)
    assert MsSsim()(image, image)["ms_ssim"] == pytest.approx(1.0)
    for tensor in (torch.tensor(MADE).to_sparse(), torch.tensor(MADE).to("meta")):
        with pytest.raises(HarnessError, match="ece: predictions: a Tensor whose numbers cannot be read"):
            Ece()(tensor, TRUE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Bleu()(None, None), "predictions are None, which is no list"),  # type: ignore[arg-type]
        (lambda: Ece()(5, 5), "predictions are an int, which is no list"),  # type: ignore[arg-type]
        (lambda: Ece()(np.array(0.5), np.array(1)), "predictions are a ndarray, which is no list"),
        (lambda: Ece()([[0.1, [0.2]]], [[1, 0]]), "prediction 0: a list whose numbers cannot be read"),
        (lambda: Bleu()(TEXTS, TEXTS)[5], "output: an int was given"),  # type: ignore[index]
        (lambda: Bleu(5), "unknown tokenizer 5"),  # type: ignore[arg-type]
    ],
)
def test_other_types_are_refused_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        call()
