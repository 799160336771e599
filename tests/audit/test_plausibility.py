"""Answers that fit a study whose images and text are another one's come from its name or its seed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.audits import audit as audits
from harness.audits.plausibility import fit
from harness.core import registry
from harness.core.config import RunSettings
from harness.core.types import Prediction
from harness.evaluation import run as executors
from harness.store.verdicts import Verdict
from tests.helpers import doubles
from tests.helpers.sin_data import SinData
from tests.helpers.toys import Quiet


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    doubles.register(monkeypatch.setitem)
    registry._table.cache_clear()
    yield tmp_path / "store"
    monkeypatch.undo()
    registry._table.cache_clear()


def settings(store: Path, *names: str, **more: object) -> RunSettings:
    return RunSettings.of(methods=names, dataset="long-data", store=store, **more)


def run(store: Path, *names: str) -> None:
    flow = {"missing": (0.4,), "drop": "any", "mask_seeds": 2, "metrics": ("bleu",), "workers": 1}
    assert executors.run(settings(store, *names, **flow), Quiet())[1]


def audited(store: Path, name: str) -> Verdict:
    (verdict,) = audits.audit(settings(store, name, limit=30), Quiet())
    return verdict


def failed(verdict: Verdict) -> dict[str, str]:
    return {check.check: check.detail for check in verdict.checks if not check.passed}


@pytest.mark.parametrize("name", doubles.KEYED)
def test_a_cache_of_findings_keyed_by_name_or_seed_fits_whatever_it_is_shown(name: str, world: Path) -> None:
    breaches = failed(audited(world, name))
    assert set(breaches) == {"target-blind", "plausible"}
    expected = (
        r"answers fit their own study \([\d.; a-z]+, \d+ standard errors\), when its images and its text .*"
    )
    assert re.fullmatch(expected, breaches["plausible"])


def test_stored_answers_on_other_images_are_looked_at_too(world: Path) -> None:
    run(world, "learned-cache")
    breaches = failed(audited(world, "learned-cache"))
    assert "its images were another study's and it had no text, in a run with seed 0" in breaches["plausible"]
    assert "run-honest" in breaches


def test_reports_word_by_word_are_copies(world: Path) -> None:
    detail = failed(audited(world, "holder"))["plausible"]
    assert detail == "30 of 30 reports are those of test studies, word by word"


def test_a_row_that_is_another_row_is_remarked(world: Path) -> None:
    run(world, "honest", "twin")
    verdict = audited(world, "twin")
    assert verdict.passed, failed(verdict)
    detail = next(check.detail for check in verdict.checks if check.check == "plausible")
    assert detail.endswith("1 runs looked at; the stored answers are those of honest")


def test_the_fit_of_labels_and_of_reports() -> None:
    studies = SinData().studies("test")
    true = [Prediction(study.report, np.asarray(study.labels, float)) for study in studies]
    own, sigmas, others = fit(true, studies)
    assert own == 1
    assert sigmas > 6
    assert others < 0.9
    moved = [*true[1:], true[0]]
    assert fit(moved, studies)[1] < 3
    constant = [Prediction("the heart is normal.", np.full(3, 0.5))] * len(studies)
    assert fit(constant, studies)[1] == 0
    assert fit(true[:8], studies[:8]) == (0, 0, 0)  # too few to tell
