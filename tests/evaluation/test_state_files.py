"""A robustness study from files: equal to predicting and scoring every masked test set from scratch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.evaluation.probability_files.tables import LabelReading
from harness.evaluation.score_files import score
from harness.evaluation.state_files import score_probability_states, score_report_states
from harness.missingness import Missingness, draw_masks
from tests.cli.test_cli import invoke

SENTENCES = (
    "The heart is wide.",
    "The lungs are clear.",
    "There is a left effusion.",
    "No pneumothorax.",
    "Mild edema is seen.",
)


def reports(seed: int, share: float, n: int = 30) -> dict[str, str]:
    """The true reports, where a random number is below ``share``, else others."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(0)
    texts = {}
    for number in range(n):
        right = " ".join(truth.choice(SENTENCES, 3, replace=False))
        wrong = " ".join(rng.choice(SENTENCES, 2, replace=False))
        texts[f"s{number}"] = right if rng.random() < share else wrong
    return texts


TRUTH, FULL, WITHOUT = reports(1, 2.0), reports(2, 0.8), reports(3, 0.3)


def test_the_ends_are_the_scores_of_the_files_and_the_difference_is_paired() -> None:
    scores = score_report_states(TRUTH, {"no-context": WITHOUT, "full": FULL}, ["bleu_4"]).scores
    full, without = scores
    assert (full.state, without.state) == ("full", "context")
    for each, texts in ((full, FULL), (without, WITHOUT)):
        (alone,) = score(TRUTH, texts, ["bleu_4"]).scores
        assert each.value == alone.estimate
    assert without.minus_full is not None
    assert without.minus_full.value == pytest.approx(without.value.value - full.value.value, abs=1e-12)
    width = without.minus_full.hi - without.minus_full.lo
    assert width < (full.value.hi - full.value.lo) + (without.value.hi - without.value.lo)


def test_a_point_of_the_curve_is_the_mean_over_masked_test_sets() -> None:
    rate = 0.4
    rows = score_report_states(TRUTH, {"full": FULL, "context": WITHOUT}, ["bleu_4"], rates=(rate,)).scores
    present = np.ones((len(TRUTH), 2), dtype=bool)
    missingness = Missingness("context", "mcar", (rate,), range(20))
    masks = draw_masks(present, ["context", "rest"], missingness, ids=list(TRUTH))
    values = []
    for seed in range(20):
        left = masks.left(rate, seed)[:, 0]
        mixed = {name: FULL[name] if kept else WITHOUT[name] for name, kept in zip(TRUTH, left, strict=True)}
        assert sum(~left) == round(rate * len(TRUTH))
        values.append(score(TRUTH, mixed, ["bleu_4"]).scores[0].estimate.value)
    assert rows[1].curve[rate].value == pytest.approx(np.mean(values), abs=1e-9)


def test_masks_depend_on_ids_not_on_order() -> None:
    backwards = dict(reversed(TRUTH.items()))
    states = {"full": FULL, "context": WITHOUT}
    one = score_report_states(TRUTH, states, ["rouge_l"]).scores[1]
    other = score_report_states(backwards, states, ["rouge_l"]).scores[1]
    assert {rate: each.value for rate, each in one.curve.items()} == pytest.approx(
        {rate: each.value for rate, each in other.curve.items()}
    )


def test_probabilities_in_several_states() -> None:
    rng = np.random.default_rng(0)
    ids = [f"s{number}" for number in range(40)]
    truth = pd.DataFrame({"id": ids, "Mass": rng.integers(0, 2, 40), "Edema": rng.integers(0, 2, 40)})
    good = truth.assign(Mass=0.2 + 0.6 * truth["Mass"], Edema=0.2 + 0.6 * truth["Edema"])
    poor = good.assign(Mass=0.5)
    rows = score_probability_states(truth, {"full": good, "no-lateral": poor}, ["auroc_macro"]).scores
    assert rows[0].value.value == 1.0
    assert rows[1].value.value == pytest.approx(0.75)
    assert rows[1].minus_full is not None
    assert rows[1].minus_full.hi < 0
    heights = [rows[1].curve[rate].value for rate in (0.2, 0.4, 0.6, 0.8)]
    assert heights == sorted(heights, reverse=True)


def test_labels_that_an_option_decided_are_counted() -> None:
    truth = pd.DataFrame({"id": ["a", "b", "c"], "Mass": [1, 0, -1]})
    answers = pd.DataFrame({"id": ["a", "b", "c"], "Mass": [0.9, 0.2, 0.4]})
    states = {"full": answers, "context": answers.assign(Mass=[0.8, 0.2, 0.4])}
    scores = score_probability_states(truth, states, ["brier"], LabelReading(uncertain="negative"), rates=())
    assert [(each.kind, each.count, each.ids) for each in scores.remarks] == [("uncertain labels", 1, ("c",))]


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"full": FULL}, "full state and one more"),
        ({"context": WITHOUT}, "full state and one more"),
        ({"full": FULL, "no-context": WITHOUT, "context": WITHOUT}, "two files of the state context"),
        ({"full": FULL, "no-": WITHOUT}, "names no modality"),
        ({"Full": FULL, "Context": WITHOUT, " context": WITHOUT}, "two files of the state context"),
        ({"full": FULL, "a+b": WITHOUT, "b+a": WITHOUT}, "two files of the state"),
    ],
)
def test_states_that_make_no_study(states: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        score_report_states(TRUTH, states, ["bleu"])


def test_the_command_prints_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, texts in (("truth", TRUTH), ("full", FULL), ("without", WITHOUT)):
        (tmp_path / f"{name}.json").write_text(json.dumps(texts))
    arguments = ("score", "--references", str(tmp_path / "truth.json"), "--metrics", "bleu_4")
    states = (
        "--missing",
        f"full={tmp_path / 'full.json'}",
        "--missing",
        f"no-context={tmp_path / 'without.json'}",
    )
    code, output, _ = invoke(capsys, *arguments, *states)
    assert code == 0
    assert "without context" in output
    code, output, _ = invoke(capsys, *arguments, *states, "--format", "json")
    rows = json.loads(output)["rows"]
    assert [(row["state"], row["rate"]) for row in rows] == [
        ("full", 0.0),
        *(("context", rate) for rate in (0.2, 0.4, 0.6, 0.8, 1.0)),
    ]
    code, output, _ = invoke(capsys, *arguments, *states, "--format", "csv")
    assert len(output.splitlines()) == 7
    code, _, error = invoke(capsys, *arguments)
    assert (code, "--predictions and --missing" in error) == (2, True)
    code, _, error = invoke(capsys, *arguments, "--missing", "full")
    assert (code, "no file" in error) == (2, True)


def test_a_state_with_the_answers_of_full_is_told() -> None:
    scores = score_report_states(TRUTH, {"full": FULL, "no-context": FULL, "frontal": WITHOUT}, ["bleu_4"])
    told = [remark for remark in scores.remarks if remark.kind == "like-full"]
    assert [str(remark).partition(":")[0].rstrip(".") for remark in told] == [
        "30 of 30 studies have in context the answer that they have in full"
    ]
