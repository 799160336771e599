"""Tables and figures of corruptions: each level beside the whole study and beside the lost modality."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core import registry
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import corruption_figures, formats, states
from harness.leaderboard.render.blocks import Screen
from harness.leaderboard.render.gallery import write_figures
from harness.leaderboard.robustness import RobustnessReport
from harness.leaderboard.states import StateTable, state_tables
from harness.missingness.states import FULL, is_corrupted
from harness.statistics.bootstrap import interval
from harness.store.store import Store
from tests.evaluation import test_corruptions
from tests.helpers import toys

pytestmark = pytest.mark.process

LEVELS = ("frontal:noise:1", "frontal:noise:3", "frontal:noise:5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corruptions")
    with pytest.MonkeyPatch.context() as patch:
        toys.register(patch.setitem)
        test_corruptions.register(patch.setitem)
        flags = ["--methods", "attentive,frontal_only,learner", "--dataset", "toy", "--metrics", "bleu"]
        flags += ["--missing", "0.4", "--mask-seeds", "3", "--store", str(folder / "runs")]
        flags += ["--corrupt", "frontal:noise,frontal:crop:2,context:words=0.6"]
        done = CliRunner().invoke(app, ["run", *flags])
        assert done.exit_code == 0, done.output
        (folder / "output").write_text(done.output)
    registry._table.cache_clear()
    return folder


@pytest.fixture(scope="module")
def board(folder: Path) -> Leaderboard:
    return Leaderboard.of(Store(folder / "runs"))


@pytest.fixture(scope="module")
def table(board: Leaderboard) -> StateTable:
    (only,) = (each for each in board.states if each.corruption == "frontal:noise")
    return only


def value_and_replicates(folder: Path, method: str, state: str) -> tuple[float, np.ndarray]:
    drop = "context" if state == FULL else state
    (result,) = (
        each
        for each in Store(folder / "runs").stored()
        if (each.rows[0].method, each.rows[0].drop) == (method, drop)
    )
    rows = sorted((row for row in result.rows if row.metric == "bleu_4"), key=lambda row: row.rate)
    place = 0 if state == FULL else len(rows) - 1
    value = rows[place].value
    assert value is not None
    return value, result.replicates()["bleu_4"][place].astype(np.float64)


def test_a_table_per_corruption_behind_that_of_the_missing_modalities(board: Leaderboard) -> None:
    assert [(each.corruption, each.states) for each in board.states] == [
        ("", (FULL, "frontal", "lateral", "context")),
        ("frontal:crop", (FULL, "frontal:crop:2", "frontal")),
        ("frontal:noise", (FULL, *LEVELS, "frontal")),
        ("context:words", (FULL, "context:words=0.6", "context")),
    ]
    assert board.states[2].title.endswith("report text, bleu_4 by level of frontal:noise")
    assert not any("shuffled" in row.method for each in board.states[1:] for row in each.rows)
    assert not any(row.contributions for each in board.states[1:] for row in each.rows)


@pytest.mark.parametrize("state", LEVELS)
def test_differences_are_paired(folder: Path, table: StateTable, state: str) -> None:
    (row,) = (row for row in table.rows if row.method == "attentive")
    values = {each: value_and_replicates(folder, "attentive", each) for each in (FULL, state, "frontal")}
    own, number = values[state], row.numbers[state]
    assert number.estimate.value == pytest.approx(own[0])
    for difference, other in ((number.minus_full, FULL), (number.minus_without, "frontal")):
        assert difference is not None
        assert difference.value == pytest.approx(own[0] - values[other][0])
        assert difference.ci95 == pytest.approx(interval(own[1] - values[other][1]))
    assert row.numbers["frontal"].minus_without is None
    assert row.numbers[FULL].minus_without is not None


def test_what_is_not_read_changes_nothing(board: Leaderboard) -> None:
    for table in board.states[1:]:
        (row,) = (row for row in table.rows if row.method == "frontal_only")
        reads = table.corruption.startswith("frontal")
        assert all(row.numbers[state].unchanged != reads for state in table.states[1:])


def test_other_tables_and_curves_do_not_hold_corrupted_states(folder: Path, board: Leaderboard) -> None:
    assert not any(is_corrupted(table.drop) for table in board.tables)
    report = RobustnessReport.of(Store(folder / "runs").stored())
    assert not any(is_corrupted(line.drop) for line in report.lines)
    assert not any(is_corrupted(name) for line in report.lines for name in line.reliance)


def test_every_format_has_it(folder: Path, board: Leaderboard, table: StateTable) -> None:
    assert "bleu_4 by level of frontal:noise" in (folder / "output").read_text()
    for kind in ("markdown", "latex", "html"):
        text = formats.render(board, kind).decode().replace("\\", "").replace("{}", "")
        for words in ("noise 3", "crop 2", "words=0.6", "value without frontal, paired"):
            assert words in text, (kind, words)
        assert "Levels 1 to 5: 0.08, 0.12, 0.18, 0.26, 0.38" in text, kind
    rows = [row for row in json.loads(board.to_json())["rows"] if row["drop"] == "frontal:noise:3"]
    assert {row["rate"] for row in rows} == {0.0, 1.0}
    lines = list(csv.DictReader(io.StringIO(formats.render(board, "csv").decode())))
    number = next(row for row in table.rows if row.method == "attentive").numbers["frontal:noise:3"]
    (line,) = (
        line
        for line in lines
        if (line["method"], line["drop"], float(line["rate"]), line["metric"])
        == ("attentive", "frontal:noise:3", 1.0, "bleu_4")
    )
    assert float(line["value"]) == pytest.approx(number.estimate.value)
    (folder / "copy.json").write_text(board.to_json())
    again = Leaderboard.from_json(folder / "copy.json")
    assert (again.states, again.tables) == (board.states, board.tables)


@pytest.mark.parametrize("width", [80, 120])
def test_terminals_cut_nothing(table: StateTable, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    for part in [*states.terminal_short(table, Screen(width)), *states.terminal(table, Screen(width))]:
        console.print(part)
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert "noise 5" in text
    assert "mean" not in text


def test_one_figure_per_modality_with_a_panel_per_method(
    folder: Path, board: Leaderboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stored = Store(folder / "runs").stored()
    files = write_figures(stored, RobustnessReport.of(stored), tmp_path, ("png",))
    names = {str(path.relative_to(tmp_path)) for path in files}
    assert {"toy-corrupted-n40/frontal-bleu_4.png", "toy-corrupted-n40/context-bleu_4.png"} <= names
    assert not [name for name in names if "noise" in name or ":" in name]
    drawn: list[Any] = []
    monkeypatch.setattr(corruption_figures, "save_figure", lambda figure, paths: drawn.append(figure))
    tables = [each for each in state_tables(stored) if each.corruption.startswith("frontal")]
    corruption_figures.corruptions_figure(tables, tmp_path / "never.png")
    panels = {axes.get_title(): axes for axes in drawn[0].axes if axes.axison}
    assert set(panels) == {"learner"}, "controls are left out where methods read the view"
    lines = {line.get_label(): line for line in panels["learner"].lines}
    assert set(lines) == {"crop", "noise", "without frontal"}
    (row,) = (row for row in tables[1].rows if row.method == "learner")
    assert list(lines["noise"].get_xdata()) == [0.0, 1.0, 3.0, 5.0]
    assert list(lines["noise"].get_ydata()) == [
        row.numbers[state].estimate.value for state in (FULL, *LEVELS)
    ]
    assert set(lines["without frontal"].get_ydata()) == {row.numbers["frontal"].estimate.value}
    (words,) = (each for each in state_tables(stored) if each.corruption == "context:words")
    assert corruption_figures.reading(words) == ["attentive"], "a control, where no method reads it"
