"""Which rows share a table: it has one set of masks, a metric has one signature in it, a method one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.leaderboard.protocol import NOTHING_DROPPED, Masks, Place, place_of
from harness.store.results import Measurement

Identity = tuple[str, str, int]
"""Method, preset and seed."""


@dataclass(slots=True)
class _Line:
    """Rows of one method, preset and seed that may stand in one line: of one cell, without two signatures.

    Attributes:
        cell: of the trained method.
        signatures: metric -> signature.
    """

    cell: str
    signatures: dict[str, str] = field(default_factory=dict)
    rows: list[Measurement] = field(default_factory=list)

    def agrees(self, signatures: Mapping[str, str]) -> bool:
        """Whether no metric has another signature there."""
        return all(self.signatures.get(name, own) == own for name, own in signatures.items())

    def add(self, rows: Sequence[Measurement]) -> None:
        """Put rows in."""
        self.signatures.update(_signatures(rows))
        self.rows.extend(rows)


def declared(rows: Sequence[Measurement]) -> list[Measurement]:
    """Rows of methods for which at least one cell is not ``n/a``."""
    able = {_identity(row) for row in rows if row.status != "n/a"}
    return [row for row in rows if _identity(row) in able]


def under_masks(
    rows: Sequence[Measurement], masks: Mapping[str, Masks]
) -> Iterator[tuple[Measurement, Masks]]:
    """Every row with the masks of the table in which it stands.

    Numbers of a result that has rate 0 alone stand beside those with masks, for they fit all masks.

    Args:
        rows: in each column, numbers at rates above 0 have the same masks.
        masks: result key -> its masks.
    """
    columns: dict[_Column, Masks] = {}
    usual: dict[tuple[Place, str], Counter[Masks]] = {}
    for row in rows:
        own = masks.get(row.key, NOTHING_DROPPED)
        if row.value is not None and own.rates:
            columns[_column(row)] = own
            usual.setdefault((place_of(row), row.group), Counter())[own] += 1
    for row in rows:
        own = masks.get(row.key, NOTHING_DROPPED)
        there = usual.get((place_of(row), row.group), Counter([NOTHING_DROPPED]))
        most = there.most_common(1)[0][0]
        if row.value is not None:
            yield row, columns.get(_column(row), most)
        else:
            yield row, own if own in there else most


_Column = tuple[Place, str, str]
"""Place, metric, signature."""


def _column(row: Measurement) -> _Column:
    return place_of(row), row.metric, row.signature


def by_signatures(rows: Sequence[Measurement], cells: Mapping[str, str]) -> list[list[Measurement]]:
    """Split rows into tables: in each, every metric has one signature, and every method one line.

    Args:
        rows: of one protocol and group of metrics.
        cells: result key -> cell of the trained method; results of one method share a line only where it
            agrees.
    """
    lines = _lines(rows, cells)
    parts: list[tuple[_Line, set[Identity]]] = []
    # A method's line with most numbers comes before its other lines, so that it stands beside other methods.
    most = max(map(len, lines.values()), default=0)
    for rank in range(most):
        for identity, own in lines.items():
            if rank >= len(own):
                continue
            for part, members in parts:
                if identity not in members and part.agrees(own[rank].signatures):
                    break
            else:
                part, members = _Line(""), set()
                parts.append((part, members))
            part.add(own[rank].rows)
            members.add(identity)
    places = {id(row): number for number, row in enumerate(rows)}
    return [sorted(part.rows, key=lambda row: places[id(row)]) for part, _ in parts]


def _lines(rows: Sequence[Measurement], cells: Mapping[str, str]) -> dict[Identity, list[_Line]]:
    """Every method's lines, the one with most numbers first."""
    results: dict[Identity, dict[str, list[Measurement]]] = {}
    for row in rows:
        results.setdefault(_identity(row), {}).setdefault(row.key, []).append(row)
    lines: dict[Identity, list[_Line]] = {}
    for identity, by_key in results.items():
        own = lines.setdefault(identity, [])
        for key, of_result in sorted(by_key.items(), key=lambda item: -len(item[1])):
            cell, signatures = cells.get(key, ""), _signatures(of_result)
            line = next((each for each in own if each.cell == cell and each.agrees(signatures)), None)
            if line is None:
                line = _Line(cell)
                own.append(line)
            line.add(of_result)
        own.sort(key=lambda line: -len(line.rows))
    return lines


def _identity(row: Measurement) -> Identity:
    return row.method, row.preset, row.seed


def _signatures(rows: Sequence[Measurement]) -> dict[str, str]:
    return {row.metric: row.signature for row in rows}
