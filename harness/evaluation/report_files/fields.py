"""Which field of a record is the id, which one the report: the names that files have for them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from harness.core import null_words
from harness.core.errors import HarnessError

Side = Literal["references", "predictions"]
"""What a file is read for. Where one file holds both, it says which of its fields is read."""

IDS = ("id", "study_id", "image_id", "uid", "studyid", "case_id", "dicom_id", "question_id")
PATIENTS = ("patient_id", "subject_id")
CONTEXTS: Mapping[str, tuple[str, ...]] = {
    "context": ("context",),
    "age": ("age", "patient_age"),
    "sex": ("sex", "gender", "patient_sex"),
    "indication": ("indication", "clinical_indication", "history", "clinical_history"),
}
"""Part of a patient's context -> names of its field."""
OF_SIDE: Mapping[Side, tuple[str, ...]] = {
    "references": (
        *("reference", "references", "ref", "refs", "ground_truth", "gt", "gts", "target"),
        *("reference_report", "ground_truth_report", "gt_report"),
    ),
    "predictions": (
        *("prediction", "predictions", "pred", "preds", "hypothesis", "hypotheses", "hyp", "hyps"),
        *("model_prediction", "predicted_report", "generated", "generated_report", "generated_text"),
        *("candidate", "candidates", "output", "res", "response", "completion", "model_output"),
    ),
}
OF_EITHER = (("report", "text"), ("caption",), ("findings", "impression"), ("section_findings",))
"""Names of a report on either side; an earlier group goes before a later one."""

NULL_WORDS = tuple(sorted(null_words.NULL_WORDS))
"""What programs write where there is no text, in lower case: those of pandas, and JavaScript's."""

SEVERAL_ADVICE = "write one text, or say how several count: --several max or mean"
EXPECTED = "expected id and report (or text), each once"
_NUMBERED = re.compile(r"(.+?)_?(\d{1,3})")
_REXRANK = re.compile(
    r"<context>\s*(?:Age:(?P<age>[^.]*)\.)?(?:Gender:(?P<sex>[^.]*)\.)?(?:Indication:(?P<indication>.*?))?"
    r"(?:Comparison:.*)?</context>",
    re.DOTALL,
)
"""A context in the files of ReXrank."""
_LONGEST = 300
_SHOWN = 30
"""Longer names of columns are no names; they may be reports, which no message shows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A report of a file.

    Attributes:
        id: of its study.
        text: None where the file has no text for the study.
        patient: of the study, where the file names it.
        more: further texts of the study.
        context: age, sex and indication, where the file names them.
    """

    id: str
    text: str | None
    patient: str | None = None
    more: tuple[str | None, ...] = ()
    context: str | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of a record's fields; None where it has no such field.

    Attributes:
        more: fields of further texts.
        context: what of the patient's context (``CONTEXTS``) -> field.
    """

    id: str | None
    text: str
    patient: str | None
    more: tuple[str, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All of them."""
        named = (self.id, self.text, self.patient, *self.more, *self.context.values())
        return [name for name in named if name is not None]


@lru_cache(1024)
def folded(name: str) -> str:
    """A field's name without capitals, outer blanks, and differences between blanks, ``-`` and ``_``."""
    return "_".join(name.strip().casefold().replace("-", " ").replace("_", " ").split())


@lru_cache(1024)
def names_text(name: str) -> bool:
    """Whether a field of this name is a report or a list of reports."""
    plain = folded(name)
    return any(plain in names for names in (*OF_SIDE.values(), *OF_EITHER))


def fields_of(names: Sequence[str], side: Side, several: bool = False) -> Fields:
    """The fields to read among those of a record or table.

    Args:
        names: of all fields.
        side: what is read.
        several: numbered fields, such as ``reference_1`` and ``reference_2``, are texts of one study.

    Raises:
        ValueError: no field or several fields could be the report or the id, or a name occurs twice.
    """
    by_name: dict[str, str] = {}
    for name in names:
        if folded(name) in by_name and (names_text(name) or folded(name) in (*IDS, *PATIENTS)):
            raise ValueError(f"{name} occurs twice")
        by_name.setdefault(folded(name), name)
    text, *more = (_numbered(by_name, side) if several else ()) or (_text_field(by_name, side),)
    ids = [name for name in IDS if name in by_name]
    if folded(text) == "caption" and "image_id" in ids:
        ids = ["image_id"]  # COCO's own id numbers the annotations
    if len(ids) > 1 and ids[0] != "id":
        raise ValueError(f"{' and '.join(ids)} could both be the id: keep one of them")
    patient = next((by_name[name] for name in PATIENTS if name in by_name), None)
    context = {
        part: by_name[alias] for part, aliases in CONTEXTS.items() for alias in aliases if alias in by_name
    }
    more_names = tuple(by_name[name] for name in more)
    return Fields(by_name[ids[0]] if ids else None, by_name[text], patient, more_names, context)


def _numbered(by_name: Mapping[str, str], side: Side) -> list[str]:
    """Fields such as ``reference_1`` and ``reference_2`` in the order of their numbers; else none."""
    for group in (OF_SIDE[side], *OF_EITHER):
        numbered: dict[str, dict[int, str]] = {}
        for name in by_name:
            if (match := _NUMBERED.fullmatch(name)) and match[1] in group:
                numbered.setdefault(match[1], {})[int(match[2])] = name
        if len(numbered) == 1 and not any(name in by_name for name in group):
            (fields,) = numbered.values()
            if len(fields) > 1:
                return [fields[number] for number in sorted(fields)]
    return []


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


def texts_of(value: Any, several: bool) -> list[str | None]:
    """All texts of a value: one, or those of a list where several are allowed.

    Raises:
        ValueError: as ``text_of``.
    """
    if several and isinstance(value, list) and len(value) > 1:
        return [text_of(each) for each in value]
    return [text_of(value)]


def entry_of(name: str, value: Any, several: bool) -> Entry:
    """The entry of a study whose texts are one value.

    Raises:
        ValueError: as ``text_of``.
    """
    first, *more = texts_of(value, several)
    return Entry(name, first, more=tuple(more))


def context_of(record: Mapping[str, Any], fields: Mapping[str, str]) -> str | None:
    """Age, sex and indication of a record in one line, as datasets have them; None without any.

    Args:
        record: the study's fields.
        fields: part of the context -> field.
    """
    parts = {part: plain for part, name in fields.items() if (plain := _plain(record[name]))}
    if (whole := parts.pop("context", "")) and not parts:
        match = _REXRANK.fullmatch(whole.strip())
        if match is None:
            return whole
        parts = {part: text.strip() for part, text in match.groupdict().items() if text and text.strip()}
    person = ", ".join(f"{part} {parts[part]}" for part in ("age", "sex") if part in parts)
    if not parts:
        return None
    return (f"{person}. " if person else "") + f"indication: {parts.get('indication', '')}"


def _plain(value: Any) -> str:
    """A cell as text; empty where it stands for nothing. 63.0 is the age 63."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return "" if text.casefold() in NULL_WORDS else text.removesuffix(".0")


def shown(names: Sequence[str]) -> str:
    """Names of columns for a message, without what may be text of a report."""
    return ", ".join(
        (name or "(no name)") if len(name) <= _SHOWN and name.count(" ") < 3 else "(a text)" for name in names
    )


@dataclass(frozen=True, slots=True)
class Source:
    """A file, what it is read for, and whether a study may have several texts in it."""

    path: Path
    side: Side
    several: bool = False

    def error(self, message: str, hint: str = "") -> HarnessError:
        """An error that names the file; a long message is cut, for a key of JSON may be a whole text."""
        end = "..." if len(message) > _LONGEST else ""
        return HarnessError(f"{self.path}: {message[:_LONGEST]}{end}", hint)


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
            texts = [
                text
                for each in (fields.text, *fields.more)
                for text in texts_of(record[each], self._source.several)
            ]
        except ValueError as error:
            raise self._source.error(
                f"{place} (id {name!r}): {fields.text} {error}", SEVERAL_ADVICE
            ) from error
        patient = id_of(record[fields.patient]) if fields.patient is not None else None
        context = context_of(record, fields.context) if self._source.side == "references" else None
        return Entry(name, texts[0], patient, tuple(texts[1:]), context)

    def _of(self, names: tuple[str, ...]) -> Fields:
        if names not in self._fields:
            self._fields[names] = fields_of(names, self._source.side, self._source.several)
        return self._fields[names]


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few ids for a message, but none that may be a report of exchanged columns."""
    parts = [repr(name) if _is_id(name) else "(a text)" for name in names[:most]]
    return ", ".join(parts) + (", ..." if len(names) > most else "")


def _is_id(name: str) -> bool:
    words = len(name.split())
    return len(name) <= 60 and (words <= 1 or (words <= 3 and any(map(str.isdigit, name))))
