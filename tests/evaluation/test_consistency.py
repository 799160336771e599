"""``--drawn``: agreement of drawn reports as a confidence, and quality by coverage."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core.errors import HarnessError
from harness.evaluation import score_files
from harness.evaluation.consistency import label_consistency, read_drawn, text_consistency, with_consistency
from harness.metrics.base import SIGNATURE
from harness.metrics.diagnosis.selective import risk_at_coverages

MASS, CLEAR = "There is a mass in the left lung.", "The lungs are clear."
IDS = [f"s{number}" for number in range(20)]
TRUTH = dict.fromkeys(IDS, MASS)
OURS = {name: MASS if number < 8 else CLEAR for number, name in enumerate(IDS)}
DRAWN = {name: [MASS] * 3 if number < 8 else [MASS, CLEAR, "No edema."] for number, name in enumerate(IDS)}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_consistency_by_labels_and_by_text() -> None:
    drawn = [[MASS] * 4, [MASS, MASS, CLEAR, CLEAR], [MASS, CLEAR]]
    by_labels = label_consistency(drawn)
    assert by_labels[0] == 1
    assert (
        by_labels[1] == by_labels[2] == pytest.approx((12 + 2 * 0.5) / 14)
    )  # Lung Lesion and No Finding differ
    by_text = text_consistency(drawn)
    assert by_text[0] == 1
    apart = by_text[2]
    assert by_text[1] == pytest.approx((2 + 4 * apart) / 6)
    assert text_consistency([["", ""], ["", MASS]]).tolist() == [1.0, 0.0]


def test_quality_is_higher_where_draws_agree(tmp_path: Path) -> None:
    scores = score_files.score(TRUTH, OURS, ["rouge_l"])
    rows = {
        row.metric: row for row in with_consistency(scores, TRUTH, write(tmp_path / "d.json", DRAWN)).scores
    }
    assert list(rows)[1:4] == ["rouge_l_labels_25", "rouge_l_labels_50", "rouge_l_labels_gain"]
    alone = scores.per_study["rouge_l"]
    assert rows["rouge_l_text_25"].estimate.value == 1
    assert rows["rouge_l_text_50"].estimate.value == pytest.approx(
        alone.mean()
    )  # the others tie: all or none
    confidence = np.array([1.0] * 8 + [0.0] * 12)
    curve = risk_at_coverages(np.stack([confidence, alone], axis=1))
    assert rows["rouge_l_text_25"].estimate.value == curve[4]
    gain = rows["rouge_l_text_gain"].estimate
    assert gain.value == pytest.approx(0.4 * (1 - alone.mean()))
    assert 0 < gain.lo < gain.value < gain.hi
    assert gain.n == 20
    assert all(re.fullmatch(SIGNATURE, row.signature) for row in rows.values())


def test_a_confidence_that_says_nothing_gains_nothing(tmp_path: Path) -> None:
    scores = score_files.score(TRUTH, OURS, ["rouge_l"])
    rng = np.random.default_rng(0)
    drawn = {name: [(MASS, CLEAR)[place] for place in rng.integers(0, 2, 6)] for name in IDS}
    rows = {
        row.metric: row for row in with_consistency(scores, TRUTH, write(tmp_path / "d.json", drawn)).scores
    }
    assert rows["rouge_l_text_gain"].estimate.lo < 0 < rows["rouge_l_text_gain"].estimate.hi


def test_where_less_is_better_a_gain_is_still_positive(tmp_path: Path) -> None:
    scores = score_files.score(TRUTH, OURS, ["repetition_4"])
    assert scores.scores[0].higher_is_better is False
    errors = {"repetition_4": np.array([0.0] * 8 + [1.0] * 12)}
    changed = type(scores)(scores.scores, {}, scores.ids, errors)
    rows = {
        row.metric: row for row in with_consistency(changed, TRUTH, write(tmp_path / "d.json", DRAWN)).scores
    }
    assert rows["repetition_4_text_25"].estimate.value == 0
    assert rows["repetition_4_text_gain"].estimate.value == pytest.approx(0.4 * 0.6)
    assert rows["repetition_4_text_gain"].higher_is_better


def test_the_command_reads_what_a_run_keeps(tmp_path: Path) -> None:
    truth, ours = write(tmp_path / "truth.json", TRUTH), write(tmp_path / "ours.json", OURS)
    lines = "\n".join(json.dumps({"id": name, "reports": texts}) for name, texts in DRAWN.items())
    drawn, out = write(tmp_path / "samples-3-full.jsonl", lines), tmp_path / "studies.csv"
    arguments = ["score", truth, ours, "--metrics", "rouge_l", "--drawn", drawn, "--per-study", out]
    result = CliRunner().invoke(app, [*map(str, arguments), "--format", "json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["metrics"]["rouge_l_text_25"]["value"] == 1
    rows = list(csv.DictReader(out.open()))
    assert [float(row["consistency_text"]) == 1 for row in rows] == [number < 8 for number in range(20)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.json", "{", "no drawn reports can be read"),
        ("d.json", "[1, 2]", "no drawn reports can be read"),
        ("d.json", {"s0": MASS}, "no list of reports for 's0'"),
        ("d.json", {"s0": [MASS, 1]}, "no list of reports for 's0'"),
        ("d.json", {"s0": [MASS]}, "1 reports per study"),
        ("d.json", {"s0": [MASS, MASS], "s1": [MASS]}, "fewer for 's1'"),
        ("d.json", '{"s0": ["a", "b"], "s0": ["a", "b"]}', "1 ids occur twice: 's0'"),
        ("d.jsonl", '{"id": "s0", "report": "a"}', "no drawn reports can be read"),
        ("d.json", {}, "empty"),
    ],
)
def test_odd_files_are_refused(tmp_path: Path, name: str, content: object, message: str) -> None:
    with pytest.raises(HarnessError) as raised:
        read_drawn(write(tmp_path / name, content))
    assert message in str(raised.value)


def test_ids_on_one_side_are_named(tmp_path: Path) -> None:
    scores = score_files.score(TRUTH, OURS, ["rouge_l"])
    fewer = {name: texts for name, texts in DRAWN.items() if name != "s3"}
    with pytest.raises(HarnessError, match="s3"):
        with_consistency(scores, TRUTH, write(tmp_path / "d.json", fewer))
