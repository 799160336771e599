"""Rounding is measured and let pass; what follows from the batch is not taken for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.audits import audit as audits
from harness.audits.breach import Breach
from harness.audits.differences import first_difference
from harness.audits.noise import EXACT, MOST, Tolerance, measured
from harness.core import registry
from harness.core.config import RunSettings
from harness.core.types import Prediction
from tests.helpers import doubles
from tests.helpers.toys import Quiet


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    doubles.register(monkeypatch.setitem)
    registry._table.cache_clear()
    yield tmp_path / "store"
    monkeypatch.undo()
    registry._table.cache_clear()


def checks(name: str, store: Path) -> dict[str, tuple[bool, str]]:
    settings = RunSettings.of(methods=(name,), dataset="long-data", limit=30, store=store)
    (verdict,) = audits.audit(settings, Quiet())
    return {check.check: (check.passed, check.detail) for check in verdict.checks}


def answer(probability: float, report: str = "clear.") -> Prediction:
    return Prediction(report, np.array([probability]))


def test_half_precision_passes_and_the_verdict_states_the_tolerance(world: Path) -> None:
    verdict = checks("half-precise", world)
    assert all(passed for passed, _ in verdict.values()), verdict
    match = re.search(r"probabilities within (\S+)$", verdict["batch-independent"][1])
    assert match
    assert 1e-5 < float(match[1]) <= MOST


def test_an_exact_method_is_held_to_the_floor(world: Path) -> None:
    assert "reports identical, probabilities within 1e-05" in checks("honest", world)["batch-independent"][1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing-share", r"study test\d+: the (report|probability of \w) .*, when .*"),
        ("size-reader", r"study test\d+: a probability changed by 0\.\d+, when 5 copies of the study .*"),
    ],
)
def test_what_follows_from_the_batch_is_no_noise(name: str, reason: str, world: Path) -> None:
    passed, detail = checks(name, world)["batch-independent"]
    assert not passed
    assert re.fullmatch(reason, detail), detail


def test_noise_is_taken_four_times_and_never_beyond_what_rounding_explains() -> None:
    assert measured({"a": {1: [answer(0.5)], 5: [answer(0.5)] * 5}}) == EXACT
    assert measured({"a": {1: [answer(0.5)], 5: [answer(0.502)]}}).probabilities == pytest.approx(0.008)
    assert measured({"a": {1: [answer(0.5)], 5: [answer(0.51)]}}).probabilities == MOST
    with pytest.raises(Breach, match=r"study a: a probability changed by 0\.1000, when 5 copies"):
        measured({"a": {1: [answer(0.5)], 5: [answer(0.6)]}})


def test_a_report_may_turn_on_rounding_now_and_then() -> None:
    copies = {f"s{number}": {1: [answer(0.5)], 5: [answer(0.5)]} for number in range(8)}
    copies["s3"][5] = [answer(0.5, "not clear.")]
    assert measured(copies).reports == 0.25
    copies["s4"][5] = copies["s5"][5] = copies["s3"][5]
    with pytest.raises(Breach, match="study s3: the report changed, when 5 copies"):
        measured(copies)


def test_reports_count_where_more_turn_than_were_measured() -> None:
    before = {f"s{number}": answer(0.5) for number in range(8)}
    after = before | {"s1": answer(0.5, "not clear.")}
    assert first_difference(before, after, ["a"]) == "study s1: the report changed from word 1 on"
    assert first_difference(before, after, ["a"], Tolerance(reports=0.2)) == ""
    after |= {"s2": answer(0.5, "not clear."), "s3": answer(0.7)}
    assert "s1: the report" in first_difference(before, after, ["a"], Tolerance(reports=0.2))
    assert "s3: the probability" in first_difference(before, after, ["a"], Tolerance(reports=0.3))
