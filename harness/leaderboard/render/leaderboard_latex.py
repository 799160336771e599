"""Leaderboards as LaTeX: floats that are ready to be input, and a document that inputs them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.leaderboard.render import training_grids
from harness.leaderboard.render.latex import (
    PACKAGES,
    Float,
    braced,
    code,
    document,
    escape,
    small,
    table_format,
)
from harness.leaderboard.render.states import floats
from harness.leaderboard.render.text import (
    COST_COLUMNS,
    COST_NOTE,
    RANK_NOTE,
    SAME,
    between,
    by_protocol,
    cost_rows,
    costs,
    dead_notes,
    label,
    number,
    rank,
)
from harness.leaderboard.states import StateTable
from harness.leaderboard.tables import Row, Table

_COLUMNS = 8
"""Numeric columns that a page's width holds with their intervals."""
_WORD = 11
"""Characters of a metric's name on one line of a heading."""

Place = tuple[str, float]
"""Metric and missing rate of a column."""


def fragment(tables: Sequence[Table], states: Sequence[StateTable] = ()) -> str:
    """Every table as floats; the costs of the methods of a protocol stand after the last of its tables.

    Args:
        tables: of the leaderboard.
        states: stand in front of them.
    """
    parts = ["".join(f"% {line}\n" for line in ["Needs in the preamble:", *PACKAGES.splitlines()])]
    parts += [each.tex() for each in (*floats(states), *training_grids.floats(tables))]
    for place, (title, of_protocol) in enumerate(by_protocol(tables), start=1):
        for index, table in enumerate(of_protocol, start=1):
            parts += [each.tex() for each in _floats(table, f"tab:leaderboard-{place}-{index}")]
        parts.append(_costs(title, of_protocol, f"tab:leaderboard-{place}-cost").tex())
    return "\n".join(parts)


def standalone(name: str) -> str:
    """A document that inputs the fragment in the file ``name``."""
    return document("Leaderboard", [rf"\input{{{name}}}"])


def _floats(table: Table, label: str) -> Iterator[Float]:
    """As many floats as the columns need; notes stand below the last."""
    parts = _parts(table)
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        columns, groups = _titles(table, part)
        caption = escape(table.title) + (f", part {index + 1} of {len(parts)}" if len(parts) > 1 else "")
        yield Float(
            caption=f"{caption}.",
            label=label if index == 0 else f"{label}-{index + 1}",
            headers=("rank", "method"),
            groups=groups,
            columns=columns,
            formats=tuple(_format(table, place) for place in part),
            lines=tuple(_lines(table, part)),
            notes=tuple(_notes(table)) if last else (),
        )


def _parts(table: Table) -> list[list[Place]]:
    """Columns of each float: metrics with nothing dropped, then the curve; together where there is room."""
    full = [(metric, 0.0) for metric in table.metrics]
    curve = [(table.curve_metric, rate) for rate in table.rates]
    if len(full) + len(curve) <= _COLUMNS:
        return [full + curve]
    parts = [full[start : start + _COLUMNS] for start in range(0, len(full), _COLUMNS)]
    return [*parts, [(table.curve_metric, 0.0), *curve]] if curve else parts


def _titles(table: Table, part: Sequence[Place]) -> tuple[tuple[str, ...], tuple[tuple[str, int], ...]]:
    """Headings of the columns, and those over them."""
    rates = sum(rate > 0.0 for _, rate in part)
    if rates and rates == len(part) - 1:
        rates += 1  # a curve of its own begins at rate 0
    metrics = [_heading(metric) for metric, _ in part[: len(part) - rates]]
    curve = [escape(table.rate_heading(rate)) for _, rate in part[len(part) - rates :]]
    groups = [("", len(metrics)), (f"{escape(table.curve_metric)} at missing rate", len(curve))]
    return (*metrics, *curve), tuple(group for group in groups if group[1])


def _heading(metric: str) -> str:
    """A metric's name on as many lines as keep its column narrow."""
    lines = [""]
    for word in metric.split("_"):
        joined = f"{lines[-1]}_{word}" if lines[-1] else word
        if lines[-1] and len(joined) > _WORD:
            lines[-1] += "_"
            lines.append(word)
        else:
            lines[-1] = joined
    if len(lines) == 1:
        return escape(metric)
    stacked = r" \\ ".join(map(escape, lines))
    return rf"\shortstack{{{stacked}}}"


def _format(table: Table, place: Place) -> str:
    cells = [row.at(*place) for row in table.rows]
    return table_format(
        [f"{c.value:.3f}" for c in cells if c and c.value is not None and math.isfinite(c.value)]
    )


def _lines(table: Table, part: Sequence[Place]) -> Iterator[tuple[str, ...] | str]:
    for place, row in enumerate(table.rows):
        if row.control and (place == 0 or not table.rows[place - 1].control):
            if place:
                yield r"\midrule"
            yield ("", r"\textit{controls}", *[""] * len(part))
        yield (
            escape(rank(table, row).replace("-", "\N{EN DASH}")),
            escape(label(row)),
            *(_value(table, row, place) for place in part),
        )
        intervals = [_interval(row, place) for place in part]
        if any(intervals):
            yield ("", "", *intervals)


def _value(table: Table, row: Row, place: Place) -> str:
    if row.is_flat(*place):
        return braced(SAME)
    cell = row.at(*place)
    text = number(cell, interval=False)
    if cell is None or cell.value is None or not math.isfinite(cell.value):
        return braced(escape(text))
    weight = {1: r"\bfseries ", 2: r"\itshape "}.get(table.marks(*place).get(row.method, 0), "")
    return weight + text


def _interval(row: Row, place: Place) -> str:
    cell = row.at(*place)
    if cell is None or cell.value is None or cell.ci95 is None or row.is_flat(*place):
        return ""
    return small(escape(between(cell.ci95, cell.n)))


def _notes(table: Table) -> Iterator[str]:
    at = f" at missing rate {table.sort_rate:g}" if table.sort_rate else ""
    yield (
        f"Ranked by {code(table.sort)}{at}; {escape(RANK_NOTE)}. "
        r"\textbf{Best} and \textit{second best} are among the ranked methods. Below "
        r"each number: 95\,\% interval, patients and masks resampled together, as of one masked test set."
    )
    yield from map(escape, table.shares.sentences(table.rates))
    if table.seeds > 1:
        yield f"Means over up to {table.seeds} seeds; their intervals cover training seeds, too."
    yield from map(escape, table.beside)
    shared: dict[str, list[str]] = {}
    for metric in table.metrics:
        shared.setdefault(table.signatures[metric], []).append(metric)
    for signature, names in shared.items():
        yield f"{escape(', '.join(names))}: {code(signature)}"
    for name, text in [
        *table.remarks.items(),
        *((f"{n} unavailable", t) for n, t in table.unavailable.items()),
    ]:
        yield f"{escape(name)}: {escape(text)}"
    if table.absent:
        yield f"not measured: {escape(', '.join(table.absent))}"
    for row in table.rows:
        cells = [cell for rates in row.numbers.values() for cell in rates.values()]
        for detail in dict.fromkeys(cell.detail for cell in cells if cell.status == "failed"):
            yield f"{escape(row.method)} failed: {escape(detail)}"
    yield from map(escape, dead_notes(table))


def _costs(title: str, tables: Sequence[Table], label: str) -> Float:
    rows = cost_rows(tables)
    lines = [tuple(map(escape, [row.method, *costs(row.cost), row.audit])) for row in rows]
    return Float(
        caption=f"{escape(title)}: cost and audit.",
        label=label,
        headers=("method", *map(escape, COST_COLUMNS), "audit"),
        groups=(),
        columns=(),
        formats=(),
        lines=tuple(lines),
        notes=(escape(COST_NOTE),),
    )
