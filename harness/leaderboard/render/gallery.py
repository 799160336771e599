"""Every figure of a store, in the formats that papers and pages take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from harness.core.slugs import slug
from harness.leaderboard.policies import preference
from harness.leaderboard.protocol import Variant, told_apart
from harness.leaderboard.render.corruption_figures import corruptions_figure, reading
from harness.leaderboard.render.figures import Judgements, Paths, confidence_density, reliability_by_state
from harness.leaderboard.render.policy_figures import joined_policies, policies_figure
from harness.leaderboard.render.risk_figures import RiskCurve, risk_coverage_figure
from harness.leaderboard.render.robustness_figures import curves_figure, reliance_figure, routing_figure
from harness.leaderboard.robustness import Line, RobustnessReport, main_metrics
from harness.leaderboard.selection import current
from harness.leaderboard.spec import load_all
from harness.leaderboard.states import StateTable, state_tables
from harness.metrics.diagnosis.calibration import Reliability, width_edges
from harness.metrics.diagnosis.confidence import from_counts
from harness.missingness.states import FULL, is_corrupted
from harness.store.manifest import ReliabilityBins
from harness.store.results import Measurement, StoredResult

KINDS = ("png", "svg", "pdf")
Figure = Callable[[Paths], None]
"""Draws itself into files; it can be sent to another process."""
Content = TypeVar("Content")
Map = Callable[[Callable[["Task"], list[Path]], Iterable["Task"]], Iterable[list[Path]]]


@dataclass(frozen=True, slots=True)
class Task:
    """One figure and the files it goes into."""

    figure: Figure
    paths: list[Path]

    def draw(self) -> list[Path]:
        """Write the files."""
        self.figure(self.paths)
        return self.paths


_Protocol = tuple[str, str, str, str]
"""Dataset, drop policy, mechanism and number of test studies."""

_DENSITIES = 6
"""Methods that one figure of densities holds."""


def write_figures(
    stored: Sequence[StoredResult],
    report: RobustnessReport,
    out: Path,
    kinds: Sequence[str] = KINDS,
    rows: Sequence[Measurement] | None = None,
    over: Map = map,
) -> list[Path]:
    """Draw curves, reliance, reliability, confidence, risk and routing, as far as the results go.

    Args:
        stored: results; a figure holds those of one dataset and protocol.
        report: their robustness.
        out: folder; one below it for each protocol, named after what tells it from others where it has to be.
        kinds: formats of each figure.
        rows: draw only what has the dataset and protocol of one of these.
        over: ``map``, or one that has several processes.

    Returns:
        The files that were written.
    """
    protocols = None if rows is None else {_protocol(row) for row in rows}
    figures: list[tuple[Path, Figure]] = []
    everything = current(stored)
    shown = [result for result in everything if not is_corrupted(result.rows[0].drop)]
    by_data, data = _by_data(joined_policies(shown)), _data_apart(list(_by_data(shown)))
    for lines in _by_column(main_metrics(report.lines)):
        protocol, line = _protocol(lines[0]), lines[0]
        if protocols is None or protocol in protocols:
            apart = data[protocol, line.test_set]
            rest = line.apart.removeprefix(apart).removeprefix(", ")
            folder = out / _folder(protocol, apart, rest)
            figures += ((folder / name, figure) for name, figure in _curves(lines))
    for lines in _by_policies(main_metrics(report.lines)):
        if protocols is None or any(_protocol(line) in protocols for line in lines):
            apart = data.get((_protocol(lines[0]), lines[0].test_set), "")
            name = f"policies-{slug(lines[0].metric)}"
            figures.append(
                (out / _folder(_protocol(lines[0]), apart) / name, partial(policies_figure, lines))
            )
    for (protocol, test_set), results in by_data.items():
        if protocols is None or protocol in protocols:
            apart = data[protocol, test_set]
            dataset = f"{protocol[0]}, {apart}" if apart else protocol[0]
            parts = (
                *_confidence(results, dataset),
                *_branches(results, dataset),
                *_routing(results, dataset),
                *_risk(results, dataset),
            )
            figures += ((out / _folder(protocol, apart) / name, figure) for name, figure in parts)
    figures += ((out / name, figure) for name, figure in _corruptions(everything, rows))
    tasks = [
        Task(figure, [path.with_name(f"{path.name}.{kind}") for kind in kinds]) for path, figure in figures
    ]
    return [path for written in over(Task.draw, tasks) for path in written]


def _curves(lines: Sequence[Line]) -> Iterator[tuple[str, Figure]]:
    """Curves of one metric, and what each modality's absence costs; neither where it would show nothing."""
    plain = [line for line in lines if "+" not in line.method]
    metric = slug(lines[0].metric)
    if any(changes(line) for line in plain):
        yield f"curves-{metric}", partial(curves_figure, plain)
    costly = [line for line in plain if relies(line)]
    if costly:
        yield f"reliance-{metric}", partial(reliance_figure, costly)


def _corruptions(
    stored: Sequence[StoredResult], rows: Sequence[Measurement] | None
) -> Iterator[tuple[Path, Figure]]:
    """One metric of each task over the levels of the corruptions of one modality."""
    corrupted = {each.rows[0].dataset for each in stored if is_corrupted(each.rows[0].drop)}
    if rows is not None:
        corrupted &= {row.dataset for row in rows if is_corrupted(row.drop)}
    groups: dict[tuple[object, ...], list[StateTable]] = {}
    of_datasets = [each for each in stored if each.rows[0].dataset in corrupted]
    for table in state_tables(of_datasets, load_all() if of_datasets else ()):
        if table.corruption and reading(table):
            key = table.task, table.metric, table.signature, table.corruption.partition(":")[0]
            groups.setdefault(key, []).append(table)
    for (_, metric, _, modality), tables in groups.items():
        words = [tables[0].dataset, "corrupted", f"n{tables[0].n}", tables[0].apart.replace(", ", "-")]
        folder = slug("-".join(word.replace(" ", "-") for word in words if word))
        yield Path(folder) / slug(f"{modality}-{metric}"), partial(corruptions_figure, tables)


def _by_policies(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines of one metric on one test set under several drop policies, the first policy in front."""
    groups: dict[tuple[object, ...], list[Line]] = {}
    for line in sorted(lines, key=lambda line: preference(line.drop)):
        if "+" not in line.method:
            key = line.dataset, line.n, line.test_set, line.mechanism, line.metric, line.signature
            groups.setdefault(key, []).append(line)
    several = [group for group in groups.values() if len({line.drop for line in group}) > 1]
    return [group for group in several if any(changes(line) for line in group)]


def changes(line: Line) -> bool:
    """Whether a curve has different values or intervals at two missing rates."""
    return len({(each.estimate.value, *each.estimate.ci95) for each in line.points}) > 1


def relies(line: Line) -> bool:
    """Whether the absence of any modality has a cost, or an interval, other than exactly 0."""
    return any(value != 0 for each in line.reliance.values() for value in (each.value, *each.ci95))


def merged(states: Mapping[str, Content]) -> dict[str, Content]:
    """States with equal content become one, named after all of them."""
    groups: list[tuple[list[str], Content]] = []
    for state, content in states.items():
        names = next((names for names, other in groups if other == content), None)
        if names is None:
            groups.append(([state], content))
        else:
            names.append(state)
    return {",\n".join(map(_shown, names)): content for names, content in groups}


def _confidence(results: Mapping[str, StoredResult], dataset: str) -> Iterator[tuple[str, Figure]]:
    """Reliability diagrams of each method, and the densities of all."""
    counts: dict[str, Mapping[str, Any]] = {}
    for label, result in results.items():
        if "+" in label:
            continue
        bins = {state: _reliability(each) for state, each in merged(result.reliability).items()}
        if bins:
            yield (
                f"reliability-{slug(label)}",
                partial(reliability_by_state, bins, title=f"{label} on {dataset}"),
            )
        if result.manifest.confidence:
            counts[label] = result.manifest.confidence
    densities = _densities(counts)
    labels = list(densities)
    for start in range(0, len(labels), _DENSITIES):
        some = {label: densities[label] for label in labels[start : start + _DENSITIES]}
        name = "confidence" if len(labels) <= _DENSITIES else f"confidence-{start // _DENSITIES + 1}"
        yield name, partial(confidence_density, some, title=f"confidence on {dataset}")


def _densities(counts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Judgements]]:
    """Label -> state -> confidences; states that are equal for every label are one."""
    states = dict.fromkeys(state for each in counts.values() for state in each)
    by_state = {
        state: {label: each[state] for label, each in counts.items() if state in each} for state in states
    }
    densities: dict[str, dict[str, Judgements]] = {label: {} for label in counts}
    for state, of_labels in merged(by_state).items():
        for label, numbers in of_labels.items():
            values = from_counts(numbers)
            densities[label][state] = Judgements(values, np.zeros(len(values)))
    return densities


def _branches(results: Mapping[str, StoredResult], dataset: str) -> Iterator[tuple[str, Figure]]:
    """Densities of the branches' confidence: a row per modality state, a curve per branch."""
    for label, result in results.items():
        states = {
            _shown(state): {
                branch: Judgements(from_counts(counts), np.zeros(sum(counts)))
                for branch, counts in branches.items()
            }
            for state, branches in result.manifest.branch_confidence.items()
        }
        if states:
            title = f"{label} on {dataset}: confidence of its branches"
            yield f"branches-{slug(label)}", partial(confidence_density, states, title=title)


def _routing(results: Mapping[str, StoredResult], dataset: str) -> Iterator[tuple[str, Figure]]:
    for label, result in results.items():
        routing = result.manifest.routing
        if routing:
            shares = {_shown(state): np.array(each) for state, each in routing.items()}
            title = f"{label} on {dataset}: share of the words that each expert got"
            yield f"routing-{slug(label)}", partial(routing_figure, shares, title=title)


def _risk(results: Mapping[str, StoredResult], dataset: str) -> Iterator[tuple[str, Figure]]:
    """Risk against coverage of all methods and controls; states with equal curves are one panel."""
    states: dict[str, dict[str, RiskCurve]] = {}
    for label, result in sorted(results.items(), key=lambda item: item[1].rows[0].control):
        if "+" in label:
            continue
        areas = {row.rate: row.value for row in result.rows if row.metric == "aurc"}
        for state, risks in result.manifest.risk_coverage.items():
            area = areas.get(0.0) if state == FULL else None
            curve = RiskCurve(tuple(risks), result.rows[0].control, area)
            states.setdefault(state, {})[label] = curve
    if states:
        panels = merged({state: states[state] for state in sorted(states, key=lambda each: each != FULL)})
        yield "risk-coverage", partial(risk_coverage_figure, panels, title=dataset)


def _by_column(lines: Sequence[Line]) -> list[list[Line]]:
    def key(line: Line) -> str:
        return str(line.column)

    return [list(group) for _, group in groupby(sorted(lines, key=key), key=key)]


def _by_data(stored: Sequence[StoredResult]) -> dict[tuple[_Protocol, str], dict[str, StoredResult]]:
    """Protocol and test set -> label -> result."""
    by_data: dict[tuple[_Protocol, str], dict[str, StoredResult]] = {}
    for result in stored:
        if result.rows:
            row = result.rows[0]
            label = row.method if row.seed == 0 else f"{row.method} seed {row.seed}"
            of_data = by_data.setdefault((_protocol(row), row.test_set), {})
            # Of results that complete each other, the one with most numbers stands for the method.
            if label not in of_data or len(result.rows) > len(of_data[label].rows):
                of_data[label] = result
    return by_data


def _data_apart(parts: Sequence[tuple[_Protocol, str]]) -> dict[tuple[_Protocol, str], str]:
    """Protocol and test set -> what tells the data from others with that protocol."""
    variants = [Variant(str(protocol), test_set) for protocol, test_set in parts]
    return dict(zip(parts, told_apart(variants), strict=True))


def _folder(protocol: _Protocol, *apart: str) -> str:
    words = [part.replace(", ", "-").replace(" ", "-") for part in apart if part]
    return slug("-".join([*protocol, *words]))


def _protocol(row: Measurement | Line) -> _Protocol:
    return row.dataset, row.drop, row.mechanism, f"n{row.n}"


def _shown(state: str) -> str:
    return "nothing missing" if state == FULL else f"{state} missing"


def _reliability(bins: ReliabilityBins) -> Reliability:
    """The points of a diagram from stored sums per bin."""
    count, confidence, correct = (
        np.asarray(sums, dtype=np.float64) for sums in (bins.count, bins.confidence, bins.correct)
    )
    empty = np.full(len(count), np.nan)
    mean = np.divide(confidence, count, out=empty.copy(), where=count > 0)
    share = np.divide(correct, count, out=empty, where=count > 0)
    return Reliability(width_edges(len(count)), count, mean, share, "width")
