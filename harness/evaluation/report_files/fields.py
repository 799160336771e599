"""Which field of a record is the id, which one the report: the names that files have for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core import null_words
from harness.core.errors import HarnessError

Side = Literal["references", "predictions"]
"""What a file is read for. Where one file holds both, it says which of its fields is read."""

IDS = ("id", "study_id", "image_id", "uid", "studyid", "case_id", "dicom_id", "question_id")
PATIENTS = ("patient_id", "subject_id")
OF_SIDE: Mapping[Side, tuple[str, ...]] = {
    "references": (
        *("reference", "references", "ref", "refs", "ground_truth", "gt", "gts", "target"),
        *("reference_report", "ground_truth_report", "gt_report"),
    ),
    "predictions": (
        *("prediction", "predictions", "pred", "preds", "hypothesis", "hypotheses", "hyp", "hyps"),
        *("model_prediction", "predicted_report", "generated", "generated_report", "generated_text"),
        *("candidate", "candidates", "output", "res"),
    ),
}
OF_EITHER = (("report", "text"), ("caption",), ("findings", "impression"), ("section_findings",))
"""Names of a report on either side; an earlier group goes before a later one."""

NULL_WORDS = tuple(sorted(null_words.NULL_WORDS))
"""What programs write where there is no text, in lower case: those of pandas, and JavaScript's."""

EXPECTED = "expected id and report (or text), each once"
_SHOWN = 30
"""Longer names of columns are no names; they may be reports, which no message shows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A report of a file.

    Attributes:
        id: of its study.
        text: None where the file has no text for the study.
        patient: of the study, where the file names it.
    """

    id: str
    text: str | None
    patient: str | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of a record's fields; None where it has no such field."""

    id: str | None
    text: str
    patient: str | None


def folded(name: str) -> str:
    """A field's name without capitals, outer blanks, and differences between blanks, ``-`` and ``_``."""
    return "_".join(name.strip().casefold().replace("-", " ").replace("_", " ").split())


def names_text(name: str) -> bool:
    """Whether a field of this name is a report or a list of reports."""
    plain = folded(name)
    return any(plain in names for names in (*OF_SIDE.values(), *OF_EITHER))


def fields_of(names: Sequence[str], side: Side) -> Fields:
    """The fields to read among those of a record or table.

    Raises:
        ValueError: no field or several fields could be the report or the id, or a name occurs twice.
    """
    by_name: dict[str, str] = {}
    for name in names:
        if folded(name) in by_name and (names_text(name) or folded(name) in (*IDS, *PATIENTS)):
            raise ValueError(f"{name} occurs twice")
        by_name.setdefault(folded(name), name)
    text = _text_field(by_name, side)
    ids = [name for name in IDS if name in by_name]
    if folded(text) == "caption" and "image_id" in ids:
        ids = ["image_id"]  # COCO's own id numbers the annotations
    if len(ids) > 1 and ids[0] != "id":
        raise ValueError(f"{' and '.join(ids)} could both be the id: keep one of them")
    patient = next((by_name[name] for name in PATIENTS if name in by_name), None)
    return Fields(by_name[ids[0]] if ids else None, by_name[text], patient)


def _text_field(by_name: Mapping[str, str], side: Side) -> str:
    for group in (OF_SIDE[side], *OF_EITHER):
        candidates = [name for name in group if name in by_name]
        if len(candidates) > 1:
            raise ValueError(f"{' and '.join(candidates)} could both be the report: keep one of them")
        if candidates:
            return candidates[0]
    other: Side = "predictions" if side == "references" else "references"
    if any(name in by_name for name in OF_SIDE[other]):
        raise ValueError(f"it has {other} and no {side}")
    raise ValueError("no report or text")


def id_of(value: Any) -> str | None:
    """An id as text; None for what is no id."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        return str(value) if math.isfinite(value) else None
    if isinstance(value, str) and (not value.strip() or value.strip().casefold() in NULL_WORDS):
        return None
    return str(value)


def text_of(value: Any) -> str | None:
    """A report, or the only one of a list; None where there is none, as JSON's null and NaN say.

    Raises:
        ValueError: the value is no text.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and (names := [name for name in value if names_text(name)]):
        value = value[names[0]] if len(names) == 1 else value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        raise ValueError(f"has {len(value)} texts, one is scored")
    raise ValueError("is neither text nor [text]")


def shown(names: Sequence[str]) -> str:
    """Names of columns for a message, without what may be text of a report."""
    return ", ".join(
        (name or "(no name)") if len(name) <= _SHOWN and name.count(" ") < 3 else "(a text)" for name in names
    )


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and what it is read for."""

    path: Path
    side: Side

    def error(self, message: str, hint: str = "") -> HarnessError:
        """An error that names the file."""
        return HarnessError(f"{self.path}: {message}", hint)


@dataclass(frozen=True, slots=True)
class Reports:
    """What a file holds.

    Attributes:
        shape: of the file, in words.
        entries: in the order of the file; an id may occur several times.
        order: what joins the file with another: the ``ids``, the positions in a ``list``, or the ``lines``.
    """

    shape: str
    entries: Sequence[Entry]
    order: Literal["ids", "list", "lines"] = "ids"


class Records:
    """Turns records into entries."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._fields: dict[tuple[str, ...], Fields] = {}

    def entry(self, place: str, record: Mapping[str, Any], key: str | None = None) -> Entry:
        """The entry of a record.

        Args:
            place: where it stands.
            record: its fields.
            key: its id, where the record itself needs none.

        Raises:
            HarnessError: it has no id or no report, or several fields that could be.
        """
        try:
            fields = self._of(tuple(record))
        except ValueError as error:
            raise self._source.error(f"{place} needs report or text: {error}", EXPECTED) from error
        name = key if fields.id is None else id_of(record[fields.id])
        if key is not None and fields.id == "id" and name != key:
            raise self._source.error(f"{place} has another id inside, {name!r}", "keep one of the two")
        name = key if key is not None else name
        if name is None:
            raise self._source.error(f"{place} has no id", EXPECTED)
        try:
            text = text_of(record[fields.text])
        except ValueError as error:
            raise self._source.error(
                f"{place} (id {name!r}): {fields.text} {error}", "write one text"
            ) from error
        patient = id_of(record[fields.patient]) if fields.patient is not None else None
        return Entry(name, text, patient)

    def _of(self, names: tuple[str, ...]) -> Fields:
        if names not in self._fields:
            self._fields[names] = fields_of(names, self._source.side)
        return self._fields[names]
