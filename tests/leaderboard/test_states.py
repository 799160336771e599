"""Tables of modality states: their differences are paired, and nothing stands twice."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core import registry
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import formats, states
from harness.leaderboard.render.blocks import Screen
from harness.leaderboard.render.gallery import write_figures
from harness.leaderboard.robustness import RobustnessReport
from harness.leaderboard.states import StateTable
from harness.missingness.states import FULL
from harness.statistics.bootstrap import interval
from harness.statistics.seeds import over_seeds
from harness.store.results import StoredResult
from harness.store.store import Store
from tests.helpers import toys

pytestmark = pytest.mark.process

STATES = (FULL, "frontal", "lateral", "context")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("states")
    with pytest.MonkeyPatch.context() as patch:
        toys.register(patch.setitem)
        patch.setenv("TOY_LOG", str(folder / "log"))
        registry._table.cache_clear()
        flags = ["--methods", "learner,echo", "--dataset", "toy", "--metrics", "bleu", "--drop", "every"]
        flags += ["--missing", "0.4,0.8", "--mask-seeds", "3", "--seeds", "0,1", "--no-figures"]
        done = CliRunner().invoke(app, ["run", *flags, "--store", str(folder / "runs")])
        assert done.exit_code == 0, done.output
        assert "bleu_4 without each modality" in done.output
    registry._table.cache_clear()
    return folder / "runs"


@pytest.fixture(scope="module")
def table(store: Path) -> StateTable:
    (only,) = Leaderboard.of(Store(store)).states
    return only


def stored(store: Path, method: str, state: str, seed: int = 0) -> StoredResult:
    drop = "context" if state == FULL else state
    (one,) = (
        result
        for result in Store(store).stored()
        if (result.rows[0].method, result.rows[0].seed, result.rows[0].drop) == (method, seed, drop)
    )
    return one


def value_and_replicates(store: Path, method: str, state: str) -> tuple[float, np.ndarray]:
    """Of the mean over both seeds."""
    values, replicates = [], []
    for seed in (0, 1):
        result = stored(store, method, state, seed)
        rows = sorted((row for row in result.rows if row.metric == "bleu_4"), key=lambda row: row.rate)
        place = 0 if state == FULL else len(rows) - 1
        assert rows[place].rate == (0.0 if state == FULL else 1.0)
        values.append(rows[place].value)
        replicates.append(result.replicates()["bleu_4"][place].astype(np.float64))
    return float(np.mean(values)), over_seeds(values, replicates)


def test_a_column_per_state_and_a_row_per_method(table: StateTable) -> None:
    assert table.states == STATES
    assert [row.method for row in table.rows if not row.control] == ["learner"]
    assert {row.method for row in table.rows if row.control} == {"echo", "learner+shuffled-image"}
    assert table.seeds == 2


def test_what_a_method_does_not_read_changes_nothing(table: StateTable) -> None:
    (learner,) = (row for row in table.rows if row.method == "learner")  # reads the frontal view
    assert [state for state in STATES if learner.numbers[state].unchanged] == ["lateral", "context"]
    (echo,) = (row for row in table.rows if row.method == "echo")
    assert not any(number.unchanged for number in echo.numbers.values())


@pytest.mark.parametrize("method", ["learner", "echo"])
@pytest.mark.parametrize("state", STATES[1:])
def test_differences_are_paired(store: Path, table: StateTable, state: str, method: str) -> None:
    (row,) = (row for row in table.rows if row.method == method)
    full, without = (value_and_replicates(store, method, each) for each in (FULL, state))
    number = row.numbers[state]
    assert number.estimate.value == pytest.approx(without[0])
    assert number.minus_full.value == pytest.approx(without[0] - full[0])
    assert number.minus_full.ci95 == pytest.approx(interval(without[1] - full[1]))
    assert row.numbers[FULL].minus_full is None


def test_mean_and_worst(table: StateTable) -> None:
    for row in table.rows:
        values = {state: number.estimate.value for state, number in row.numbers.items()}
        assert row.mean.estimate.value == pytest.approx(np.mean(list(values.values())))
        assert row.worst.estimate.value == min(values.values())


def test_a_method_stands_beside_its_shuffled_rerun(table: StateTable) -> None:
    rows = {row.method: row for row in table.rows}
    for state in STATES:
        own, shuffled = (rows[name].numbers[state] for name in ("learner", "learner+shuffled-image"))
        difference = own.estimate.value - shuffled.estimate.value
        assert own.minus_shuffled.value == pytest.approx(difference)
        assert shuffled.minus_shuffled is None


def test_nothing_dropped_stands_in_one_table(store: Path) -> None:
    tables = Leaderboard.of(Store(store)).tables
    assert [(each.drop, each.curve_alone) for each in tables] == [
        ("context", False),
        ("alternate", True),
        ("any", True),
    ]
    assert all(each.metrics == (each.curve_metric,) for each in tables[1:])
    keys = {key for row in tables[0].rows for key in row.keys}
    assert any("-frontal-" in key for key in keys), "results without a table of their own are listed"


def test_every_format_has_it(store: Path, table: StateTable) -> None:
    leaderboard = Leaderboard.of(Store(store))
    for kind in ("markdown", "latex", "html"):
        text = formats.render(leaderboard, kind).decode()
        plain = text.replace("\\", "").replace("{}", "")
        assert "without frontal" in plain, kind
        assert f"{table.rows[0].numbers[FULL].estimate.value:.3f}" in plain, kind
        assert "other studies" in plain, kind
    content = store / "copy.json"
    content.write_text(leaderboard.to_json())
    assert json.loads(leaderboard.to_json())["states"][0]["metric"] == "bleu_4"
    again = Leaderboard.from_json(content)
    assert again.states == leaderboard.states
    assert again.tables == leaderboard.tables


@pytest.mark.parametrize("width", [80, 120])
def test_terminals_cut_nothing(table: StateTable, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    for part in [*states.terminal_short(table, Screen(width)), *states.terminal(table, Screen(width))]:
        console.print(part)
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert text.count(f"{table.rows[0].numbers[FULL].estimate.value:.3f}") >= 2


def test_the_end_of_a_run_has_a_column_for_the_shuffled_rerun(table: StateTable) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    for part in states.terminal_short(table, Screen(120)):
        console.print(part)
    text = console.export_text()
    assert "+shuffled-image" not in text
    (line,) = (line for line in text.splitlines() if line.startswith("learner"))
    minus = table.rows[0].numbers[FULL].minus_shuffled
    assert f"{minus.value:+.3f} [{minus.lo:.3f}, {minus.hi:.3f}]" in line


def test_one_policy_alone_keeps_its_table(toy_world: Path) -> None:
    flags = [
        "--methods",
        "echo",
        "--dataset",
        "toy",
        "--metrics",
        "bleu",
        "--drop",
        "frontal",
        "--missing",
        "1",
    ]
    done = CliRunner().invoke(app, ["run", *flags, "--no-figures", "--store", str(toy_world / "runs")])
    assert done.exit_code == 0, done.output
    leaderboard = Leaderboard.of(Store(toy_world / "runs"))
    assert [each.states for each in leaderboard.states] == [(FULL, "frontal")]
    assert [(each.drop, len(each.metrics)) for each in leaderboard.tables] == [("frontal", 4)]


def test_robustness_leaves_out_what_has_no_curve(store: Path) -> None:
    report = RobustnessReport.of(Store(store).stored())
    of_echo = [line for line in report.lines if line.method == "echo" and line.metric == "bleu_4"]
    assert sorted(line.drop for line in of_echo) == ["alternate", "any", "context"]
    losses = {line.drop: set(line.reliance) for line in of_echo}
    assert losses == {"context": {"frontal", "lateral", "context"}, "alternate": set(), "any": set()}


def test_unchanged_numbers_are_not_repeated(store: Path) -> None:
    leaderboard = Leaderboard.of(Store(store))
    (row,) = (row for row in leaderboard.tables[0].rows if row.method == "learner")  # it reads no context
    assert all(row.is_flat("bleu_4", rate) for rate in (0.4, 0.8))
    (echo,) = (row for row in leaderboard.tables[0].rows if row.method == "echo")
    assert not echo.is_flat("bleu_4", 0.8)
    text = formats.render(leaderboard, "markdown").decode()
    lines = [line for line in text.splitlines() if line.startswith("| 1 | learner")]
    assert lines[0].count("| =") == 2 + 1, "at both missing rates, and where all studies lose the context"


def test_one_figure_has_all_policies(store: Path, tmp_path: Path) -> None:
    stored_results = Store(store).stored()
    files = write_figures(stored_results, RobustnessReport.of(stored_results), tmp_path, ("png",))
    names = sorted(str(path.relative_to(tmp_path)) for path in files)
    assert "toy-context-mcar-n40/policies-bleu_4.png" in names
    assert not [name for name in names if name.startswith(("toy-frontal", "toy-lateral"))]
    assert sum(path.stat().st_size > 5000 for path in files) == len(files)
