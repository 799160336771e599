"""Reports as JSON and CSV, for scripts: one row per cell and measured number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from harness.leaderboard.render.text import spreadsheet
from harness.papers.compare import Measured, Report, ReportCell, ReportRow, ReportTable
from harness.store.store import SCHEMA


def to_json(reports: Sequence[Report]) -> str:
    """``{"schema", "papers": [{"paper", "cells": [..], "checks": [..]}]}``."""
    papers = [
        {
            "paper": report.paper.id,
            "title": report.paper.title,
            "source": report.paper.source,
            "cells": list(_entries(report)),
            "checks": [
                {
                    "check": each.check,
                    "says": each.says,
                    "state": each.state,
                    "problems": list(each.problems),
                    "known": each.expected,
                }
                for each in report.findings
            ],
        }
        for report in reports
    ]
    return json.dumps({"schema": SCHEMA, "papers": papers}, indent=1, ensure_ascii=False) + "\n"


def to_csv(reports: Sequence[Report]) -> str:
    """One line per cell and measured number; texts that a spreadsheet would compute get an apostrophe."""
    lines = [_flat(report.paper.id, entry) for report in reports for entry in _entries(report)]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: spreadsheet(value) for key, value in line.items()} for part in lines for line in part
    )
    return stream.getvalue()


_MEASURED = (
    *("value", "ci95_lo", "ci95_hi", "difference", "outside", "dataset", "method", "preset", "seed", "rate"),
    *("metric", "n", "status", "signature", "flags"),
)
_PUBLISHED = ("table", "row", "column", "state", "published", "spread", "source", "note", "command")
_COLUMNS = ("paper", *_PUBLISHED, *_MEASURED)


def _entries(report: Report) -> Iterator[dict[str, Any]]:
    for table in report.tables:
        for row in table.rows:
            for cell in row.cells:
                yield _entry(table, row, cell)


def _entry(table: ReportTable, row: ReportRow, cell: ReportCell) -> dict[str, Any]:
    return {
        "table": table.table.id,
        "row": row.row.id,
        "column": cell.column.id,
        "state": cell.published.state,
        "published": cell.published.value,
        "spread": cell.published.spread,
        "source": cell.source,
        "note": "; ".join(text for text in (row.row.note, cell.published.note) if text),
        "command": cell.fill.command() if cell.fill else "",
        "measured": [_number(each) for each in cell.measured.values()],
    }


def _number(measured: Measured) -> dict[str, Any]:
    row = measured.row
    return {
        "value": measured.value,
        "ci95": None if measured.ci95 is None else list(measured.ci95),
        "difference": measured.difference,
        "outside": measured.outside,
        "dataset": row.dataset,
        "method": row.method,
        "preset": row.preset,
        "seed": row.seed,
        "rate": row.rate,
        "metric": row.metric,
        "n": row.n,
        "status": measured.status,
        "signature": row.signature,
        "flags": [{"kind": flag.kind, "text": flag.text} for flag in measured.flags],
    }


def _flat(paper: str, entry: dict[str, Any]) -> list[dict[str, Any]]:
    published = {"paper": paper} | {key: entry[key] for key in _PUBLISHED}
    lines = []
    for each in entry["measured"] or [{}]:
        lo, hi = each.get("ci95") or (None, None)
        flags = "".join(dict.fromkeys(flag["kind"] for flag in each.get("flags", [])))
        ours = {key: each.get(key) for key in _MEASURED} | {"ci95_lo": lo, "ci95_hi": hi, "flags": flags}
        lines.append(published | ours)
    return lines
