"""Tables by label, by group of studies and by coverage, as Markdown and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from harness.leaderboard.breakdown import Breakdown
from harness.leaderboard.render.blocks import Column, Screen, blocks
from harness.leaderboard.render.text import UNRANKED
from harness.leaderboard.render.text import markdown as plain
from harness.store.manifest import Triple


def markdown(tables: Sequence[Breakdown]) -> str:
    """All tables, one below the other."""
    lines: list[str] = []
    for table in tables:
        lines += [f"### {plain(table.title)}", "", _line(table.header)]
        lines.append("|" + "|".join([":--"] + ["--:"] * (len(table.header) - 1)) + "|")
        lines += [_line((label, *map(_cell, cells))) for label, cells in table.rows]
        lines += ["", *map(plain, table.notes), ""]
    return "\n".join(lines)


def terminal(tables: Sequence[Breakdown], screen: Screen) -> list[RenderableType]:
    """The same for a terminal."""
    parts: list[RenderableType] = []
    for table in tables:
        first, *others = table.header
        cells = list(zip(*(cells for _, cells in table.rows), strict=True))
        columns = [
            Column(header, [_cell(cell) for cell in column])
            for header, column in zip(others, cells, strict=True)
        ]
        labels = [Column(first, [label for label, _ in table.rows], right=False)]
        parts += [screen.text(table.title, "bold"), *blocks(labels, columns, screen)]
        parts += [*(screen.text(note, "dim") for note in table.notes), ""]
    return parts


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(plain, cells)) + " |"


def _cell(cell: Triple | float | None) -> str:
    if cell is None:
        return UNRANKED
    if isinstance(cell, int):
        return str(cell)
    if isinstance(cell, float):
        return f"{cell:.3f}"
    value, lo, hi = cell
    if value is None:
        return UNRANKED
    return f"{value:.3f}" if lo is None or hi is None else f"{value:.3f} [{lo:.3f}, {hi:.3f}]"
