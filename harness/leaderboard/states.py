"""What methods lose when all studies lack a modality: one table per group of metrics, read from results.

A column is a modality state of the whole test set: nothing dropped, without the frontal view, and so on. Each
number stands beside two paired differences, to the same method with nothing dropped and to the same method on
other studies' images: overlapping intervals show neither.

Of each corruption (``--corrupt``) there is a table, too: nothing lost, a part of a modality by level, all of
it. There, each number also stands beside its difference to the loss of the whole modality.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from harness.leaderboard.bounds import bounded
from harness.leaderboard.contributions import NOTHING_READ, Contributions, contributions
from harness.leaderboard.protocol import Variant, told_apart
from harness.leaderboard.ranking import replicates_of
from harness.leaderboard.spec import Spec, spec_of
from harness.metrics.headline import CURVE_METRICS
from harness.missingness.corrupted import corrupted_state
from harness.missingness.policy import ALTERNATE, ANY, SUBSETS
from harness.missingness.states import FULL, is_corrupted, missing_in
from harness.statistics.bootstrap import interval
from harness.statistics.estimate import Estimate
from harness.statistics.seeds import over_seeds
from harness.store.results import Measurement, StoredResult
from harness.store.row_labels import SHUFFLED

FloatArray = NDArray[np.float64]

_MIXED = (ALTERNATE, ANY, SUBSETS)
"""Policies that put studies of one test set into several states."""


@dataclass(frozen=True, slots=True)
class StateNumber:
    """A metric where all studies are in one modality state, or a summary of several states.

    Attributes:
        estimate: value and interval.
        minus_full: less the same method's value with nothing dropped, paired; None for that value itself.
        minus_shuffled: less the same number of the method on other studies' images, paired; None for
            controls.
        minus_without: where a part of a modality is lost, less the same method's value without all of it,
            paired.
        unchanged: every prediction is as with nothing dropped, e.g. because the method does not read the
            modality.
    """

    estimate: Estimate
    minus_full: Estimate | None = None
    minus_shuffled: Estimate | None = None
    minus_without: Estimate | None = None
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class StateRow:
    """A method in a table of states.

    Attributes:
        method: label, with the preset where the table has several.
        numbers: modality state -> number.
        mean: of all states, ``full`` among them.
        worst_state: the state with the worst value.
        without_input: state -> studies that are left with nothing that the method reads.
        contributions: Shapley values of the modalities; None for controls and where a subset is not measured.
    """

    method: str
    control: bool
    numbers: dict[str, StateNumber]
    mean: StateNumber
    worst_state: str
    without_input: dict[str, int] = field(default_factory=dict)
    contributions: Contributions | None = None

    @property
    def worst(self) -> StateNumber:
        """The number in the worst state."""
        return self.numbers[self.worst_state]


@dataclass(frozen=True, slots=True)
class StateTable:
    """Methods on one test set, by one metric, in each modality state.

    Attributes:
        states: columns, ``full`` first.
        natural: modality -> share of the studies that lack it anyway.
        seeds: how many seeds a row averages over, at most.
        apart: in what the table differs from others with its title.
        left_out: one sentence on images that the dataset was opened without.
        corruption: modality and corruption (``frontal:blur``) whose levels are its columns; empty in a table
            of missing modalities.
        rows: methods by their value with nothing dropped, best first; then the controls.
    """

    dataset: str
    n: int
    test_set: str
    group: str
    metric: str
    signature: str
    higher_is_better: bool | None
    states: tuple[str, ...]
    rows: tuple[StateRow, ...]
    natural: dict[str, float] = field(default_factory=dict)
    seeds: int = 1
    apart: str = ""
    corruption: str = ""
    left_out: str = ""

    @property
    def task(self) -> tuple[str, int, str, str]:
        """Test set and task: groups ``report text`` and ``report findings`` judge one task."""
        return self.dataset, self.n, self.test_set, self.group.partition(" ")[0]

    @property
    def title(self) -> str:
        """Dataset, number of test studies, group and metric."""
        heading = f"{self.dataset}, {self.n} test studies" + (f", {self.apart}" if self.apart else "")
        columns = f"by level of {self.corruption}" if self.corruption else "without each modality"
        return f"{heading}: {self.group}, {self.metric} {columns}"


def state_tables(stored: Sequence[StoredResult], specs: Sequence[Spec] = ()) -> list[StateTable]:
    """One table per test set and group of metrics in which some state other than ``full`` was measured.

    Of corrupted states there is one for each corruption of a modality, behind those of missing modalities.

    Args:
        stored: results, as ``selection.current`` leaves them: no number stands twice.
        specs: which metric stands for a group; by default the first of ``CURVE_METRICS``.
    """
    columns: dict[tuple[str, int, str, str, str, str], list[_Number]] = defaultdict(list)
    for number in _numbers(stored):
        row = number.row
        columns[row.dataset, row.n, row.test_set, row.group, row.metric, row.signature].append(number)
    tables = [
        table
        for column, numbers in columns.items()
        if column[4] in _headlines(column, columns, specs)
        for table in _tables(numbers)
    ]
    tables.sort(key=lambda table: (table.dataset, -table.n, table.test_set, bool(table.corruption)))
    variants = [
        Variant(each.title, each.test_set, signatures={each.metric: each.signature}) for each in tables
    ]
    return [replace(each, apart=text) for each, text in zip(tables, told_apart(variants), strict=True)]


@dataclass(frozen=True, slots=True)
class _Number:
    """One stored number in one state, with its replicates (B,)."""

    row: Measurement
    state: str
    samples: FloatArray
    result: StoredResult

    @property
    def line(self) -> tuple[str, str]:
        return self.row.method, self.row.preset


def _numbers(stored: Iterable[StoredResult]) -> list[_Number]:
    """Numbers at rate 0, and at rate 1 of policies that put all studies into one state."""
    numbers = []
    for result in stored:
        rows = [row for row in result.rows if row.value is not None and row.status == "ok"]
        samples = replicates_of(rows, result.replicates())
        for row in rows:
            state = FULL if row.rate == 0 else row.drop if row.rate == 1 else ""
            mixed = state in _MIXED or ("=" in state and not is_corrupted(state))
            if not state or mixed or (row.metric, row.rate) not in samples:
                continue
            numbers.append(_Number(row, state, samples[row.metric, row.rate], result))
    return numbers


def _headlines(
    column: tuple[str, int, str, str, str, str],
    columns: Iterable[tuple[str, int, str, str, str, str]],
    specs: Sequence[Spec],
) -> set[str]:
    """Metrics that stand for a group: those that rank it in the dataset's specs, else one with a curve."""
    dataset, group = column[0], column[3]
    measured = [each[4] for each in columns if each[:4] == column[:4]]
    ranking = {
        spec.group(group).sort_metric for spec in spec_of(dataset, specs) if spec.shows(group)
    }.intersection(measured)
    default = next((name for name in CURVE_METRICS if name in measured), measured[0])
    return {name for name in ranking if name} or {default}


def _tables(numbers: Sequence[_Number]) -> list[StateTable]:
    """Of missing modalities, and of each corruption; none where nothing but ``full`` was measured."""
    states = {number.state for number in numbers}
    corrupted = [each for state in states if (each := corrupted_state(state))]
    missing = (state for state in states if not is_corrupted(state))
    columns = {"": tuple(sorted(missing, key=lambda state: (len(missing_in(state)), _place(state, numbers))))}
    corrupted.sort(key=lambda each: (_place(each.modality, numbers), each.kind, each.amount))
    for kind, of_kind in groupby(corrupted, key=lambda each: each.kind):
        levels = list(of_kind)
        whole = [name for name in columns[""] if name == levels[0].modality]
        columns[kind] = (FULL, *(each.name for each in levels), *whole)
    return [_table(numbers, kind, order) for kind, order in columns.items() if len(order) > 1]


def _table(numbers: Sequence[_Number], corruption: str, order: tuple[str, ...]) -> StateTable:
    """The states of ``order``, ``full`` first."""
    numbers = [number for number in numbers if number.state in order]
    lines: dict[tuple[str, str], dict[str, dict[int, _Number]]] = defaultdict(lambda: defaultdict(dict))
    for number in numbers:
        lines[number.line][number.state].setdefault(number.row.seed, number)
    merged = {line: _merged(of_states) for line, of_states in lines.items()}
    first = numbers[0].row
    seeds = max(len(seeds) for of_states in lines.values() for seeds in of_states.values())
    several = len({preset for _, preset in lines if preset != "-"}) > 1
    rows = []
    empty = next((of[FULL] for (name, _), of in merged.items() if name == NOTHING_READ and FULL in of), None)
    for (method, preset), values in merged.items():
        if FULL not in values:
            continue
        control = any(number.row.control for number in lines[method, preset][FULL].values())
        shuffled = merged.get((method + SHUFFLED, preset), {})
        label = f"{method} ({preset})" if several and preset != "-" else method
        row = _row(label, control, [(s, values[s]) for s in order if s in values], shuffled, first, seeds > 1)
        numbers_in_full = lines[method, preset][FULL].values()
        if corruption and not any(map(is_corrupted, row.numbers)):
            continue
        shares = (
            None
            if control or empty is None or corruption
            else _contributions(values, empty, next(iter(numbers_in_full)))
        )
        rows.append(replace(row, without_input=_without_input(lines[method, preset]), contributions=shares))
    sign = 1.0 if first.higher_is_better is False else -1.0
    rows.sort(key=lambda row: (row.control, sign * row.numbers[FULL].estimate.value, row.method))
    return StateTable(
        first.dataset,
        first.n,
        first.test_set,
        first.group,
        first.metric,
        first.signature,
        first.higher_is_better,
        order,
        tuple(rows),
        natural=dict(numbers[0].result.manifest.natural),
        seeds=seeds,
        corruption=corruption,
        left_out=str(numbers[0].result.manifest.unreadable or ""),
    )


def _place(state: str, numbers: Sequence[_Number]) -> list[int]:
    """The place of a state's modalities in the dataset."""
    modalities = list(numbers[0].result.manifest.natural)
    return [modalities.index(name) for name in sorted(missing_in(state)) if name in modalities]


def _merged(of_states: Mapping[str, Mapping[int, _Number]]) -> dict[str, tuple[float, FloatArray]]:
    """State -> value and replicates of the mean over seeds; states that lack a seed are left out."""
    seeds = set().union(*of_states.values())
    return {
        state: (
            float(np.mean([float(by_seed[seed].row.value or 0.0) for seed in sorted(seeds)])),
            over_seeds(
                [float(by_seed[seed].row.value or 0.0) for seed in sorted(seeds)],
                [by_seed[seed].samples for seed in sorted(seeds)],
            ),
        )
        for state, by_seed in of_states.items()
        if set(by_seed) == seeds and len({each.samples.shape for each in by_seed.values()}) == 1
    }


def _row(
    label: str,
    control: bool,
    values: Sequence[tuple[str, tuple[float, FloatArray]]],
    shuffled: Mapping[str, tuple[float, FloatArray]],
    first: Measurement,
    several: bool,
) -> StateRow:
    """A row from values and replicates per state, those of the table's states in order.

    Args:
        values: state -> value and replicates.
        shuffled: the same of its control.
        first: any of its numbers.
        several: they are means over training seeds.
    """
    own = dict(values)
    full = own[FULL]
    n = first.n
    modality = next((each.modality for state in own if (each := corrupted_state(state))), None)
    whole = own.get(modality) if modality else None

    def number(value: tuple[float, FloatArray], other: tuple[float, FloatArray] | None) -> StateNumber:
        return StateNumber(
            _estimate(value, n, first.metric if several else ""),
            None if value is full else _difference(value, full, n),
            None if control or other is None else _difference(value, other, n),
            None if whole is None or value is whole else _difference(value, whole, n),
            value is not full and value[0] == full[0] and np.array_equal(value[1], full[1]),
        )

    states = [state for state, value in values if value[1].shape == full[1].shape]
    others = [shuffled.get(state) for state in states]
    numbers = {state: number(own[state], other) for state, other in zip(states, others, strict=True)}
    mean = _mean([own[state] for state in states])
    mean_shuffled = None if None in others else _mean([each for each in others if each is not None])
    sign = -1.0 if first.higher_is_better is False else 1.0
    worst = min(states, key=lambda state: sign * own[state][0])
    return StateRow(label, control, numbers, number(mean, mean_shuffled), worst)


def _contributions(
    values: Mapping[str, tuple[float, FloatArray]], empty: tuple[float, FloatArray], number: _Number
) -> Contributions | None:
    """Shapley values of the modalities that the method of a number reads."""
    manifest, row = number.result.manifest, number.row
    reads = [name for name in manifest.natural if name in manifest.card.get("reads", ())]
    return contributions(values, empty, reads, -1.0 if row.higher_is_better is False else 1.0, row.n)


def _mean(values: Sequence[tuple[float, FloatArray]]) -> tuple[float, FloatArray]:
    return float(np.mean([value for value, _ in values])), np.mean([each for _, each in values], axis=0)


def _estimate(value: tuple[float, FloatArray], n: int, metric: str) -> Estimate:
    """Value and interval, the latter within the bounds of ``metric`` where it is named."""
    ends = interval(value[1])
    return Estimate(value[0], *(bounded(metric, ends) if metric else ends), n)


def _difference(value: tuple[float, FloatArray], other: tuple[float, FloatArray], n: int) -> Estimate | None:
    if value[1].shape != other[1].shape:
        return None
    return Estimate(value[0] - other[0], *interval(value[1] - other[1]), n)


def _without_input(of_states: Mapping[str, Mapping[int, _Number]]) -> dict[str, int]:
    """State -> studies without anything that the method reads, as a run recorded it."""
    counts: dict[str, int] = {}
    for by_seed in of_states.values():
        for number in by_seed.values():
            counts |= {state: each for state, each in number.result.manifest.without_input.items() if each}
    return {state: count for state, count in counts.items() if state in of_states}
