"""``harness data check``: all problems of a dataset that a training run would meet one by one.

Datasets of reports are listed without being opened, so that every problem is named, not only the first one.
Other datasets are opened, which names their first fatal problem. Then every image is decoded to its last
pixel, in parallel, by the same code that a run uses: the same problems are fatal here and in a run. Problems
name ids, files and lines, never a word of a report.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import registry
from harness.core.errors import HarnessError, UnavailableError
from harness.core.failures import failures_named
from harness.core.names import did_you_mean
from harness.core.types import DatasetInfo, Study
from harness.datasets.base import SPLITS, Dataset
from harness.datasets.image_remarks import StudyImage, image_remarks
from harness.datasets.images import decode
from harness.datasets.images.pixels import ImageFile, LazyImages
from harness.datasets.readers.contexts import context_remarks
from harness.datasets.readers.records import Problem, ReportRecord
from harness.datasets.readers.report_dataset import ReportDataset, check_records, stored_image, usable

Count = int | float
Progress = Callable[[int, int], None]
"""Called with images done and images in all."""

_MOST_THREADS = 16
"""Each may hold the largest image that a decoder takes; Pillow decodes beside Python's lock."""
_CHUNK = 1024
"""Images decoded per step, since a release has hundreds of thousands of them."""

_FEW = 5
"""Test studies that a label needs for a score that says anything."""

_TOLERANCE = 0.005
"""Published shares are whole per cents: ours differs if it rounds to another per cent."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What a folder holds.

    Attributes:
        dataset: registry name.
        root: what was examined; empty for datasets that ship with a package.
        counts: what was found: counts are int, shares float.
        published: what the release or its paper says, under the same names.
        problems: fatal ones first, otherwise in the order they were met.
    """

    dataset: str
    root: str
    counts: Mapping[str, Count]
    published: Mapping[str, Count]
    problems: Sequence[Problem]

    @property
    def fatal(self) -> int:
        """How many problems forbid the use of the data."""
        return sum(problem.fatal for problem in self.problems)


def examine(
    name: str,
    root: Path | None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    *,
    sample: int | None = None,
) -> Examination:
    """Everything that is wrong with the data below ``root``.

    Args:
        name: registered dataset.
        options: what ``--set NAME.key=value`` gives: ``profile``, ``allow_leaks``, ``image_size`` ...
        progress: told how many images are decoded.
        sample: decode so many images, evenly spread over the data, instead of all.

    Raises:
        HarnessError: unknown dataset or option, ``root`` is not there, or the dataset's code fails: nothing
            could be examined.
    """
    dataset_class = registry.load("datasets", name)
    arguments = _checked_options(name, dataset_class, options or {})
    examined = _of_listing if issubclass(dataset_class, ReportDataset) else _of_opened
    with failures_named(f"dataset {name} cannot be examined", dataset_class.__module__):
        counts, published, problems, images = examined(dataset_class, root, arguments)
    if sample is not None:
        images = images[:: max(1, -(-len(images) // max(1, sample)))]
    counts |= _decode_all(images, problems, progress or (lambda done, total: None))
    problems += _differences(counts, published)
    problems.sort(key=lambda problem: not problem.fatal)
    return Examination(name, str(root or ""), counts, published, problems)


_Contents = tuple[dict[str, Count], Mapping[str, Count], list[Problem], list[StudyImage]]


def _checked_options(name: str, dataset_class: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    parameters = signature(dataset_class.open).parameters
    takes_any = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    choices = set(parameters) - {"root"}
    for option in options:
        if option not in choices and not takes_any:
            raise HarnessError(f"--set {name}.{option}: no such option", did_you_mean(option, choices))
    return dict(options)


def _of_listing(dataset_class: type[ReportDataset], root: Path | None, options: dict[str, Any]) -> _Contents:
    """Counts, published counts, problems and images of a dataset that can be listed."""
    list_data = dataset_class.lister(root, options)
    try:
        listing = list_data()
    except HarnessError as error:
        return {}, {}, [Problem("unreadable", str(root), error.message, error.hint)], []
    problems = [*listing.problems, *check_records(listing, bool(options.get("allow_leaks")))]
    records = usable(listing.records)
    labels = getattr(listing, "label_names", ()) or dataset_class.label_names
    images = [
        StudyImage(record.id, view, record.split, source)
        for record in records
        for view, source in record.images.items()
    ]
    kinds = {problem.kind for problem in problems}
    contexts = context_remarks((r.id, r.where, r.context, r.report) for r in records)
    problems += [remark for remark in contexts if remark.kind not in kinds]
    problems += _rare_labels(records, labels)
    return _counts_of(records, labels, listing.published), listing.published, problems, images


def _counts_of(
    records: Sequence[ReportRecord], labels: Sequence[str], published: Mapping[str, Count]
) -> dict[str, Count]:
    counts: dict[str, Count] = {"studies": len(records), "patients": len({r.patient_id for r in records})}
    counts |= _by_split([(record.split, record.context is None) for record in records])
    views = Counter(view for record in records for view in record.images)
    counts["images"] = sum(views.values())
    counts |= {f"images {view}": number for view, number in views.items()}
    for index, label in enumerate(labels):
        counts[f"label {label}"] = sum(int(r.labels[index]) for r in records if r.labels is not None)
    values = Counter(f"{name} {value}" for r in records for name, value in r.attributes.items())
    return counts | {key: values[key] for key in published if key not in counts}


def _by_split(studies: Sequence[tuple[str, bool]]) -> dict[str, Count]:
    """Studies per split, and the share without context if any study has one; from (split, lacks context)."""
    some = any(not lacks for _, lacks in studies)
    counts: dict[str, Count] = {}
    for split in SPLITS:
        own = [lacks for each, lacks in studies if each == split]
        counts[split] = len(own)
        if some and own:
            counts[f"{split} without context"] = sum(own) / len(own)
    return counts


def _of_opened(dataset_class: type[Dataset], root: Path | None, options: dict[str, Any]) -> _Contents:
    """Like ``_of_listing`` for a dataset that has to be opened; images that are no files are read here."""
    try:
        dataset = dataset_class.open(root, **options)
    except UnavailableError:
        raise
    except HarnessError as error:
        return {}, {}, [Problem("unreadable", str(root or ""), error.message, error.hint)], []
    studies = [study for split in SPLITS for study in dataset.studies(split)]
    counts: dict[str, Count] = {"studies": len(studies), "patients": len({s.patient_id for s in studies})}
    counts |= _by_split([(study.split, study.context is None) for study in studies])
    views = Counter(view for study in studies for view in study.images)
    counts["images"] = sum(views.values())
    counts |= {f"images {view}": number for view, number in views.items()}
    problems: list[Problem] = []
    images: list[StudyImage] = []
    for study in studies:
        if isinstance(study.images, LazyImages):
            sources = study.images.sources
            images += [StudyImage(study.id, view, study.split, each) for view, each in sources.items()]
        else:
            problems += _wrong_arrays(study, dataset.info)
    problems += context_remarks((study.id, study.id, study.context, study.report) for study in studies)
    return counts, {}, problems, images


def _rare_labels(records: Sequence[ReportRecord], names: Sequence[str]) -> list[Problem]:
    """A remark on labels that training studies lack, and one on labels of very few test studies."""
    if not names or any(record.labels is None for record in records):
        return []
    positives = {
        split: np.sum([r.labels for r in records if r.split == split and r.labels is not None], axis=0)
        for split in {record.split for record in records}
    }
    remarks = []
    for split, fewest, what, hint in (
        ("train", 1, "no training study has", "nothing can be learned of them"),
        ("test", _FEW, f"fewer than {_FEW} test studies have", "read their scores with the interval"),
    ):
        rare = [name for name, count in zip(names, positives.get(split, ()), strict=False) if count < fewest]
        if rare:
            message = f"{what} {', '.join(rare)}"
            remarks.append(Problem("rare-label", split, message, hint, fatal=False))
    return remarks


def _wrong_arrays(study: Study, info: DatasetInfo) -> list[Problem]:
    shape = (info.image_size, info.image_size, info.channels)
    wrong = [view for view, pixels in study.images.items() if pixels.shape != shape]
    message = f"{study.id}: {', '.join(wrong)} is not {' x '.join(map(str, shape))}"
    return [Problem("bad-shape", study.id, message)] if wrong else []


def _decode_all(
    images: Sequence[StudyImage], problems: list[Problem], progress: Progress
) -> dict[str, Count]:
    """Decode every file once, add to ``problems`` and return counts of what the files hold."""
    sources = {(each.source.path, each.source.digest): each.source for each in images}
    facts: dict[tuple[Path, str], decode.ImageFacts] = {}
    wrong: dict[tuple[Path, str], Problem] = {}
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        keys = list(sources)
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            results = pool.map(_facts, [sources[key] for key in chunk])
            for done, (key, result) in enumerate(zip(chunk, results, strict=True), start + 1):
                if isinstance(result, Problem):
                    wrong[key] = result
                else:
                    facts[key] = result
                progress(done, len(keys))
    problems += wrong.values()
    problems += image_remarks(images, facts)
    if not facts:
        return {}
    modes = Counter(each.mode for each in facts.values())
    sides = [side for each in facts.values() for side in (each.width, each.height)]
    return {
        "files decoded": len(facts) + len(wrong),
        "smallest side (pixels)": min(sides),
        "largest side (pixels)": max(sides),
        **{f"files stored as {mode}": number for mode, number in modes.most_common()},
    }


def _facts(source: ImageFile) -> decode.ImageFacts | Problem:
    try:
        if source.decode is None or source.decode is stored_image:
            return decode.inspect(source.path)
        image = source.decode(source.path)
    except Exception as error:
        reason = error.message if isinstance(error, HarnessError) else f"{source.path}: {error}"
        hint = "replace the file, or take its study out of the table"
        return Problem("unreadable-image", source.where, reason, hint)
    return decode.facts_of(image, image.mode, source.digest)


def _differences(counts: Mapping[str, Count], published: Mapping[str, Count]) -> list[Problem]:
    """One problem for each count that differs from the published one; none if nothing could be counted."""
    problems = []
    for key, expected in published.items():
        value = counts.get(key, 0)
        same = abs(value - expected) <= _TOLERANCE if isinstance(expected, float) else value == expected
        if counts and not same:
            message = f"{written(value)}, published {written(expected)}; the data stand"
            hint = "a part of the release, or another version of it, gives other scores"
            problems.append(Problem("count-differs", key, message, hint, fatal=False))
    return problems


def written(count: Count) -> str:
    """A count with separators, a share in per cent."""
    return f"{count:.1%}" if isinstance(count, float) else f"{count:,}"


def to_json(examination: Examination) -> dict[str, Any]:
    """What ``--format json`` prints."""
    problems = [
        {
            "kind": problem.kind,
            "where": problem.where,
            "message": problem.message,
            "hint": problem.hint,
            "fatal": problem.fatal,
        }
        for problem in examination.problems
    ]
    return {
        "dataset": examination.dataset,
        "root": examination.root,
        "counts": dict(examination.counts),
        "published": dict(examination.published),
        "problems": problems,
    }
