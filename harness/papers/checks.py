"""Do a paper's numbers agree with each other and with its prose? Tolerances follow from printed digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness.papers.claims import (
    BestCheck,
    CheckBase,
    CountCheck,
    GainCheck,
    LinearCheck,
    MeanCheck,
    MixtureCheck,
    OrderCheck,
    QuotientCheck,
)
from harness.papers.schema import Column, Paper, PaperRow, PaperTable, PublishedCell

_SLACK = 1e-9
"""For what binary floats do to sums of decimals."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The outcome of one check.

    Attributes:
        says: what the paper claims, or what follows from what it prints.
        problems: one line per number that does not fit; empty where all do.
        expected: the recorded reason of a failure that is expected.
        tested: how many comparisons the readable numbers allowed.
    """

    paper: str
    check: str
    says: str
    problems: tuple[str, ...]
    expected: str
    tested: int

    @property
    def state(self) -> str:
        """``holds``, ``known`` (fails as recorded), ``new`` (fails), ``mended`` (recorded, yet it holds) or
        ``untested`` (no readable numbers)."""
        if self.problems:
            return "known" if self.expected else "new"
        if not self.tested:
            return "untested"
        return "mended" if self.expected else "holds"


def examine(paper: Paper) -> list[Contradiction]:
    """Run every check of a paper, in its order."""
    findings = []
    for check in paper.checks:
        results = list(_RUN[type(check)](paper, check))
        problems = tuple(text for text in results if text)
        findings.append(Contradiction(paper.id, check.id, check.says, problems, check.expected, len(results)))
    return findings


def half_unit(decimals: int) -> float:
    """Largest rounding error of a number printed with so many digits after the point."""
    return 0.5 * 10.0**-decimals


def _linear(paper: Paper, check: LinearCheck) -> Iterator[str]:
    total, error = 0.0, 0.0 if check.decimals is None else half_unit(check.decimals)
    for weight, *place in check.terms:
        cell, column = paper.at((place[0], place[1], place[2]))
        if cell.value is None:
            return
        total += weight * cell.value * check.scale
        error += abs(weight) * half_unit(column.decimals) * check.scale
    # Two places that print the same number have to agree to the digit.
    if check.decimals is None and all(abs(weight) == 1 for weight, *_ in check.terms):
        error = 0.0
    digits = check.decimals if check.decimals is not None else 3
    yield _off(
        f"gives {total:.{digits + 1}f}, printed is {check.expect:.{digits}f}", total - check.expect, error
    )


def _mean(paper: Paper, check: MeanCheck) -> Iterator[str]:
    table = paper.table(check.table)
    parts = [table.column(key) for key in check.columns]
    target = table.column(check.target)
    error = half_unit(target.decimals) + sum(half_unit(part.decimals) for part in parts) / len(parts)
    for row in table.rows:
        values = [table.cell(row, part).value for part in parts]
        printed = table.cell(row, target).value
        numbers = [value for value in values if value is not None]
        if printed is None or len(numbers) < len(values):
            continue
        mean = sum(numbers) / len(numbers)
        yield _off(f"{row.id}: the mean is {mean:.4f}, printed is {printed:g}", mean - printed, error)


def _gain(paper: Paper, check: GainCheck) -> Iterator[str]:
    table = paper.table(check.table)
    column, target = table.column(check.column), table.column(check.target)
    ours = {table.row(key).head[0]: table.row(key) for key in check.rows}
    half = half_unit(column.decimals)
    for row in table.rows:
        base = table.cell(row, column).value
        printed = table.cell(row, target).value
        top = table.cell(ours[row.head[0]], column).value if row.head[0] in ours else None
        if base is None or printed is None or top is None:
            continue
        gain = 100.0 * (top - base) / base
        error = half_unit(target.decimals) + 100.0 * (half / base + half * top / base**2)
        yield _off(f"{row.id}: the gain is {gain:.2f} %, printed is {printed:g}", gain - printed, error)


def _mixture(paper: Paper, check: MixtureCheck) -> Iterator[str]:
    for headline_column, part_column in check.columns:
        cells = [
            paper.at((*check.headline, headline_column)),
            paper.at((*check.present, part_column)),
            paper.at((*check.absent, part_column)),
        ]
        values = [cell.value for cell, _ in cells]
        if any(value is None for value in values):
            continue
        headline, present, absent = (float(value) for value in values if value is not None)
        mixture = (1.0 - check.share) * present + check.share * absent
        half = half_unit(cells[0][1].decimals)
        error = 2.0 * half + check.share_error * abs(present - absent)
        needed = (present - headline) / (present - absent) if present != absent else math.nan
        yield _off(
            f"{_name(cells[0][1])}: the mixture is {mixture:.3f}, printed is {headline:g} "
            f"(that would need a share of {needed:.2f})",
            mixture - headline,
            error,
        )


def _best(paper: Paper, check: BestCheck) -> Iterator[str]:
    table = paper.table(check.table)
    row = table.row(check.row)
    rivals = [each for each in table.rows if each is not row and check.among in ("", each.head[0])]
    for key in check.columns:
        column = table.column(key)
        printed = table.cell(row, column).value
        if printed is None:
            continue
        sign = -1.0 if column.better == "lower" else 1.0
        values = [(each, value) for each in rivals if (value := table.cell(each, column).value) is not None]
        above = [each for each, value in values if sign * (value - printed) > 0]
        tied = [each for each, value in values if value == printed]
        place = f"{_name(column)}: {printed:g}"
        if len(above) != check.rank - 1:
            yield f"{place} is number {len(above) + 1}, after {_list(table, above, column)}"
        elif check.strict and tied:
            yield f"{place} is shared with {_list(table, tied, column)}"
        else:
            yield ""


def _order(paper: Paper, check: OrderCheck) -> Iterator[str]:
    table = paper.table(check.table)
    columns = [table.column(key) for key in check.columns]
    for row in table.rows:
        if check.rows and row.id not in check.rows:
            continue
        for first, second in pairwise(columns):
            before, after = table.cell(row, first).value, table.cell(row, second).value
            if before is None or after is None:
                continue
            rises = after > before
            yield f"{row.id}: {before:g} at {_name(first)}, {after:g} at {_name(second)}" if rises else ""


def _quotient(paper: Paper, check: QuotientCheck) -> Iterator[str]:
    values, errors = [], []
    for places in (check.first, check.second):
        cells = [paper.at(place) for place in places]
        numerator, denominator = (cell.value for cell, _ in cells)
        if numerator is None or not denominator:
            return
        halves = [half_unit(column.decimals) for _, column in cells]
        value = numerator / denominator
        values.append(value * check.scale)
        errors.append((halves[0] + value * halves[1]) / denominator * check.scale)
    yield _off(f"{values[0]:.3g} against {values[1]:.3g} {check.unit}", values[0] - values[1], sum(errors))


def _count(paper: Paper, check: CountCheck) -> Iterator[str]:
    table = paper.table(check.table)
    for row in table.rows:
        for key in check.columns:
            column = table.column(key)
            value = table.cell(row, column).value
            if value is None:
                continue
            nearest = round(value / check.scale * check.n) / check.n * check.scale
            text = f"{row.id}, {_name(column)}: {value:g} is no whole number of {check.n}"
            yield _off(text, nearest - value, half_unit(column.decimals))


def _off(text: str, difference: float, error: float) -> str:
    """``text`` where the difference exceeds what rounding explains, else nothing."""
    return text if abs(difference) > error + _SLACK else ""


def _name(column: Column) -> str:
    return f"{column.group} {column.label}".strip()


def _list(table: PaperTable, rows: Sequence[PaperRow], column: Column) -> str:
    def shown(cell: PublishedCell) -> str:
        return "" if cell.value is None else f"{cell.value:g}"

    return ", ".join(f"{row.id} ({shown(table.cell(row, column))})" for row in rows) or "none"


_RUN: Mapping[type[CheckBase], Callable[[Paper, Any], Iterator[str]]] = {
    LinearCheck: _linear,
    MeanCheck: _mean,
    GainCheck: _gain,
    MixtureCheck: _mixture,
    BestCheck: _best,
    OrderCheck: _order,
    QuotientCheck: _quotient,
    CountCheck: _count,
}
