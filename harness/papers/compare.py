"""A paper's tables with measured numbers beside: which results belong to which cell, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from harness.leaderboard.facts import RowFacts
from harness.papers.checks import Contradiction, examine
from harness.papers.commands import COSTS, Filler, filler
from harness.papers.derived import averages, costs, in_groups
from harness.papers.schema import Column, Ours, Paper, PaperDataset, PaperRow, PaperTable, PublishedCell
from harness.papers.settings import other_profile, unlike
from harness.statistics.estimate import Estimate
from harness.store.results import Measurement
from harness.store.row_labels import method_of, trained, training_rate

FlagKind = Literal["D", "S", "M", "R", "P", "A", "U"]

FLAGS: Mapping[FlagKind, str] = {
    "D": "other dataset; no difference is given",
    "S": "other test split",
    "M": "other metric or metric backend; no difference is given where the metric is another one",
    "R": "other missingness protocol",
    "P": "not the paper's size of the model, not its settings, or not its pretrained weights",
    "A": "the method failed the audit",
    "U": "the paper does not say enough to tell whether the numbers are comparable",
}

_PRESETS = ("paper", "base", "tiny")


@dataclass(frozen=True, slots=True)
class Flag:
    """One way in which a measured number is not the paper's; ``about`` is the column that it concerns."""

    kind: FlagKind
    text: str
    about: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """Whose numbers a line of ours holds: one trained model."""

    rank: int
    preset: str
    seed: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Our number in a cell, in the paper's unit.

    Attributes:
        row: the result it comes from, in the harness's unit.
        estimate: None where there is no finite number; ``status`` says why.
        difference: ours minus published; None where the two are not of the same dataset and metric.
        outside: whether the published number lies outside our interval.
    """

    row: Measurement
    estimate: Estimate | None
    difference: float | None
    outside: bool
    flags: tuple[Flag, ...]

    @property
    def value(self) -> float | None:
        """The number itself, or None."""
        return None if self.estimate is None else self.estimate.value

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Its interval; None for costs and averages, and where an end is not finite."""
        return self.estimate.ci95 if self.estimate is not None and self.estimate.has_interval else None

    @property
    def status(self) -> str:
        """``ok``, ``failed``, ``unavailable``, ``n/a``, or ``undefined`` for what is not finite."""
        return "undefined" if self.value is None and self.row.value is not None else self.row.status


@dataclass(frozen=True, slots=True)
class ReportCell:
    """A cell: what is published, what was measured by each run, and what fills it where nothing was."""

    published: PublishedCell
    column: Column
    source: str
    ours: Ours
    measured: Mapping[Run, Measured]
    fill: Filler | None


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A row of the paper with its cells and the runs that have numbers in it."""

    row: PaperRow
    method: str
    runs: tuple[Run, ...]
    cells: tuple[ReportCell, ...]


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table of the paper, its rows in the paper's order."""

    table: PaperTable
    rows: tuple[ReportRow, ...]

    def flags(self) -> list[Flag]:
        """Every flag that occurs, in the order of ``FLAGS``."""
        flags = dict.fromkeys(
            flag
            for row in self.rows
            for cell in row.cells
            for measured in cell.measured.values()
            for flag in measured.flags
        )
        return sorted(flags, key=lambda flag: list(FLAGS).index(flag.kind))


@dataclass(frozen=True, slots=True)
class Report:
    """A paper beside our results."""

    paper: Paper
    tables: tuple[ReportTable, ...]
    findings: tuple[Contradiction, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """Measured numbers, findable by method and metric.

    Attributes:
        failed: result keys whose method failed the audit.
        random: result key -> settings that say ``random`` where the paper starts from pretrained weights.
        facts: result key -> how the result came about, where that is known.
    """

    rows: Mapping[tuple[str, str], Sequence[Measurement]] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    random: Mapping[str, Sequence[str]] = field(default_factory=dict)
    facts: Mapping[str, RowFacts] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Measurement], facts: Mapping[str, RowFacts] | None = None) -> Results:
        """Index rows by method, whatever their settings; ``facts`` adds costs as metrics.

        Controls, and reruns on other inputs or with other probabilities, are left out.
        """
        facts = facts or {}
        of_methods = [row for row in rows if not row.control and row.method == trained(row.method)]
        by_name: dict[tuple[str, str], list[Measurement]] = {}
        for row in [*of_methods, *averages(of_methods), *costs(facts)]:
            by_name.setdefault((method_of(row.method), row.metric), []).append(row)
        for group, row in in_groups(of_methods, facts):
            by_name.setdefault((method_of(row.method), f"{row.metric} {group}"), []).append(row)
        failed = {key for key, each in facts.items() if each.audit.state == "failed"}
        random = {key: _random(each.card) for key, each in facts.items() if _random(each.card)}
        return cls(by_name, frozenset(failed), random, facts)


def compare(paper: Paper, results: Results) -> Report:
    """The paper's tables with what ``results`` holds for each cell."""
    tables = tuple(
        ReportTable(table, tuple(_row(paper, table, row, results) for row in table.rows))
        for table in paper.tables
    )
    return Report(paper, tables, tuple(examine(paper)))


def _row(paper: Paper, table: PaperTable, row: PaperRow, results: Results) -> ReportRow:
    cells = []
    for column in table.columns:
        published = table.cell(row, column)
        # Where the paper prints nothing, the metric is not one of that row.
        ours = table.ours_at(row, column) if published.state != "blank" else Ours()
        measured = _measured(paper, column, published, ours, results)
        empty = ours.asks and not any(m.row.value is not None for m in measured.values())
        fill = filler(paper, ours, measured_detail(measured)) if empty else None
        cells.append(ReportCell(published, column, table.source(row, column), ours, measured, fill))
    # A run that lacks only this cell needs the same command.
    runs = tuple(sorted({run for cell in cells for run in cell.measured}))
    cells = [_with_gaps(paper, cell, runs) for cell in cells]
    methods = [cell.ours.method for cell in cells if cell.ours.method and cell.ours.asks]
    return ReportRow(row, methods[0] if methods else "", runs, tuple(cells))


def _with_gaps(paper: Paper, cell: ReportCell, runs: Sequence[Run]) -> ReportCell:
    if cell.fill or not cell.ours.asks:
        return cell
    if all(run in cell.measured and cell.measured[run].row.value is not None for run in runs):
        return cell
    return replace(cell, fill=filler(paper, cell.ours, measured_detail(cell.measured)))


def measured_detail(measured: Mapping[Run, Measured]) -> str:
    """Why there is no value, in the words of the first result that says so."""
    return next((m.row.detail for m in measured.values() if m.value is None and m.row.detail), "")


def _measured(
    paper: Paper, column: Column, published: PublishedCell, ours: Ours, results: Results
) -> dict[Run, Measured]:
    """Each run's number for a cell: the paper's dataset before substitutes, its metric before stand-ins."""
    if not (ours.method and ours.metrics and ours.dataset):
        return {}
    dataset = paper.datasets[ours.dataset]
    for name in (dataset.reader, *dataset.substitutes):
        by_run: dict[Run, Measured] = {}
        for metric in ours.metrics:
            of_group = results.rows.get((ours.method, f"{metric} {ours.group}"), ()) if ours.group else ()
            of_all = results.rows.get((ours.method, metric), ())
            candidates = _candidates([*of_group, *of_all], name, ours)
            differing = {
                id(row): (*_unlike(paper, ours, row, results), *_ungrouped(ours, row, of_group))
                for row in candidates
            }
            # Of several rows of a preset, the one with the paper's settings comes first; of numbers with
            # several signatures, the one that the paper's column asks for.
            for row in sorted(
                candidates, key=lambda row: (len(differing[id(row)]), len(_foreign(column, row)))
            ):
                run = Run(_rank(row.preset), row.preset, row.seed)
                if run not in by_run or (by_run[run].value is None and row.value is not None):
                    flags = (
                        *_flags(dataset, column, ours, row),
                        *differing[id(row)],
                        *_verdict(row, results),
                    )
                    by_run[run] = _in_paper_unit(row, published, column, ours, flags)
        if by_run:
            return by_run
    return {}


def _candidates(rows: Iterable[Measurement], dataset: str, ours: Ours) -> list[Measurement]:
    """Rows at the cell's rate, those of its drop policy, of mcar and of the largest test set first."""
    rate = ours.rate or 0.0
    fitting = [row for row in rows if row.dataset == dataset and (abs(row.rate - rate) < 1e-9)]
    return sorted(
        fitting, key=lambda row: (row.drop != (ours.drop or row.drop), row.mechanism != "mcar", -row.n)
    )


def _ungrouped(ours: Ours, row: Measurement, of_group: Sequence[Measurement]) -> tuple[Flag, ...]:
    """What there is to say where a cell is of a group of test studies and the number is of all."""
    if not ours.group or any(row is each for each in of_group):
        return ()
    return (Flag("S", f"all test studies, not those of {ours.group} alone"),)


def _foreign(column: Column, row: Measurement) -> list[str]:
    """Parts of the signature that the column asks for and the number does not have."""
    return [part for part in column.signature if part not in row.signature]


def _rank(preset: str) -> int:
    return _PRESETS.index(preset) if preset in _PRESETS else len(_PRESETS)


def _unlike(paper: Paper, ours: Ours, row: Measurement, results: Results) -> tuple[Flag, ...]:
    """How a row's settings differ from the paper's: its size, its reading of the dataset, its training."""
    dataset, facts = paper.datasets[ours.dataset or ""], results.facts.get(row.key)
    flags = [
        Flag("P", text)
        for text in unlike(row, facts, paper.settings(ours), paper.weights_of(ours.method or ""))
    ]
    flags += [
        Flag("P", f"trained from random weights, {setting} names none")
        for setting in results.random.get(row.key, ())
    ]
    profile = other_profile(facts, dataset.reader, dataset.profile) if row.dataset == dataset.reader else ""
    if profile:
        flags.append(Flag("S", profile))
    if (rate := training_rate(row.method)[1]) > 0:
        flags.append(Flag("R", f"trained with a missing rate of {rate:g}"))
    return tuple(flags)


def _verdict(row: Measurement, results: Results) -> tuple[Flag, ...]:
    return (Flag("A", f"{row.method} failed the audit"),) if row.key in results.failed else ()


def _flags(dataset: PaperDataset, column: Column, ours: Ours, row: Measurement) -> tuple[Flag, ...]:
    flags = []
    if row.dataset != dataset.reader:
        flags.append(Flag("D", f"{row.dataset} in place of {dataset.label}"))
    elif ours.group:
        flags.append(Flag("U", f"whether the paper scored the studies of {ours.group} alone is not stated"))
    elif dataset.n_test and row.n and row.n != dataset.n_test:
        flags.append(Flag("S", f"{row.n} test studies, the paper has {dataset.n_test}"))
    elif not dataset.n_test and row.metric not in COSTS:
        flags.append(Flag("U", f"size of {dataset.label}'s test set not stated; ours is {row.n}"))
    metric = (ours.metrics or ("",))[0]
    if row.metric != metric:
        flags.append(Flag("M", f"{row.metric} in place of {metric}"))
    if missing := _foreign(column, row):
        flags.append(Flag("M", f"{row.metric}: ours is not {', '.join(missing)}, but {row.signature}"))
    if column.backend:
        flags.append(Flag("U", column.backend, column.label))
    if (ours.rate or 0.0) > 0.0 and ours.drop and row.drop != ours.drop:
        flags.append(Flag("R", f"{row.drop} is dropped, not {ours.drop}"))
    if (ours.rate or 0.0) > 0.0 and row.mechanism not in ("", "mcar"):
        flags.append(Flag("R", f"missing by {row.mechanism}, not at random"))
    return tuple(flags)


def _random(card: Mapping[str, Any]) -> list[str]:
    """Settings of a row's card that name no pretrained weights."""
    return [each["setting"] for each in card.get("weights", ()) if each["source"] in ("random", "none")]


def _in_paper_unit(
    row: Measurement, published: PublishedCell, column: Column, ours: Ours, flags: tuple[Flag, ...]
) -> Measured:
    scale = 1.0 if ours.scale is None else ours.scale
    estimate = row.estimate
    if estimate is None or not estimate.is_defined:
        return Measured(row, None, None, False, flags)
    estimate = Estimate(estimate.value * scale, estimate.lo * scale, estimate.hi * scale, row.n)
    comparable = row.metric == (ours.metrics or ("",))[0] and all(flag.kind != "D" for flag in flags)
    difference, outside = None, False
    if published.value is not None and comparable:
        difference = round(estimate.value, column.decimals) - published.value
        outside = estimate.has_interval and not estimate.covers(published.value)
    return Measured(row, estimate, difference, outside, flags)
