"""Which stored results stand in tables: results accumulate, and several may have a number for the same cell.

Tables, robustness reports, figures, bundles and papers' comparisons all read what ``current`` leaves, so no
number stands twice anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.store.results import Measurement, StoredResult


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One metric of one result: a curve over missing rates, or the reason why there is none."""

    result: StoredResult
    rows: tuple[Measurement, ...]

    @property
    def has_value(self) -> bool:
        return any(row.value is not None for row in self.rows)


def current(stored: Sequence[StoredResult]) -> list[StoredResult]:
    """The results with those of their numbers that stand in tables; results without any are left out.

    Results of one method compete where dataset, test set, drop policy, mechanism, preset and seed agree.
    Then, for each metric and signature, one of them has the whole curve: of the newest trained cell (other
    code or settings are another cell) the one with most missing rates, else the newest. A result without any
    value, as a failed run leaves it, never hides numbers.
    """
    slots: dict[tuple[Any, ...], list[_Candidate]] = defaultdict(list)
    for each in _without_needless_failures(stored):
        for metric, rows in _by_metric(each.rows).items():
            slots[*_slot(each), metric].append(_Candidate(each, rows))
    chosen = {
        (winner.result.key, winner.rows[0].metric)
        for candidates in slots.values()
        for winner in _winners(candidates)
    }
    visible = (
        replace(each, rows=[row for row in each.rows if (each.key, row.metric) in chosen]) for each in stored
    )
    return [each for each in visible if each.rows]


def version(result: StoredResult) -> str:
    """What numbers of different metrics have to share to stand in one row: trained cell and masks."""
    return f"{result.manifest.cell} {result.manifest.masks}"


def _slot(result: StoredResult) -> tuple[Any, ...]:
    row = result.rows[0]
    return (
        *(row.dataset, row.test_set, row.n, row.drop, row.mechanism),
        *(row.method, row.preset, row.seed),
    )


def _without_needless_failures(stored: Sequence[StoredResult]) -> list[StoredResult]:
    """Without results of no value whose method has numbers in another one."""
    filled = [each for each in stored if each.rows]
    measured = {_slot(each) for each in filled if any(row.value is not None for row in each.rows)}
    return [
        each
        for each in filled
        if _slot(each) not in measured or not all(row.status == "failed" for row in each.rows)
    ]


def _by_metric(rows: Iterable[Measurement]) -> dict[str, tuple[Measurement, ...]]:
    by_metric: dict[str, list[Measurement]] = defaultdict(list)
    for row in rows:
        by_metric[row.metric].append(row)
    return {metric: tuple(own) for metric, own in by_metric.items()}


def _winners(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """One candidate per signature; where none has a value, the newest alone."""
    by_signature: dict[str, list[_Candidate]] = defaultdict(list)
    for each in candidates:
        if each.has_value:
            by_signature[each.rows[0].signature].append(each)
    if not by_signature:
        return [max(candidates, key=lambda each: each.result.time)]
    return [_best(competing) for competing in by_signature.values()]


def _best(candidates: Sequence[_Candidate]) -> _Candidate:
    newest = max(candidates, key=lambda each: each.result.time).result.manifest.cell
    of_cell = [each for each in candidates if each.result.manifest.cell == newest]
    return max(of_cell, key=lambda each: (len(each.rows), each.result.time))
