"""One long table of results to ranked tables: no torch, no store layout, no formatting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.leaderboard.costs import NO_COST, RowCost, mean_cost
from harness.leaderboard.evidence import NOT_AUDITED, Evidence, dead_parts, evidence_of, remarks_of, verdict
from harness.leaderboard.parts import by_signatures, declared, under_masks
from harness.leaderboard.protocol import NOTHING_DROPPED, Masks, Protocol, Variant, place_of, told_apart
from harness.leaderboard.ranking import Cells, mean_of_seeds, ranks
from harness.leaderboard.shares import NO_SHARES, Shares
from harness.leaderboard.spec import Spec, spec_of
from harness.metrics.headline import CURVE_METRICS
from harness.missingness.states import is_corrupted
from harness.store.results import Measurement, Status


@dataclass(frozen=True, slots=True)
class Number:
    """One cell of a table.

    Attributes:
        value: None where there is none; ``status`` says why.
        ci95: interval over patients, masks and, of several training seeds, seeds.
        detail: why there is no value, or a remark.
        ranks: best and worst place among the methods that the test set leaves open. None for controls, for
            methods that failed the audit, and where bootstrap replicates are absent.
        seed_sd: standard deviation over training seeds where the value is their mean.
        n: test studies.
        seeds: the training seeds that were scored, where others of the row were not.
    """

    value: float | None = None
    ci95: tuple[float, float] | None = None
    status: Status = "ok"
    detail: str = ""
    ranks: tuple[int, int] | None = None
    seed_sd: float | None = None
    n: int | None = None
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A method in a table.

    Attributes:
        method: label, with preset or seed where the table has several.
        control: whether it is a control, shown in a band of its own below the methods.
        numbers: metric -> missing rate -> its number.
        curve_metric: the table's.
        keys: the results behind the row: one per seed, or several that complement each other.
        audit: ``passed``, ``failed`` (the row is shown, and not ranked) or why there is no verdict.
        dead_parts: one line per named part of its network that does next to nothing, in some of its seeds.
    """

    method: str
    control: bool
    numbers: dict[str, dict[float, Number]]
    curve_metric: str
    keys: tuple[str, ...] = ()
    audit: str = NOT_AUDITED
    cost: RowCost = NO_COST
    dead_parts: tuple[str, ...] = ()

    @property
    def ranked(self) -> bool:
        """Whether it takes part in the ranking."""
        return not self.control and self.audit != "failed"

    @property
    def full(self) -> dict[str, Number]:
        """Metric name -> its number at missing rate 0."""
        return {metric: rates[0.0] for metric, rates in self.numbers.items() if 0.0 in rates}

    @property
    def curve(self) -> dict[float, Number]:
        """Missing rate -> number of the table's curve metric."""
        return self.numbers.get(self.curve_metric, {})

    def at(self, metric: str, rate: float) -> Number | None:
        """A cell, or None where nothing was measured."""
        return self.numbers.get(metric, {}).get(rate)

    def is_flat(self, metric: str, rate: float) -> bool:
        """Whether a cell is that with nothing dropped, to the digit: what is lost is not read."""
        full, cell = self.at(metric, 0.0), self.at(metric, rate)
        if not rate or full is None or cell is None or cell.value is None:
            return False
        return (cell.value, cell.ci95) == (full.value, full.ci95)


@dataclass(frozen=True, slots=True)
class Table:
    """Methods on one dataset under one missingness protocol, by one group of metrics.

    Attributes:
        group: what the metrics look at, e.g. ``report text``.
        metrics: columns at missing rate 0.
        others: metrics that were measured and are not among the columns.
        absent: metrics that the spec asks for and no run measured.
        curve_metric: the metric shown over ``rates``.
        sort: the metric that ranks the methods, at missing rate ``sort_rate``.
        signatures: metric name -> signature; one signature per column.
        lower_is_better: metrics of which less is better.
        undirected: metrics of which neither more nor less is better.
        remarks: metric name -> one line on its numbers.
        unavailable: metric name -> advice, for metrics without a column because they ran for no method.
        seeds: how many seeds a row averages over, at most.
        masks: of all numbers at missing rates above 0.
        shares: what these masks took.
        apart: in what it differs from the other tables with its title.
        beside: one sentence each on images that the dataset was opened without, and on results that the store
            holds and no table shows.
        curve_alone: its numbers with nothing dropped stand in the table of another drop policy.
        rows: ranked methods, best first; then those that are not ranked; then the controls, likewise.
    """

    dataset: str
    n: int
    drop: str
    mechanism: str
    group: str
    metrics: tuple[str, ...]
    curve_metric: str
    sort: str
    rates: tuple[float, ...]
    signatures: dict[str, str]
    rows: tuple[Row, ...]
    test_set: str = ""
    sort_rate: float = 0.0
    others: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    lower_is_better: tuple[str, ...] = ()
    undirected: tuple[str, ...] = ()
    remarks: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    seeds: int = 1
    masks: Masks = NOTHING_DROPPED
    shares: Shares = NO_SHARES
    apart: str = ""
    beside: tuple[str, ...] = ()
    curve_alone: bool = False

    @property
    def protocol(self) -> Protocol:
        """What the numbers of two tables have to share to be compared."""
        return self.dataset, self.n, self.drop, self.mechanism, self.test_set, self.masks

    @property
    def heading(self) -> str:
        """Dataset, number of test studies and missingness protocol."""
        return f"{self.dataset}, {self.n} test studies, {self.drop} missing ({self.mechanism})"

    @property
    def title(self) -> str:
        """The heading, in what the table differs from others with that heading, and the group of metrics."""
        title = f"{self.heading}, {self.apart}" if self.apart else self.heading
        return f"{title}: {self.group}" if self.group else title

    @property
    def task(self) -> tuple[str, int, str, str]:
        """Test set and task: groups ``report text`` and ``report findings`` judge one task."""
        return self.dataset, self.n, self.test_set, self.group.partition(" ")[0]

    def rate_heading(self, rate: float) -> str:
        """A missing rate, with the share that was really lost where the two differ."""
        return self.shares.heading(rate, self.n, self.drop)

    def ranks(self, row: Row) -> tuple[int, int] | None:
        """The row's rank range by the metric that ranks."""
        number = row.at(self.sort, self.sort_rate)
        return number.ranks if number else None

    def higher_is_better(self, metric: str) -> bool | None:
        """Direction of a metric; None where neither more nor less is better."""
        return None if metric in self.undirected else metric not in self.lower_is_better

    def marks(self, metric: str, rate: float) -> dict[str, int]:
        """Row label -> 1 for the best printed value among the ranked rows, 2 for the second best."""
        values = {}
        for row in self.rows:
            number = row.at(metric, rate)
            if row.ranked and number and number.value is not None and math.isfinite(number.value):
                values[row.method] = round(number.value, 3)
        if len(values) < 2 or metric in self.undirected:
            return {}
        order = sorted(set(values.values()), reverse=metric not in self.lower_is_better)
        return {name: order.index(value) + 1 for name, value in values.items() if value in order[:2]}


def tables(
    rows: Iterable[Measurement],
    specs: Sequence[Spec] = (),
    evidence: Mapping[str, Evidence] | None = None,
) -> list[Table]:
    """A table per (dataset, test set, drop policy, mechanism, masks), group of metrics and set of signatures.

    Two numbers with different signatures never share a column: such results stand in separate tables.
    A method that does not do a group's task has no row in its table.

    Args:
        rows: the long form; of each metric and signature under one set of masks, as ``selection.select``
            leaves it.
        specs: which columns, rates and order; a dataset without one shows everything.
        evidence: result key -> what is known beside the numbers; without it nothing is ranked.
    """
    behind = evidence or {}
    groups: dict[_Group, list[Measurement]] = {}
    missing = [row for row in rows if not is_corrupted(row.drop)]  # tables of states have the others
    for row, masks in under_masks(missing, {key: each.masks for key, each in behind.items()}):
        groups.setdefault(((*place_of(row), masks), row.group), []).append(row)
    cells = {key: each.cell for key, each in behind.items()}
    return with_apart(
        [
            _table(part, protocol, spec, behind)
            for protocol, group in sorted(groups, key=lambda key: _order(key, groups))
            for spec in spec_of(protocol[0], specs)
            if spec.shows(group)
            for part in by_signatures(declared(groups[protocol, group]), cells)
        ]
    )


def with_apart(tables: Sequence[Table]) -> list[Table]:
    """The tables, each with what tells it from the others with its title."""
    variants = [
        Variant(
            replace(table, apart="").title,
            table.test_set,
            table.masks,
            {name: table.signatures[name] for name in table.metrics},
        )
        for table in tables
    ]
    return [replace(table, apart=text) for table, text in zip(tables, told_apart(variants), strict=True)]


_Group = tuple[Protocol, str]
"""Protocol and group of metrics."""


def _order(key: _Group, groups: Mapping[_Group, Sequence[Measurement]]) -> tuple[str, int, str, bool]:
    """Of a dataset's protocols the one with most methods first; within it, tables of controls alone last.

    Else groups stay in the order of the metrics.
    """

    def methods(rows: Iterable[Measurement]) -> set[str]:
        return {row.method for row in rows if not row.control and row.status != "n/a"}

    protocol = key[0]
    evaluated = methods(row for other, rows in groups.items() if other[0] == protocol for row in rows)
    return protocol[0], -len(evaluated), str(protocol), not methods(groups[key])


def _table(
    rows: Sequence[Measurement], protocol: Protocol, spec: Spec, evidence: Mapping[str, Evidence]
) -> Table:
    dataset, n, drop, mechanism, test_set, masks = protocol
    able = {row.metric for row in rows if row.status not in ("unavailable", "n/a")}
    unable = {row.metric: row.detail for row in rows if row.metric not in able and row.detail}
    measured = tuple(dict.fromkeys(row.metric for row in rows if row.metric in able or not able))
    members = _members(rows, spec, evidence)
    table = Table(
        dataset=dataset,
        n=n,
        drop=drop,
        mechanism=mechanism,
        test_set=test_set,
        masks=masks,
        shares=next(
            (evidence[row.key].shares for row in rows if row.rate and row.key in evidence), NO_SHARES
        ),
        group=rows[0].group,
        metrics=measured,
        curve_metric=measured[0],
        sort=measured[0],
        rates=(),
        signatures={row.metric: row.signature for row in rows},
        lower_is_better=tuple(dict.fromkeys(row.metric for row in rows if row.higher_is_better is False)),
        undirected=tuple(dict.fromkeys(row.metric for row in rows if row.higher_is_better is None)),
        remarks=remarks_of(rows),
        unavailable=unable if able else {},
        seeds=1 if spec.seeds == "each" else _most_seeds(rows),
        rows=tuple(members),
        # One test set has one fingerprint: all of its results were opened without the same images.
        beside=tuple(filter(None, {evidence[row.key].left_out: 0 for row in rows if row.key in evidence})),
    )
    return arranged(table, spec)


def _most_seeds(rows: Sequence[Measurement]) -> int:
    seeds: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        seeds.setdefault((row.method, row.preset), set()).add(row.seed)
    return max(map(len, seeds.values()))


def arranged(table: Table, spec: Spec) -> Table:
    """The same numbers in the columns, rates and order of another spec."""
    columns = spec.group(table.group)
    listed = {*table.metrics, *table.others}
    measured = tuple(name for name in table.signatures if name in listed)
    chosen = tuple(name for name in columns.metrics if name in measured) or measured
    default = next((name for name in CURVE_METRICS if name in measured), measured[0])
    sort = columns.sort_metric if columns.sort_metric in measured else default
    curve_metric = columns.curve if columns.curve in measured else sort
    assert sort is not None
    assert curve_metric is not None
    if table.curve_alone:
        chosen = (curve_metric,)
    dropped_rates = {rate for row in table.rows for rates in row.numbers.values() for rate in rates} - {0.0}
    lower = sort in table.lower_is_better
    rows = [replace(row, curve_metric=curve_metric) for row in table.rows]
    return replace(
        table,
        metrics=chosen,
        others=tuple(name for name in measured if name not in chosen),
        absent=tuple(name for name in columns.metrics if name not in table.signatures),
        curve_metric=curve_metric,
        sort=sort,
        sort_rate=columns.sort_rate,
        rates=tuple(sorted(dropped_rates if spec.rates is None else dropped_rates.intersection(spec.rates))),
        rows=tuple(sorted(rows, key=lambda row: _place(row, sort, columns.sort_rate, lower))),
    )


def _members(rows: Sequence[Measurement], spec: Spec, evidence: Mapping[str, Evidence]) -> list[Row]:
    """The table's rows, ranked by every metric at every rate."""
    presets = {row.preset for row in rows if row.preset != "-"}
    several = len({row.seed for row in rows}) > 1 and spec.seeds == "each"
    grouped: dict[str, dict[int, list[Measurement]]] = {}
    for row in rows:
        label = row.method + (f" ({row.preset})" if len(presets) > 1 and row.preset != "-" else "")
        label += f" seed {row.seed}" if several else ""
        grouped.setdefault(label, {}).setdefault(row.seed, []).append(row)
    lower = {row.metric for row in rows if row.higher_is_better is False}
    members, samples = [], {}
    for label, by_seed in grouped.items():
        seeds = [by_seed[seed] for seed in sorted(by_seed)]  # all methods in one order: the draws are shared
        keys = tuple(dict.fromkeys(row.key for of_seed in seeds for row in of_seed))
        of_seeds = [evidence_of(of_seed, evidence) for of_seed in seeds]
        numbers, samples[label] = mean_of_seeds(seeds, [each.samples for each in of_seeds])
        control = any(row.control for of_seed in seeds for row in of_seed)
        cells = {
            metric: {rate: Number(**cell) for rate, cell in rates.items()}
            for metric, rates in numbers.items()
        }
        members.append(
            Row(
                label,
                control,
                cells,
                "",
                keys,
                verdict(of_seeds),
                mean_cost([each.cost for each in of_seeds]),
                dead_parts({of_seed[0].seed: each for of_seed, each in zip(seeds, of_seeds, strict=True)}),
            )
        )
    return _with_ranks(members, samples, lower)


def _with_ranks(members: Sequence[Row], samples: Mapping[str, Cells], lower: set[str]) -> list[Row]:
    values: dict[tuple[str, float], dict[str, float]] = {}
    for row in members:
        for metric, rates in row.numbers.items() if row.ranked else ():
            for rate, number in rates.items():
                if number.value is not None:
                    values.setdefault((metric, rate), {})[row.method] = number.value
    ranges = {
        cell: ranks(each, {name: samples[name].get(cell) for name in each}, cell[0] not in lower)
        for cell, each in values.items()
    }
    return [
        replace(
            row,
            numbers={
                metric: {
                    rate: replace(number, ranks=ranges.get((metric, rate), {}).get(row.method))
                    for rate, number in rates.items()
                }
                for metric, rates in row.numbers.items()
            },
        )
        for row in members
    ]


def _place(row: Row, metric: str, rate: float, lower: bool) -> tuple[bool, bool, float, str]:
    number = row.at(metric, rate)
    height = float("-inf") if number is None or number.value is None else number.value
    if lower and math.isfinite(height):
        height = -height
    return row.control, not row.ranked, -height if not math.isnan(height) else float("inf"), row.method
