"""A verdict belongs to checkpoints: they are asked again, and what a run answered otherwise shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.audits import audit as audits
from harness.core import registry
from harness.core.config import RunSettings
from harness.evaluation import run as executors
from harness.leaderboard.leaderboard import Leaderboard
from harness.store.store import Store
from harness.store.verdicts import Check, Verdict
from tests.helpers import doubles
from tests.helpers.toys import Quiet


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    doubles.register(monkeypatch.setitem)
    registry._table.cache_clear()
    yield tmp_path / "store"
    monkeypatch.undo()
    registry._table.cache_clear()


def settings(name: str, store: Path, **more: object) -> RunSettings:
    return RunSettings.of(methods=(name,), dataset="sin-data", store=store, **more)


def run(name: str, store: Path, **more: object) -> None:
    flow = {"missing": (0.4,), "drop": "any", "mask_seeds": 2, "metrics": ("bleu", "brier"), "workers": 1}
    _, succeeded = executors.run(settings(name, store, **{**flow, **more}), Quiet())
    assert succeeded


def audited(name: str, store: Path) -> Verdict:
    (verdict,) = audits.audit(settings(name, store, limit=30), Quiet())
    return verdict


def failed(verdict: Verdict) -> dict[str, str]:
    return {check.check: check.detail for check in verdict.checks if not check.passed}


def check_of(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.check == name)


@pytest.mark.parametrize("name", doubles.TWO_FACED)
def test_what_behaves_only_while_it_is_audited_is_held_to_what_the_run_stored(name: str, world: Path) -> None:
    run(name, world)
    _, check, reason = doubles.TWO_FACED[name]
    breaches = failed(audited(name, world))
    assert re.fullmatch(reason, breaches[check]), breaches


def test_a_salted_hash_and_a_date_are_found_in_another_process_on_another_day(
    world: Path,
) -> None:
    run("salted", world)
    run("dated", world)
    assert {"deterministic", "run-honest"} <= set(failed(audited("salted", world)))
    assert "deterministic" in failed(audited("dated", world))


def test_every_checkpoint_of_the_code_is_asked_again(world: Path) -> None:
    run("honest", world, seeds=(0, 1))
    run("honest", world, limit=12)
    verdict = audited("honest", world)
    assert verdict.passed, failed(verdict)
    assert "3 checkpoints of runs gave" in check_of(verdict, "run-honest").detail
    assert len(verdict.checkpoints) == 3
    states = {run.audit for table in Leaderboard.of(Store(world)).tables for run in table.rows}
    assert states == {"passed"}


def test_a_row_without_its_checkpoint_in_the_verdict_is_not_audited(world: Path) -> None:
    verdict = audited("honest", world)
    assert verdict.passed
    assert verdict.checkpoints == {}
    assert "audit after the run" in check_of(verdict, "run-honest").detail
    run("honest", world)
    assert audit_states(world) == {"not audited: other checkpoint"}
    audited("honest", world)
    assert audit_states(world) == {"passed"}


def test_a_checkpoint_that_was_changed_after_the_run_does_not_give_its_answers(world: Path) -> None:
    run("honest", world)
    (weights,) = world.glob("cells/*/honest/*/checkpoint/weights.json")
    weights.write_text(json.dumps([[-value for value in row] for row in json.loads(weights.read_text())]))
    assert "weights.json: checksum mismatch" in failed(audited("honest", world))["run-honest"]


def audit_states(store: Path) -> set[str]:
    return {row.audit for table in Leaderboard.of(Store(store)).tables for row in table.rows}
