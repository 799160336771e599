"""One long table of results to ranked tables: no torch, no store layout, no formatting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.results import ResultRow

CURVE_METRICS = (
    "cider",
    "bleu_4",
    "chexbert_f1_micro_14",
    "chexpert_rules_f1_micro_14",
    "f1_macro",
    "auroc_macro",
)
"""The metric whose decay over missing rates a table shows: the first of these that it has."""


@dataclass(frozen=True, slots=True)
class Row:
    """A method in a table.

    Attributes:
        method: label, with the seed where a table has several.
        control: whether it is a control, shown in a band of its own below the methods.
        full: metric name -> its number at missing rate 0.
        curve: missing rate -> number of the table's curve metric.
    """

    method: str
    control: bool
    full: dict[str, ResultRow]
    curve: dict[float, ResultRow]


@dataclass(frozen=True, slots=True)
class Table:
    """Methods on one dataset under one missingness protocol, by one group of metrics.

    Attributes:
        group: what the metrics look at, e.g. ``report text``.
        metrics: columns at missing rate 0.
        curve_metric: the metric shown over ``rates``.
        signatures: metric name -> signature; one signature a column.
        remarks: metric name -> a line on its numbers.
        unavailable: metric name -> advice, for metrics that could run for no method and so have no column.
        rows: methods by the curve metric at rate 0, best first; then the controls likewise.
    """

    dataset: str
    n: int
    drop: str
    mechanism: str
    group: str
    metrics: tuple[str, ...]
    curve_metric: str
    rates: tuple[float, ...]
    signatures: dict[str, str]
    remarks: dict[str, str]
    unavailable: dict[str, str]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Dataset, number of test studies, missingness protocol and group of metrics."""
        title = f"{self.dataset}, {self.n} test studies, {self.drop} missing ({self.mechanism})"
        return f"{title}: {self.group}" if self.group else title


def tables(rows: Iterable[ResultRow]) -> list[Table]:
    """A table per (dataset, test set size, drop policy, mechanism), group of metrics and set of signatures.

    Two numbers with different signatures never share a column: results that differ in one get a table each.
    A method that does not do a group's task has no row in its table.
    """
    groups: dict[tuple[object, ...], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.n, row.drop, row.mechanism, row.group), []).append(row)
    # Groups stay in the order of the metrics; the rest is sorted.
    order = sorted(groups, key=lambda key: str(key[:-1]))
    return [_table(part) for key in order for part in _by_signatures(_declared(groups[key]))]


def _declared(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Rows of methods for which at least one cell is not ``n/a``."""
    declared = {_identity(row) for row in rows if row.status != "n/a"}
    return [row for row in rows if _identity(row) in declared]


def _identity(row: ResultRow) -> tuple[str, str, int]:
    return row.method, row.preset, row.seed


def _by_signatures(rows: Sequence[ResultRow]) -> list[list[ResultRow]]:
    """Split rows so that within a part every metric has one signature."""
    identities: dict[tuple[str, str, int], dict[str, str]] = {}
    for row in rows:
        identities.setdefault(_identity(row), {})[row.metric] = row.signature
    parts: list[tuple[dict[str, str], set[tuple[str, str, int]]]] = []
    for identity, signatures in identities.items():
        for known, members in parts:
            if all(known.get(metric, signature) == signature for metric, signature in signatures.items()):
                known.update(signatures)
                members.add(identity)
                break
        else:
            parts.append((dict(signatures), {identity}))
    return [[row for row in rows if _identity(row) in members] for _, members in parts]


def _table(rows: Sequence[ResultRow]) -> Table:
    able = {row.metric for row in rows if row.status not in ("unavailable", "n/a")}
    unable = {row.metric: row.detail for row in rows if row.metric not in able and row.detail}
    metrics = tuple(dict.fromkeys(row.metric for row in rows if row.metric in able or not able))
    curve_metric = next((name for name in CURVE_METRICS if name in metrics), metrics[0])
    presets = {row.preset for row in rows if row.preset != "-"}
    seeds = {row.seed for row in rows}
    grouped: dict[tuple[str, str, int], list[ResultRow]] = {}
    for row in rows:
        grouped.setdefault(_identity(row), []).append(row)
    table_rows = []
    for (method, preset, seed), own in grouped.items():
        label = method + (f" ({preset})" if len(presets) > 1 and preset != "-" else "")
        label += f" seed {seed}" if len(seeds) > 1 else ""
        full = {row.metric: row for row in own if row.rate == 0.0}
        curve = {row.rate: row for row in own if row.metric == curve_metric}
        table_rows.append(Row(label, own[0].control, full, curve))
    table_rows.sort(key=lambda row: (row.control, -_height(row, curve_metric), row.method))
    first = rows[0]
    return Table(
        dataset=first.dataset,
        n=first.n,
        drop=first.drop,
        mechanism=first.mechanism,
        group=first.group,
        metrics=metrics,
        curve_metric=curve_metric,
        rates=tuple(sorted({row.rate for row in rows} - {0.0})),
        signatures={row.metric: row.signature for row in rows},
        remarks={row.metric: row.detail for row in rows if row.status == "ok" and row.detail},
        unavailable=unable if able else {},
        rows=tuple(table_rows),
    )


def _height(row: Row, metric: str) -> float:
    number = row.full.get(metric)
    if number is None or number.value is None:
        return float("-inf")
    return number.value if number.higher_is_better else -number.value
