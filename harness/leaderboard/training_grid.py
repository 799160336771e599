"""Missing rate of the training studies by missing rate of the test studies, for one method and one metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.leaderboard.tables import Number, Row, Table
from harness.store.row_labels import training_rate


@dataclass(frozen=True, slots=True)
class TrainingGrid:
    """One method, trained at several missing rates.

    Attributes:
        title: of the table that the numbers stand in, with method and metric.
        headings: test missing rates, with 0 in front, as the table heads them.
        lines: training missing rate -> its numbers, one per heading; None where nothing was measured.
    """

    title: str
    headings: tuple[str, ...]
    lines: dict[float, tuple[Number | None, ...]]


def training_grids(tables: Sequence[Table]) -> list[TrainingGrid]:
    """A grid for each method that a table has at several training rates, by the metric that ranks the table.

    Controls have none.
    """
    grids = []
    for table in tables:
        methods: dict[str, dict[float, Row]] = {}
        for row in table.rows:
            method, rate = training_rate(row.method)
            if not row.control:
                methods.setdefault(method, {})[rate] = row
        rates = (0.0, *(rate for rate in table.rates if rate > 0))
        for method, rows in methods.items():
            if len(rows) > 1 and len(rates) > 1:
                lines = {
                    rate: tuple(rows[rate].at(table.sort, each) for each in rates) for rate in sorted(rows)
                }
                title = f"{table.title}: {method}, {table.sort} by training rate and test rate"
                grids.append(TrainingGrid(title, tuple(map(table.rate_heading, rates)), lines))
    return grids
