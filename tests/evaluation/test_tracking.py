"""Rows in MLflow and Weights & Biases: numbers and hashes, and no word of a report."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness.core.config import RunSettings
from harness.core.errors import HarnessError, UnavailableError
from harness.evaluation import run as executors
from harness.evaluation import tracking
from tests.helpers import toys


def config(store: Path, **rest: Any) -> RunSettings:
    return RunSettings.of(
        methods=("echo", "learner"),
        dataset="toy",
        missing=(0.4, 0.8),
        drop="any",
        mask_seeds=3,
        metrics=toys.FAST_METRICS,
        store=store,
        device="cpu",
        **rest,
    )


def test_what_trackers_see_of_a_run(toy_world: Path) -> None:
    rows, _ = executors.run(config(toy_world / "store"), toys.Quiet())
    seen = {each.name: each for each in tracking.tracked(toy_world / "store", rows)}
    assert list(seen) == ["echo - s0", "learner tiny s0", "learner+shuffled-image tiny s0"]
    learner = seen["learner tiny s0"]
    assert learner.succeeded
    assert [rate for rate, _ in learner.curves["bleu_4"]] == [0.0, 0.4, 0.8]
    expected = {row.rate: row.value for row in rows if row.method == "learner" and row.metric == "bleu_4"}
    assert dict(learner.curves["bleu_4"]) == expected
    assert len(learner.losses) == 4
    assert set(learner.losses[0]) == {"train", "val", "part.loss"}
    assert learner.costs["training_seconds"] > 0
    assert learner.facts["test_set"] == rows[0].test_set
    shown = repr(list(seen.values())).replace("missing", "")
    assert str(toy_world) not in shown
    for word in toys.WORDS[:6]:
        assert word not in shown.split()


def test_a_failed_row_says_so(toy_world: Path) -> None:
    rows, succeeded = executors.run(config(toy_world / "store", set={"echo": {"fail": "fit"}}), toys.Quiet())
    assert not succeeded
    failed = [each for each in tracking.tracked(toy_world / "store", rows) if not each.succeeded]
    assert [each.name for each in failed] == ["echo[fail=fit] - s0"]
    assert failed[0].curves == {}


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_an_absent_tracker_is_found_before_the_run(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, tracker: str
) -> None:
    monkeypatch.setattr("harness.core.packages.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=rf"pip install .*\[{tracker}\]"):
        executors.run(config(toy_world / "store", track=tracker), toys.Quiet())
    assert not (toy_world / "store").exists()


def test_a_tracker_that_fails_costs_no_result(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.core.packages.find_spec", lambda name: name)

    def broken(root: Path, results: object) -> None:
        raise OSError("disk I/O error")

    monkeypatch.setattr(tracking, "_to_mlflow", broken)
    with pytest.raises(HarnessError, match=r"disk I/O error.*the results are in"):
        executors.run(config(toy_world / "store", track="mlflow"), toys.Quiet())
    assert list((toy_world / "store" / "results").rglob("*.json"))


def test_mlflow_keeps_rows_in_a_file_of_the_store(toy_world: Path) -> None:
    pytest.importorskip("mlflow")
    store = toy_world / "store"
    rows, _ = executors.run(config(store, track="mlflow"), toys.Quiet())
    with sqlite3.connect(store / "mlflow.db") as base:
        runs = base.execute("select name, status from runs").fetchall()
        metrics = base.execute(
            "select r.name, m.key, m.step, m.value from metrics m join runs r using (run_uuid)"
        ).fetchall()
    assert sorted(runs) == [
        ("echo - s0", "FINISHED"),
        ("learner tiny s0", "FINISHED"),
        ("learner+shuffled-image tiny s0", "FINISHED"),
    ]
    curve = {step: value for run, key, step, value in metrics if (run, key) == ("learner tiny s0", "bleu_4")}
    assert curve == {
        round(100 * row.rate): row.value for row in rows if (row.method, row.metric) == ("learner", "bleu_4")
    }
    assert sum(key == "loss.train" for run, key, *_ in metrics if run == "learner tiny s0") == 4
    content = (store / "mlflow.db").read_bytes()
    assert b"indication" not in content
    assert b"effusion" not in content
    assert not (store / "mlflow").exists()
    assert "track" not in next((store / "results").rglob("*.json")).read_text()


def test_wandb_works_offline_below_the_store(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    store = toy_world / "store"
    executors.run(config(store, track="wandb"), toys.Quiet())
    runs = sorted((store / "wandb").glob("offline-run-*"))
    assert len(runs) == 3
    content = b"".join(path.read_bytes() for run in runs for path in run.glob("*.wandb"))
    assert b"bleu_4" in content
    assert b"indication" not in content
    assert b"effusion" not in content
