"""Leaderboards as Rich tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table as RichTable

from harness.export.text import number
from harness.leaderboard import Row, Table


def render(table: Table) -> list[RichTable]:
    """Two tables that fit a terminal: metrics at missing rate 0, and the curve over rates."""
    full = _grid(table, f"{table.title}: nothing dropped", table.metrics)
    _fill(full, table, lambda row: [number(row.full.get(metric)) for metric in table.metrics])
    if not table.rates:
        return [full]
    rates = (0.0, *table.rates)
    curve = _grid(table, f"{table.curve_metric} over missing rates", [f"{rate:g}" for rate in rates])
    _fill(curve, table, lambda row: [number(row.curve.get(rate)) for rate in rates])
    return [full, curve]


def _grid(table: Table, title: str, columns: Sequence[str]) -> RichTable:
    grid = RichTable(title=title, title_justify="left", header_style="bold")
    grid.add_column("method", no_wrap=True)
    for column in columns:
        grid.add_column(column, justify="right")
    return grid


def _fill(grid: RichTable, table: Table, cells: Callable[[Row], list[str]]) -> None:
    for index, row in enumerate(table.rows):
        last = index + 1 == len(table.rows) or table.rows[index + 1].control != row.control
        escaped = [cell.replace("[", r"\[") for cell in [row.method, *cells(row)]]
        grid.add_row(*escaped, end_section=last, style="dim" if row.control else None)
