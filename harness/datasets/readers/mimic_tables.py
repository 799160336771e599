"""Tables and report texts of the MIMIC-CXR releases on PhysioNet (Johnson et al. 2019).

Names and columns are those of MIMIC-CXR-JPG 2.0.0 and 2.1.0, plain or gzipped::

    mimic-cxr-2.0.0-metadata.csv     dicom_id, subject_id, study_id, ViewPosition, StudyDate, ...
    mimic-cxr-2.0.0-split.csv        dicom_id, study_id, subject_id, split (train, validate, test)
    mimic-cxr-2.0.0-chexpert.csv     subject_id, study_id and the 14 labels: 1.0, 0.0, -1.0 or empty
    mimic-cxr-2.0.0-negbio.csv       the same, by another labeller
    patients.csv                     MIMIC-IV: subject_id, gender, anchor_age, anchor_year
    files/p10/p10000032/s50414267.txt              report texts of MIMIC-CXR
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.types import CHEXPERT_LABELS
from harness.core.user_files import read_user_file
from harness.datasets.readers.records import Problem
from harness.datasets.readers.report_dataset import ImageTree
from harness.datasets.readers.tables import read_rows

METADATA, SPLIT = "mimic-cxr-2.0.0-metadata.csv", "mimic-cxr-2.0.0-split.csv"
LABELS = ("mimic-cxr-2.0.0-chexpert.csv", "mimic-cxr-2.0.0-negbio.csv")
PATIENTS = "patients.csv"
TEXTS_ZIP = "mimic-cxr-reports.zip"
SPLIT_NAMES = {"train": "train", "validate": "val", "test": "test"}

_VERSIONS = ("2.1.0", "2.0.0")
_PLACES = ("", "mimic-cxr-reports", "mimic-cxr-jpg", "mimic-cxr", "reports")
PROBED = 500
"""Studies that are looked for before a place counts as having none."""
_POSITIVE = {"1.0": 1.0, "1": 1.0, "-1.0": 1.0, "-1": 1.0, "0.0": 0.0, "0": 0.0, "": 0.0}
"""An uncertain label counts as positive, like ``--uncertain positive``; one not mentioned is negative."""
_OLDEST = 110
_LONGEST_REPORT = 1 << 20


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One row of the metadata.

    Attributes:
        position: ``ViewPosition``, or the meaning of the view code where that is empty.
        date: ``YYYYMMDD``, shifted by the release.
        where: file and line.
    """

    dicom: str
    subject: str
    study: str
    position: str
    date: str
    where: str

    @property
    def folder(self) -> str:
        """The study's folder below ``files``, and its report's path without ``.txt``."""
        return f"p{self.subject[:2]}/p{self.subject}/s{self.study}"


def places(root: Path) -> Iterator[Path]:
    """Folders in which a root may keep a release: itself, by the release's name, or as wget mirrors it."""
    for start in (root, root / "physionet.org" / "files"):
        for place in _PLACES:
            yield start / place
            for version in _VERSIONS:
                yield start / place / version


def find_table(root: Path, name: str) -> Path | None:
    """The first ``name`` or ``name.gz`` in ``places``."""
    for folder in places(root):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def read_images(path: Path) -> tuple[list[ImageRow], list[Problem]]:
    """All rows of the metadata, in their order, and those whose ids are no ids."""
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition")
    rows, problems = [], []
    for line, dicom, subject, study, position, date, meaning in read_rows(
        path, columns, ("StudyDate", "ViewCodeSequence_CodeMeaning")
    ):
        where = f"{path.name}, line {line}"
        if not (subject.isdecimal() and study.isdecimal() and dicom):
            message = f"subject {subject!r}, study {study!r}, image {dicom!r}: numbers and an id expected"
            problems.append(Problem("bad-id", where, message, "restore the file"))
            continue
        rows.append(ImageRow(dicom, subject, study, position.strip() or meaning.strip(), date, where))
    return rows, problems


def read_split(path: Path) -> tuple[dict[str, str], list[Problem]]:
    """Image id -> ``train``, ``val`` or ``test``, and rows that name another split."""
    splits: dict[str, str] = {}
    problems = []
    for line, dicom, split in read_rows(path, ("dicom_id", "split")):
        if split in SPLIT_NAMES:
            splits[dicom] = SPLIT_NAMES[split]
        else:
            where, hint = f"{path.name}, line {line}", f"use {', '.join(SPLIT_NAMES)}"
            problems.append(Problem("wrong-split", where, f"{dicom} is of unknown split {split!r}", hint))
    return splits, problems


def read_labels(path: Path) -> tuple[dict[str, NDArray[np.float32]], list[Problem]]:
    """Study number -> float32 (14,) in the order of ``CHEXPERT_LABELS``, and rows with other values."""
    labels: dict[str, NDArray[np.float32]] = {}
    problems = []
    for line, study, *cells in read_rows(path, ("study_id", *CHEXPERT_LABELS)):
        try:
            labels[study] = np.array([_POSITIVE[cell.strip()] for cell in cells], dtype=np.float32)
        except KeyError as error:
            message = f"s{study} has a label of value {error}"
            problems.append(
                Problem("bad-label", f"{path.name}, line {line}", message, "use 1.0, 0.0, -1.0 or nothing")
            )
    return labels, problems


@dataclass(frozen=True, slots=True)
class Patient:
    """Sex, and age in a year of the release's shifted calendar."""

    sex: str | None
    anchor_age: float | None
    anchor_year: int | None

    def age(self, date: str) -> float | None:
        """Whole years at a ``YYYYMMDD`` date, or None where anything is unknown."""
        if self.anchor_age is None or self.anchor_year is None or not date[:4].isdecimal():
            return None
        years = self.anchor_age + int(date[:4]) - self.anchor_year
        return float(years) if 0 <= years <= _OLDEST else None


def read_patients(path: Path) -> dict[str, Patient]:
    """Subject number -> what MIMIC-IV's table of patients says."""
    sexes = {"F": "female", "M": "male"}
    patients = {}
    for _, subject, gender, age, year in read_rows(
        path, ("subject_id", "gender"), ("anchor_age", "anchor_year")
    ):
        patients[subject] = Patient(
            sexes.get(gender.strip().upper()),
            float(age) if age.strip().isdecimal() else None,
            int(year) if year.strip().isdecimal() else None,
        )
    return patients


class Texts:
    """Report texts in a folder ``files`` or in the release's zip archive."""

    def __init__(self, source: Path) -> None:
        """Open a folder or a zip archive.

        Raises:
            HarnessError: a damaged archive.
        """
        self.source = source
        self._tree = ImageTree(source, "mimic-cxr", by_content=False)
        try:
            self._archive = ZipFile(source) if source.suffix == ".zip" else None
        except (BadZipFile, OSError) as error:
            raise HarnessError(f"{source}: no zip archive: {error}", "download it again") from error

    @classmethod
    def find(cls, root: Path, studies: Iterable[str]) -> Texts | None:
        """The first place that has the text of one of ``studies`` (``ImageRow.folder``), or None."""
        probed = list(studies)
        for place in places(root):
            if (place / TEXTS_ZIP).is_file():
                return cls(place / TEXTS_ZIP)
            if any(os.path.isfile(place / "files" / f"{study}.txt") for study in probed):
                return cls(place / "files")
        return None

    def read(self, study: str) -> str | Problem:
        """The report of ``p10/p10000032/s50414267``."""
        name = f"{study}.txt"
        where = str(self.source / name)
        try:
            if self._archive is not None:
                return self._unzipped(f"files/{name}").decode("utf-8-sig")
            report = self._tree.locate(name, where, "absent-report")
            return report if isinstance(report, Problem) else read_user_file(report[0]).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            return Problem("not-utf8", where, f"not UTF-8 text at byte {error.start}", "restore the file")
        except (OSError, KeyError, ValueError, BadZipFile, zlib.error) as error:
            kind = type(error).__name__
            return Problem("absent-report", where, f"no readable report ({kind})", "download it again")

    def _unzipped(self, name: str) -> bytes:
        assert self._archive is not None
        if self._archive.getinfo(name).file_size > _LONGEST_REPORT:
            raise ValueError(f"{name} is no report")
        return self._archive.read(name)


def by_study(rows: Iterable[ImageRow]) -> dict[str, list[ImageRow]]:
    """Rows by study number, in the order in which the studies come first."""
    studies: dict[str, list[ImageRow]] = defaultdict(list)
    for row in rows:
        studies[row.study].append(row)
    return studies
