"""Which stored results stand in tables: results accumulate, and several may have a number for the same cell.

Tables, robustness reports, figures, bundles and papers' comparisons all read what ``select`` shows, so no
number stands twice anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from harness.leaderboard.protocol import NOTHING_DROPPED, Masks, Place, place_of
from harness.store.results import Measurement, StoredResult

Line = tuple[str, str, int]
"""Method, preset and seed."""


@dataclass(frozen=True, slots=True)
class Selection:
    """All numbers of a store in three parts; each has the results with those of their numbers that it holds.

    Attributes:
        shown: what stands in tables.
        other_masks: what does not, because the tables show other masks.
        older: what does not, because a newer or longer result of the same method stands there.
    """

    shown: list[StoredResult]
    other_masks: list[StoredResult]
    older: list[StoredResult]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One metric of one result: a curve over missing rates, or the reason why there is none."""

    result: StoredResult
    rows: tuple[Measurement, ...]
    masks: Masks

    @property
    def has_value(self) -> bool:
        return any(row.value is not None for row in self.rows)

    @property
    def id(self) -> tuple[str, str]:
        return self.result.key, self.rows[0].metric

    @property
    def column(self) -> tuple[Place, str, str]:
        return place_of(self.rows[0]), self.rows[0].metric, self.rows[0].signature

    @property
    def line(self) -> Line:
        return line_of(self.rows[0])


def line_of(row: Measurement) -> Line:
    """What the rows of one method share."""
    return row.method, row.preset, row.seed


def masks_of(result: StoredResult) -> Masks:
    """The masks of a result's rows."""
    return Masks.of(result.manifest, result.rows)


def current(stored: Sequence[StoredResult]) -> list[StoredResult]:
    """The results with those of their numbers that stand in tables; results without any are left out."""
    return select(stored).shown


def select(stored: Sequence[StoredResult]) -> Selection:
    """Choose the numbers that stand in tables.

    Numbers compete where dataset, test set, drop policy, mechanism, metric and signature agree. First, masks
    are chosen, the same for all methods: those with most methods, presets and seeds, else the newest. Numbers
    at rate 0 alone fit any masks. Then each method has one curve: of the newest trained cell (other code or
    settings are another cell) the one with most missing rates, else the newest. A result without any value,
    as a failed run leaves it, never hides numbers.
    """
    candidates = [
        _Candidate(each, rows, Masks.of(each.manifest, rows))
        for each in stored
        for rows in _by_metric(each.rows).values()
    ]
    columns: dict[object, list[_Candidate]] = defaultdict(list)
    for each in candidates:
        if each.has_value:
            columns[each.column].append(each)
    chosen, elsewhere = set(), set()
    for column in columns.values():
        masks = _masks_shown(column)
        fitting: dict[Line, list[_Candidate]] = defaultdict(list)
        for each in column:
            if each.masks in (masks, NOTHING_DROPPED):
                fitting[each.line].append(each)
            else:
                elsewhere.add(each.id)
        chosen |= {_best(competing).id for competing in fitting.values()}
    chosen |= {each.id for each in _reasons(candidates, chosen)}
    older = {each.id for each in candidates} - chosen - elsewhere
    return Selection(_part(stored, chosen), _part(stored, elsewhere), _part(stored, older))


def _part(stored: Sequence[StoredResult], ids: Collection[tuple[str, str]]) -> list[StoredResult]:
    parts = [
        replace(each, rows=[row for row in each.rows if (each.key, row.metric) in ids]) for each in stored
    ]
    return [each for each in parts if each.rows]


def _by_metric(rows: Iterable[Measurement]) -> dict[str, tuple[Measurement, ...]]:
    by_metric: dict[str, list[Measurement]] = defaultdict(list)
    for row in rows:
        by_metric[row.metric].append(row)
    return {metric: tuple(own) for metric, own in by_metric.items()}


def _masks_shown(column: Sequence[_Candidate]) -> Masks:
    """The masks with most lines, else those of the newest result; none where nothing is dropped."""
    lines: dict[Masks, set[Line]] = defaultdict(set)
    newest: dict[Masks, tuple[int, int]] = {}
    for each in column:
        if each.masks.rates:
            lines[each.masks].add(each.line)
            newest[each.masks] = max(each.result.time, newest.get(each.masks, (0, 0)))
    return max(lines, key=lambda masks: (len(lines[masks]), newest[masks]), default=NOTHING_DROPPED)


def _best(candidates: Sequence[_Candidate]) -> _Candidate:
    newest = max(candidates, key=lambda each: each.result.time).result.manifest.cell
    of_cell = [each for each in candidates if each.result.manifest.cell == newest]
    return max(of_cell, key=lambda each: (len(each.rows), each.result.time))


def _reasons(candidates: Iterable[_Candidate], chosen: Collection[tuple[str, str]]) -> list[_Candidate]:
    """Where a method has no number of a metric, the newest candidate that says why.

    Results that have numbers in tables come first. Those of failed runs say so only of methods that have no
    number at all.
    """
    chosen_keys = {key for key, _ in chosen}
    filled = {(_slot(each), each.rows[0].metric) for each in candidates if each.id in chosen}
    measured = {slot for slot, _ in filled}
    empty: dict[object, list[_Candidate]] = defaultdict(list)
    for each in candidates:
        slot, metric = _slot(each), each.rows[0].metric
        broken = all(row.status == "failed" for row in each.result.rows)
        if not each.has_value and (slot, metric) not in filled and not (broken and slot in measured):
            empty[slot, metric].append(each)
    return [
        max(competing, key=lambda each: (each.result.key in chosen_keys, each.result.time))
        for competing in empty.values()
    ]


def _slot(each: _Candidate) -> tuple[Place, Line]:
    return place_of(each.rows[0]), each.line
