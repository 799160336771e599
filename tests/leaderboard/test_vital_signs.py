"""What readers see of a network's dead parts: notes below tables, and ``harness describe --probes``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core import registry
from harness.core.types import Inputs, Targets
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import leaderboard_latex, markdown, terminal
from harness.leaderboard.render.blocks import Screen
from harness.method.probes import Probe
from harness.store.store import Store
from tests.helpers import toys

pytestmark = pytest.mark.process

SHORT = "idle: parts that do next to nothing: KED (harness describe idle --probes)"
LINE = "idle: a part does next to nothing: KED: prior cosine 1 (dead 1, alive 0.677)"


class Idle(toys.Learner):
    """A method of which one part has collapsed."""

    card = replace(toys.Learner.card, name="idle")

    def loss_terms(self, losses: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        return {"length": 0.75 * losses["loss"], "rest": 0.25 * losses["loss"]}

    def probes(self, inputs: Inputs, targets: Targets) -> Sequence[Probe]:
        return [
            Probe("KED", "prior cosine", 1.0, dead=1.0, alive=0.677),
            Probe("experts", "share of the busiest", 0.4, dead=1.0, alive=0.25),
        ]


@pytest.fixture
def store(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(registry.METHODS, "idle", f"{__name__}:Idle")
    registry._table.cache_clear()
    tmp_path = toy_world
    flags = ["--methods", "idle,echo", "--dataset", "toy", "--metrics", "bleu", "--no-figures"]
    done = CliRunner().invoke(app, ["run", *flags, "--store", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    assert SHORT in " ".join(done.output.split())
    return tmp_path / "runs"


def described(store: Path, *flags: str) -> Any:
    done = CliRunner().invoke(app, ["describe", "idle", "--probes", "--store", str(store), *flags])
    assert done.exit_code == 0, done.output
    return done.output


def test_dead_parts_stand_below_the_table(store: Path) -> None:
    leaderboard = Leaderboard.of(Store(store))
    (table,) = (table for table in leaderboard.tables if table.group == "report text")
    assert f"- {LINE}" in markdown.render([table])
    assert LINE in leaderboard_latex.fragment([table]).replace("\\", "")
    lines = [str(part) for part in terminal.render(table, Screen(120))]
    assert lines.count(SHORT) == 1
    again = Leaderboard.from_json(_written(leaderboard, store))
    assert again.tables == leaderboard.tables


def _written(leaderboard: Leaderboard, store: Path) -> Path:
    path = store / "copy.json"
    path.write_text(leaderboard.to_json())
    return path


def test_describe_shows_probes_and_loss_terms(store: Path) -> None:
    text = described(store)
    (dead,) = (line for line in text.splitlines() if line.split()[:3] == ["KED:", "prior", "cosine"])
    assert dead.split()[3:] == ["1", "1", "0.677", "DEAD"]
    (alive,) = (line for line in text.splitlines() if "experts: share of the busiest" in line)
    assert alive.split()[-1] == "acts"
    (rest,) = (line.split()[1:] for line in text.splitlines() if line.startswith("rest"))
    assert rest == ["25.0%", "25.0%"]
    facts = json.loads(described(store, "--format", "json"))
    assert facts["terms"]["length"]["loss"] == pytest.approx(0.75)
    assert facts["result"].startswith("toy/idle/")


def test_a_row_without_probes_says_so(store: Path) -> None:
    done = CliRunner().invoke(app, ["describe", "echo", "--probes", "--store", str(store)])
    assert done.exit_code == 1
    assert "its training recorded no probes" in str(done.exception)
