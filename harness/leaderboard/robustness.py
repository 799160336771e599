"""How methods hold up as modalities go missing: areas, retention, controls and reliance from stored results.

Everything is read from results and their bootstrap replicates; nothing is predicted or scored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import combinations
from typing import Any

from harness.leaderboard.curve_summaries import (
    BASELINE,
    Fall,
    area,
    comparable,
    effective,
    fall,
    ratio,
    skill_retained,
    summarised,
)
from harness.leaderboard.policies import preference
from harness.leaderboard.protocol import NOTHING_DROPPED, Masks, Protocol, Variant, told_apart
from harness.leaderboard.selection import current
from harness.leaderboard.shares import NO_SHARES, Shares
from harness.leaderboard.stored_curves import StoredCurve, curves_of, means_over_seeds
from harness.metrics.headline import CURVE_METRICS
from harness.missingness.states import is_corrupted
from harness.statistics.bootstrap import interval
from harness.statistics.estimate import Estimate
from harness.store.results import Measurement, StoredResult
from harness.store.row_labels import SHUFFLED
from harness.store.store import SCHEMA

RETENTION_RATE = 0.8

_MAIN = ("auroc_macro_common", *CURVE_METRICS)
"""A group is shown by the first of these that it has."""


@dataclass(frozen=True, slots=True)
class Point:
    """A metric at one missing rate."""

    rate: float
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of one method over missing rates.

    Attributes:
        seeds: that the line is the mean of; intervals cover seeds where there are several.
        points: by rate.
        area: mean height over the range of rates.
        retained: share of the full-modality value left at ``retention_rate``; NaN where that value is 0.
        retention_rate: 0.8, or the highest rate below it, or the only one above it.
        fall: against the method's own control; None for controls and where there is none.
        reliance: modality -> what its absence from every study costs; positive is worse.
        skill: share of the lead over the method's own control that is left at ``retention_rate``; NaN where
            the lead with nothing missing is not clear. None as for ``fall``.
        effective: effective robustness; None for controls, and where the table has no ``BASELINE``.
        masks: of all points at rates above 0.
        shares: what these masks took.
        apart: in what it differs from lines of the same metric, dataset, drop policy and mechanism.
    """

    dataset: str
    n: int
    drop: str
    mechanism: str
    test_set: str
    method: str
    preset: str
    seeds: tuple[int, ...]
    control: bool
    group: str
    metric: str
    higher_is_better: bool | None
    points: tuple[Point, ...]
    area: Estimate
    retained: Estimate
    retention_rate: float
    fall: Fall | None
    reliance: dict[str, Estimate]
    signature: str = ""
    skill: Estimate | None = None
    effective: Estimate | None = None
    masks: Masks = NOTHING_DROPPED
    shares: Shares = NO_SHARES
    apart: str = ""

    @property
    def label(self) -> str:
        """The method, with its seed where that is another one than 0 alone."""
        return (
            self.method
            if len(self.seeds) > 1 or self.seeds == (0,)
            else f"{self.method} seed {self.seeds[0]}"
        )

    @property
    def protocol(self) -> Protocol:
        """What two lines have to share to be compared, beside the metric."""
        return self.dataset, self.n, self.drop, self.mechanism, self.test_set, self.masks

    @property
    def column(self) -> tuple[Protocol, str, str, str]:
        """What lines of one table share."""
        return self.protocol, self.group, self.metric, self.signature

    @property
    def heading(self) -> str:
        """Dataset, number of test studies and missingness protocol, and in what the line's table differs."""
        heading = f"{self.dataset}, {self.n} test studies, {self.drop} missing ({self.mechanism})"
        return f"{heading}, {self.apart}" if self.apart else heading


@dataclass(frozen=True, slots=True)
class Difference:
    """Method a minus method b at one missing rate, paired."""

    dataset: str
    test_set: str
    drop: str
    mechanism: str
    metric: str
    signature: str
    rate: float
    a: str
    b: str
    difference: Estimate


@dataclass(frozen=True, slots=True)
class RobustnessReport:
    """How every method of a store holds up as modalities go missing.

    Attributes:
        lines: every metric of every method that was evaluated at a rate above 0.
        differences: between methods, on the main metric of each group.
    """

    lines: tuple[Line, ...]
    differences: tuple[Difference, ...]

    @classmethod
    def of(cls, stored: Sequence[StoredResult]) -> RobustnessReport:
        """The report on stored results; those without a rate above 0 or without replicates are left out.

        Of results that compete for a cell of a table, the one that the table shows is read. Several seeds of
        a method are one line, as in tables.
        """
        missing = (result for result in current(stored) if not is_corrupted(result.rows[0].drop))
        of_seeds = [curve for result in missing for curve in curves_of(result)]
        curves = means_over_seeds(of_seeds)
        by_identity = {_identity(curve.rows[0]): curve for curve in curves}
        lines = [_line(curve, by_identity) for curve in curves]
        return cls(tuple(_with_apart(_joined(lines))), tuple(_differences(curves)))

    def to_json(self) -> str:
        """``{"schema": .., "lines": [..], "differences": [..]}``; what is not finite becomes null."""
        content = {"schema": SCHEMA, **_json(self)}
        return json.dumps(content, indent=1) + "\n"


def _joined(lines: Sequence[Line]) -> list[Line]:
    """Lines of a method under several drop policies, without those that have no curve.

    The loss of a modality by all studies alone has none; a table of states has its number. What each absence
    costs does not depend on the policy, so it stands with the first one.
    """
    groups: dict[tuple[object, ...], list[Line]] = {}
    for line in lines:
        key = line.dataset, line.n, line.mechanism, line.test_set, line.label, line.preset
        groups.setdefault((*key, line.metric, line.signature), []).append(line)
    joined = []
    for group in groups.values():
        curves = [line for line in group if any(0 < point.rate < 1 for point in line.points)] or group
        first = min(curves, key=lambda line: preference(line.drop))
        losses: dict[str, Estimate] = {}
        for line in sorted(group, key=lambda line: -len(line.reliance)):
            losses |= {name: cost for name, cost in line.reliance.items() if name not in losses}
        alone = len(curves) == len(group) == 1
        joined += [
            line if alone else replace(line, reliance=losses if line is first else {}) for line in curves
        ]
    return joined


def main_metrics(lines: Sequence[Line]) -> list[Line]:
    """The lines of one metric per group: the one whose curve leaderboards show."""
    measured: dict[tuple[object, ...], dict[str, None]] = {}
    for line in lines:
        measured.setdefault((*line.protocol, line.group), {})[line.metric] = None
    chosen = {
        key: next((name for name in _MAIN if name in names), next(iter(names)))
        for key, names in measured.items()
    }
    return [line for line in lines if chosen[*line.protocol, line.group] == line.metric]


def _json(value: Any) -> Any:
    """JSON values; the studies behind an estimate are written once, with its line."""
    if isinstance(value, Point):
        return {"rate": value.rate, **_json(value.estimate)}
    if isinstance(value, Estimate):
        return {name: _json(getattr(value, name)) for name in ("value", "lo", "hi")}
    if is_dataclass(value):
        return {field.name: _json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _json(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_apart(lines: Sequence[Line]) -> list[Line]:
    """The lines, each with what tells its table from others of the same metric."""
    columns = list(dict.fromkeys(line.column for line in lines))
    variants = [
        Variant(str((metric, protocol[:4])), protocol[4], protocol[5], {metric: signature})
        for protocol, _, metric, signature in columns
    ]
    apart = dict(zip(columns, told_apart(variants), strict=True))
    return [replace(line, apart=apart[line.column]) for line in lines]


def _identity(row: Measurement, method: str | None = None) -> tuple[object, ...]:
    name = row.method if method is None else method
    return (
        row.dataset,
        row.n,
        row.drop,
        row.mechanism,
        row.test_set,
        row.metric,
        row.signature,
        name,
    )


def _line(curve: StoredCurve, others: dict[tuple[object, ...], StoredCurve]) -> Line:
    first = curve.rows[0]
    control = others.get(_identity(first, first.method + SHUFFLED))
    # Of a corner there is rate 1 alone; at rate 0 everything is left.
    at = max(
        (index for index, rate in enumerate(curve.rates) if 0 < rate <= RETENTION_RATE + 1e-9), default=1
    )
    points = [Point(row.rate, row.estimate) for row in curve.rows if row.estimate is not None]
    return Line(
        dataset=first.dataset,
        n=first.n,
        drop=first.drop,
        mechanism=first.mechanism,
        test_set=first.test_set,
        method=first.method,
        preset=first.preset,
        seeds=curve.seeds,
        control=first.control,
        group=first.group,
        metric=first.metric,
        higher_is_better=first.higher_is_better,
        points=tuple(points),
        area=summarised(curve, lambda values: area(values, curve.rates)),
        retained=summarised(curve, lambda values: ratio(values, at)),
        retention_rate=float(curve.rates[at]),
        fall=None if control is None else fall(curve, control),
        skill=None if control is None else skill_retained(curve, control, at),
        effective=None if first.control else effective(curve, others.get(_identity(first, BASELINE))),
        reliance=curve.costs,
        signature=first.signature,
        masks=curve.masks,
        shares=curve.shares,
    )


def _differences(curves: Sequence[StoredCurve]) -> list[Difference]:
    """Every pair of methods of one protocol, on the groups' main metrics, controls included."""
    groups: dict[tuple[object, ...], list[StoredCurve]] = {}
    for curve in curves:
        row = curve.rows[0]
        if row.metric in _MAIN and not row.method.endswith(SHUFFLED):
            groups.setdefault(_identity(row, ""), []).append(curve)
    differences = []
    for members in groups.values():
        for a, b in combinations(members, 2):
            if comparable(a, b):
                differences += _pair(a, b)
    return differences


def _pair(a: StoredCurve, b: StoredCurve) -> list[Difference]:
    first, second = a.rows[0], b.rows[0]
    return [
        Difference(
            dataset=first.dataset,
            test_set=first.test_set,
            drop=first.drop,
            mechanism=first.mechanism,
            metric=first.metric,
            signature=first.signature,
            rate=float(rate),
            a=first.method,
            b=second.method,
            difference=Estimate(
                float(a.values[index] - b.values[index]),
                *interval(a.samples[index] - b.samples[index]),
                first.n,
            ),
        )
        for index, rate in enumerate(a.rates)
    ]
