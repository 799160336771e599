"""p-values of 'looks at the image' from stored predictions."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness.core.config import RunSettings
from harness.core.types import Prediction
from harness.evaluation.permutation import permutation_tests
from harness.evaluation.run import run_serially
from harness.leaderboard.selection import current
from harness.store.predictions import PREDICTIONS, AnswerFile
from harness.store.store import Store
from tests.cli.test_cli import invoke
from tests.helpers.toys import Quiet, ToyData


@pytest.fixture
def store(toy_world: Path) -> Store:
    settings = RunSettings.of(
        methods=("echo", "learner"),
        dataset="toy",
        missing=(0.5,),
        mask_seeds=2,
        metrics=("bleu", "cider", "rouge_l"),
        store=toy_world / "store",
    )
    run_serially(settings, Quiet())
    return Store(settings.config.store)


def rewrite(store: Store, method: str, reports: dict[str, str]) -> None:
    """Plant predictions as if the method had made them."""
    cell = next(each.manifest.cell for each in store.stored() if each.rows[0].method == method)
    file = AnswerFile(store.root / cell / "predictions" / "full.jsonl", PREDICTIONS)
    file.unseal(0)
    file.path.unlink()
    with file.appending() as append:
        append({name: Prediction(report=text) for name, text in reports.items()})
    file.seal()


def test_planted_predictions_that_belong_to_their_studies_and_that_do_not(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    truth = {study.id: study.report or "" for study in ToyData().studies("test")}
    rewrite(store, "echo", truth)
    rewrite(store, "learner", dict.fromkeys(truth, "the heart is normal."))
    tests, complete = permutation_tests(store, current(store.stored()), 200, Quiet())
    assert complete
    by_place = {(test.method, test.metric): test for test in tests}
    assert set(by_place) == {(m, name) for m in ("echo", "learner") for name in ("bleu_4", "cider")}
    for metric in ("bleu_4", "cider"):
        reader, fixed = by_place["echo", metric], by_place["learner", metric]
        assert reader.p_value == pytest.approx(1 / 201)
        assert reader.permuted < reader.value
        assert reader.looks_at == "input"  # it reads the context, too
        assert fixed.p_value == 1.0
        assert fixed.looks_at == "image"
        assert fixed.permuted == pytest.approx(fixed.value)

    arguments = ["leaderboard", "--store", str(store.root), "--permutations"]
    code, out, _ = invoke(capsys, *arguments, "19")
    assert code == 0
    assert "looks at its input" in out
    code, _, _ = invoke(capsys, *arguments, "19", "--out", str(tmp_path / "tables"))
    assert code == 0
    rows = list(csv.DictReader((tmp_path / "tables" / "permutations.csv").open()))
    assert {row["p_value"] for row in rows} == {"0.05", "1.0"}
    code, _, err = invoke(capsys, *arguments, "10")
    assert code != 0
    assert "at least 19" in err


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_rows_without_predictions_are_named_and_left_out(
    store: Store, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    cell = next(each.manifest.cell for each in store.stored() if each.rows[0].method == "echo")
    full = store.root / cell / "predictions" / "full.jsonl"
    if harm == "gone":
        full.unlink()
    else:
        full.write_bytes(full.read_bytes()[:-20])
    reporter = Quiet()
    tests, complete = permutation_tests(store, current(store.stored()), 19, reporter)
    assert {test.method for test in tests} == {"learner"}
    assert not complete
    (reason,) = reporter.failures.values()
    assert ("has no predictions" if harm == "gone" else "checksum mismatch") in reason
    code, output, error = invoke(capsys, "leaderboard", "--store", str(store.root), "--permutations", "19")
    assert code == 1
    assert "learner" in output
    assert "echo: FAILED" in error
