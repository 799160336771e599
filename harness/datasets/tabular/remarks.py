"""Remarks on the rows of a table: one for each kind, with the number of rows and the first of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.datasets.readers.records import Problem


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows of which the same is to be said, by kind and message; nothing in it is fatal."""

    rows: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)

    def add(self, kind: str, where: str, what: str, hint: str = "") -> None:
        """Count a row.

        Args:
            where: file and line.
            what: the rows have; names no text of theirs.
        """
        self.rows.setdefault((kind, what, hint), []).append(where)

    def problems(self) -> list[Problem]:
        """One remark per kind and message, at the first row."""
        return [
            Problem(kind, places[0], f"{what}, in {_rows(len(places))}", hint, fatal=False)
            for (kind, what, hint), places in self.rows.items()
        ]


def _rows(count: int) -> str:
    return "this row" if count == 1 else f"{count} rows, of which this is the first"
