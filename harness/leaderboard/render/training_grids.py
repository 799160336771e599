"""Grids of training rate by test rate in every format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from harness.leaderboard.render.blocks import Screen
from harness.leaderboard.render.latex import Float, escape
from harness.leaderboard.render.states import StateCell, StateGrid, grid_blocks, grid_float, grid_markdown
from harness.leaderboard.render.text import number
from harness.leaderboard.tables import Table
from harness.leaderboard.training_grid import training_grids

NOTE = (
    "Lines: missing rate of the training studies, one trained model each. Columns: missing rate of the test "
    "studies, the same masks in all lines."
)


def grids(tables: Sequence[Table]) -> list[StateGrid]:
    """One grid per method and table; a line is a training rate."""
    return [
        StateGrid(
            grid.title,
            grid.headings,
            tuple(
                (f"{rate:g}", False, tuple(StateCell(number(cell)) for cell in cells))
                for rate, cells in grid.lines.items()
            ),
            first="trained at",
        )
        for grid in training_grids(tables)
    ]


def markdown(tables: Sequence[Table]) -> str:
    """All grids, one below the other; empty where no method was trained at several rates."""
    lines = [line for grid in grids(tables) for line in grid_markdown(grid)]
    return "\n".join([*lines, NOTE, ""]) + "\n" if lines else ""


def terminal(tables: Sequence[Table], screen: Screen) -> list[RenderableType]:
    """All grids for a terminal."""
    parts: list[RenderableType] = []
    for grid in grids(tables):
        parts += [screen.text(grid.title, "bold"), *grid_blocks(grid, screen), ""]
    return [*parts, screen.text(NOTE, "dim"), ""] if parts else []


def floats(tables: Sequence[Table]) -> Iterator[Float]:
    """LaTeX floats, one per grid."""
    for place, grid in enumerate(grids(tables), start=1):
        yield grid_float(grid, f"tab:training-{place}", (escape(NOTE),))
