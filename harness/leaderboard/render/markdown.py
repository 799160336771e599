"""Leaderboards as GitHub markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from harness.leaderboard.render.text import (
    COST_COLUMNS,
    COST_NOTE,
    RANK_NOTE,
    RESULT_NOTE,
    SAME,
    UNRANKED,
    by_protocol,
    cell_text,
    code,
    cost_rows,
    costs,
    dead_notes,
    label,
    markdown,
    number,
    rank,
)
from harness.leaderboard.tables import Number, Row, Table


def render(tables: Sequence[Table]) -> str:
    """Every table with its title, one row per method, controls in a band of their own, signatures below.

    The costs of the methods of a protocol stand once, below the last of its tables.
    """
    parts = []
    for title, of_protocol in by_protocol(tables):
        for table in of_protocol:
            parts += [_table(table), *_missing_rates(table)]
        parts.append(_cost_table(title, of_protocol))
    return "\n".join(parts)


def _table(table: Table) -> str:
    curve = [f"{table.curve_metric} @ {table.rate_heading(rate)}" for rate in table.rates]
    header = ["rank", "method", *map(markdown, [*table.metrics, *curve])]
    lines = [
        f"### {markdown(table.title)}",
        "",
        _line(header),
        "|" + "|".join(["--:", ":--"] + ["--:"] * (len(header) - 2)) + "|",
    ]
    lines += [_line(_cells(table, row)) for row in table.rows if not row.control]
    controls = [row for row in table.rows if row.control]
    if controls:
        lines.append(_line(["", "*controls*"] + [""] * (len(header) - 2)))
        lines += [_line(_cells(table, row)) for row in controls]
    return "\n".join([*lines, "", *_notes(table)]) + "\n"


TOGETHER = {"f1_macro": "F1", "kappa": "Kappa", "accuracy": "ACC"}
"""What papers on missing modalities print together in each cell, in percent."""


def _missing_rates(table: Table) -> Iterator[str]:
    """The form of papers on missing modalities, one column per rate: F1/Kappa/ACC in a cell; then ECE."""
    if not table.rates or not set(TOGETHER) <= set(table.metrics):
        return

    def together(row: Row, rate: float) -> str:
        return "/".join(_percent(row.at(metric, rate)) for metric in TOGETHER)

    yield _over_rates(table, f"{'/'.join(TOGETHER.values())} in percent", together)
    if "ece" in table.metrics:
        yield _over_rates(table, "ECE", lambda row, rate: number(row.at("ece", rate)))


def _over_rates(table: Table, what: str, cell: Callable[[Row, float], str]) -> str:
    rates = [0.0, *(rate for rate in table.rates if rate)]
    lines = [
        f"### {markdown(table.title)}: {what} over missing rates",
        "",
        _line(["method", *(_percent_heading(table, rate) for rate in rates)]),
        "|" + "|".join([":--"] + ["--:"] * len(rates)) + "|",
    ]
    lines += [_line([markdown(label(row)), *(cell(row, rate) for rate in rates)]) for row in table.rows]
    return "\n".join(lines) + "\n"


def _percent_heading(table: Table, rate: float) -> str:
    """``60%``, with the share that was really lost where the two differ."""
    _, _, lost = table.rate_heading(rate).partition(" ")
    return f"{rate:.0%} {lost}".rstrip()


def _percent(cell: Number | None) -> str:
    """``41.3``; one word says why there is no value."""
    return f"{100 * cell.value:.1f}" if cell and cell.value is not None else number(cell) or UNRANKED


def _cells(table: Table, row: Row) -> list[str]:
    full = [_marked(table, row, metric, 0.0) for metric in table.metrics]
    curve = [_marked(table, row, table.curve_metric, rate) for rate in table.rates]
    return [rank(table, row), markdown(label(row)), *full, *curve]


def _marked(table: Table, row: Row, metric: str, rate: float) -> str:
    """A cell; the best of its column in bold, the second best in italics."""
    text = cell_text(row, metric, rate)
    mark = table.marks(metric, rate).get(row.method)
    if mark is None or text == SAME:
        return text
    value, space, interval = text.partition(" ")
    quotes = "**" if mark == 1 else "*"
    return f"{quotes}{value}{quotes}{space}{interval}"


def _notes(table: Table) -> Iterator[str]:
    """Footnotes: how to read the table, signatures, remarks, and why numbers are not there."""
    at = f" at missing rate {table.sort_rate:g}" if table.sort_rate else ""
    yield (
        f"Ranked by {markdown(table.sort)}{at}; {RANK_NOTE}. **Best** and *second best* of a column are "
        "among the ranked methods. Metrics at missing rate 0, then the curve over missing rates (mean over "
        "mask seeds). Brackets: 95 % intervals, "
        "patients and masks resampled together, as of one masked test set."
    )
    yield from map(markdown, table.shares.sentences(table.rates))
    if any(
        row.ranked and table.ranks(row) is None and row.at(table.sort, table.sort_rate) for row in table.rows
    ):
        yield "Ranks are missing where a method has no number or some bootstrap replicates are absent."
    if table.seeds > 1:
        yield f"Means over up to {table.seeds} seeds; their intervals cover training seeds, too."
    for sentence in table.beside:
        yield markdown(sentence)
    yield ""
    shared: dict[str, list[str]] = {}
    for metric in table.metrics:
        shared.setdefault(table.signatures[metric], []).append(metric)
    for signature, names in shared.items():
        yield f"- {markdown(', '.join(names))}: {code(signature)}"
    for name, remark in table.remarks.items():
        yield f"- {name}: {markdown(remark)}"
    for name, reason in table.unavailable.items():
        yield f"- {name} unavailable: {markdown(reason)}"
    if table.absent:
        yield f"- not measured: {', '.join(table.absent)}"
    for row in table.rows:
        lost = {cell.detail: cell for cell in _all(row) if cell.status == "failed"}
        for detail in lost:
            yield f"- {markdown(row.method)} failed: {markdown(detail)}"
    for line in dead_notes(table):
        yield f"- {markdown(line)}"


def _all(row: Row) -> list[Number]:
    return [cell for rates in row.numbers.values() for cell in rates.values()]


def _cost_table(title: str, tables: Sequence[Table]) -> str:
    """Cost and audit of every method that stands in one of the tables."""
    header = ["method", *COST_COLUMNS, "audit", "result"]
    lines = [f"### {markdown(title)}: cost and audit", "", _line(header)]
    lines.append("|" + "|".join([":--"] + ["--:"] * (len(header) - 4) + [":--"] * 3) + "|")
    lines += [
        _line([markdown(row.method), *map(markdown, [*costs(row.cost), row.audit]), _keys(row)])
        for row in cost_rows(tables)
    ]
    return "\n".join([*lines, "", COST_NOTE, RESULT_NOTE]) + "\n"


def _keys(row: Row) -> str:
    return ", ".join(code(key) for key in row.keys if key) or UNRANKED


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
