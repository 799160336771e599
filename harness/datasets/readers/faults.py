"""What is wrong with the studies of a dataset that no reader of this package has made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from harness.core.errors import HarnessError
from harness.core.types import DatasetInfo, Study, Task
from harness.datasets.contents import parts_of, sampled
from harness.datasets.readers.records import Problem
from harness.datasets.readers.report_dataset import safe_id

NO_MAPPING = "no-mapping"
"""Kind of the fault of a study that cannot be looked at any further."""


def check_studies(name: str, info: DatasetInfo, splits: Mapping[str, Sequence[Study]]) -> None:
    """Refuse studies that would give wrong numbers.

    Args:
        name: of the dataset.
        info: as the dataset declares it.
        splits: split -> its studies.

    Raises:
        HarnessError: the first of ``faults``.
    """
    for fault in faults(info, splits):
        raise HarnessError(f"dataset {name}, {fault.where}: {fault.message}", fault.hint)


def _wrong_with(info: DatasetInfo) -> str | None:
    """What no dataset can be; None where nothing is wrong."""
    for field in ("name", "fingerprint"):
        value = getattr(info, field)
        if not (isinstance(value, str) and value):
            return f"its {field} is no text, or empty"
    if not info.tasks:
        return "it has no tasks"
    if not (isinstance(info.image_size, int) and info.image_size > 0):
        return "its image_size is no number of pixels"
    for field in ("label_names", "image_modalities"):
        names = list(getattr(info, field))
        if len(set(names)) < len(names):
            return f"its {field} have a name twice"
    return None


def faults(info: DatasetInfo, splits: Mapping[str, Sequence[Study]]) -> Iterator[Problem]:
    """Everything that is wrong, study by study; no image is decoded."""
    if wrong := _wrong_with(info):
        yield Problem("wrong-info", "info", wrong, "see harness.core.types.DatasetInfo")
    for split in ("train", "test"):
        if not splits[split]:
            yield Problem("empty-split", split, f"no study is in {split}")
    split_of: dict[str, str] = {}
    seen: set[str] = set()
    for split, studies in splits.items():
        for number, study in enumerate(studies):
            if not safe_id(study.id):
                hint = "use letters, digits, dots, hyphens and underscores"
                yield Problem("bad-id", f"{split} {number}", "its id cannot name a file", hint)
                continue
            if not (isinstance(study.images, Mapping) and isinstance(study.attributes, Mapping)):
                yield Problem(NO_MAPPING, f"study {study.id}", "its images or attributes are no mapping")
                continue
            for kind, message, hint in _of(study, split, info):
                yield Problem(kind, f"study {study.id}", message, hint)
            if study.id in seen:
                yield Problem("duplicate-id", f"study {study.id}", "another study has this id")
            seen.add(study.id)
            other = split_of.setdefault(str(study.patient_id), split)
            if other != split:
                message = f"its patient is in {other} and in {split}"
                yield Problem("patient-in-two-splits", f"study {study.id}", message, "use one split only")


def _of(study: Study, split: str, info: DatasetInfo) -> Iterator[tuple[str, str, str]]:
    """Kind, message and hint of each fault of one study by itself."""
    if study.split != split:
        yield "wrong-split", f"among those of {split}, and not of this split itself", f'split="{split}"'
    if not (isinstance(study.patient_id, str) and study.patient_id):
        yield "no-patient", "its patient has no id, a text", "intervals are over patients"
    if unknown := set(study.images) - set(info.image_modalities):
        names = ", ".join(sorted(map(repr, unknown)))
        yield (
            "unknown-view",
            f"info has no modality {names[:80]}",
            f"views: {', '.join(info.image_modalities)}",
        )
    if not study.modalities:
        yield "no-modality", "it has neither an image nor a context", "leave it out"
    for name, text in (("report", study.report), ("context", study.context)):
        if text is not None and not isinstance(text, str):
            yield f"wrong-{name}", f"its {name} is a {type(text).__name__}", "give a text or None"
        elif text is not None and not _is_plain(text):
            yield f"wrong-{name}", f"its {name} has a NUL or half a character", "write it again"
    if isinstance(study.report, str) and not study.report.strip():
        yield "empty-report", "its report is blank", "report=None stands for none"
    if study.report is None and split == "test" and Task.REPORT in info.tasks:
        yield "no-report", "it has no report to compare with", "leave it out of test"
    for key, value in study.attributes.items():
        if not (isinstance(key, str) and _is_plain(key) and _is_attribute(value)):
            yield "wrong-attribute", "an attribute is neither text nor a finite number", "leave it out"
    if study.labels is not None and not _are_labels(study.labels, len(info.label_names)):
        yield "wrong-labels", f"its labels are not {len(info.label_names)} numbers, each 0 or 1", ""


def _is_plain(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_attribute(value: object) -> bool:
    if isinstance(value, str):
        return _is_plain(value)
    return value is None or (isinstance(value, (int, float)) and math.isfinite(value))


def _are_labels(labels: object, count: int) -> bool:
    if np.ma.isMaskedArray(labels):
        return False
    values = np.asarray(labels)
    return values.shape == (count,) and values.dtype.kind in "biuf" and bool(np.isin(values, (0, 1)).all())


def changed(first: Sequence[Study], second: Sequence[Study]) -> str | None:
    """What differs between two readings of a split, pixels of some studies included; None: nothing does."""
    if len(first) != len(second):
        return f"{len(first)} studies, then {len(second)}"
    some = sampled(len(first))
    for number, (one, two) in enumerate(zip(first, second, strict=True)):
        before, now = (list(parts_of(study, with_pixels=number in some)) for study in (one, two))
        if before != now:
            return f"study {one.id} is another one when it is read again"
    return None
