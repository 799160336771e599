"""``harness.score``, ``compare``, ``label`` and ``reward`` on what a program holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import harness
from harness.core.errors import HarnessError, UnknownNameError

TRUE = ["the heart is normal in size .", "large left pleural effusion .", "the lungs are clear ."] * 4
MADE = ["the heart is normal .", "small left effusion .", "no focal consolidation ."] * 4
IDS = [f"s{number}" for number in range(len(TRUE))]


def values(table: harness.ScoreTable) -> dict[str, float]:
    return dict(zip(table.to_frame().metric, table.to_frame().value, strict=True))


def test_every_shape_gives_the_same_numbers(tmp_path: Path) -> None:
    file = tmp_path / "made.csv"
    pd.DataFrame({"id": IDS, "report": MADE}).to_csv(file, index=False)
    by_id = dict(zip(IDS, TRUE, strict=True))
    expected = values(harness.score(TRUE, MADE, "bleu"))
    shuffled = dict(reversed(list(zip(IDS, MADE, strict=True))))
    shapes = [shuffled, pd.Series(MADE, IDS), pd.DataFrame({"id": IDS, "report": MADE}), file, str(file)]
    for shape in shapes:
        assert values(harness.score(by_id, shape, "bleu")) == pytest.approx(expected, abs=1e-12)
    assert values(harness.score(pd.Series(TRUE), pd.Series(MADE), ["bleu"])) == expected


def test_numbers_are_those_of_the_command_line(tmp_path: Path) -> None:
    for name, texts in (("true", TRUE), ("made", MADE)):
        (tmp_path / f"{name}.json").write_text(json.dumps(texts))
    from_files = harness.score(tmp_path / "true.json", tmp_path / "made.json", ["bleu", "rouge_l"])
    assert json.loads(harness.score(TRUE, MADE, ["bleu", "rouge_l"]).to_json()) == json.loads(
        from_files.to_json()
    )


def test_a_table_gives_numbers_frames_and_formats() -> None:
    table = harness.score(TRUE, MADE, ["bleu", "rouge_l"])
    assert table["bleu_4"].lo <= table["bleu_4"].value <= table["bleu_4"].hi
    assert table.per_study().shape == (12, 5)
    assert table.per_study().loc["1", "rouge_l"] == pytest.approx(table.per_study().loc["4", "rouge_l"])
    assert "| bleu_4 |" in table.to_markdown()
    assert r"bleu\_4" in table.to_latex()
    assert "<td>bleu_4</td>" in table._repr_html_()
    assert "bleu_4" in repr(table)
    assert len(table.plot().get_yticks()) == 5
    with pytest.raises(UnknownNameError, match="bleu_5: not computed"):
        table["bleu_5"]


def test_what_is_odd_is_counted_and_never_shown() -> None:
    table = harness.score(TRUE, ["", "nan", *MADE[2:]], "bleu")
    (remark,) = table.remarks
    assert "1 of 12 predictions are absent or a null word" in remark
    assert "2 are empty" in remark
    assert "effusion" not in remark
    same = harness.score(TRUE, pd.Series([None, pd.NA, *MADE[2:]]), "bleu")
    assert values(same) == values(table)


def test_systems_are_compared_in_pairs() -> None:
    table = harness.compare(TRUE, {"copy": TRUE, "other": MADE}, ["bleu"], trials=200)
    frame = table.to_frame()
    assert (frame.difference > 0).all()
    assert set(frame.columns) >= {"p_value", "p_holm", "lo", "hi"}
    assert "copy - other" in table.to_markdown()
    assert json.loads(table.to_json())["rows"][0]["trials"] == 200
    with pytest.raises(HarnessError, match="at least two systems"):
        harness.compare(TRUE, {"copy": TRUE}, ["bleu"])


def test_labels_have_the_columns_and_codes_of_chexpert() -> None:
    texts = {"a": "no pleural effusion .", "b": "possible pneumonia .", "c": "mild cardiomegaly .", "d": ""}
    frame = harness.label(texts)
    assert list(frame.index) == ["a", "b", "c", "d"]
    assert frame.columns[0] == "No Finding"
    assert frame.loc["a", "Pleural Effusion"] == 0.0
    assert frame.loc["b", "Pneumonia"] == -1.0
    assert frame.loc["c", "Cardiomegaly"] == 1.0
    assert frame.loc["d"].isna().all()


def test_a_reward_is_one_value_per_pair() -> None:
    bleu = harness.reward("bleu_2")
    made = bleu([MADE[0], TRUE[1]], [TRUE[0], TRUE[1]])
    assert made[1] == pytest.approx(1.0)
    assert 0 < made[0] < 1
    assert bleu([MADE[0]], [TRUE[0]]) == pytest.approx(made[:1])
    alone = harness.score(TRUE, MADE, "bleu").per_study().bleu_2
    np.testing.assert_allclose(bleu(MADE, TRUE), alone)
    assert harness.reward("rouge_l")([], []) == []
    with pytest.raises(HarnessError, match="bleu has 4 values"):
        harness.reward("bleu")
    with pytest.raises(UnknownNameError, match="no such report metric"):
        harness.reward("auroc_macro")
    with pytest.raises(HarnessError, match="2 predictions for 1 references"):
        bleu(MADE[:2], TRUE[:1])


@pytest.mark.parametrize(
    ("references", "predictions", "says"),
    [
        (TRUE, MADE[:3], "references has 12 reports, predictions has 3"),
        (TRUE, 3, "an int holds no reports"),
        (dict(zip(IDS, TRUE, strict=True)), MADE, "has no ids"),
        (TRUE, [["two", "texts"], *MADE[1:]], "item 1 has 2 texts"),
        (TRUE, {None: "text"}, "None is no id"),
    ],
)
def test_what_cannot_be_joined_is_refused(references: object, predictions: object, says: str) -> None:
    with pytest.raises(HarnessError, match=says):
        harness.score(references, predictions, "bleu")  # type: ignore[arg-type]


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(HarnessError, match="tokeniser: no such option"):
        harness.score(TRUE, MADE, "bleu", tokeniser="ptb")


TEXTS = {"s1": "heart normal", "s2": "large effusion on the left"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: harness.score(set(TRUE), set(MADE), "bleu"), "a set holds no reports"),
        (lambda: harness.score(TRUE, MADE, []), "no metric is named"),
        (lambda: harness.compare(TRUE, [MADE, MADE]), "systems are a list"),
        (lambda: harness.reward("rouge_l")("abc", "abc"), "predictions are a str"),
        (lambda: harness.metrics.Bleu()(TEXTS, TEXTS), "predictions are a dict"),
        (lambda: harness.metrics.Bleu()(set(MADE), set(TRUE)), "predictions are a set"),
        (lambda: harness.metrics.Bleu()(pd.DataFrame({"report": MADE}), TRUE), "predictions are a table"),
        (
            lambda: harness.metrics.Ece()(
                pd.DataFrame([[0.9, 0.2]], columns=["A", "B"]), pd.DataFrame([[0, 1]], columns=["B", "A"])
            ),
            "the columns of predictions and references differ",
        ),
        (
            lambda: harness.metrics.Ece()(np.ma.masked_array([[0.9, 0.2]], [[True, False]]), [[1, 0]]),
            "prediction 0 has masked numbers",
        ),
        (
            lambda: harness.metrics.Bleu()(pd.Series(TEXTS), pd.Series(TEXTS)[::-1]),
            "the indices of predictions and references differ",
        ),
        (
            lambda: harness.score(
                TEXTS, pd.DataFrame([["s1", "a", "b"]], columns=["id", "report", "report"])
            ),
            "two columns are called 'report'",
        ),
        (lambda: harness.score_probabilities({"a": 1}, {"a": 1}), "labels: a dict is no table"),
        (
            lambda: harness.score_probabilities(
                pd.DataFrame({"id": ["a", "b"], "x": pd.array([1, None], dtype="Int64")}),
                pd.DataFrame({"id": ["a", "b"], "x": [0.1, 0.2]}),
            ),
            "1 studies have empty labels: 'b'",
        ),
    ],
)
def test_what_has_no_order_or_no_ids_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        call()


def test_a_table_of_probabilities_is_scored_by_rows_not_by_its_header() -> None:
    truth, made = (
        np.array([[1, 0], [1, 0], [0, 0], [0, 1]]),
        np.array([[0.9, 0.2], [0.6, 0.1], [0.3, 0.8], [0.2, 0.9]]),
    )
    expected = harness.metrics.Ece()(made, truth)["ece"]
    assert harness.metrics.Ece()(pd.DataFrame(made), pd.DataFrame(truth))["ece"] == expected


class Odd(str):
    """A text that says something else of itself than it holds."""

    __slots__ = ()

    def lower(self) -> str:
        return "a large effusion"

    def split(self, *_: object, **__: object) -> list[str]:  # type: ignore[override]
        return ["a", "large", "effusion"]

    def strip(self, *_: object) -> str:
        return "a large effusion"


def test_texts_of_a_subclass_are_scored_as_what_they_hold() -> None:
    truth = {f"s{n}": f"the heart is normal in view {n} ." for n in range(4)}
    ours = {name: text.replace("normal", "large") for name, text in truth.items()}
    odd = {name: Odd(text) for name, text in ours.items()}
    metrics = ["bleu", "rouge_l", "rouge_score_l", "bleu_2_study"]
    assert (
        harness.score(truth, odd, metrics).to_frame().equals(harness.score(truth, ours, metrics).to_frame())
    )
