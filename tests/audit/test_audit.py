"""The audit catches every sinner for the stated reason, lets the honest pass, and leaves nothing behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.audits import audit as audits
from harness.audits.wording import repeats
from harness.cli.app import app
from harness.core import registry
from harness.core.config import RunSettings
from harness.core.errors import CorruptFileError, UnknownNameError
from harness.core.files import write_checked_json
from harness.store import verdicts
from harness.store.verdicts import Verdict
from tests.helpers import sinners
from tests.helpers.sin_data import SinData
from tests.helpers.sinners import SINS
from tests.helpers.toys import Quiet

CHECKS = ["split-honest", "target-blind", "batch-independent", "mask-honest", "deterministic", "text-honest"]
CHECKS += ["run-honest", "answer-free", "plausible"]


@pytest.fixture
def sin_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    sinners.register(monkeypatch.setitem)
    registry._table.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    registry._table.cache_clear()


def verdict_on(name: str, folder: Path, **rest: object) -> Verdict:
    chosen = {"methods": (name,), "dataset": "sin-data", "limit": 30, "store": folder / "store", **rest}
    (found,) = audits.audit(RunSettings.of(**chosen), Quiet())
    return found


@pytest.mark.parametrize("name", SINS)
def test_a_sinner_fails_its_check_for_the_stated_reason_and_no_other(name: str, sin_world: Path) -> None:
    _, check, reason = SINS[name]
    found = verdict_on(name, sin_world)
    assert [one.check for one in found.checks] == CHECKS
    breaches = {
        one.check: one.detail for one in found.checks if not one.passed and "not tried" not in one.detail
    }
    assert list(breaches) == [check]
    assert re.search(reason, breaches[check]), breaches
    assert not found.passed


def test_a_box_holds_no_answers_that_could_be_found_in_memory(sin_world: Path) -> None:
    assert verdict_on("live-labels", sin_world).passed


def test_the_honest_pass(sin_world: Path) -> None:
    found = verdict_on("honest", sin_world)
    assert found.passed, [check for check in found.checks if not check.passed]


def test_an_honest_painter_passes(sin_world: Path) -> None:
    found = verdict_on("painter", sin_world)
    assert found.passed, [check for check in found.checks if not check.passed]


def test_noise_from_the_process_is_not_deterministic(sin_world: Path) -> None:
    failed = {one.check: one.detail for one in verdict_on("dice", sin_world).checks if not one.passed}
    assert "when the same was asked a second time" in failed.pop("deterministic")
    assert set(failed.values()) == {"not tried: the same question has two answers"}


def test_a_method_that_cannot_be_trained_fails_with_its_reason(sin_world: Path) -> None:
    found = verdict_on("broken", sin_world)
    details = [one.detail.rpartition(":")[0] for one in found.checks]
    assert details == ["not tried: ValueError at tests.helpers.sinners"] * len(CHECKS)
    assert not found.passed


def test_the_dataset_is_as_it_was_after_an_audit(sin_world: Path) -> None:
    original = SinData.studies
    alive = SinData().studies("test")
    before = [(study.report, study.labels.tolist()) for study in alive]
    verdict_on("label-guided", sin_world)
    assert SinData.studies is original
    assert [(study.report, study.labels.tolist()) for study in alive] == before


def test_verdicts_are_kept_in_the_store(sin_world: Path) -> None:
    verdict_on("honest", sin_world)
    verdict_on("parrot", sin_world)
    store = sin_world / "store"
    found = {verdict.method: verdict for verdict in verdicts.verdicts(store)}
    assert found["honest"].passed
    assert not found["parrot"].passed
    content = json.loads(verdicts.verdict_path(store, "sin-data", "parrot").read_text())
    assert content["passed"] is False
    assert [check["check"] for check in content["checks"]] == CHECKS
    assert content["facts"]["limit"] == 30
    text = json.dumps(content)
    assert "crushing" not in text  # verdicts hold no clinical text
    write_checked_json(verdicts.verdict_path(store, "sin-data", "honest"), {"checks": []}, names=2)
    with pytest.raises(CorruptFileError, match="not an audit's verdict"):
        list(verdicts.verdicts(store))


def test_the_command_prints_who_was_caught_and_exits_with_1(sin_world: Path) -> None:
    call = ["audit", "--dataset", "sin-data", "--limit", "12", "--store", str(sin_world / "store")]
    bad = CliRunner().invoke(app, [*call, "--methods", "honest,peeker", "--format", "json"])
    assert bad.exit_code == 1
    rows = json.loads(bad.stdout)["rows"]
    assert {(row["method"], row["check"]) for row in rows if not row["passed"]} == {("peeker", "mask-honest")}
    assert set(rows[0]) == {"method", "check", "passed", "detail"}
    good = CliRunner().invoke(app, [*call, "--methods", "honest"])
    assert good.exit_code == 0
    assert "target-blind" in good.stdout


def test_methods_side_by_side_get_the_verdicts_they_get_alone(sin_world: Path) -> None:
    names = ("honest", "parrot", "fatal")
    chosen = {"dataset": "sin-data", "limit": 12, "store": sin_world / "store"}
    found = audits.audit(RunSettings.of(methods=names, workers=2, **chosen), Quiet())
    assert [verdict.method for verdict in found] == list(names)
    for verdict in found[:2]:
        (alone,) = audits.audit(RunSettings.of(methods=(verdict.method,), **chosen), Quiet())
        assert verdict == alone
    assert {check.detail for check in found[2].checks} == {"not tried: its process ended with code 7"}
    assert [check.check for check in found[2].checks] == CHECKS


def test_an_unknown_method_is_an_error_before_any_work(sin_world: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean honest"):
        verdict_on("honset", sin_world)
    assert not (sin_world / "store" / "audits").exists()


@pytest.mark.parametrize(
    ("context", "report", "expected"),
    [
        ("age 5. indication: chest pain", "Chest pain. The heart is normal.", True),
        ("indication: chest pain", "no pain in the chest", False),
        ("indication: pain", "pain", False),  # one word proves nothing
        ("indication: shortness of breath for two weeks", "He had breath for two weeks now.", True),
        ("indication: shortness of breath for two weeks", "for two weeks", False),
        ("", "anything", False),
        ("indication: severe cough and high fever", "severe old cough here and so high a fever", True),
        ("indication: severe cough and high fever", "fever, then cough; severe", False),  # another order
        ("indication: severe cough and high fever", "no cough and no effusion", False),
    ],
)
def test_repeating_the_indication(context: str, report: str, expected: bool) -> None:
    assert repeats(context, report) is expected
