"""How every format writes a number, and how it escapes foreign text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace

from harness.leaderboard.costs import RowCost
from harness.leaderboard.protocol import Variant, told_apart
from harness.leaderboard.tables import Number, Row, Table
from harness.store.results import Measurement

FEW_STUDIES = 30
"""Below so many studies an interval of no width is not shown as one, and no system is called better."""

UNRANKED = "\N{EN DASH}"
_FORMULA = re.compile(r"^'*[=+\-@\t\r](?=.)", re.DOTALL)
_MARKDOWN = re.compile(r"([\\`*<>\[\]|#&$])")


def number(cell: Number | Measurement | None, *, interval: bool = True) -> str:
    """``0.174 [0.151, 0.199]``; one word says why there is no value, and an absent cell is blank."""
    if cell is None:
        return ""
    if cell.value is None or not math.isfinite(cell.value):
        return cell.status if cell.status != "ok" else "undefined"
    text = f"{cell.value:.3f}"
    if interval and cell.ci95 is not None:
        text += f" {between(cell.ci95, cell.n)}"
    return text


SAME = "="
"""Stands for a number that is the one with nothing dropped, because the method does not read what is lost."""


def cell_text(row: Row, metric: str, rate: float) -> str:
    """A cell of a row; ``=`` over missing rates at which nothing changes."""
    return SAME if row.is_flat(metric, rate) else number(row.at(metric, rate))


def between(ends: tuple[float, float], n: int | None, digits: int = 3) -> str:
    """``[0.151, 0.199]``; an interval of no width over a few studies says instead that they are too few.

    All resamples of a few studies may give one value. That is no sign of a precise number.

    Args:
        ends: of a 95 % interval.
        n: studies, where that is known.
        digits: decimals.
    """
    if n is not None and n < FEW_STUDIES and ends[0] == ends[1]:
        return f"[n = {n}, too few studies]"
    return f"[{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"


def cost_rows(tables: Iterable[Table]) -> list[Row]:
    """The rows of a table of costs, with the keys of all results behind them: methods, then controls.

    Rows of one method from several tables are one where their costs and audits agree.
    """
    rows: dict[tuple[str, RowCost, str], Row] = {}
    for row in sorted((row for table in tables for row in table.rows), key=lambda row: row.control):
        place = row.method, row.cost, row.audit
        first = rows.setdefault(place, row)
        rows[place] = replace(first, keys=tuple(dict.fromkeys((*first.keys, *row.keys))))
    return list(rows.values())


def by_protocol(tables: Iterable[Table]) -> list[tuple[str, list[Table]]]:
    """The tables of each protocol with its heading, and with what tells it from others with that heading.

    Curves of other drop policies belong to the protocol of the tables in front of them.
    """
    groups: list[list[Table]] = []
    for table in tables:
        if groups and (table.curve_alone or table.protocol == groups[-1][0].protocol):
            groups[-1].append(table)
        else:
            groups.append([table])
    first = [group[0] for group in groups]
    apart = told_apart([Variant(each.heading, each.test_set, each.masks) for each in first])
    titles = [", ".join(filter(None, (each.heading, text))) for each, text in zip(first, apart, strict=True)]
    return list(zip(titles, groups, strict=True))


def rank(table: Table, row: Row) -> str:
    """The rank range, ``1-3`` or ``2``; a row that is not ranked has a dash."""
    ranks = table.ranks(row)
    if ranks is None:
        return UNRANKED
    best, worst = ranks
    return str(best) if best == worst else f"{best}-{worst}"


RANK_NOTE = (
    "a rank range, as 1-3, holds the places that the test set leaves open to a method, from all paired "
    "differences at once (bootstrap, max-t, 95 %); rows are in the order of their values"
)


def label(row: Row) -> str:
    """The row's label; a method that failed the audit is marked, because it is shown and not ranked."""
    return f"{row.method} (audit failed)" if row.audit == "failed" else row.method


COST_COLUMNS = (
    "parameters",
    "trainable",
    "FLOPs",
    "training time",
    "seconds per study",
    "peak memory",
    "device",
)
COST_NOTE = (
    "FLOPs: a training forward pass on one study (of methods that leave parts behind when training ends, of "
    "inference), a multiply-add counting as two. Times: wall clock; on a CPU, frozen features of known "
    "images are read, not computed. "
    "Peak memory: while training; on a CPU, of the whole process with its data."
)


def dead_notes(table: Table) -> list[str]:
    """One line per dead part of a method in the table; reruns of its checkpoint as controls have none."""
    return [
        f"{row.method}: a part does next to nothing: {line}"
        for row in table.rows
        if not row.control
        for line in row.dead_parts
    ]


def dead_summaries(table: Table) -> list[str]:
    """One line per method with dead parts: which they are, and how to see what was measured."""
    lines = []
    for row in table.rows:
        if row.dead_parts and not row.control:
            without_seed = (re.sub(r"^seed \d+: ", "", line) for line in row.dead_parts)
            names = ", ".join(dict.fromkeys(line.partition(":")[0] for line in without_seed))
            command = f"harness describe {row.method.partition(' (')[0]} --probes"
            lines.append(f"{row.method}: parts that do next to nothing: {names} ({command})")
    return lines


RESULT_NOTE = (
    "Result: its manifest is `results/RESULT.json` in the store; `harness reproduce RESULT` makes it "
    "again and compares."
)


def costs(cost: RowCost) -> list[str]:
    """A cost in words, in the order of ``COST_COLUMNS``; a dash where nothing was measured."""
    seconds, each = cost.training_seconds, cost.seconds_per_study
    return [
        _count(cost.parameters),
        _count(cost.trainable_parameters),
        _count(cost.flops),
        UNRANKED if seconds is None else duration(seconds),
        UNRANKED if each is None else f"{each:.2g}",
        UNRANKED if cost.peak_memory_gib is None else f"{cost.peak_memory_gib:.2f} GiB",
        cost.device or UNRANKED,
    ]


def duration(seconds: float) -> str:
    """``3.2 s``, ``4 min 10 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _count(value: int | None) -> str:
    if value is None:
        return UNRANKED
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return str(value)


def markdown(text: str) -> str:
    """Text that GitHub prints as it stands, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Text as inline code: it cannot end its own quotes."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def spreadsheet(value: object) -> object:
    """A cell of a CSV; text that a spreadsheet would compute gets an apostrophe in front.

    So does text that has one there already: two ids that differ stay two.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
