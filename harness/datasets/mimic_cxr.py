"""``mimic-cxr``: MIMIC-CXR in two layouts, R2Gen's and the release's (Johnson et al. 2019; Chen et al. 2020).

**R2Gen's**: ``annotation.json`` beside ``images/p10/p10000032/s50414267/<dicom_id>.jpg``; its text is the
report as R2Gen took it, one entry per image. The release's tables beside it add views, labels
and context.

**The release's**: the tables of MIMIC-CXR-JPG (see ``mimic_tables``), images as
``files/p10/p10000032/s50414267/<dicom_id>.jpg``, or ``.dcm`` as in MIMIC-CXR, and report texts. One study is
one record with a frontal and a lateral view, unless the profile wants a record per image.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.types import CHEXPERT_LABELS
from harness.datasets.readers import mimic_tables as tables
from harness.datasets.readers import views
from harness.datasets.readers.annotations import FILE, IMAGES, Item, image_folder, read_items
from harness.datasets.readers.mimic_tables import ImageRow, Patient, Texts
from harness.datasets.readers.profiles import MIMIC_PROFILES, Profile
from harness.datasets.readers.records import Listing, Problem, ReportRecord, other_counts
from harness.datasets.readers.report_dataset import ImageTree, ReportDataset
from harness.datasets.readers.section_cache import SectionCache
from harness.datasets.readers.sections import UnusualHeadings, context_text
from harness.datasets.readers.views import Shot

_LICENCE = "MIMIC-CXR: PhysioNet credentialed data use agreement; read from --root, never shared or uploaded"
_EXPECTED = (
    f"{FILE} and {IMAGES}/ (R2Gen), or {tables.METADATA}(.gz), {tables.SPLIT}(.gz), files/pNN/... with "
    f".jpg or .dcm, and the report texts files/pNN/p.../s....txt or {tables.TEXTS_ZIP} (PhysioNet)"
)
_R2GEN = {"train": 270790, "val": 2130, "test": 3858, "test without context": 0.45}
_RELEASED = {"images": 377110, "studies": 227835}
"""R2Gen's entries and DiA's share (DiA, Table 6), and what the release's own page counts."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Tables that a root may have beside the images; empty where it lacks them."""

    labels: Mapping[str, NDArray[np.float32]]
    patients: Mapping[str, Patient]
    texts: Texts | None

    def context(self, sections: Mapping[str, str], subject: str, date: str) -> str | None:
        """Demographics, indication and history; see ``sections.context_text``."""
        patient = self.patients.get(subject)
        if patient is None:
            return context_text(sections)
        return context_text(sections, patient.age(date), patient.sex)

    def attributes(self, subject: str, row: ImageRow | None) -> dict[str, str | float | None]:
        """Age, sex and position of the frontal view, None where unknown."""
        patient = self.patients.get(subject)
        return {
            "age": patient.age(row.date) if patient and row else None,
            "sex": patient.sex if patient else None,
            "view_position": row.position if row and row.position in ("PA", "AP") else None,
        }


class MIMICCXR(ReportDataset):
    """MIMIC-CXR: frontal and lateral view, context of indication and history, 14 labels of the release."""

    name = "mimic-cxr"
    expected = _EXPECTED
    views = views.VIEWS
    label_names = CHEXPERT_LABELS
    licence = _LICENCE
    profiles = MIMIC_PROFILES

    @classmethod
    def list_root(cls, root: Path, profile: Profile) -> Listing:
        """Studies or images in the layout that the root has; the listing's first problem says which."""
        if (root / FILE).is_file():
            return _Annotated(root, profile).listing()
        if tables.find_table(root, tables.METADATA):
            return _Release(root, profile).listing()
        raise HarnessError(f"{root}: neither R2Gen's layout nor PhysioNet's", f"expected {_EXPECTED}")


class _Release:
    """The layout of PhysioNet."""

    def __init__(self, root: Path, profile: Profile) -> None:
        self.root, self.profile = root, profile
        self.problems: list[Problem] = []
        self.cache = SectionCache()
        self.headings = UnusualHeadings(self.cache.sectioned)
        metadata = tables.find_table(root, tables.METADATA)
        split = tables.find_table(root, tables.SPLIT)
        if metadata is None or split is None:
            raise HarnessError(
                f"{root}: no {tables.SPLIT} or {tables.SPLIT}.gz", "it is part of MIMIC-CXR-JPG"
            )
        self.rows, wrong = tables.read_images(metadata)
        self.split, unknown = tables.read_split(split)
        self.problems += [*wrong, *unknown]
        self.facts = _facts(root, [row.folder for row in self.rows[: tables.PROBED]], self.problems)
        if self.facts.texts is None:
            raise HarnessError(f"{root}: no report texts", f"files/pNN/p.../s....txt or {tables.TEXTS_ZIP}")
        self.texts = self.facts.texts
        self.files, self.suffix = _image_files(root, self.rows)
        self.tree = ImageTree(self.files, MIMICCXR.name, by_content=False)

    def listing(self) -> Listing:
        """Every study of the groups of patients that are there."""
        there = {path.name for path in self.files.iterdir() if path.is_dir()}
        left_out: dict[str, int] = {}
        records: list[ReportRecord] = []
        for study in tables.by_study(self.rows).values():
            group = f"p{study[0].subject[:2]}"
            if group in there:
                records += self._study(study)
            else:
                left_out[group] = left_out.get(group, 0) + 1
        self.tree.keep()
        self.cache.keep()
        for group, count in left_out.items():
            message = f"{count} studies are left out: {group}/ is not there"
            self.problems.append(Problem("not-downloaded", str(self.files), message, fatal=False))
        layout = f"PhysioNet's layout, {self.suffix} images in {self.files}"
        note = Problem("layout", str(self.root), layout, fatal=False)
        counts = {"images": len(self.rows), "studies": len({row.study for row in self.rows})}
        self.problems += other_counts(self.root, counts, _RELEASED)
        self.problems += self.headings.problems(str(self.texts.source))
        published = (
            _R2GEN if self.profile.per_image else {"test without context": _R2GEN["test without context"]}
        )
        return Listing(records, [note, *self.problems], published)

    def _study(self, rows: list[ImageRow]) -> list[ReportRecord]:
        first = rows[0]
        shots = [shot for row in rows if (shot := self._shot(row))]
        split = self._split_of(rows)
        text = self.texts.read(first.folder)
        if isinstance(text, Problem):
            self.problems.append(text)
        if split is None or isinstance(text, Problem) or len(shots) < len(rows):
            return []
        labels = self.facts.labels.get(first.study)
        if self.facts.labels and labels is None:
            message = f"s{first.study} has no row of labels; the study is left out"
            self.problems.append(Problem("no-labels", first.where, message, fatal=False))
            return []
        sections = self.headings.read(f"s{first.study}", text)
        frontal = min((row for row in rows if row.position in ("PA", "AP")), key=_order, default=None)
        study = ReportRecord(
            id=f"s{first.study}",
            patient_id=f"p{first.subject}",
            split=split,
            images=self.profile.seen(views.by_position(shots)),
            report=self.profile.target(sections),
            where=first.where,
            context=self.facts.context(sections, first.subject, first.date),
            labels=labels,
            attributes=self.facts.attributes(first.subject, frontal),
        )
        if not self.profile.per_image:
            return [study]
        return [self._image(study, row, shot) for row, shot in zip(rows, shots, strict=True)]

    def _image(self, study: ReportRecord, row: ImageRow, shot: Shot) -> ReportRecord:
        attributes = self.facts.attributes(row.subject, row)
        images = self.profile.seen(views.by_position([shot]))
        return replace(study, id=row.dicom, images=images, where=row.where, attributes=attributes)

    def _shot(self, row: ImageRow) -> Shot | None:
        image = self.tree.find(f"{row.folder}/{row.dicom}{self.suffix}", row.where)
        if isinstance(image, Problem):
            self.problems.append(image)
            return None
        return Shot(row.dicom, image, row.position)

    def _split_of(self, rows: list[ImageRow]) -> str | None:
        """The one split of a study's images; a problem is noted where there is none."""
        unlisted = [row for row in rows if row.dicom not in self.split]
        splits = sorted({self.split[row.dicom] for row in rows if row not in unlisted})
        if not unlisted and len(splits) == 1:
            return splits[0]
        where, message = rows[0].where, f"images of s{rows[0].study} are in {' and '.join(splits)}"
        if unlisted:
            where, message = unlisted[0].where, f"image {unlisted[0].dicom} has no row in {tables.SPLIT}"
        self.problems.append(Problem("wrong-split", where, message, f"restore {tables.SPLIT}"))
        return None


class _Annotated:
    """The layout of R2Gen, with what tables of the release lie beside it."""

    def __init__(self, root: Path, profile: Profile) -> None:
        self.root, self.profile = root, profile
        self.problems: list[Problem] = []
        self.cache = SectionCache()
        self.headings = UnusualHeadings(self.cache.sectioned)
        self.tree = ImageTree(image_folder(root), MIMICCXR.name, by_content=False)
        metadata = tables.find_table(root, tables.METADATA)
        rows, wrong = tables.read_images(metadata) if metadata else ([], [])
        self.problems += wrong
        self.rows = {row.dicom: row for row in rows}
        self.items = list(read_items(root))
        studies = [_folder(item) for item in self.items[: tables.PROBED] if isinstance(item, Item)]
        self.facts = _facts(root, studies, self.problems)
        if self.facts.texts is None and set(profile.sections) != {"findings"}:
            message = f"{FILE} has no {' and '.join(profile.sections)}, which profile {profile.name} wants"
            raise HarnessError(
                f"{root}: {message}", f"put files/ of report texts or {tables.TEXTS_ZIP} there"
            )

    def listing(self) -> Listing:
        """One record per entry; without ``per_image``, one per study if the views are known."""
        entries = []
        for item in self.items:
            if isinstance(item, Problem):
                self.problems.append(item)
            elif (shots := self._shots(item)) is not None:
                entries.append((item, shots))
        self.tree.keep()
        notes = [Problem("layout", str(self.root), f"R2Gen's layout, {FILE}", fatal=False)]
        if not self.rows:
            message = f"no {tables.METADATA} in the root: each image counts as a frontal view of its own"
            notes.append(Problem("views-unknown", str(self.root), message, fatal=False))
        groups: dict[tuple[str, str], list[tuple[Item, list[Shot]]]] = {}
        for item, shots in entries:
            whole = bool(self.rows) and not self.profile.per_image
            groups.setdefault((item.split, _folder(item) if whole else item.id + item.where), []).append(
                (item, shots)
            )
        records = [self._record(group) for group in groups.values()]
        self.cache.keep()
        if self.facts.texts:
            notes += self.headings.problems(str(self.facts.texts.source))
        return Listing(records, [*notes, *self.problems], _R2GEN)

    def _shots(self, item: Item) -> list[Shot] | None:
        shots = []
        for relative in item.paths:
            image = self.tree.find(relative, item.where)
            if isinstance(image, Problem):
                self.problems.append(image)
                return None
            dicom = PurePosixPath(relative).stem
            row = self.rows.get(dicom)
            position = row.position if row else "" if self.rows else "PA"
            shots.append(Shot(dicom, image, position))
        return shots

    def _record(self, group: list[tuple[Item, list[Shot]]]) -> ReportRecord:
        item = group[0][0]
        shots = [shot for _, group_shots in group for shot in group_shots]
        folder = PurePosixPath(_folder(item))
        subject, study = folder.parent.name.removeprefix("p"), folder.name.removeprefix("s")
        rows = [self.rows[shot.name] for shot in shots if shot.name in self.rows]
        frontal = min((row for row in rows if row.position in ("PA", "AP")), key=_order, default=None)
        text = self.facts.texts.read(str(folder)) if self.facts.texts else ""
        if isinstance(text, Problem):
            self.problems.append(text)
            text = ""
        sections = self.headings.read(f"s{study}", text)
        whole = bool(self.rows) and not self.profile.per_image
        return ReportRecord(
            id=f"s{study}" if whole else item.id,
            patient_id=f"p{subject}",
            split=item.split,
            images=self.profile.seen(views.by_position(shots)),
            report=self.profile.target({**sections, "findings": item.report}),
            where=item.where,
            context=self.facts.context(sections, subject, rows[0].date if rows else ""),
            labels=self.facts.labels.get(study),
            attributes=self.facts.attributes(subject, frontal),
        )


def _folder(item: Item) -> str:
    """``p10/p10000032/s50414267`` out of an entry's numbers, else out of the path of its first image."""
    subject, study = item.more.get("subject_id"), item.more.get("study_id")
    if str(subject).isdecimal() and str(study).isdecimal():
        return f"p{str(subject)[:2]}/p{subject}/s{study}"
    return str(PurePosixPath(item.paths[0]).parent) if item.paths else item.id


def _facts(root: Path, studies: list[str], problems: list[Problem]) -> Facts:
    labels: Mapping[str, NDArray[np.float32]] = {}
    table = next((path for name in tables.LABELS if (path := tables.find_table(root, name))), None)
    if table is not None:
        labels, wrong = tables.read_labels(table)
        problems += wrong
    patients = tables.find_table(root, tables.PATIENTS)
    return Facts(labels, tables.read_patients(patients) if patients else {}, Texts.find(root, studies))


def _image_files(root: Path, rows: list[ImageRow]) -> tuple[Path, str]:
    """The first folder ``files`` that has one of the first images, and their suffix."""
    for place in tables.places(root):
        for suffix in (".jpg", ".dcm"):
            files = place / "files"
            probed = rows[: tables.PROBED]
            if any(os.path.isfile(files / row.folder / f"{row.dicom}{suffix}") for row in probed):
                return files, suffix
    named = rows[0].folder if rows else "pNN/..."
    raise HarnessError(f"{root}: no images of the first studies, e.g. files/{named}", "expected .jpg or .dcm")


def _order(row: ImageRow) -> tuple[bool, str]:
    return row.position != "PA", row.dicom
