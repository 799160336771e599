"""Leaderboards as Rich tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.markup import escape
from rich.table import Table as RichTable

from harness.leaderboard.render.text import COST_COLUMNS, costs, label, number, rank
from harness.leaderboard.tables import Row, Table

_COLUMNS = 6
"""Columns with intervals that fit 160 characters."""


def render(table: Table) -> list[RichTable]:
    """Tables that fit a terminal: metrics at missing rate 0, some at a time, and the curve over rates."""
    parts = []
    for start in range(0, len(table.metrics), _COLUMNS):
        metrics = table.metrics[start : start + _COLUMNS]
        full = _grid(table, f"{table.title}: nothing dropped", metrics)
        _fill(full, table, lambda row, shown=metrics: [_cell(table, row, name, 0.0) for name in shown])  # type: ignore[misc]
        parts.append(full)
    if table.unavailable:
        parts[-1].caption = "unavailable: " + ", ".join(table.unavailable)
    if table.rates:
        rates = (0.0, *table.rates)
        metric = table.curve_metric
        curve = _grid(table, f"{metric} over missing rates", [f"{rate:g}" for rate in rates])
        _fill(curve, table, lambda row: [_cell(table, row, metric, rate) for rate in rates])
        parts.append(curve)
    return parts


def render_costs(tables: Sequence[Table]) -> RichTable:
    """Cost and audit of every method in any of the tables."""
    grid = RichTable(title="cost and audit", title_justify="left", header_style="bold")
    grid.add_column("method", no_wrap=True)
    for column in (*COST_COLUMNS, "audit"):
        grid.add_column(column, justify="right")
    rows = {row.method: row for table in tables for row in table.rows}
    for row in rows.values():
        style = "dim" if row.control else None
        grid.add_row(*map(escape, [row.method, *costs(row.cost), row.audit]), style=style)
    return grid


def _grid(table: Table, title: str, columns: Sequence[str]) -> RichTable:
    grid = RichTable(title=escape(title), title_justify="left", header_style="bold")
    grid.add_column("rank", justify="right")
    grid.add_column("method", no_wrap=True)
    for column in columns:
        grid.add_column(column, justify="right")
    return grid


def _cell(table: Table, row: Row, metric: str, rate: float) -> str:
    """A number; the best of its column in bold, the second best underlined."""
    text = escape(number(row.at(metric, rate)))
    mark = table.marks(metric, rate).get(row.method)
    if mark is None:
        return text
    value, space, interval = text.partition(" ")
    style = "bold" if mark == 1 else "underline"
    return f"[{style}]{value}[/{style}]{space}{interval}"


def _fill(grid: RichTable, table: Table, cells: Callable[[Row], list[str]]) -> None:
    for index, row in enumerate(table.rows):
        last = index + 1 == len(table.rows) or table.rows[index + 1].control != row.control
        labels = [escape(rank(table, row)), escape(label(row))]
        grid.add_row(*labels, *cells(row), end_section=last, style="dim" if row.control else None)
