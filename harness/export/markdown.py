"""Leaderboards as GitHub markdown."""

from __future__ import annotations

from collections.abc import Sequence

from harness.export.text import number
from harness.leaderboard import Row, Table


def render(tables: Sequence[Table]) -> str:
    """Every table with its title, one row a method, controls in their own band, signatures below."""
    return "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    curve = [f"{table.curve_metric} @ {rate:g}" for rate in table.rates]
    header = ["method", *table.metrics, *curve]
    lines = [
        f"### {table.title}",
        "",
        _line(header),
        "|" + "|".join([":--"] + ["--:"] * (len(header) - 1)) + "|",
    ]
    lines += [_line(_cells(table, row)) for row in table.rows if not row.control]
    controls = [row for row in table.rows if row.control]
    if controls:
        lines.append(_line(["*controls*"] + [""] * (len(header) - 1)))
        lines += [_line(_cells(table, row)) for row in controls]
    lines += [
        "",
        "Metrics at missing rate 0, then the curve over missing rates (mean over mask seeds). Brackets: 95 %",
        "intervals, patients and masks resampled together.",
        "",
    ]
    shared: dict[str, list[str]] = {}
    for metric in table.metrics:
        shared.setdefault(table.signatures[metric], []).append(metric)
    lines += [f"- {', '.join(names)}: `{signature}`" for signature, names in shared.items()]
    lines += [f"- {name}: {remark}" for name, remark in table.remarks.items()]
    lines += [f"- {name} unavailable: {reason}" for name, reason in table.unavailable.items()]
    failures = {row.method: r.detail for row in table.rows for r in row.full.values() if r.status == "failed"}
    lines += [f"- {method} failed: {detail}" for method, detail in failures.items()]
    return "\n".join(lines) + "\n"


def _cells(table: Table, row: Row) -> list[str]:
    full = [number(row.full.get(metric)) for metric in table.metrics]
    return [row.method, *full, *(number(row.curve.get(rate)) for rate in table.rates)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
