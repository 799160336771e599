"""``harness bench judgement``: rewritten reports, and agreement with people in three public layouts."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from harness.bench import judgement, judgement_sets, suite, tables
from harness.bench.judgement import HARMFUL, PairScores
from harness.bench.judgement_sets import JudgementFile, read_judgements
from harness.bench.rows import Row
from harness.core import registry
from harness.core.errors import HarnessError
from harness.statistics.agreement import kendall_tau, share


def test_there_are_two_hundred_rewrites_and_each_harmful_one_changes_one_sentence() -> None:
    rewrites = judgement.read_rewrites()
    kinds = Counter(each.kind for each in rewrites if each.kind not in ("itself", "reworded"))
    assert sum(kinds.values()) >= 200
    assert set(kinds) == {"paraphrase", "order", *HARMFUL}
    for each in rewrites:
        assert (each.text == each.reference) == (each.kind == "itself")
        before, after = (Counter(text.split(". ")) for text in (each.reference, each.text))
        if each.kind in HARMFUL:
            assert max((before - after).total(), (after - before).total()) <= 2, each
        if each.kind == "order":
            assert sorted(each.text.replace(".", "").split()) == sorted(
                each.reference.replace(".", "").split()
            )


def lengths(references: Sequence[str], texts: Sequence[str]) -> PairScores:
    """A metric that sees nothing but whether texts are equally long."""
    lost = [-abs(len(text) - len(other)) for text, other in zip(texts, references, strict=True)]
    return PairScores({"length": np.array(lost, dtype=float)}, {}, {"absent": "advice"})


def test_cells_hold_shares_and_losses_with_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "score_pairs", lengths)
    rows = judgement.rewrite_benchmark()
    cells = {row.place: row for row in rows if row.place}
    order = cells[judgement.DROP, "length", "order"]
    assert order.ours == 0
    assert order.interval == (0, 0)
    noticed = cells[judgement.NOTICED_BESIDE, "length", "invented"]
    assert noticed.ours is not None
    assert noticed.interval is not None
    assert 0 <= noticed.interval[0] <= noticed.ours <= noticed.interval[1] <= 1
    assert (judgement.NOTICED_BESIDE, "length", "order") not in cells
    assert rows[-1].state == "skipped"
    assert "absent" in rows[-1].note


def test_a_lower_score_that_is_better_counts_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [registry.make_metric("wording"), registry.make_metric("bleu"), registry.make_metric("rouge_l")]
    plain = judgement._outputs(chosen[2])
    monkeypatch.setattr(chosen[2], "outputs", (replace(plain[0], higher_is_better=False),))
    monkeypatch.setattr(judgement, "_metrics", lambda: iter(chosen[1:]))
    scores = judgement.score_pairs(["The heart is large.", "No mass."], ["The heart is small.", "No mass."])
    assert list(scores.by_output) == ["bleu_2", "bleu_4", "rouge_l"]
    assert scores.by_output["bleu_2"][1] > scores.by_output["bleu_2"][0]
    assert scores.by_output["rouge_l"].tolist() == [pytest.approx(-0.8), -1.0]
    assert not judgement._outputs(chosen[0])  # a number of words has no direction


def test_cells_are_printed_as_one_table_per_caption() -> None:
    rows = [
        Row(
            "judgement",
            "a",
            -0.25,
            unit="",
            interval=(-0.5, 1.0),
            note="n 3",
            place=("lost", "bleu", "order"),
        ),
        Row("judgement", "b", float("nan"), unit="", note="n 4", place=("lost", "cider", "order")),
        Row("judgement", "other metrics", note="not available here: x", state="skipped"),
    ]
    facts = dict.fromkeys(("cpu", "cores", "cpus", "torch", "threads", "python", "date", "harness"), "x")
    page = tables.markdown({**facts, "gpu": None, "commit": "", "load": None}, rows)
    assert "**Lost**" in page
    assert "| `bleu` | -.25 [-.50, 1.00] |" in page
    assert "| `cider` | n/a |" in page
    assert "- other metrics: skipped: not available here: x" in page


def test_kendalls_tau_is_scipys_and_its_interval_moves_candidates_of_a_study_together() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, 60).astype(float)
    people = scores + rng.integers(-3, 4, 60)
    alone = kendall_tau(scores, people, [str(place) for place in range(60)])
    assert alone.value == pytest.approx(kendalltau(scores, people).statistic, abs=1e-12)
    assert alone.lo < alone.value < alone.hi
    index = rng.integers(0, 60, 60)  # a resample by hand, as weights
    assert kendalltau(scores[index], people[index]).statistic == pytest.approx(
        kendall_tau(scores[index], people[index], [str(place) for place in range(60)]).value, abs=1e-12
    )
    few = kendall_tau(np.repeat(scores, 4), np.repeat(people, 4), [str(place // 4) for place in range(240)])
    assert few.hi - few.lo == pytest.approx(alone.hi - alone.lo, rel=0.25)
    assert np.isnan(kendall_tau(np.ones(4), np.arange(4.0), list("abcd")).value)


def test_a_share_of_nothing_still_has_a_width() -> None:
    assert share(0, 32).ci95 == (0.0, pytest.approx(0.1072, abs=1e-4))
    assert share(16, 32).ci95 == (pytest.approx(0.3363, abs=1e-4), pytest.approx(0.6637, abs=1e-4))


def write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def rexval(folder: Path, first: int = 0) -> Path:
    """Three studies, four candidates, two raters, made-up counts; studies are numbered from ``first``."""
    write_csv(
        folder / "50_samples_gt_and_candidates.csv",
        [
            {"study_id": f"s{n}", "gt_report": f"Truth {n}.", "radgraph": "Mass.", "bertscore": f"Truth {n}."}
            | {"s_emb": "Clear lungs.", "bleu": "Effusion."}
            for n in range(3)
        ],
    )
    write_csv(
        folder / "6_valid_raters_per_rater_error_categories.csv",
        [
            {
                "study_number": n + first,
                "candidate_type": kind,
                "rater_index": rater,
                "error_category": category,
            }
            | {"clinically_significant": significant}
            | {"num_errors": 0 if kind == "bertscore" else 1 + rater}
            for n in range(3)
            for kind in ("radgraph", "bertscore", "s_emb", "bleu")
            for rater in range(2)
            for category in range(1, 7)
            for significant in (True, False)
        ],
    )
    return folder


@pytest.mark.parametrize("first", [0, 1])
def test_rexval_means_over_raters(tmp_path: Path, first: int) -> None:
    judged = read_judgements(JudgementFile("rexval", rexval(tmp_path, first)))
    assert len(judged.pairs) == 12
    assert not judged.remark
    assert judged.pairs[5] == judgement_sets.JudgedPair("s1", "Truth 1.", "Truth 1.")
    assert judged.qualities["errors"][:2].tolist() == [-18.0, 0.0]  # 6 categories x 2 x mean of 1 and 2
    assert judged.qualities["significant errors"][:2].tolist() == [-9.0, 0.0]


def test_rexval_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    errors = rexval(tmp_path) / "6_valid_raters_per_rater_error_categories.csv"
    whole = errors.read_text()
    for broken, message in (
        (whole + whole.splitlines()[1] + "\n", "judged twice"),
        (whole.replace(",1\n", ",many\n", 1), "no number of errors"),
        (whole.replace("True", "perhaps", 1), "neither true nor false"),
        (whole.replace("num_errors", "errors", 1), "no column num_errors"),
        (whole.replace("\n2,", "\n7,"), "study numbers"),
    ):
        errors.write_text(broken)
        with pytest.raises(HarnessError, match=message):
            read_judgements(JudgementFile("rexval", tmp_path))


def test_a_candidate_that_a_rater_left_out_is_left_out_and_counted(tmp_path: Path) -> None:
    errors = rexval(tmp_path) / "6_valid_raters_per_rater_error_categories.csv"
    errors.write_text(
        "".join(f"{line}\n" for line in errors.read_text().splitlines() if "0,bleu,1," not in line)
    )
    judged = read_judgements(JudgementFile("rexval", tmp_path))
    assert len(judged.pairs) == 11
    assert judged.remark.startswith("1 of 12 pairs left out")


def radpref(folder: Path, rating: object = 2) -> Path:
    (folder / "radiologist_annotations").mkdir()
    studies = [
        {
            "id": f"s{n}",
            "ground_truth_report": f"Truth {n}.",
            "C1_report": "Clear.",
            "C2_report": f"Truth {n}.",
        }
        for n in range(3)
    ]
    (folder / "preference_data.json").write_text(json.dumps(studies))
    for rater in (1, 2):
        annotations: dict[str, object] = {
            f"s{n}": {
                "C1": {"rating": rating, "finding_errors": {}},
                "C2": {"rating": 4 if rater == 1 else 5},
            }
            for n in range(3)
        }
        if rater == 2:
            annotations.pop("s2")
        text = json.dumps({"user_id": str(rater), "annotations": annotations})
        (folder / "radiologist_annotations" / f"user_{rater}.json").write_text(text)
    return folder


def test_radpref_means_over_the_raters_of_a_study(tmp_path: Path) -> None:
    judged = read_judgements(JudgementFile("radpref", radpref(tmp_path)))
    assert judged.qualities["mean rating"].tolist() == [2.0, 4.5, 2.0, 4.5, 2.0, 4.0]
    assert [pair.study for pair in judged.pairs] == ["s0", "s0", "s1", "s1", "s2", "s2"]


def test_a_rating_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no rating from 1 to 5"):
        read_judgements(JudgementFile("radpref", radpref(tmp_path, rating=9)))


_CELL = "\n".join(
    ["Significant", *(f"{n}. Kind of error: {n % 2}" for n in range(1, 8)), "", "Insignificant:"]
    + [f"{n}) Kind of error: 0" for n in range(1, 8)]
)


def test_radevals_experts_count_seven_kinds_twice(tmp_path: Path) -> None:
    path = tmp_path / "experts.csv"
    row = {"annotator": "A", "type": "findings", "ground_truth": "Truth.", "images_path": "x/p10000001/s1"}
    cells = [_CELL, _CELL.replace("2) Kind of error: 0", "2) Kind of error: none"), ""]
    for place, cell in enumerate(cells, 1):
        row |= {f"prediction{place}": f"Text {place}.", f"annotation{place}": cell}
    write_csv(path, [row, row | {"images_path": "unknown"}])
    judged = read_judgements(JudgementFile("radeval", path))
    assert [pair.study for pair in judged.pairs] == ["p10000001"] * 2 + ["unknown"] * 2
    assert judged.qualities["significant errors"].tolist() == [-4.0] * 4
    np.testing.assert_equal(judged.qualities["errors"], [-4.0, np.nan] * 2)
    assert judged.remark.startswith("2 of 6 pairs left out")


def test_agreement_has_a_line_per_metric_and_a_column_per_judgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgement, "score_pairs", lengths)
    rows = judgement.agreement_benchmark(JudgementFile("rexval", rexval(tmp_path)))
    assert [row.place for row in rows[:2]] == [
        (judgement.AGREEMENT, "length", "rexval, errors"),
        (judgement.AGREEMENT, "length", "rexval, significant errors"),
    ]
    assert rows[0].ours is not None
    assert rows[0].ours > 0


def test_files_of_no_kind_are_an_error_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no such kind"):
        list(suite._works("judgement", suite.Options(judgements=("rexvl=x",))))
    with pytest.raises(HarnessError, match="no such file or folder"):
        list(suite._works("judgement", suite.Options(judgements=(f"rexval={tmp_path / 'absent'}",))))
    with pytest.raises(HarnessError, match="cannot be read"):
        read_judgements(JudgementFile("rexval", tmp_path))
