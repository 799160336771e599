"""Leaderboards in a terminal: tables in blocks of columns that fit its width."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import RenderableType
from rich.text import Text

from harness.leaderboard.render.blocks import (
    DIRECTIONS,
    Column,
    Lines,
    Screen,
    blocks,
    directed,
    not_computed,
    signature_lines,
)
from harness.leaderboard.render.short_names import short_names
from harness.leaderboard.render.text import COST_COLUMNS, costs, label, number, rank
from harness.leaderboard.tables import Row, Table

FEW = 8
"""Columns of a table that the end of a run prints."""


def render(table: Table, screen: Screen) -> list[RenderableType]:
    """All columns of a table with nothing dropped, its curve over missing rates, and the signatures."""
    parts = [*_nothing_dropped(table, table.metrics, screen), *_curve(table, screen)]
    names = dict.fromkeys((*table.metrics, table.curve_metric))
    signatures = {name: table.signatures[name] for name in names}
    notes = [*signature_lines(signatures, screen), *not_computed(table.unavailable, screen)]
    return [*parts, *notes, *_beside(table, screen), ""]


def first_of_tasks(tables: Sequence[Table]) -> list[Table]:
    """The first table of each task, e.g. of ``report text`` and ``report findings`` the former."""
    first: dict[tuple[object, ...], Table] = {}
    for table in tables:
        task = table.group.partition(" ")[0]
        first.setdefault((*table.protocol, task), table)
    return list(first.values())


def render_first(table: Table, screen: Screen) -> list[RenderableType]:
    """The first ``FEW`` columns of a table with nothing dropped, and what could not be computed."""
    metrics = table.metrics[:FEW]
    short = short_names(table.metrics)
    full_names = [f"{short[name]} is {name}" for name in metrics if short[name] != name]
    legend = [screen.text("; ".join(full_names), "dim")] if full_names else []
    unable = not_computed(table.unavailable, screen)
    return [*_nothing_dropped(table, metrics, screen), *legend, *unable, *_beside(table, screen), ""]


def _beside(table: Table, screen: Screen) -> list[Text]:
    return [screen.text(sentence, "dim") for sentence in table.beside]


def further(tables: Sequence[Table], first: Sequence[Table], file: str, screen: Screen) -> list[Text]:
    """One line per table that ``render_first`` leaves out, with the file that holds it."""
    shown = {id(table) for table in first}
    lines = []
    for table in tables:
        group = table.group or table.dataset
        if id(table) not in shown:
            lines.append(f"{group}: {len(table.metrics)} columns, {len(table.rows)} rows: {file}")
        elif len(table.metrics) > FEW:
            lines.append(f"{group}: {len(table.metrics) - FEW} more columns: {file}")
        if table.rates:
            lines.append(f"{group}: {table.curve_metric} over missing rates: {file}")
    if tables:
        lines.append(f"cost, audit and signatures: {file} (also .html)")
    return [screen.text(line) for line in lines]


def render_costs(tables: Sequence[Table], screen: Screen) -> list[RenderableType]:
    """Cost and audit of every method in any of the tables."""
    rows = list({row.method: row for table in tables for row in table.rows}.values())
    values = [[*costs(row.cost), row.audit] for row in rows]
    columns = [
        Column(name, [line[index] for line in values]) for index, name in enumerate((*COST_COLUMNS, "audit"))
    ]
    labels = [Column("method", [row.method for row in rows], right=False)]
    styles = ["dim" if row.control else "" for row in rows]
    return [screen.text("cost and audit", "bold"), *blocks(labels, columns, screen, Lines(styles)), ""]


def _nothing_dropped(table: Table, metrics: Sequence[str], screen: Screen) -> list[RenderableType]:
    short = short_names(table.metrics)
    columns = [
        _column(table, directed(short[name], name not in table.lower_is_better), name, 0.0)
        for name in metrics
    ]
    title = screen.text(f"{table.title}: nothing dropped", "bold")
    note = screen.text(f"{DIRECTIONS}; [95 % interval]; # is the rank group, controls have none", "dim")
    return [title, note, *_blocks(table, columns, screen)]


def _curve(table: Table, screen: Screen) -> list[RenderableType]:
    if not table.rates:
        return []
    metric = table.curve_metric
    columns = [_column(table, f"{rate:g}", metric, rate) for rate in (0.0, *table.rates)]
    header = directed(metric, metric not in table.lower_is_better)
    return [screen.text(f"{header} over missing rates", "bold"), *_blocks(table, columns, screen)]


def _column(table: Table, header: str, metric: str, rate: float) -> Column:
    """The numbers of a metric; the best in bold, the second best underlined."""
    marks = table.marks(metric, rate)
    styles = [{1: "bold", 2: "underline"}.get(marks.get(row.method, 0), "") for row in table.rows]
    return Column(header, [number(row.at(metric, rate)) for row in table.rows], styles)


def _blocks(table: Table, columns: Sequence[Column], screen: Screen) -> list[RenderableType]:
    rows = table.rows
    ends = frozenset(i for i in range(len(rows) - 1) if rows[i].control != rows[i + 1].control)
    lines = Lines(["dim" if row.control else "" for row in rows], ends)

    def labels(header: str, cell: Callable[[Row], str], right: bool) -> Column:
        return Column(header, [cell(row) for row in rows], right=right)

    shown = [labels("#", lambda row: rank(table, row), True), labels("method", label, False)]
    return blocks(shown, columns, screen, lines)
