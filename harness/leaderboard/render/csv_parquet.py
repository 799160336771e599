"""The long table as CSV and Parquet: what scripts and spreadsheets read."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from harness.core.packages import require_packages
from harness.leaderboard.render.text import spreadsheet
from harness.store.results import Measurement

_COLUMNS = [field.name for field in fields(Measurement) if field.name != "ci95"]


def to_csv(rows: Sequence[Measurement]) -> str:
    """One line per number; the interval as two columns."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_COLUMNS, "ci95_lo", "ci95_hi"])
    for row in rows:
        values = [spreadsheet(getattr(row, name)) for name in _COLUMNS]
        writer.writerow([*values, *(row.ci95 or (None, None))])
    return stream.getvalue()


def to_parquet(rows: Sequence[Measurement]) -> bytes:
    """The columns of the CSV with their types, as Parquet.

    Raises:
        UnavailableError: pyarrow is not installed.
    """
    require_packages("--format parquet", "parquet", "pyarrow")
    import pyarrow
    from pyarrow import parquet

    kinds = {"seed": pyarrow.int64(), "n": pyarrow.int64(), "rate": pyarrow.float64()}
    kinds |= {"value": pyarrow.float64(), "control": pyarrow.bool_(), "higher_is_better": pyarrow.bool_()}
    kinds |= {"ci95_lo": pyarrow.float64(), "ci95_hi": pyarrow.float64()}
    names = [*_COLUMNS, "ci95_lo", "ci95_hi"]
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in names])
    table = pyarrow.Table.from_pylist([_flat(row) for row in rows], schema=schema)
    stream = pyarrow.BufferOutputStream()
    parquet.write_table(table, stream, compression="zstd")
    return bytes(stream.getvalue().to_pybytes())


def _flat(row: Measurement) -> dict[str, Any]:
    values = asdict(row)
    lo, hi = values.pop("ci95") or (None, None)
    return {**values, "ci95_lo": lo, "ci95_hi": hi}
