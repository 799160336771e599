"""A robustness study from files alone: a system's answers with everything, and without each modality.

The user says which file has which modality state. Curves over missing rates follow from these states
exactly, as in a run: a study that loses a modality takes its row from that state's statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from harness.core.errors import HarnessError
from harness.core.metric_options import DEFAULTS, MetricOptions
from harness.core.types import Prediction, Reference
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.probability_files.cells import Values
from harness.evaluation.probability_files.scoring import families_for, references_of, remarks_of, rows_of
from harness.evaluation.probability_files.tables import LabelReading, joined
from harness.evaluation.report_files.in_memory import Texts
from harness.evaluation.report_files.pairing import DEFAULT_READING, ReportReading, paired_reports
from harness.evaluation.score_files import N_RESAMPLES, Choice, choose
from harness.metrics.base import checked_statistics
from harness.metrics.diagnosis.probabilities import checked_probabilities
from harness.metrics.text.hygiene import Remark
from harness.missingness.arrays import draw_masks
from harness.missingness.plan import Missingness
from harness.missingness.states import FULL, lost_in, names_in, state_of
from harness.statistics.bootstrap import BootstrapWeights, bootstrap_weights, interval
from harness.statistics.curves import Mixtures
from harness.statistics.estimate import Estimate

File = TypeVar("File")

RATES = (0.2, 0.4, 0.6, 0.8)
_MASK_SEEDS = 20
_REST = "rest"
"""What a study keeps in every state, so that no mask counts it as empty."""


@dataclass(frozen=True, slots=True)
class StateScore:
    """One metric in one modality state.

    Attributes:
        state: what is missing; ``full`` is nothing.
        value: with every study in the state.
        minus_full: the paired difference to ``full``; None for ``full`` itself.
        curve: missing rate -> value with that share of the studies in the state, the others in ``full``.
    """

    metric: str
    state: str
    value: Estimate
    minus_full: Estimate | None
    curve: Mapping[float, Estimate]
    signature: str
    higher_is_better: bool | None


@dataclass(frozen=True, slots=True)
class StateScores:
    """A system's numbers in all states.

    Attributes:
        scores: by metric, ``full`` first.
        states: in the order of the table.
        ids: studies.
        failed: metric family -> why it has no numbers.
        remarks: what is odd about the files, counted.
    """

    scores: tuple[StateScore, ...]
    states: tuple[str, ...]
    ids: tuple[str, ...]
    failed: Mapping[str, str]
    remarks: tuple[Remark, ...]


def score_report_states(
    references: Texts,
    states: Mapping[str, Texts],
    metrics: Sequence[str] | None = None,
    options: MetricOptions = DEFAULTS,
    rates: Sequence[float] = RATES,
    reading: ReportReading = DEFAULT_READING,
) -> StateScores:
    """Score a system's reports in several modality states.

    Args:
        references: as ``score_files.score`` takes them.
        states: what is missing (``full``, ``context``, ``no-context``, ``frontal+lateral``) -> reports.
        metrics: as ``score_files.score`` takes them.
        options: how metrics are computed.
        rates: of the curves.
        reading: which texts mean "no report", and which studies count.

    Raises:
        HarnessError: as ``score_files.score``; no ``full``, no other state, or one state twice.
    """
    named = _named(states)
    reports = paired_reports(references, named, reading)
    failures = MetricFailures()
    chosen, _ = choose(metrics, options, failures)
    tested = _Tested(reports.targets, reports.systems, tuple(rates))
    remarks = (*reports.remarks, *_like_full(tested))
    return tested.scores(chosen, failures, remarks)


def score_probability_states(
    truth: Values,
    states: Mapping[str, Values],
    metrics: Sequence[str] | None = None,
    reading: LabelReading | None = None,
    rates: Sequence[float] = RATES,
) -> StateScores:
    """The same for probabilities; ``truth`` and ``reading`` are those of ``score_probabilities``."""
    named = _named(states)
    tables = {state: joined(truth, values, reading or LabelReading()) for state, values in named.items()}
    first = tables[FULL]
    for state, table in tables.items():
        if table.names != first.names:
            raise HarnessError(
                f"{state}: its labels are not those of {FULL}",
                "the same columns in all files, and classes in one order",
            )
    rows = rows_of(first)
    renormalised = np.zeros(len(first.ids), dtype=bool)
    systems: dict[str, list[Prediction]] = {}
    for state, table in tables.items():
        probabilities, _, rounded = checked_probabilities(
            table.probabilities, table.truth, table.multilabel, rows
        )
        systems[state] = [Prediction(probabilities=row) for row in probabilities]
        renormalised |= rounded
    failures = MetricFailures()
    families, _ = families_for(first, metrics, failures)
    chosen = [
        Choice(one, tuple(o for o in one.outputs if not metrics or {one.name, o.name} & set(metrics)))
        for one in families
    ]
    tested = _Tested(references_of(first), systems, tuple(rates))
    remarks = (*remarks_of(first, renormalised), *_like_full(tested))
    return tested.scores(chosen, failures, remarks)


def _like_full(tested: _Tested) -> list[Remark]:
    """States in which every answer is that of ``full``: perhaps one file was given twice."""
    ids = tuple(reference.id for reference in tested.references)
    return [
        Remark(
            "like-full",
            f"have in {state} the answer that they have in {FULL}",
            len(ids),
            len(ids),
            "studies",
            ids,
        )
        for state, answers in tested.systems.items()
        if state != FULL and all(map(_same, answers, tested.systems[FULL]))
    ]


def _same(one: Prediction, other: Prediction) -> bool:
    if one.probabilities is None or other.probabilities is None:
        return one.report == other.report
    return bool(np.array_equal(one.probabilities, other.probabilities))


@dataclass(frozen=True, slots=True)
class _Tested:
    references: Sequence[Reference]
    systems: Mapping[str, Sequence[Prediction]]
    rates: tuple[float, ...]

    def scores(
        self, chosen: Sequence[Choice], failures: MetricFailures, remarks: Sequence[Remark]
    ) -> StateScores:
        weights = bootstrap_weights([one.patient_id for one in self.references], N_RESAMPLES)
        rows: list[StateScore] = []
        for choice in chosen:
            with failures.of(choice.metric):
                rows += self._of_metric(choice, weights)
        ids = tuple(reference.id for reference in self.references)
        return StateScores(tuple(rows), tuple(self.systems), ids, failures.reasons, tuple(remarks))

    def _of_metric(self, choice: Choice, weights: BootstrapWeights) -> list[StateScore]:
        metric, n = choice.metric, len(self.references)
        statistics = {
            state: checked_statistics(metric, answers, self.references)
            for state, answers in self.systems.items()
        }
        mixtures = Mixtures(metric, statistics, weights)
        everyone = np.ones(n, dtype=bool)
        corners = {state: mixtures.corner(state, everyone) for state in statistics}
        curves = {state: self._curves(mixtures, state) for state in statistics if state != FULL}
        rows = []
        for output in choice.outputs:
            name, full = output.name, corners[FULL]
            for state, values in corners.items():
                value = float(values.each[name][0])
                difference = None
                if state != FULL:
                    gap = values.resampled[name] - full.resampled[name]
                    difference = Estimate(value - float(full.each[name][0]), *interval(gap), n=n)
                estimate = Estimate(value, *interval(values.corrected(metric, output)), n=n)
                curve = curves.get(state, {}).get(name, {})
                rows.append(
                    StateScore(
                        name, state, estimate, difference, curve, metric.signature, output.higher_is_better
                    )
                )
        return rows

    def _curves(self, mixtures: Mixtures, state: str) -> dict[str, dict[float, Estimate]]:
        """Output -> missing rate -> value, by masks that depend on ids alone."""
        if not self.rates:
            return {}
        modalities = [*names_in(state), _REST]
        present = np.ones((len(self.references), len(modalities)), dtype=bool)
        missingness = Missingness(state, "mcar", (0.0, *self.rates), range(_MASK_SEEDS))
        ids = [reference.id for reference in self.references]
        plan = draw_masks(present, modalities, missingness, ids=ids).plan
        return {
            name: {point.rate: point.estimate for point in curve.points if point.rate in self.rates}
            for name, curve in mixtures.curves(plan).items()
        }


def _named(states: Mapping[str, File]) -> dict[str, File]:
    """Files by the names of states, ``full`` first; ``no-context`` is ``context``; capitals do not count."""
    lost: dict[str, tuple[str, ...]] = {}
    for name in states:
        lost[name] = lost_in(name)
    modalities = list(dict.fromkeys(part for parts in lost.values() for part in parts))
    named: dict[str, File] = {}
    for name, parts in lost.items():
        if "" in parts or _REST in parts:
            raise HarnessError(f"{name!r} names no modality", "full, context, frontal+lateral")
        state = state_of(parts, modalities)
        if state in named:
            raise HarnessError(f"two files of the state {state}", "one file per state")
        named[state] = states[name]
    if FULL not in named or len(named) < 2:
        raise HarnessError(
            "a robustness study needs the full state and one more",
            "full=FILE and, for example, no-context=FILE",
        )
    return {FULL: named.pop(FULL), **named}
