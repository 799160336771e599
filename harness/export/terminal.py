"""Leaderboards as Rich tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table as RichTable

from harness.export.text import number
from harness.leaderboard import Row, Table

_COLUMNS = 6
"""Columns with intervals that fit 160 characters."""


def render(table: Table) -> list[RichTable]:
    """Tables that fit a terminal: metrics at missing rate 0, some at a time, and the curve over rates."""
    parts = []
    for start in range(0, len(table.metrics), _COLUMNS):
        metrics = table.metrics[start : start + _COLUMNS]
        full = _grid(table, f"{table.title}: nothing dropped", metrics)
        _fill(full, table, lambda row, shown=metrics: [number(row.full.get(name)) for name in shown])  # type: ignore[misc]
        parts.append(full)
    if table.unavailable:
        parts[-1].caption = "unavailable: " + ", ".join(table.unavailable)
    if not table.rates:
        return parts
    rates = (0.0, *table.rates)
    curve = _grid(table, f"{table.curve_metric} over missing rates", [f"{rate:g}" for rate in rates])
    _fill(curve, table, lambda row: [number(row.curve.get(rate)) for rate in rates])
    return [*parts, curve]


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
