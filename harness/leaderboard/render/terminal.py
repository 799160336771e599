"""Leaderboards in a terminal: tables in blocks of columns that fit its width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from harness.leaderboard.render.blocks import (
    DIRECTIONS,
    Column,
    Lines,
    Screen,
    block_count,
    blocks,
    directed,
    not_computed,
    signature_lines,
)
from harness.leaderboard.render.short_names import short_names
from harness.leaderboard.render.text import (
    COST_COLUMNS,
    by_protocol,
    cell_text,
    cost_rows,
    costs,
    dead_summaries,
    label,
    rank,
)
from harness.leaderboard.tables import Table

FEW = 8
"""Columns of a table that the end of a run prints at most."""
_BLOCKS = 2
"""Blocks of a table that it prints at most."""


def render(table: Table, screen: Screen) -> list[RenderableType]:
    """All columns of a table with nothing dropped, its curve over missing rates, and the signatures."""
    parts = [*_nothing_dropped(table, table.metrics, screen, [_note(screen)]), *_curve(table, screen)]
    names = dict.fromkeys((*table.metrics, table.curve_metric))
    signatures = {name: table.signatures[name] for name in names}
    notes = [*signature_lines(signatures, screen), *not_computed(table.unavailable, screen)]
    return [*parts, *notes, *_notes(table, screen), ""]


def first_of_tasks(tables: Sequence[Table]) -> list[Table]:
    """The first table of each task, e.g. of ``report text`` and ``report findings`` the former."""
    first: dict[tuple[object, ...], Table] = {}
    for table in tables:
        task = table.group.partition(" ")[0]
        first.setdefault((*table.protocol, task), table)
    return list(first.values())


def render_first(tables: Sequence[Table], screen: Screen) -> list[RenderableType]:
    """The first columns of each table with nothing dropped, and what could not be computed."""
    parts: list[RenderableType] = [_note(screen)] if tables else []
    for table in tables:
        metrics = _first_metrics(table, screen)
        short = short_names(table.metrics)
        full_names = [f"{short[name]} is {name}" for name in metrics if short[name] != name]
        legend = [screen.text("; ".join(full_names), "dim")] if full_names else []
        parts += [*_nothing_dropped(table, metrics, screen), *legend]
        parts += [*not_computed(table.unavailable, screen), *_notes(table, screen), ""]
    return parts


def remarks_of(tables: Sequence[Table], screen: Screen) -> list[RenderableType]:
    """What stands below tables that are not printed: metrics without a number, dead parts; each line once."""
    lines: dict[str, Text] = {}
    for table in tables:
        for line in (*not_computed(table.unavailable, screen), *_notes(table, screen)):
            lines.setdefault(str(line), line)
    return list(lines.values())


def _notes(table: Table, screen: Screen) -> list[Text]:
    """What else the store holds, and which parts of the methods are dead."""
    beside = [screen.text(sentence, "dim") for sentence in table.beside]
    return [*beside, *(screen.text(line, "yellow") for line in dead_summaries(table))]


def further(tables: Sequence[Table], first: Sequence[Table], file: str, screen: Screen) -> list[Text]:
    """The file that holds the rest, and one line per table about what ``render_first`` leaves out of it."""
    shown = {id(table) for table in first}
    lines = [f"{file} (also .html) has the rest:"] if tables else []
    for table in tables:
        if table.curve_alone:
            continue
        left = len(table.metrics) - len(_first_metrics(table, screen))
        rest = []
        if id(table) not in shown:
            rest.append(f"{len(table.metrics)} columns, {len(table.rows)} rows")
        elif left:
            rest.append(f"{left} more column{'s' * (left > 1)}")
        if table.rates:
            policies = [each.drop for each in tables if each.rates and _same_test(each, table)]
            rest.append(f"{table.curve_metric} over missing rates ({', '.join(policies)})")
        if rest:
            lines.append(f"- {table.group or table.dataset}: {'; '.join(rest)}")
    if tables:
        lines.append("- cost, audit and signatures")
    return [screen.text(line) for line in lines]


def _same_test(one: Table, other: Table) -> bool:
    """Whether two tables are of one group of metrics on one test set."""
    return (one.task, one.group) == (other.task, other.group) and (one is other or one.curve_alone)


def _first_metrics(table: Table, screen: Screen) -> list[str]:
    """The first columns, as many as ``_BLOCKS`` blocks hold; the one that ranks the methods is among them."""
    metrics = list(table.metrics[:FEW])
    if table.sort in table.metrics and table.sort not in metrics:
        metrics[-1] = table.sort
    while len(metrics) > 1 and block_count(_labels(table), _columns(table, metrics), screen) > _BLOCKS:
        metrics.remove(next(name for name in reversed(metrics) if name != table.sort))
    return metrics


def render_costs(tables: Sequence[Table], screen: Screen) -> list[RenderableType]:
    """Cost and audit of every method of each protocol, below them the keys of its results."""
    parts: list[RenderableType] = []
    for heading, of_protocol in by_protocol(tables):
        rows = cost_rows(of_protocol)
        values = [[*costs(row.cost), row.audit] for row in rows]
        columns = [
            Column(name, [line[index] for line in values])
            for index, name in enumerate((*COST_COLUMNS, "audit"))
        ]
        labels = [Column("method", [row.method for row in rows], right=False)]
        styles = ["dim" if row.control else "" for row in rows]
        keys = dict.fromkeys(key for row in rows for key in row.keys if key)
        lines = [screen.text(key, "dim") for key in keys]
        title = screen.text(f"{heading}: cost and audit", "bold")
        note = [screen.text("results (harness reproduce RESULT makes one again):", "dim")] if keys else []
        parts += [title, *blocks(labels, columns, screen, Lines(styles)), *note, *lines, ""]
    return parts


def _note(screen: Screen) -> Text:
    return screen.text(f"{DIRECTIONS}; [95 % interval]; # is the rank range, controls have none", "dim")


def _nothing_dropped(
    table: Table, metrics: Sequence[str], screen: Screen, notes: Sequence[Text] = ()
) -> list[RenderableType]:
    title = screen.text(f"{table.title}: nothing dropped", "bold")
    return [title, *notes, *_blocks(table, _columns(table, metrics), screen)]


def _columns(table: Table, metrics: Sequence[str]) -> list[Column]:
    """The numbers of some metrics with nothing dropped."""
    short = short_names(table.metrics)
    return [
        _column(table, directed(short[name], table.higher_is_better(name)), name, 0.0) for name in metrics
    ]


def _curve(table: Table, screen: Screen) -> list[RenderableType]:
    if not table.rates:
        return []
    metric = table.curve_metric
    columns = [_column(table, table.rate_heading(rate), metric, rate) for rate in (0.0, *table.rates)]
    header = directed(metric, table.higher_is_better(metric))
    notes = [screen.text(sentence, "dim") for sentence in table.shares.sentences(table.rates)]
    return [screen.text(f"{header} over missing rates", "bold"), *_blocks(table, columns, screen), *notes]


def _column(table: Table, header: str, metric: str, rate: float) -> Column:
    """The numbers of a metric; the best in bold, the second best underlined."""
    marks = table.marks(metric, rate)
    styles = [{1: "bold", 2: "underline"}.get(marks.get(row.method, 0), "") for row in table.rows]
    return Column(header, [cell_text(row, metric, rate) for row in table.rows], styles)


def _blocks(table: Table, columns: Sequence[Column], screen: Screen) -> list[RenderableType]:
    rows = table.rows
    ends = frozenset(i for i in range(len(rows) - 1) if rows[i].control != rows[i + 1].control)
    lines = Lines(["dim" if row.control else "" for row in rows], ends)
    return blocks(_labels(table), columns, screen, lines)


def _labels(table: Table) -> list[Column]:
    """Rank range and method."""
    ranks = Column("#", [rank(table, row) for row in table.rows])
    return [ranks, Column("method", [label(row) for row in table.rows], right=False)]
