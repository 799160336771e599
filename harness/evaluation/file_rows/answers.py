"""A system's answers on the test studies of a dataset, from files."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Task
from harness.evaluation.benchmark import corner_of
from harness.evaluation.extra_scores import ExtraColumn, read_extra
from harness.evaluation.file_rows.target import Target
from harness.evaluation.probability_files.tables import label_table, numbers_of
from harness.evaluation.report_files.fields import NULL_WORDS
from harness.evaluation.report_files.joining import joined_ids
from harness.evaluation.report_files.reader import ReportFile, read_reports
from harness.metrics.diagnosis.probabilities import checked_probabilities
from harness.metrics.text.hygiene import remarks_on, sentences
from harness.missingness.states import FULL, lost_in, state_of


@dataclass(frozen=True, slots=True)
class FileAnswers:
    """What a system answered.

    Attributes:
        task: report or diagnose.
        states: modality state -> answers, in the order of the test studies; ``full`` first.
        digests: modality state -> name of its file and its SHA-256, ``mine.json sha256:..``.
        oddities: one sentence each on what is odd about the reports with nothing missing.
        extra: scores that another program gave the answers with nothing missing.
    """

    task: Task
    states: Mapping[str, Sequence[Prediction]]
    digests: Mapping[str, str]
    oddities: tuple[str, ...] = ()
    extra: tuple[ExtraColumn, ...] = ()

    @classmethod
    def read(
        cls,
        target: Target,
        task: Task,
        files: Mapping[str, Path],
        null_words: Sequence[str] | None = None,
        extra: Sequence[Path] = (),
    ) -> FileAnswers:
        """Read one file per modality state.

        Args:
            target: the test studies.
            task: report or diagnose.
            files: state -> file, ``full`` or ``""`` among them; ``no-context`` is ``context``.
            null_words: texts that mean "no report"; None: the usual ones.
            extra: tables of scores, see ``extra_scores.read_extra``.

        Raises:
            HarnessError: an unreadable file, or ids that are not those of the test studies.
        """
        if task not in target.info.tasks:
            offered = ", ".join(sorted(target.info.tasks))
            raise HarnessError(f"{target.info.title} has no task {task}", f"it has {offered}")
        files = _by_state(target, files)
        digests = {state: f"{path.name} sha256:{_digest(path)}" for state, path in files.items()}
        words = NULL_WORDS if null_words is None else null_words
        states: dict[str, list[Prediction]] = {}
        for state, path in files.items():
            if task is Task.DIAGNOSE:
                answers = _probabilities(target, state, path)
            else:
                answers = _reports(target, state, path, words)
            full = states.get(FULL, [])
            states[state] = [
                answers[each.id] if each.id in answers else full[row]
                for row, each in enumerate(target.studies)
            ]
        texts = {
            each.id: answer.report or "" for each, answer in zip(target.studies, states[FULL], strict=True)
        }
        odd = sentences(remarks_on(texts, "predictions"), with_ids=False) if task is Task.REPORT else ()
        columns = tuple(column for path in extra for column in _extra(target, path))
        digests |= {f"extra {path.name}": f"{path.name} sha256:{_digest(path)}" for path in extra}
        return cls(task, states, digests, tuple(odd), columns)


def _extra(target: Target, path: Path) -> tuple[ExtraColumn, ...]:
    """The scores of a table, one per test study.

    Raises:
        HarnessError: as ``read_extra``; other ids, or a column with the name of a metric of the store.
    """
    table = read_extra(path)
    joined_ids(_needed(target, FULL, ()), table.file)
    names = {output.name for metric in target.metrics for output in metric.outputs}
    if taken := [column.name for column in table.columns if column.name in names]:
        raise HarnessError(f"{path}: {taken[0]} is the name of a metric of the store", "rename the column")
    return table.columns


def _by_state(target: Target, files: Mapping[str, Path]) -> dict[str, Path]:
    """Files by the names of the dataset's modality states, ``full`` first."""
    modalities, named = target.info.modalities, {FULL: Path()}
    for name, file in files.items():
        lost = lost_in(name)
        if wrong := [each for each in lost if each not in modalities]:
            raise HarnessError(
                f"{wrong[0]!r} is no modality of {target.info.title}", f"it has {', '.join(modalities)}"
            )
        state = state_of(lost, modalities)
        if named.get(state, Path()) != Path():
            raise HarnessError(f"two files of the state {state}", "one file per state")
        named[state] = file
    if named[FULL] == Path():
        raise HarnessError("the full state has no file", "--missing full=FILE")
    return named


def _reports(target: Target, state: str, path: Path, null_words: Sequence[str]) -> dict[str, Prediction]:
    file = read_reports(path, "predictions", null_words)
    ids = joined_ids(_needed(target, state, file.texts), file)
    return {name: Prediction(report=file.texts[name]) for name in ids}


def _probabilities(target: Target, state: str, path: Path) -> dict[str, Prediction]:
    table, info = label_table(path, "probabilities"), target.info
    file = ReportFile(path, "a table", dict.fromkeys(table.ids, "."), "ids", {})
    ids = joined_ids(_needed(target, state, file.texts), file)
    for one, other, what in (
        (info.label_names, table.columns, "no column"),
        (table.columns, info.label_names, "a column that is no label of the dataset:"),
    ):
        if absent := [name for name in one if name not in other]:
            raise table.error(f"{what} {absent[0]!r}", f"labels: {', '.join(info.label_names)}")
    place = {name: number for number, name in enumerate(table.ids)}
    values = np.stack([numbers_of(table, name) for name in info.label_names], axis=1)
    values = values[[place[name] for name in ids]]
    by_id = {study.id: study.labels for study in target.studies}
    none = np.eye(1, values.shape[1])[0]  # stands for labels that a study does not have
    truth = np.array([none if (labels := by_id[name]) is None else labels for name in ids])
    rows = [f"study {name!r}" for name in ids]
    probabilities, _, _ = checked_probabilities(values, truth, info.multilabel, rows)
    return {name: Prediction(probabilities=row) for name, row in zip(ids, probabilities, strict=True)}


def _needed(target: Target, state: str, offered: Collection[str]) -> ReportFile:
    """The test studies that a file has to have, as the file that it is joined with.

    A study that cannot lose what the state lacks may be absent: it keeps its answer with nothing missing.
    """
    able = corner_of(target.studies, state, target.info.modalities)
    ids = [
        study.id
        for study, loses in zip(target.studies, able, strict=True)
        if state == FULL or loses or study.id in offered
    ]
    place = Path(f"the test split of {target.info.title}")
    return ReportFile(place, "a dataset", dict.fromkeys(ids, "."), "ids", {})


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder in the order of their names."""
    state = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file()):
        state.update(file.read_bytes())
    return state.hexdigest()
