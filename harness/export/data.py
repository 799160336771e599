"""The long table as JSON and CSV: what scripts read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields

from harness.results import SCHEMA, ResultRow


def to_json(rows: Sequence[ResultRow]) -> str:
    """``{"schema": .., "rows": [..]}`` with a row per number."""
    return json.dumps({"schema": SCHEMA, "rows": [asdict(row) for row in rows]}, indent=1) + "\n"


def to_csv(rows: Sequence[ResultRow]) -> str:
    """One line per number; the interval as two columns."""
    names = [field.name for field in fields(ResultRow) if field.name != "ci95"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*names, "ci95_lo", "ci95_hi"])
    for row in rows:
        lo, hi = row.ci95 or (None, None)
        writer.writerow([*(getattr(row, name) for name in names), lo, hi])
    return stream.getvalue()
