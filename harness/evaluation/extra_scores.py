"""Scores per study that another program gave, e.g. a judging language model: intervals, tests, columns.

A table has ids and one column of numbers per score. ``name:lower`` as a header says that less is better.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Reference, Task
from harness.evaluation.probability_files.cells import Values, cells_of
from harness.evaluation.report_files.fields import IDS, NULL_WORDS, folded, listed
from harness.evaluation.report_files.in_memory import Texts, reports_of
from harness.evaluation.report_files.joining import alike, joined_ids
from harness.evaluation.report_files.reader import ReportFile
from harness.evaluation.score_files import N_RESAMPLES, Comparison, Comparisons, Score, Scores
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.text.hygiene import Remark
from harness.statistics import bootstrap
from harness.statistics.significance import Randomisation, Resampling, System, holm

_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,39})(?::(lower|higher))?")
_LARGEST = 1e100
"""A score of which sums of squares are numbers still."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ExtraColumn:
    """One score of a table.

    Attributes:
        name: of the metric.
        higher_is_better: direction.
        values: id -> score.
        digest: of ids and scores, eight hex digits.
    """

    name: str
    higher_is_better: bool
    values: Mapping[str, float]
    digest: str


@dataclass(frozen=True, slots=True)
class ExtraTable:
    """A table of scores.

    Attributes:
        file: its ids, for joining.
        columns: in the table's order.
        remarks: columns that are left out.
    """

    file: ReportFile
    columns: tuple[ExtraColumn, ...]
    remarks: tuple[Remark, ...]


class ImportedScore(Metric):
    """The mean of a column of imported scores. Statistics are ``[score, 1]``.

    Args:
        column: scores by study.
        of_file: whether the signature names the scores by their digest; a comparison has several files.
    """

    name: ClassVar[str] = "imported"
    task: ClassVar[Task] = Task.REPORT
    group = "imported scores"

    def __init__(self, column: ExtraColumn, of_file: bool = True) -> None:
        self._column, self._of_file = column, of_file
        self.outputs = (MetricOutput(column.name, column.higher_is_better, (-math.inf, math.inf)),)

    @property
    def signature(self) -> str:
        """Identity of the numbers: the name, the direction, and a digest of the scores."""
        better = "higher" if self._column.higher_is_better else "lower"
        scores = f"|scores:{self._column.digest}" if self._of_file else ""
        return f"imported|column:{self._column.name}|better:{better}{scores}|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2)."""
        return np.array([[self._column.values[reference.id], 1.0] for reference in references])

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean (...)."""
        return {self._column.name: mean_of(totals)}


def read_extra(values: Values) -> ExtraTable:
    """Scores of a CSV, TSV or Parquet file, or of a data frame.

    A column without a single number is left out, and a remark names it; all others need a number per study.

    Raises:
        HarnessError: no table, no ids, an id twice, a cell that is no number, or no column of scores.
    """
    path, header, rows = cells_of(values, "--extra")
    id_columns = [number for number, name in enumerate(header) if folded(name) in IDS]
    if len(id_columns) != 1:
        raise HarnessError(f"{path}: {len(id_columns)} columns of ids", f"name one of them {IDS[0]}")
    ids = [row[id_columns[0]].strip() for row in rows]
    _check_ids(path, ids)
    columns, left_out = [], []
    for number, name in enumerate(header):
        if number in id_columns:
            continue
        cells = [row[number].strip() for row in rows]
        if not any(_NUMBER.fullmatch(cell) for cell in cells):
            left_out.append(name if _NAME.fullmatch(name.strip()) else f"column {number + 1}")
            continue
        columns.append(_column(path, name.strip(), dict(zip(ids, cells, strict=True))))
    names = [column.name for column in columns]
    if not names or len(set(names)) < len(names):
        problem = "two columns of one name" if names else "no column of numbers"
        if not names and left_out:
            problem += f": no cell of {listed(left_out)} is one"
        raise HarnessError(f"{path}: {problem}", "a table of scores has id and a column per score")
    predicate = f"hold no number and are left out: {listed(left_out)}"
    remarks = [Remark("left out", predicate, len(left_out), len(header) - 1, "columns of --extra", ())]
    file = ReportFile(path, "a table", dict.fromkeys(ids, "."), "ids", {})
    return ExtraTable(file, tuple(columns), tuple(remarks if left_out else ()))


def _check_ids(path: object, ids: Sequence[str]) -> None:
    if not ids or "" in ids:
        raise HarnessError(f"{path}: {ids.count('')} rows without an id" if ids else f"{path}: no rows")
    twice = sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else alike(ids)
    if twice:
        raise HarnessError(f"{path}: {len(twice)} ids occur twice, or differ in form alone: {listed(twice)}")


def _column(path: object, header: str, cells: Mapping[str, str]) -> ExtraColumn:
    match = _NAME.fullmatch(header)
    if match is None:
        raise HarnessError(
            f"{path}: a column of numbers has a header that is no name of a metric",
            "letters, digits, _ . and -, then :lower where less is better, for example judge_errors:lower",
        )
    broken = [name for name, cell in cells.items() if not _NUMBER.fullmatch(cell)]
    if broken:
        raise HarnessError(
            f"{path}: {match[1]} is no number for {len(broken)} of {len(cells)} studies: {listed(broken)}",
            "score these studies again, or leave them out of all files",
        )
    values = {name: float(cell) for name, cell in cells.items()}
    infinite = [name for name, value in values.items() if not abs(value) <= _LARGEST]
    if infinite:
        raise HarnessError(f"{path}: {match[1]} is infinite, or nearly so, for {listed(infinite)}")
    content = repr(sorted(values.items())).encode()
    return ExtraColumn(match[1], match[2] != "lower", values, hashlib.sha256(content).hexdigest()[:8])


def with_extra(scores: Scores, references: Texts, files: Sequence[Values]) -> Scores:
    """A system's numbers, and those of imported tables.

    Args:
        scores: of the studies that have a reference.
        references: the same file; its ids and patients.
        files: tables of scores; ids on one side only are an error.

    Raises:
        HarnessError: as ``read_extra`` and ``joined``; or a column has the name of a metric of the table.
    """
    tables, scored = [read_extra(file) for file in files], set(scores.ids)
    joined = targets_of(references, [table.file for table in tables])
    targets = [target for target in joined if target.id in scored]
    weights = bootstrap.bootstrap_weights([target.patient_id for target in targets], N_RESAMPLES)
    rows, per_study = list(scores.scores), dict(scores.per_study)
    for column in (column for table in tables for column in table.columns):
        if column.name in {row.metric for row in rows}:
            raise HarnessError(f"--extra: {column.name} is the name of another column", "rename it")
        metric = ImportedScore(column)
        statistics = metric.statistics([], targets)
        estimate = bootstrap.estimate(metric, statistics, weights)[column.name]
        rows.append(Score(column.name, estimate, metric.signature, metric.group, column.higher_is_better))
        per_study[column.name] = statistics[:, 0]
    remarks = (*scores.remarks, *(remark for table in tables for remark in table.remarks))
    return replace(scores, scores=tuple(rows), per_study=per_study, remarks=remarks)


def compare_with_extra(
    comparisons: Comparisons, references: Texts, files: Mapping[str, Values], trials: int
) -> Comparisons:
    """Comparisons, and paired tests of the columns that the tables of all systems have.

    Args:
        comparisons: of the same systems.
        references: the file of true reports; its ids and patients.
        files: system -> its table of scores.
        trials: random swaps of the paired test.

    Raises:
        HarnessError: as ``with_extra``, or the tables have other columns or directions.
    """
    tables = {system: read_extra(file) for system, file in files.items()}
    by_name = {system: {each.name: each for each in table.columns} for system, table in tables.items()}
    first, *others = tables
    for other in others:
        kinds = [
            {name: each.higher_is_better for name, each in by_name[system].items()}
            for system in (first, other)
        ]
        if kinds[0] != kinds[1]:
            raise HarnessError(
                f"--extra: the columns of {first} and {other} differ", "write the same headers into both"
            )
    targets = targets_of(references, [table.file for table in tables.values()])
    patients = [target.patient_id for target in targets]
    resampling = Resampling(patients, trials, weights=bootstrap.bootstrap_weights(patients, N_RESAMPLES))
    rows = [
        row
        for name in by_name[first]
        for row in _tests({system: columns[name] for system, columns in by_name.items()}, targets, resampling)
    ]
    remarks = (*comparisons.remarks, *(remark for table in tables.values() for remark in table.remarks))
    return replace(comparisons, rows=(*comparisons.rows, *rows), remarks=remarks)


def _tests(
    columns: Mapping[str, ExtraColumn], targets: Sequence[Reference], resampling: Resampling
) -> list[Comparison]:
    """One column on every pair of systems."""
    metrics = {system: ImportedScore(column, of_file=False) for system, column in columns.items()}
    systems = {
        name: System.of(each, each.statistics([], targets), resampling) for name, each in metrics.items()
    }
    pairs = list(combinations(columns, 2))
    tests = [Randomisation(metrics[a], systems[a], systems[b], resampling) for a, b in pairs]
    for swapped in resampling.swaps():
        for test in tests:
            test.count(swapped)
    column = next(iter(columns.values()))
    results = [test.tests()[column.name] for test in tests]
    adjusted = holm([result.p_value for result in results])
    signature = next(iter(metrics.values())).signature
    return [
        Comparison(column.name, a, b, result, p_holm, signature, column.higher_is_better)
        for (a, b), result, p_holm in zip(pairs, results, adjusted, strict=True)
    ]


def targets_of(references: Texts, files: Sequence[ReportFile]) -> list[Reference]:
    """Studies whose reference has words, after a check that every file has the ids of the references.

    Raises:
        HarnessError: an id on one side only, or references without ids.
    """
    true = reports_of(references, "references", NULL_WORDS, several=True)
    for file in files:
        joined_ids(true, file)
    return [
        Reference(name, true.patients.get(name, name)) for name, text in true.texts.items() if text.strip()
    ]
