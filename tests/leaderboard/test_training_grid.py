"""A method that was trained at several missing rates has a grid of training rate by test rate."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.core.config import RunSettings
from harness.evaluation.run import run_serially
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import formats, training_grids
from harness.leaderboard.render.blocks import Screen
from harness.leaderboard.training_grid import training_grids as grids_of
from harness.store.row_labels import training_rate
from harness.store.store import Store
from tests.helpers.leaderboards import add
from tests.helpers.toys import Quiet


@pytest.mark.parametrize(
    ("label", "method", "rate"),
    [
        ("kedr", "kedr", 0.0),
        ("kedr[train-missing=0.3]", "kedr", 0.3),
        ("dia:baseline[train-missing=0.5]+shuffled-image", "dia:baseline+shuffled-image", 0.5),
        ("kedr[lr=0.1,train-missing=0.3]", "kedr[lr=0.1]", 0.3),
        ("kedr[train-missing=0.3,training.epochs=4] (tiny)", "kedr[training.epochs=4] (tiny)", 0.3),
    ],
)
def test_a_label_gives_the_training_rate_back(label: str, method: str, rate: float) -> None:
    assert training_rate(label) == (method, rate)


def test_each_training_rate_is_a_line(tmp_path: Path) -> None:
    store = Store(tmp_path)
    heights = {"dia": (0.5, 0.6), "dia[train-missing=0.3]": (0.45, 0.2), "dia[train-missing=0.7]": (0.4, 0.1)}
    for method, (height, fall) in heights.items():
        add(store, method, {"cider": height}, fall=fall)
    add(store, "kedr", {"cider": 0.3})
    add(store, "template", {"cider": 0.1}, control=True)
    board = Leaderboard.of(store)
    (grid,) = grids_of(board.tables)
    assert grid.headings == ("0", "0.2", "0.4", "0.6", "0.8")
    assert list(grid.lines) == [0.0, 0.3, 0.7]
    assert grid.lines[0.0][0].value == pytest.approx(0.5)
    assert grid.lines[0.7][4].value == pytest.approx(0.4 * (1 - 0.08))
    assert "dia, cider by training rate and test rate" in grid.title
    written = formats.render(board, "markdown").decode()
    assert "| trained at | 0 | 0.2 | 0.4 | 0.6 | 0.8 |" in written
    assert "| 0.3 | 0.450 [" in written
    for kind in ("latex", "html"):
        content = formats.render(board, kind).decode()
        assert "trained at" in content
        assert "by training rate and test rate" in content
    stream = io.StringIO()
    console = Console(file=stream, width=120)
    for part in training_grids.terminal(board.tables, Screen.of(console)):
        console.print(part)
    assert "trained at" in stream.getvalue()
    add(store, "kedr", {"cider": 0.3})
    assert not grids_of([table for table in Leaderboard.of(Store(tmp_path)).tables if not table.rates])


def test_one_run_trains_a_cell_per_rate(toy_world: Path) -> None:
    settings = RunSettings.of(
        methods=("learner",),
        dataset="toy",
        missing=(0.5,),
        mask_seeds=2,
        drop="context",
        train_missing=(0, 0.3, 0.6),
        train_drop="any",
        metrics=("bleu",),
        store=toy_world / "store",
    )
    _, succeeded = run_serially(settings, Quiet())
    assert succeeded
    stored = Store(toy_world / "store").stored()
    own = {each.rows[0].method: each for each in stored if "+" not in each.rows[0].method}
    assert set(own) == {"learner", "learner[train-missing=0.3]", "learner[train-missing=0.6]"}
    assert len({each.manifest.cell for each in own.values()}) == 3
    assert own["learner[train-missing=0.3]"].manifest.config["train_missing"] == [0.3]
    (grid,) = grids_of(Leaderboard.of(Store(toy_world / "store")).tables)
    assert list(grid.lines) == [0.0, 0.3, 0.6]
