"""Tables with one row per study and one column per label: read, checked, joined by id.

What a table cannot say is asked about: uncertain labels, empty cells, and whether classes are exclusive.
Messages name files, columns and ids.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.names import did_you_mean
from harness.evaluation.probability_files.cells import Values, cells_of
from harness.evaluation.report_files.fields import IDS, NULL_WORDS, PATIENTS, folded, listed
from harness.evaluation.report_files.joining import alike, joined_ids
from harness.evaluation.report_files.pairing import within
from harness.evaluation.report_files.reader import ReportFile

Read: TypeAlias = "tuple[str, str, tuple[str, ...]]"
"""What was read in another form than it stands: kind, rest of a sentence, ids."""

LABEL = "label:"
_PATIENTS = (*PATIENTS, "patient")
_SHOWN = 40
"""Longer names of columns may be texts, which no message shows."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_TRUTHS = {"true": 1.0, "false": 0.0}
_POLICIES = (None, "positive", "negative")


@dataclass(frozen=True, slots=True)
class LabelReading:
    """What a table cannot say.

    Attributes:
        uncertain: what a label of -1 counts as: ``positive``, ``negative``, or None, which refuses it.
        blank: what an empty label counts as: ``negative``, or None, which refuses it.
        exclusive: classes exclude each other; None: where one column holds the names of classes.
        labels: score these columns alone; empty: all, which both tables need to have.
        subset: ids of the studies that count; None: all.
    """

    uncertain: str | None = None
    blank: str | None = None
    exclusive: bool | None = None
    labels: tuple[str, ...] = ()
    subset: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class LabelTable:
    """A table as text.

    Attributes:
        path: where it comes from, for messages.
        ids: of its rows.
        patients: of its rows; empty where it names none.
        columns: label -> its cells as text.
    """

    path: Path
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]

    def error(self, message: str, hint: str = "") -> HarnessError:
        """An error that begins with the table's place."""
        return HarnessError(f"{self.path}: {message}", hint)


@dataclass(frozen=True, slots=True)
class LabelledStudies:
    """Two tables, joined.

    Attributes:
        ids, patients: of n studies, in the order of the truth.
        names: of the L labels.
        truth: 0 or 1 (n, L).
        probabilities: (n, L), not yet checked to be any.
        multilabel: labels are independent findings.
        remarks: (kind, predicate, ids) of what was read in another form.
    """

    ids: tuple[str, ...]
    patients: tuple[str, ...]
    names: tuple[str, ...]
    truth: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    multilabel: bool
    remarks: tuple[Read, ...]


def label_table(values: Values, side: str) -> LabelTable:
    """A table with a column of ids.

    Raises:
        HarnessError: unreadable, no column or several columns of ids, an id twice, or ids that differ in form
            alone.
    """
    path, header, rows = cells_of(values, side)
    folded_names = [folded(name.removeprefix(LABEL)) for name in header]
    if twice := sorted(
        {name for name, plain in zip(header, folded_names, strict=True) if folded_names.count(plain) > 1}
    ):
        raise HarnessError(
            f"{path}: column {_shown(twice[0])} occurs twice",
            "the first line has names; capitals and blanks do not count",
        )
    id_columns = [number for number, name in enumerate(folded_names) if name in IDS]
    if len(id_columns) != 1:
        have = ", ".join(_shown(name) for name in header[:6])
        what = "no column of ids" if not id_columns else "several columns of ids"
        raise HarnessError(f"{path}: {what} (it has {have})", f"call one of them {IDS[0]}")
    patient_columns = [number for number, name in enumerate(folded_names) if name in _PATIENTS]
    if len(patient_columns) > 1:
        raise HarnessError(f"{path}: several columns of patients", "keep one of them")
    ids = tuple(row[id_columns[0]].strip() for row in rows)
    table = LabelTable(
        path,
        ids,
        tuple(row[patient_columns[0]].strip() for row in rows) if patient_columns else (),
        {
            name.removeprefix(LABEL).strip(): tuple(row[number].strip() for row in rows)
            for number, name in enumerate(header)
            if number not in (*id_columns, *patient_columns)
        },
    )
    _check_ids(table)
    return table


def _check_ids(table: LabelTable) -> None:
    if not table.ids:
        raise table.error("it has no rows")
    if blank := [str(number) for number, name in enumerate(table.ids, 2) if _is_blank(name)]:
        raise table.error(f"no id in line {', '.join(blank[:3])}")
    if twice := [name for name, count in Counter(table.ids).items() if count > 1]:
        raise table.error(f"ids occur twice: {listed(twice)}", "one row per study")
    if same := alike(table.ids):
        raise table.error(f"ids differ in form alone: {listed(same)}", "write each study's id in one form")
    if table.patients:
        _check_patients(table)


def _check_patients(table: LabelTable) -> None:
    """Raise where intervals would take several patients for one, or one for several."""
    if blank := [name for name, patient in zip(table.ids, table.patients, strict=True) if _is_blank(patient)]:
        raise table.error(
            f"{len(blank)} studies have no patient: {listed(blank)}",
            "name each one's patient, or leave the column out: each study then counts as a patient",
        )
    if same := alike(dict.fromkeys(table.patients)):
        raise table.error(
            f"patients differ in form alone: {listed(same)}", "write each patient's name in one form"
        )


def joined(truth: Values, predictions: Values, reading: LabelReading) -> LabelledStudies:
    """Labels and probabilities of the same studies and labels.

    Raises:
        HarnessError: ids or labels on one side only, cells that are no labels or no numbers, or a table that
            can be read in two ways; the message names the option that decides.
    """
    _check_reading(reading)
    ours, theirs = label_table(truth, "labels"), label_table(predictions, "probabilities")
    ids = joined_ids(_as_file(ours), _as_file(theirs))
    left_out: list[Read] = []
    if reading.subset is not None:
        predicate = f"are the subset of {len(ids)} that is scored"
        ids, remark = within(ids, reading.subset, _as_file(ours))
        left_out.append((remark.kind, predicate, remark.ids))
        ours, theirs = (rows_of(table, set(ids)) for table in (ours, theirs))
    place = {name: number for number, name in enumerate(theirs.ids)}
    order = [place[name] for name in ids]
    class_column = _class_column(ours, theirs)
    if class_column is not None:
        if reading.exclusive is False or reading.labels:
            raise ours.error(
                f"column {_shown(class_column)} has one class per study",
                "classes are exclusive and scored together, without --findings",
            )
        names = tuple(theirs.columns)
        remarks: list[Read] = []
        labels = _one_hot(ours, class_column, names)
    else:
        names = _shared(ours, theirs, reading.labels)
        labels, remarks = labels_of(ours, names, reading)
    exclusive = class_column is not None or bool(reading.exclusive)
    if exclusive and (wrong := [ours.ids[i] for i in np.flatnonzero(labels.sum(axis=1) != 1)]):
        raise ours.error(
            f"{len(wrong)} studies have no class or several: {listed(wrong)}", "leave out --exclusive"
        )
    probabilities = np.stack([numbers_of(theirs, name) for name in names], axis=1)[order]
    patients = _patients(ours, theirs, order)
    read = (*left_out, *remarks)
    return LabelledStudies(tuple(ids), patients, names, labels, probabilities, not exclusive, read)


def _check_reading(reading: LabelReading) -> None:
    if reading.uncertain not in _POLICIES:
        raise HarnessError(f"--uncertain {reading.uncertain} is none of a table", "positive or negative")
    if reading.blank not in (None, "negative"):
        raise HarnessError(f"--blank {reading.blank} is none", "negative counts empty labels as not there")
    if twice := [name for name, count in Counter(reading.labels).items() if count > 1]:
        raise HarnessError(f"--findings has {_shown(twice[0])} twice", "name each label once")


def _patients(ours: LabelTable, theirs: LabelTable, order: Sequence[int]) -> tuple[str, ...]:
    """Patients of the studies, from the table that names them; else each study counts as one."""
    others = tuple(theirs.patients[index] for index in order) if theirs.patients else ()
    if ours.patients and others:
        pairs = zip(ours.ids, ours.patients, others, strict=True)
        if other := [name for name, one, another in pairs if one != another]:
            raise theirs.error(
                f"{len(other)} studies have another patient than in {ours.path}: {listed(other)}",
                "write the patients alike, or leave the column out of one table",
            )
    return ours.patients or others or ours.ids


def rows_of(table: LabelTable, ids: Container[str]) -> LabelTable:
    """The rows of some studies."""
    rows = [row for row, name in enumerate(table.ids) if name in ids]
    return LabelTable(
        table.path,
        tuple(table.ids[row] for row in rows),
        tuple(table.patients[row] for row in rows) if table.patients else (),
        {name: tuple(cells[row] for row in rows) for name, cells in table.columns.items()},
    )


def _as_file(table: LabelTable) -> ReportFile:
    return ReportFile(table.path, "a table", dict.fromkeys(table.ids, "."), "ids", {})


def _class_column(ours: LabelTable, theirs: LabelTable) -> str | None:
    """The only column of labels, where it names classes instead of saying 0 and 1."""
    if len(ours.columns) == 1:
        ((name, cells),) = ours.columns.items()
        if any(_label(cell) is None and not _is_blank(cell) for cell in cells):
            return name
        if name not in theirs.columns and set(cells) <= set(theirs.columns):
            return name  # classes that are called 0, 1, 2
    return None


def _other_case(absent: Sequence[str], table: LabelTable) -> str:
    """Advice where names of columns differ in capitals alone; empty where they do not."""
    folded = {name.casefold(): name for name in table.columns}
    pairs = [(name, folded[name.casefold()]) for name in absent if name.casefold() in folded]
    return f"it has {_shown(pairs[0][1])}: capitals count, rename the column" if pairs else ""


def _one_hot(table: LabelTable, column: str, names: Sequence[str]) -> NDArray[np.float32]:
    cells = table.columns[column]
    for cell, study in zip(cells, table.ids, strict=True):
        if cell not in names:
            raise table.error(
                f"the class of {listed([study])} is no column of the probabilities",
                f"columns are named like the classes ({did_you_mean(cell, names)}); "
                "labels of a single finding are 0 and 1",
            )
    return np.array([[cell == name for name in names] for cell in cells], dtype=np.float32)


def _shared(ours: LabelTable, theirs: LabelTable, wanted: Sequence[str]) -> tuple[str, ...]:
    """Labels that both tables have."""
    for table in (ours, theirs):
        for name in wanted:
            if name not in table.columns:
                columns = [each for each in table.columns if _is_name(each)]
                raise table.error(f"no column {_shown(name)}", did_you_mean(name, columns))
    if wanted:
        return tuple(wanted)
    for one, other in ((ours, theirs), (theirs, ours)):
        if absent := [name for name in one.columns if name not in other.columns]:
            shown = ", ".join(_shown(name) for name in absent[:4]) + (", .." if len(absent) > 4 else "")
            raise other.error(
                f"no column {shown}, which {one.path} has",
                _other_case(absent, other)
                or "--findings A,B scores these alone; or delete columns that are no labels",
            )
    if not ours.columns:
        raise ours.error("it has no column of labels", "one column per label, with 0 and 1")
    return tuple(ours.columns)


def labels_of(
    table: LabelTable, names: Sequence[str], reading: LabelReading
) -> tuple[NDArray[np.float32], list[Read]]:
    """0 or 1 (n, L), and what was decided by an option."""
    labels = np.zeros((len(table.ids), len(names)), dtype=np.float32)
    uncertain: dict[str, None] = {}
    blank: dict[str, None] = {}
    for column, name in enumerate(names):
        for row, (cell, study) in enumerate(zip(table.columns[name], table.ids, strict=True)):
            value = _label(cell)
            if _is_blank(cell):
                blank[study] = None
            elif value == -1:
                uncertain[study] = None
                labels[row, column] = reading.uncertain == "positive"
            elif value in (0, 1):
                labels[row, column] = value
            else:
                raise table.error(f"{_shown(name)} of {listed([study])} is no label", "labels are 0 and 1")
    if uncertain and reading.uncertain not in ("positive", "negative"):
        raise table.error(
            f"{len(uncertain)} studies have uncertain labels, -1: {listed(list(uncertain))}",
            "--uncertain positive or negative",
        )
    if blank and reading.blank != "negative":
        raise table.error(
            f"{len(blank)} studies have empty labels: {listed(list(blank))}",
            "--blank negative counts them as not there; or leave these studies out of both tables",
        )
    remarks = [
        ("uncertain labels", f"have uncertain labels, counted as {reading.uncertain}", tuple(uncertain)),
        ("empty labels", "have empty labels, counted as negative", tuple(blank)),
    ]
    return labels, [each for each in remarks if each[2]]


def codes_of(table: LabelTable, name: str) -> NDArray[np.float64]:
    """A column (n,) of CheXpert's codes: 1, 0, -1, and NaN where it is empty.

    Raises:
        HarnessError: a cell is none of these; names the study.
    """
    codes = np.full(len(table.ids), np.nan)
    for row, (cell, study) in enumerate(zip(table.columns[name], table.ids, strict=True)):
        if _is_blank(cell):
            continue
        value = _label(cell)
        if value not in (0, 1, -1):
            raise table.error(
                f"{_shown(name)} of {listed([study])} is no label", "labels are 1, 0, -1 or empty"
            )
        codes[row] = value
    return codes


def numbers_of(table: LabelTable, name: str) -> NDArray[np.float64]:
    """A column as numbers (n,).

    Raises:
        HarnessError: a cell is none; names the studies.
    """
    values = [_number(cell) for cell in table.columns[name]]
    wrong = [study for study, value in zip(table.ids, values, strict=True) if value is None]
    if wrong:
        raise table.error(
            f"{_shown(name)} has no number for {len(wrong)} studies: {listed(wrong)}",
            "one probability per cell, with a decimal point and no percent sign",
        )
    return np.array(values, dtype=np.float64)


def _number(cell: str) -> float | None:
    value = float(cell) if _NUMBER.fullmatch(cell) else np.nan
    return value if np.isfinite(value) else None


def _label(cell: str) -> float | None:
    """A number, or what spreadsheets and pandas write for a yes and a no."""
    return _TRUTHS.get(cell.casefold(), _number(cell))


def _is_blank(cell: str) -> bool:
    return not cell or cell.casefold() in NULL_WORDS


def _is_name(name: str) -> bool:
    return len(name) <= _SHOWN and name.count(" ") < 4


def _shown(name: str) -> str:
    return repr(name) if _is_name(name) else "(a text)"
