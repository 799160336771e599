"""Datasets of reports that the user supplies: a listing is checked, then opened; pixels are read later.

A subclass gives its name and lists its folder. All checks of a listing are here, so that ``harness data
check`` and a training run refuse the same data.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image

from harness.core.errors import HarnessError
from harness.core.names import did_you_mean
from harness.core.types import DatasetInfo, Study, Task
from harness.datasets.base import ONLY_IMAGE, SPLITS
from harness.datasets.images import decode
from harness.datasets.images.pixels import (
    DEFAULT_IMAGE_SIZE,
    LARGEST_IMAGE,
    SMALLEST_IMAGE,
    Digests,
    ImageFile,
    LazyImages,
    PixelCache,
)
from harness.datasets.readers.folders import root_of
from harness.datasets.readers.profiles import DEFAULT, Profile, finished, profile_of
from harness.datasets.readers.records import Listing, Problem, ReportRecord, empty_splits
from harness.datasets.readers.unreadable import REFUSE, LeftOut, check_policy, left_out_of

LONGEST_ID = 200
_FINGERPRINT_VERSION = 1
_LONGEST_SPLIT = 30


class ReportDataset(ABC):
    """Studies with reports, whose images are read from files of the user's.

    Attributes:
        info: what methods may know.
        left_out: what it is opened without, because images cannot be read.
        name: registry name.
        expected: what ``--root`` must hold, for messages.
        views: image modality names in reading order; those that no study has are left out of ``info``.
        label_names: names of the labels where the release has some.
        multilabel: labels are independent findings.
        channels: image channels.
        licence: terms of the data.
        profiles: name -> profile; ``default`` is among them.
    """

    info: DatasetInfo
    left_out: LeftOut
    name: ClassVar[str]
    expected: ClassVar[str]
    views: ClassVar[tuple[str, ...]]
    label_names: ClassVar[tuple[str, ...]] = ()
    multilabel: ClassVar[bool] = True
    channels: ClassVar[int] = 1
    region: ClassVar[str] = "chest"
    licence: ClassVar[str]
    profiles: ClassVar[Mapping[str, Profile]]

    @classmethod
    @abstractmethod
    def list_root(cls, root: Path, profile: Profile) -> Listing:
        """All studies below ``root`` and everything wrong with their rows; reads no pixels.

        Raises:
            HarnessError: there is nothing to list: a table is absent or unreadable as a whole.
        """

    @classmethod
    def open(
        cls,
        root: Path | None = None,
        *,
        image_size: int | None = None,
        profile: str = DEFAULT,
        allow_leaks: bool = False,
        unreadable: str = REFUSE,
    ) -> Self:
        """List and check the data below ``root``.

        Args:
            image_size: height and width of every view in pixels, 32-1024; 224 by default.
            profile: name out of ``profiles``.
            allow_leaks: open although a patient is in two splits.
            unreadable: ``drop`` leaves views out whose file is no readable image, and studies that have no
                other; ``refuse`` stops at the first such file that is read.

        Raises:
            HarnessError: the first fatal problem; its message names file, row or id.
        """
        check_policy(cls.name, unreadable)
        chosen = profile_of(cls.name, cls.profiles, profile)
        listing = cls.list_root(cls.find_root(root), chosen)
        return cls(listing, chosen, image_size=image_size, allow_leaks=allow_leaks, unreadable=unreadable)

    @classmethod
    def lister(cls, root: Path | None, options: Mapping[str, Any]) -> Callable[[], Listing]:
        """What lists the data, after options of ``open`` and root were checked.

        Raises:
            UnknownNameError: no such profile.
            HarnessError: ``root`` is not there, or no such value of ``unreadable``.
        """
        check_policy(cls.name, options.get("unreadable", REFUSE))
        chosen = profile_of(cls.name, cls.profiles, options.get("profile", DEFAULT))
        return partial(cls.list_root, cls.find_root(root), chosen)

    @classmethod
    def find_root(cls, root: Path | None) -> Path:
        """The folder that ``--root`` names, or an error that says what it should hold."""
        return root_of(root, cls.name, cls.expected)

    def __init__(
        self,
        listing: Listing,
        profile: Profile,
        *,
        image_size: int | None = None,
        allow_leaks: bool = False,
        unreadable: str = REFUSE,
    ) -> None:
        """Open a listing.

        Raises:
            HarnessError: an image size out of range, the listing's first fatal problem, or a split of which
                no image can be read.
        """
        size = _checked_size(self.name, image_size)
        for problem in [*listing.problems, *check_records(listing, allow_leaks)]:
            if problem.fatal:
                raise HarnessError(f"{problem.where}: {problem.message}", problem.hint)
        cache = PixelCache(self.name, size, self.channels)
        records = usable(listing.records)
        self.left_out = left_out_of(records, cache, unreadable)
        if self.left_out:
            rest = [(record, self.left_out.images(record)) for record in records]
            records = [replace(record, images=images) for record, images in rest if images is not None]
            for problem in empty_splits(records):
                raise HarnessError(f"{problem.where}: {problem.message}", problem.hint)
        records = finished(records, profile)
        self.info = self._describe(records, profile, size)
        self._studies: dict[str, list[Study]] = {split: [] for split in SPLITS}
        for record in records:
            self._studies[record.split].append(_study(record, cache))

    def studies(self, split: str) -> Sequence[Study]:
        """Studies of one split in the order of the dataset's files; an image is decoded when it is read."""
        if split not in self._studies:
            raise HarnessError(f"unknown split {split!r} of {self.name}", did_you_mean(split, SPLITS))
        return self._studies[split]

    def _describe(self, records: Sequence[ReportRecord], profile: Profile, size: int) -> DatasetInfo:
        used_views = {view for record in records for view in record.images}
        views = tuple(view for view in self.views if view in used_views)
        labelled = bool(self.label_names) and all(record.labels is not None for record in records)
        tasks = {Task.REPORT}
        if labelled:
            tasks.add(Task.DIAGNOSE)
        if any({"frontal", "lateral"} <= set(record.images) for record in records):
            tasks.add(Task.SYNTHESIZE)
        return DatasetInfo(
            name=self.name,
            tasks=frozenset(tasks),
            image_modalities=views,
            has_context=any(record.context is not None for record in records),
            image_size=size,
            channels=self.channels,
            label_names=self.label_names if labelled else (),
            multilabel=self.multilabel,
            tokenizer=profile.tokenizer,
            reference_words=profile.reference_words,
            report_words=profile.report_words,
            rare_words=profile.rare_words,
            uncertain=profile.uncertain,
            region=self.region,
            licence=self.licence,
            fingerprint=_fingerprint(records, size, self.channels),
            roles={view: role for view, role in ONLY_IMAGE.items() if view in views},
        )


def usable(records: Iterable[ReportRecord]) -> list[ReportRecord]:
    """Records that a run can use: those with a word of report and an image."""
    return [record for record in records if _has_words(record.report) and record.images]


def check_records(listing: Listing, allow_leaks: bool = False) -> list[Problem]:
    """Everything that is wrong with records as a whole, beside what the listing itself met.

    An empty report or a study without images is not fatal: the study is left out (see ``usable``). A patient
    in two splits is fatal unless ``allow_leaks``.
    """
    problems = [problem for record in listing.records for problem in _check_one(record)]
    problems += _duplicates(listing.records)
    problems += _leaks(listing.records, fatal=not allow_leaks)
    return problems + empty_splits(usable(listing.records))


def _check_one(record: ReportRecord) -> list[Problem]:
    problems = []
    if not safe_id(record.id):
        hint = "use letters, digits, dots, hyphens and underscores"
        problems.append(Problem("bad-id", record.where, f"id {record.id!r} cannot name a file", hint))
    if record.split not in SPLITS:
        # A longer cell may be text of a report in the wrong column, which no message shows.
        split = repr(record.split) if len(record.split) <= _LONGEST_SPLIT else "of a whole text"
        message = f"{record.id} is of unknown split {split}"
        problems.append(Problem("wrong-split", record.where, message, f"use {', '.join(SPLITS)}"))
    if not _has_words(record.report):
        message = f"{record.id} has no text under this profile; the study is left out"
        problems.append(Problem("empty-report", record.where, message, fatal=False))
    if not all(map(_encodable, (record.report, record.context or ""))):
        hint = "write its text again as UTF-8"
        problems.append(
            Problem("not-utf8", record.where, f"{record.id} has half a character in its text", hint)
        )
    if not record.images:
        message = f"{record.id} has no image; the study is left out"
        problems.append(Problem("no-image", record.where, message, fatal=False))
    return problems


def safe_id(name: str) -> bool:
    """Whether an id can name a file below any folder without leaving it."""
    dots = name.strip(".") == ""
    return not dots and len(name) <= LONGEST_ID and name.isprintable() and not set(name) & set("/\\:")


def _duplicates(records: Iterable[ReportRecord]) -> list[Problem]:
    first: dict[str, ReportRecord] = {}
    problems = []
    for record in records:
        if first.setdefault(record.id, record) is not record:
            message = f"{record.id} is a second time in the data, after {first[record.id].where}"
            problems.append(Problem("duplicate-id", record.where, message, "delete one of the two"))
    return problems


def _leaks(records: Iterable[ReportRecord], *, fatal: bool) -> list[Problem]:
    """One problem per patient, at the first record in another split than the patient's first record."""
    first: dict[str, ReportRecord] = {}
    reported: set[str] = set()
    problems = []
    for record in records:
        other = first.setdefault(record.patient_id, record)
        if other.split != record.split and record.patient_id not in reported:
            reported.add(record.patient_id)
            message = (
                f"patient {record.patient_id} of {record.split} is also in {other.split} ({other.where})"
            )
            hint = "one split per patient; --set DATASET.allow_leaks=true opens the data as they are"
            problems.append(Problem("patient-in-two-splits", record.where, message, hint, fatal))
    return problems


class ImageTree:
    """Finds images below a root and never outside it, links included; the root itself may be a link.

    Args:
        dataset: whose digests these are.
        by_content: identify a file by its content; otherwise by its path below the root, its size and samples
            of its content, where reading the whole release would take hours.
        links: folders of the layout that may be links out of the root themselves.
    """

    def __init__(
        self, root: Path, dataset: str, *, by_content: bool = True, links: Iterable[Path] = ()
    ) -> None:
        self.root = root
        self._real_roots = {root.resolve(), *(link.resolve() for link in links if link.is_symlink())}
        self._inside = {str(root): True}
        self._dataset, self._by_content = dataset, by_content

    def find(self, relative: str, where: str) -> ImageFile | Problem:
        """The image ``relative`` to the root; ``where`` is the row that names it."""
        location = self.locate(relative, where)
        if isinstance(location, Problem):
            return location
        path, _ = location
        digest = self._digests.of(path)  # of equal files on two disks it is equal
        if self._by_content:
            return ImageFile(path, where, digest)
        text = f"{os.path.normpath(relative)}\0{digest}"
        identity = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
        return ImageFile(path, where, identity, stored_image)

    def locate(
        self, relative: str, where: str, kind: str = "absent-image"
    ) -> tuple[Path, os.stat_result] | Problem:
        """Any file ``relative`` to the root with its state; ``kind`` names the problem of its absence."""
        parts = relative.split("/")
        if not relative or not parts[0] or ".." in parts or "\\" in relative or "\0" in relative:
            return Problem("path-outside-root", where, f"{relative!r} is not a path inside the root")
        path = os.path.join(self.root, relative)
        try:
            state = os.lstat(path)
            linked = stat.S_ISLNK(state.st_mode)
            if not (self._leads_inside(path) if linked else self._holds(os.path.dirname(path))):
                message = f"{relative} is a link that leads out of the root"
                return Problem("link-outside-root", where, message, "put the file itself there")
            if linked:
                state = os.stat(path)
        except OSError as error:
            message = f"no file {path}: {error.strerror}"
            return Problem(kind, where, message, "the download is incomplete")
        if not stat.S_ISREG(state.st_mode):
            return Problem(kind, where, f"{path} is no file", "the download is incomplete")
        return Path(path), state

    @cached_property
    def _digests(self) -> Digests:
        return Digests(self._dataset, sampled=not self._by_content)

    def keep(self) -> None:
        """Write down the digests of contents."""
        self._digests.keep()

    def _holds(self, folder: str) -> bool:
        """Whether a folder below the root is inside; links to folders are followed, each folder once."""
        if folder not in self._inside:
            linked = os.path.islink(folder)
            above = os.path.dirname(folder)
            self._inside[folder] = self._leads_inside(folder) if linked else self._holds(above)
        return self._inside[folder]

    def _leads_inside(self, link: str) -> bool:
        real = Path(os.path.realpath(link))  # a loop of links, on which Path.resolve raises, has no state
        return any(real.is_relative_to(root) for root in self._real_roots)


def stored_image(path: Path) -> Image.Image:
    """The image in a file whose identity is not its content's."""
    return decode.decoded(decode.read_bytes(path), path.suffix)[0]


def _encodable(text: str) -> bool:
    """Whether the text holds no lone surrogate, which JSON can and no file of ours does."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _checked_size(name: str, image_size: int | None) -> int:
    size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
    if not SMALLEST_IMAGE <= size <= LARGEST_IMAGE:
        raise HarnessError(
            f"image_size {size} of {name} is out of range", f"choose {SMALLEST_IMAGE}-{LARGEST_IMAGE}"
        )
    return size


def _study(record: ReportRecord, cache: PixelCache) -> Study:
    return Study(
        record.id,
        record.patient_id,
        record.split,
        LazyImages(record.images, cache),
        context=record.context,
        report=record.report,
        labels=record.labels,
        attributes=record.attributes,
    )


def _fingerprint(records: Sequence[ReportRecord], size: int, channels: int) -> str:
    """Digest of everything that methods see: ids, splits, texts, labels, attributes, identities of images."""
    digest = hashlib.sha256(json.dumps([_FINGERPRINT_VERSION, decode.DECODER_VERSION, channels]).encode())
    for record in records:
        contents = [
            record.id,
            record.patient_id,
            record.split,
            record.report,
            record.context,
            None if record.labels is None else record.labels.tolist(),
            {view: source.digest for view, source in record.images.items()},
            dict(record.attributes),
        ]
        digest.update(json.dumps(contents, sort_keys=True).encode())
    return f"{digest.hexdigest()[:16]}-{size}px"
