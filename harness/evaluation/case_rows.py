"""The rows of a page of single studies: what each method answered in each state, from stored predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Task
from harness.evaluation.benchmark import Benchmark
from harness.missingness.states import FULL, lost_by, missing_in, state_of, subsets
from harness.store.cell import Cell
from harness.store.predictions import PREDICTIONS, AnswerFile
from harness.store.results import StoredResult
from harness.store.store import Store


@dataclass(frozen=True)
class CaseRow:
    """A method's stored answers.

    Attributes:
        label: as tables call the row, with its seed where it is not 0.
        stored: the result that names the trained method.
        tasks: what it answers: ``report``, ``diagnose``.
        reads: the dataset's modalities that it reads.
        answers: modality state -> study id -> prediction. Absent is a state that takes nothing from it, or in
            which it was never asked.
        asked: the states of its own files of predictions.
        scores: modality state -> task -> score of each test study (n,), higher is better.
    """

    label: str
    stored: StoredResult
    tasks: frozenset[Task]
    reads: frozenset[str]
    answers: Mapping[str, Mapping[str, Prediction]]
    asked: frozenset[str]
    scores: dict[str, dict[Task, NDArray[np.float64]]] = field(default_factory=dict)

    def unasked(self, states: Sequence[str]) -> list[str]:
        """The states that take something from it and in which it was never asked."""
        return [
            state
            for state in states
            if state not in self.answers and not self.reads.isdisjoint(missing_in(state))
        ]


def _label(result: StoredResult) -> str:
    seed = result.manifest.seed
    return result.rows[0].method + (f" seed {seed}" if seed else "")


def case_rows(
    store: Store, results: Sequence[StoredResult], benchmark: Benchmark, left_out: dict[str, str]
) -> Iterator[CaseRow]:
    """One row per trained cell; rows of other test sets and reruns of a row are left out.

    Args:
        left_out: gets the label of each row whose predictions are gone or not complete, and a reason.
    """
    cells: set[str] = set()
    info = benchmark.dataset.info
    for result in results:
        label, cell = _label(result), result.manifest.cell
        if "+" in label or cell in cells or result.manifest.test_set != benchmark.test_set:
            continue
        cells.add(cell)
        reads = info.read_by(result.manifest.card.get("reads", ()))
        files = dict(_files(Cell(store.root / cell), (FULL, *subsets(info.modalities))))
        if FULL not in files:
            left_out[label] = "its predictions are gone or not complete, run it again"
            continue
        first = next(iter(files[FULL].values()))
        tasks = {Task.REPORT: first.report, Task.DIAGNOSE: first.probabilities}
        held = frozenset(task for task, value in tasks.items() if value is not None)
        if held:
            yield CaseRow(label, result, held, reads, _answers(files, benchmark, reads), frozenset(files))


def _files(cell: Cell, states: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Prediction]]]:
    for state in states:
        answers = AnswerFile(cell.predictions(state), PREDICTIONS).sealed()
        if answers is not None:
            yield state, answers


def _answers(
    files: Mapping[str, Mapping[str, Prediction]], benchmark: Benchmark, reads: frozenset[str]
) -> dict[str, dict[str, Prediction]]:
    """The answers to every study of each state in which the row notices something and was asked.

    A study that loses less than the state takes, or nothing that the row reads, was asked in another state:
    what it lost there is all that the row could notice.
    """
    info = benchmark.dataset.info
    offered = frozenset(info.modalities)
    answers: dict[str, dict[str, Prediction]] = {}
    for state in (FULL, *subsets(info.modalities)):
        noticed = {
            study.id: state_of(lost_by(study.modalities, state, offered) & reads, info.modalities)
            for study in benchmark.splits["test"]
        }
        notices = state == FULL or any(each != FULL for each in noticed.values())
        if notices and all(study in files.get(each, {}) for study, each in noticed.items()):
            answers[state] = {study: files[each][study] for study, each in noticed.items()}
    return answers
