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
from contextlib import ExitStack
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import registry
from harness.core.errors import HarnessError, UnavailableError
from harness.core.failures import failures_named
from harness.core.names import did_you_mean
from harness.core.printed import printed_nowhere
from harness.core.types import DatasetInfo, Study
from harness.datasets.base import SPLITS, Dataset
from harness.datasets.image_remarks import StudyImage, image_remarks
from harness.datasets.images import decode
from harness.datasets.images.pixels import ImageFile, LazyImages
from harness.datasets.opening import studies_of
from harness.datasets.readers.contexts import context_remarks
from harness.datasets.readers.faults import NO_MAPPING, changed, faults
from harness.datasets.readers.records import Problem, ReportRecord, empty_splits
from harness.datasets.readers.report_dataset import (
    ReportDataset,
    check_records,
    stored_image,
    usable,
)
from harness.datasets.readers.unreadable import DROP, LeftOut

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
    contents = _decode_all(images, progress or (lambda done, total: None))
    counts |= contents.counts
    if arguments.get("unreadable") == DROP:
        counts |= contents.leave_out(images, problems)
    problems += [*contents.problems(name), *image_remarks(images, contents.facts)]
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
        with ExitStack() as stack:
            if registry.is_foreign(dataset_class):
                stack.enter_context(printed_nowhere())
            dataset = dataset_class.open(root, **options)
    except UnavailableError:
        raise
    except HarnessError as error:
        return {}, {}, [Problem("unreadable", str(root or ""), error.message, error.hint)], []
    splits = {split: studies_of(dataset, split) for split in SPLITS}
    own = [] if registry.is_ours(type(dataset)) else list(faults(dataset.info, splits))
    if any(each.kind == NO_MAPPING for each in own):
        return {}, {}, own, []
    if not (own or registry.is_ours(type(dataset))):
        for split in SPLITS:
            if change := changed(splits[split], studies_of(dataset, split)):
                own.append(Problem("changes", split, change, "every process of a run reads them anew"))
    studies = [study for split in SPLITS for study in splits[split]]
    counts: dict[str, Count] = {"studies": len(studies), "patients": len({s.patient_id for s in studies})}
    counts |= _by_split([(study.split, study.context is None) for study in studies])
    views = Counter(view for study in studies for view in study.images)
    counts["images"] = sum(views.values())
    counts |= {f"images {view}": number for view, number in views.items()}
    left_out: LeftOut = getattr(dataset, "left_out", LeftOut())
    counts |= left_out.counts
    problems = list(left_out.problems)
    images: list[StudyImage] = []
    for study in studies:
        if isinstance(study.images, LazyImages):
            sources = study.images.sources
            images += [StudyImage(study.id, view, study.split, each) for view, each in sources.items()]
        else:
            problems += _wrong_arrays(study, dataset.info)
    problems += own
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
    problems = []
    for view, pixels in study.images.items():
        if np.shape(pixels) != shape:
            message = f"{study.id}: {view} is not {' x '.join(map(str, shape))}"
            problems.append(Problem("bad-shape", study.id, message))
        elif pixels.dtype != np.uint8:
            problems.append(
                Problem("bad-pixels", study.id, f"{study.id}: {view} is {pixels.dtype}, not uint8")
            )
    return problems


@dataclass(frozen=True)
class _Decoded:
    """What image files hold, by path and digest of their source.

    Attributes:
        facts: of files that can be read.
        errors: of the others, with the row that names the file.
    """

    facts: dict[tuple[Path, str], decode.ImageFacts]
    errors: dict[tuple[Path, str], tuple[str, HarnessError]]

    @property
    def counts(self) -> dict[str, Count]:
        """How many files there are, of which sizes and modes; empty where none can be read."""
        if not self.facts:
            return {}
        modes = Counter(each.mode for each in self.facts.values())
        sides = [side for each in self.facts.values() for side in (each.width, each.height)]
        return {
            "files decoded": len(self.facts) + len(self.errors),
            "smallest side (pixels)": min(sides),
            "largest side (pixels)": max(sides),
            **{f"files stored as {mode}": number for mode, number in modes.most_common()},
        }

    def leave_out(self, images: Sequence[StudyImage], problems: list[Problem]) -> dict[str, Count]:
        """Go on without unreadable images, as ``unreadable=drop`` does, and count what is left out."""
        kind = decode.UnreadableImageError
        dropped = {key: error for key, (_, error) in self.errors.items() if isinstance(error, kind)}
        studies: dict[tuple[str, str], _Listed] = {}
        for each in images:
            study = studies.setdefault((each.study, each.split), _Listed(each.study, each.split, {}))
            study.images[each.view] = each.source
        left_out = LeftOut.of(studies.values(), {digest: error for (_, digest), error in dropped.items()})
        for key in dropped:
            del self.errors[key]
        problems += left_out.problems
        problems += empty_splits(each for each in studies.values() if left_out.images(each) is not None)
        return left_out.counts

    def problems(self, dataset: str) -> list[Problem]:
        """One fatal problem per file that cannot be read."""
        hint = f"replace the file, or leave it out: --set {dataset}.unreadable=drop"
        return [
            Problem("unreadable-image", where, error.message, hint) for where, error in self.errors.values()
        ]


@dataclass(frozen=True)
class _Listed:
    """A study with the images that are decoded of it."""

    id: str
    split: str
    images: dict[str, ImageFile]


def _decode_all(images: Sequence[StudyImage], progress: Progress) -> _Decoded:
    """Decode every file once."""
    sources = {(each.source.path, each.source.digest): each.source for each in images}
    contents = _Decoded({}, {})
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        keys = list(sources)
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            results = pool.map(_facts, [sources[key] for key in chunk])
            for done, (key, result) in enumerate(zip(chunk, results, strict=True), start + 1):
                if isinstance(result, HarnessError):
                    contents.errors[key] = (sources[key].where, result)
                else:
                    contents.facts[key] = result
                progress(done, len(keys))
    return contents


def _facts(source: ImageFile) -> decode.ImageFacts | HarnessError:
    try:
        if source.decode is None or source.decode is stored_image:
            return decode.inspect(source.path)
        image = source.decode(source.path)
    except Exception as error:
        return error if isinstance(error, HarnessError) else decode.unreadable(source.path, error)
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
