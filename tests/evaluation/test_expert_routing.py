"""Routing of experts reaches the manifest once, for methods that have experts, and is drawn."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import Inputs
from harness.evaluation.run import run_serially
from harness.leaderboard.render.gallery import write_figures
from harness.leaderboard.robustness import RobustnessReport
from harness.store.store import Store
from tests.helpers.toys import Echo, Quiet


@dataclass
class Route:
    """Two blocks, three experts; with a lateral view the first expert works, without it the last."""

    words: list[str]
    expert: int

    def utilisation(self) -> np.ndarray:
        return np.eye(3)[[self.expert, 1]]


def routing(self: Echo, inputs: Inputs) -> list[Route]:
    here = inputs.present["lateral"].tolist()
    return [Route(["word"] * (3 if lateral else 1), 0 if lateral else 2) for lateral in here]


def manifest_of(folder: Path, **rest: Any) -> dict[str, Any]:
    config = RunSettings.of(
        methods=("echo",), dataset="toy", metrics=("bleu",), drop="context", store=folder / "store", **rest
    )
    assert run_serially(config, Quiet())[1]
    (path,) = (folder / "store" / "results").rglob("*.json")
    return json.loads(path.read_text())["manifest"]


def test_shares_are_of_words_and_by_modality(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Echo, "has_experts", True)
    monkeypatch.setattr(Echo, "routing", routing)
    found = manifest_of(toy_world)["routing"]
    assert set(found) == {"full", "frontal", "lateral"}
    assert found["lateral"] == [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    first = found["full"][0]  # 34 studies of three words, 6 of one
    assert first == pytest.approx([102 / 108, 0.0, 6 / 108], abs=1e-5)
    monkeypatch.setattr(Echo, "routing", lambda self, inputs: pytest.fail("called twice"))
    assert manifest_of(toy_world)["routing"] == found
    stored = Store(toy_world / "store").stored()
    written = write_figures(stored, RobustnessReport.of(stored), toy_world / "figures")
    assert "routing-echo.png" in {path.name for path in written}


def test_methods_and_variants_without_experts_have_none(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "routing" not in manifest_of(toy_world)

    def refuses(self: Echo, inputs: Inputs) -> Any:
        raise HarnessError("a network without experts has no routing")

    monkeypatch.setattr(Echo, "has_experts", True)
    monkeypatch.setattr(Echo, "routing", refuses)
    assert "routing" not in manifest_of(toy_world)
