"""Tables of several drop policies over one test set: what is equal in all of them stands once.

With nothing dropped, all policies have the same numbers. So one table per group of metrics has all columns,
the main one. The others keep their curve. A table without a curve is left out: with a policy that takes a
modality from all studies, its number stands in a table of states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.core.types import CONTEXT
from harness.leaderboard.states import StateTable
from harness.leaderboard.tables import Row, Table
from harness.missingness.policy import ALTERNATE, ANY, SUBSETS

_FIRST = (CONTEXT, ALTERNATE, ANY, SUBSETS)
"""Policies whose table may be the main one, in order; any other comes after them."""


def without_repetition(tables: Sequence[Table], states: Sequence[StateTable]) -> list[Table]:
    """The main tables whole, the others with their curves alone, in the order of their main tables."""
    main: list[Table] = []
    curves: dict[int, list[Table]] = {}
    for table in sorted(tables, key=lambda table: preference(table.drop)):
        place = next((index for index, other in enumerate(main) if _covers(other, table)), None)
        if place is None:
            main.append(table)
        elif not table.rates or _is_corner(table, states):
            main[place] = _with_keys(main[place], table)
        else:
            curves.setdefault(place, []).append(_curve_alone(table))
    order = {id(table): index for index, table in enumerate(tables)}
    ranked = sorted(range(len(main)), key=lambda index: _first_place(main[index], tables, order))
    return _grouped([(main[index], curves.get(index, [])) for index in ranked])


def _grouped(parts: Sequence[tuple[Table, list[Table]]]) -> list[Table]:
    """Main tables of one protocol together, then the curves that belong to them, policy by policy."""
    together: dict[object, list[tuple[Table, list[Table]]]] = {}
    for table, curves in parts:
        together.setdefault(table.protocol, []).append((table, curves))
    ordered: list[Table] = []
    for group in together.values():
        ordered += [table for table, _ in group]
        curves = [curve for _, of_table in group for curve in of_table]
        policies = dict.fromkeys(curve.protocol for curve in curves)
        ordered += [curve for policy in policies for curve in curves if curve.protocol == policy]
    return ordered


def _first_place(table: Table, tables: Sequence[Table], order: dict[int, int]) -> int:
    """Where the group of a main table stood first among tables of its test set and mechanism."""
    own = [each for each in tables if _place(each) == _place(table)]
    return min(order[id(each)] for each in own)


def _place(table: Table) -> tuple[object, ...]:
    return table.dataset, table.n, table.test_set, table.mechanism, table.group


def preference(drop: str) -> int:
    """The place of a drop policy among those of one test set: tables of the first are whole."""
    return _FIRST.index(drop) if drop in _FIRST else len(_FIRST)


def _covers(main: Table, table: Table) -> bool:
    """Whether all numbers of a table with nothing dropped stand in a main table."""
    if _place(main) != _place(table) or main.signatures != table.signatures or main.seeds != table.seeds:
        return False
    rows = {row.method: row.full for row in main.rows}
    return main.drop != table.drop and all(rows.get(row.method) == row.full for row in table.rows)


def _is_corner(table: Table, states: Sequence[StateTable]) -> bool:
    rates = {rate for row in table.rows for numbers in row.numbers.values() for rate in numbers}
    return rates <= {0.0, 1.0} and any(
        (each.dataset, each.n, each.test_set, each.group)
        == (table.dataset, table.n, table.test_set, table.group)
        and table.drop in each.states
        for each in states
    )


def _with_keys(main: Table, table: Table) -> Table:
    keys = {row.method: row.keys for row in table.rows}

    def joined(row: Row) -> Row:
        return replace(row, keys=tuple(dict.fromkeys((*row.keys, *keys.get(row.method, ())))))

    return replace(main, rows=tuple(joined(row) for row in main.rows))


def _curve_alone(table: Table) -> Table:
    others = tuple(name for name in (*table.metrics, *table.others) if name != table.curve_metric)
    return replace(table, metrics=(table.curve_metric,), others=others, curve_alone=True)
