"""What stands behind averages: every label alone, groups of studies, risk at each coverage.

A run writes these numbers into the manifests of its results; here they become tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from harness.core.errors import HarnessError
from harness.leaderboard.facts import RowFacts
from harness.store.manifest import Subgroups, Triple

LABEL_COLUMNS = ("precision", "recall", "f1", "auroc", "auprc")
COVERAGES = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A table of values with intervals.

    Attributes:
        title: dataset, and what is broken down.
        header: of the labels' column, then of the others.
        rows: label and cells; a cell is a value with both ends of its interval, a bare number, or None.
        notes: how to read it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Triple | float | None, ...]], ...]
    notes: tuple[str, ...] = ()


def per_label(results: Iterable[RowFacts]) -> list[Breakdown]:
    """One table per method: the scores of each label with nothing missing.

    Raises:
        HarnessError: no result has any.
    """
    tables = [
        Breakdown(
            f"{facts.dataset}: {_name(facts)} by label",
            ("label", "studies", *LABEL_COLUMNS),
            tuple(
                (label, (own.positives, *(getattr(own, name) for name in LABEL_COLUMNS)))
                for label, own in facts.labels.items()
            ),
            (
                "Studies: test studies that have the label. Nothing missing. Brackets: 95 % intervals over "
                "patients; those of labels of fewer than 10 studies are too narrow.",
                *_thresholds(facts),
            ),
        )
        for facts in _newest(results, lambda each: each.labels)
    ]
    return _some(tables, "--per-label", "run again with the metric auroc")


def _thresholds(facts: RowFacts) -> list[str]:
    each = ", ".join(f"{label} {value:.2f}" for label, value in facts.thresholds.items())
    return [f"Thresholds of f1_macro_tuned, chosen on validation: {each}."] if each else []


def by_attribute(results: Iterable[RowFacts], attribute: str) -> list[Breakdown]:
    """One table per dataset and metric: a method's values in the groups of an attribute, and their gap.

    Raises:
        HarnessError: no result has the attribute.
    """
    tables: dict[tuple[str, str, str], list[tuple[RowFacts, Subgroups]]] = {}
    for facts in _newest(results, lambda each: each.subgroups.get(attribute)):
        own = facts.subgroups[attribute]
        for metric in own.metrics:
            tables.setdefault((facts.dataset, facts.test_set, metric), []).append((facts, own))
    parts = [
        _groups(f"{dataset}: {metric} by {attribute}", metric, members)
        for (dataset, _, metric), members in tables.items()
    ]
    return _some(parts, f"--by {attribute}", f"harness run --by {attribute} measures them")


def _groups(title: str, metric: str, members: list[tuple[RowFacts, Subgroups]]) -> Breakdown:
    first = members[0][1]
    shown = first.metrics[metric].groups
    small = [
        f"{name} ({count} patients)" for name, count in first.patients.items() if name not in shown and count
    ]
    rows = []
    for facts, own in members:
        numbers = own.metrics[metric]
        rows.append((_name(facts), (*(numbers.groups.get(name) for name in shown), numbers.gap)))
    notes = [
        "Gap: largest less smallest value of the groups, from resamples that all groups share; its interval "
        "begins at 0 where chance alone may have made the gap. Nothing missing."
    ]
    if small:
        notes.append(f"Groups of fewer than 10 patients have no numbers: {', '.join(small)}.")
    columns = [f"{name} (n {first.studies[name]})" for name in shown]
    return Breakdown(title, ("method", *columns, "gap"), tuple(rows), tuple(notes))


def risk_coverage(results: Iterable[RowFacts]) -> list[Breakdown]:
    """One table per dataset: the risk of the most confident studies, by method and modality state.

    Raises:
        HarnessError: no result has any.
    """
    tables: dict[tuple[str, str], list[tuple[str, tuple[float, ...]]]] = {}
    curves: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for facts in _each(results, lambda each: each.risk_coverage):
        of_row = curves.setdefault((facts.dataset, facts.test_set, _name(facts)), {})
        for state, risks in facts.risk_coverage.items():
            of_row.setdefault(state, risks)
    for (dataset, test_set, name), of_states in curves.items():
        for state, risks in of_states.items():
            label = name if state == "full" else f"{name} without {state}"
            cells = tuple(risks[round(coverage * len(risks)) - 1] for coverage in COVERAGES)
            tables.setdefault((dataset, test_set), []).append((label, cells))
    parts = [
        Breakdown(
            f"{dataset}: risk at each coverage",
            ("method", *(f"{coverage:.0%}" for coverage in COVERAGES)),
            tuple(rows),
            ("Risk: mean error of the most confident studies, at these shares of the test set.",),
        )
        for (dataset, _), rows in tables.items()
    ]
    return _some(parts, "--risk-coverage", "run again with the metric risk_coverage")


def _newest(results: Iterable[RowFacts], has: Callable[[RowFacts], object]) -> list[RowFacts]:
    """The newest of each row's results that have something."""
    newest: dict[tuple[object, ...], RowFacts] = {}
    for facts in _each(results, has):
        newest.setdefault(_row(facts), facts)
    return list(newest.values())


def _each(results: Iterable[RowFacts], has: Callable[[RowFacts], object]) -> list[RowFacts]:
    """Results that have something: methods, then controls; of each row the newest first."""
    chosen = [facts for facts in results if has(facts)]
    return sorted(chosen, key=lambda facts: (facts.dataset, facts.control, -facts.unix_time))


def _row(facts: RowFacts) -> tuple[object, ...]:
    return facts.dataset, facts.test_set, facts.method, facts.preset, facts.seed


def _name(facts: RowFacts) -> str:
    return f"{facts.method} seed {facts.seed}" if facts.seed else facts.method


def _some(tables: list[Breakdown], flag: str, hint: str) -> list[Breakdown]:
    if not tables:
        raise HarnessError(f"{flag}: no result has such numbers", hint)
    return tables


def to_json(tables: Iterable[Breakdown]) -> list[Mapping[str, object]]:
    """The tables as JSON values."""
    return [
        {
            "title": table.title,
            "header": list(table.header),
            "rows": [{"label": label, "cells": list(cells)} for label, cells in table.rows],
            "notes": list(table.notes),
        }
        for table in tables
    ]
