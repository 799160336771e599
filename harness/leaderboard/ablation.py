"""What each part of a method is worth: the difference of every variant to the full method, paired.

Everything is read from stored results and their bootstrap replicates; nothing is predicted or scored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from harness.core.errors import HarnessError
from harness.leaderboard.bounds import bounded
from harness.leaderboard.ranking import replicates_of
from harness.metrics.headline import ABLATION_METRICS
from harness.statistics.bootstrap import FloatArray, interval
from harness.statistics.estimate import Estimate
from harness.statistics.seeds import over_seeds
from harness.store.manifest import Manifest, ProbeFacts
from harness.store.results import Measurement, StoredResult
from harness.store.store import SCHEMA


@dataclass(frozen=True, slots=True, order=True)
class Loss:
    """What the test studies lost.

    Attributes:
        rate: missing rate.
        drop: drop policy; empty at rate 0, where all policies are one.
    """

    rate: float
    drop: str

    @classmethod
    def of(cls, row: Measurement) -> Loss:
        """What was lost where a number was measured."""
        return cls(row.rate, row.drop if row.rate else "")


NOTHING = Loss(0.0, "")
Place = tuple[str, Loss]
"""Metric, and what was lost."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one variant where something, or nothing, was lost.

    Attributes:
        estimate: mean over seeds, with its interval over patients, masks and seeds.
        by_seed: seed -> value.
        difference: variant minus full method over the seeds that both have; None for the full method and
            where they have no seed or no replicates in common.
        worse: whether the variant is worse than the full method (True), better (False) or neither (None): the
            interval of the difference contains 0.
    """

    estimate: Estimate
    by_seed: Mapping[int, float]
    difference: Estimate | None = None
    worse: bool | None = None

    @property
    def seed_sd(self) -> float | None:
        """Standard deviation over seeds; None for one seed."""
        values = list(self.by_seed.values())
        return stdev(values) if len(values) > 1 else None


@dataclass(frozen=True, slots=True)
class DeadPart:
    """A named part of a network that did next to nothing when training ended.

    Attributes:
        probe: one vital sign of it, of the first of ``seeds``.
    """

    probe: ProbeFacts
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """The full method or one of its variants.

    Attributes:
        label: of its rows.
        text: what the variant leaves out or changes; empty for the full method.
        seeds: those with numbers.
        failures: seed -> why it has none.
        training_seconds: mean over seeds; None where nothing was measured.
        dead: vital signs of dead parts; None where the method declares no probes.
        cells: metric and what was lost -> cell; only what has a value.
        settings: of a sweep: setting -> its value in the full method, and here; empty for the full method.
    """

    label: str
    text: str
    seeds: tuple[int, ...]
    failures: Mapping[int, str]
    training_seconds: float | None
    dead: tuple[DeadPart, ...] | None
    cells: Mapping[Place, Cell]
    settings: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ablation:
    """All variants of a method beside the method itself, which is the first of ``members``.

    Attributes:
        metrics: shown, in order.
        losses: what the studies lost in each table, ``NOTHING`` first; only what changes a number: a method
            that does not read the context has no table without it.
        signatures: metric -> signature.
        lower_is_better: metrics of which less is better.
    """

    dataset: str
    n: int
    mechanism: str
    preset: str
    members: tuple[Member, ...]
    metrics: tuple[str, ...]
    losses: tuple[Loss, ...]
    signatures: Mapping[str, str] = field(default_factory=dict)
    lower_is_better: frozenset[str] = frozenset()

    @classmethod
    def of(cls, stored: Iterable[StoredResult], every_metric: bool = False, swept: str = "") -> Ablation:
        """The ablation that the results of one run are.

        Args:
            stored: results of one method and its variants, or with several values of its settings, each with
                one seed and one drop policy; controls are left out.
            every_metric: show all metrics that were measured instead of the headline ones.
            swept: of a sweep, the label of the row that the others are compared with; empty: the row that is
                no variant.

        Raises:
            HarnessError: the full method is not among them.
        """
        by_seed: dict[str, dict[int, list[StoredResult]]] = {}
        for each in stored:
            row = each.rows[0]
            if not row.control and each.manifest.imputed is None:
                by_seed.setdefault(row.method, {}).setdefault(row.seed, []).append(each)
        trials = {method: [_Trial(own) for own in seeds.values()] for method, seeds in by_seed.items()}
        full = [own for label, own in trials.items() if (label == swept if swept else not own[0].variant)]
        if len(full) != 1:
            raise HarnessError(f"an ablation needs the full method once, but the results hold {len(full)}")
        rows = [row for own in trials.values() for trial in own for row in trial.numbers.values()]
        first = full[0][0].stored[0].rows[0]
        measured = tuple(dict.fromkeys(row.metric for row in rows))
        chosen = tuple(name for name in ABLATION_METRICS if name in measured)
        others = (own for own in trials.values() if own is not full[0])
        members = tuple(_member(own, full[0]) for own in (full[0], *others))
        names = measured if every_metric or not chosen else chosen
        return cls(
            dataset=first.dataset,
            n=first.n,
            mechanism=first.mechanism,
            preset=first.preset,
            members=members,
            metrics=names,
            losses=_losses(members, names),
            signatures={row.metric: row.signature for row in rows},
            lower_is_better=frozenset(row.metric for row in rows if row.higher_is_better is False),
        )

    @property
    def full(self) -> Member:
        """The method with all of its parts."""
        return self.members[0]

    @property
    def failed(self) -> bool:
        """Whether any member lacks a seed."""
        return any(member.failures for member in self.members)

    def to_json(self) -> str:
        """``{"schema", "dataset", .., "variants": [..], "rows": [..]}``; what is not finite becomes null."""
        content = {
            "schema": SCHEMA,
            **{name: getattr(self, name) for name in ("dataset", "n", "mechanism", "preset")},
            "method": self.full.label,
            "variants": [
                {
                    "method": member.label,
                    "text": member.text,
                    "settings": {key: value for key, (_, value) in member.settings.items()},
                    "seeds": list(member.seeds),
                    "failed": {str(seed): reason for seed, reason in member.failures.items()},
                    "training_seconds": member.training_seconds,
                    "dead": None if member.dead is None else [_dead(each) for each in member.dead],
                }
                for member in self.members
            ],
            "rows": [
                self._row(member, place, cell)
                for member in self.members
                for place, cell in member.cells.items()
                if place[0] in self.metrics and place[1] in self.losses
            ],
        }
        return json.dumps(content, indent=1) + "\n"

    def _row(self, member: Member, place: Place, cell: Cell) -> dict[str, Any]:
        metric, loss = place
        difference = cell.difference
        return {
            "method": member.label,
            "metric": metric,
            "drop": loss.drop,
            "rate": loss.rate,
            "value": _finite(cell.estimate.value),
            "ci95": [_finite(end) for end in cell.estimate.ci95],
            "seed_sd": cell.seed_sd,
            "by_seed": {str(seed): _finite(value) for seed, value in cell.by_seed.items()},
            "difference": None if difference is None else _finite(difference.value),
            "difference_ci95": None if difference is None else [_finite(end) for end in difference.ci95],
            "worse": cell.worse,
            "higher_is_better": metric not in self.lower_is_better,
            "signature": self.signatures[metric],
        }


class _Trial:
    """One method with one seed: the results of all its drop policies."""

    def __init__(self, stored: Sequence[StoredResult]) -> None:
        self.stored = stored
        self.seed = stored[0].rows[0].seed
        self.method = stored[0].rows[0].method
        self.manifest = stored[0].manifest
        self.variant: str | None = self.manifest.card.get("variant")

    @cached_property
    def numbers(self) -> dict[Place, Measurement]:
        """What has a value."""
        rows = (row for each in self.stored for row in each.rows)
        return {(row.metric, Loss.of(row)): row for row in rows if row.value is not None}

    @cached_property
    def replicates(self) -> dict[Place, FloatArray]:
        """Of the numbers, (B,) each."""
        lines_of: dict[Place, FloatArray] = {}
        for each in self.stored:
            rows = [row for row in each.rows if row.value is not None]
            loss_at = {row.rate: Loss.of(row) for row in rows}
            lines = replicates_of(rows, each.replicates())
            lines_of |= {(metric, loss_at[rate]): line for (metric, rate), line in lines.items()}
        return lines_of

    @property
    def failure(self) -> str:
        """Why there is no number at all; empty where there is one."""
        rows = (row for each in self.stored for row in each.rows)
        reasons = (row.detail for row in rows if row.status == "failed")
        return "" if self.numbers else next(reasons, "no metric suits it")


def _losses(members: Sequence[Member], metrics: Sequence[str]) -> tuple[Loss, ...]:
    """Nothing, and every loss that changes some number of the metrics."""

    def changes(member: Member, metric: str, loss: Loss) -> bool:
        with_loss, without = member.cells.get((metric, loss)), member.cells.get((metric, NOTHING))
        return with_loss is not None and (without is None or with_loss.by_seed != without.by_seed)

    every = {loss for member in members for metric, loss in member.cells if loss != NOTHING}
    changing = (
        loss for loss in every if any(changes(member, name, loss) for member in members for name in metrics)
    )
    return (NOTHING, *sorted(changing, key=lambda loss: (loss.drop, loss.rate)))


def _member(own: Sequence[_Trial], full: Sequence[_Trial]) -> Member:
    settings = {} if own is full or own[0].variant else _altered(own[0].manifest, full[0].manifest)
    reference = {} if own is full else {trial.seed: trial for trial in full}
    own = sorted(own, key=lambda trial: trial.seed)
    working = [trial for trial in own if not trial.failure]
    seconds = [trial.manifest.cost.training_seconds for trial in working]
    timed = [each for each in seconds if each is not None]
    places = dict.fromkeys(place for trial in working for place in trial.numbers)
    return Member(
        label=own[0].method,
        text=own[0].manifest.card.get("variant_text", "") or _in_words(settings),
        seeds=tuple(trial.seed for trial in working),
        failures={trial.seed: trial.failure for trial in own if trial.failure},
        training_seconds=fmean(timed) if timed else None,
        dead=_dead_parts(working),
        cells={place: _cell(place, working, reference) for place in places},
        settings=settings,
    )


def _altered(own: Manifest, full: Manifest) -> dict[str, tuple[Any, Any]]:
    """Setting -> its value in the full method, and in a row that differs from it by ``--set``."""
    pairs = {
        key: (full.changed[key][1] if key in full.changed else preset, value)
        for key, (preset, value) in own.changed.items()
    }
    return {key: (base, value) for key, (base, value) in pairs.items() if base != value}


def _in_words(settings: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{key} {value} instead of {base}" for key, (base, value) in settings.items())


def _dead_parts(trials: Sequence[_Trial]) -> tuple[DeadPart, ...] | None:
    signs = {trial.seed: trial.manifest.signs for trial in trials}
    if not any(each is not None and each.probes for each in signs.values()):
        return None
    dead: dict[tuple[str, str], list[tuple[ProbeFacts, int]]] = {}
    for seed, each in signs.items():
        for probe in each.dead if each is not None else ():
            dead.setdefault((probe.part, probe.quantity), []).append((probe, seed))
    return tuple(DeadPart(own[0][0], tuple(seed for _, seed in own)) for own in dead.values())


def _dead(each: DeadPart) -> dict[str, Any]:
    return {**each.probe.to_json(), "seeds": list(each.seeds)}


def _cell(place: Place, own: Sequence[_Trial], full: Mapping[int, _Trial]) -> Cell:
    trials = [trial for trial in own if place in trial.numbers]
    paired = [trial for trial in trials if trial.seed in full and place in full[trial.seed].numbers]
    estimate = _mean(place, trials, lambda trial: (_value(trial, place), trial.replicates.get(place)))
    if len(trials) > 1:
        lo, hi = bounded(trials[0].numbers[place].metric, estimate.ci95)
        estimate = replace(estimate, lo=lo, hi=hi)

    def minus_full(trial: _Trial) -> tuple[float, FloatArray | None]:
        other = full[trial.seed]
        a, b = trial.replicates.get(place), other.replicates.get(place)
        fits = a is not None and b is not None and a.shape == b.shape
        return _value(trial, place) - _value(other, place), a - b if fits else None  # type: ignore[operator]

    difference = _mean(place, paired, minus_full) if paired else None
    if difference is not None and not difference.has_interval:
        difference = None
    worse = None
    if difference is not None and not difference.covers(0.0):
        worse = (difference.value < 0) == trials[0].numbers[place].higher_is_better
    return Cell(estimate, {trial.seed: _value(trial, place) for trial in trials}, difference, worse)


def _value(trial: _Trial, place: Place) -> float:
    value = trial.numbers[place].value
    assert value is not None  # ``numbers`` has no other
    return value


def _mean(
    place: Place, trials: Sequence[_Trial], number: Callable[[_Trial], tuple[float, FloatArray | None]]
) -> Estimate:
    """The mean over seeds of a number of each trial, with its interval where all have replicates."""
    values, lines = zip(*map(number, trials), strict=True)
    replicates = [line for line in lines if line is not None]
    n = trials[0].numbers[place].n
    if len(replicates) < len(lines) or len({line.shape for line in replicates}) > 1:
        return Estimate(fmean(values), math.nan, math.nan, n)
    return Estimate(fmean(values), *interval(over_seeds(values, replicates)), n)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
