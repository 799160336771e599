"""Confidence of branches reaches the manifest once, for methods that have some, and is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.core.files import write_checked_json
from harness.core.types import Inputs
from harness.leaderboard.render.gallery import write_figures
from harness.leaderboard.robustness import RobustnessReport
from harness.metrics.diagnosis.confidence import from_counts
from harness.store.cell import OF_CELL
from harness.store.store import Store
from tests.evaluation.test_expert_routing import manifest_of
from tests.helpers.toys import Echo


def confidences(self: Echo, inputs: Inputs) -> dict[str, np.ndarray]:
    here = inputs.present["lateral"].numpy()
    return {"lateral": np.where(here, 0.9, 0.2), "shared": np.full(len(here), 0.7)}


def test_confidence_of_branches_is_counted_by_modality_and_drawn(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "branch_confidence" not in manifest_of(toy_world)
    monkeypatch.setattr(Echo, "has_branches", True)
    monkeypatch.setattr(Echo, "confidences", confidences)
    counts = manifest_of(toy_world)["branch_confidence"]
    assert set(counts) == {"full", "frontal", "lateral"}
    assert sum(counts["full"]["shared"]) == 40
    assert np.unique(from_counts(counts["lateral"]["lateral"])).tolist() == pytest.approx([0.2], abs=0.003)
    full = from_counts(counts["full"]["lateral"])
    assert (full > 0.5).sum() == sum(counts["lateral"]["lateral"]) == 34
    monkeypatch.setattr(Echo, "confidences", lambda self, inputs: pytest.fail("called twice"))
    assert manifest_of(toy_world)["branch_confidence"] == counts
    stored = Store(toy_world / "store").stored()
    written = write_figures(stored, RobustnessReport.of(stored), toy_world / "figures")
    assert "branches-echo.png" in {path.name for path in written}


def test_confidence_of_another_cell_is_counted_anew(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Echo, "has_branches", True)
    monkeypatch.setattr(Echo, "confidences", confidences)
    counts = manifest_of(toy_world)["branch_confidence"]
    (path,) = (toy_world / "store" / "cells").rglob("branches/*.json")
    others = path.parents[1].with_name("tiny-s1-0123456789ab") / "branches" / path.name
    write_checked_json(others, {"full": {"shared": [1, 2]}}, OF_CELL)
    path.write_bytes(others.read_bytes())
    assert manifest_of(toy_world)["branch_confidence"] == counts
    assert "set aside" in caplog.text


def test_variants_without_confidence_have_none(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Echo, "has_branches", True)
    assert "branch_confidence" not in manifest_of(toy_world)
