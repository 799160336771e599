"""The IU X-Ray reports, indications, demographics and MeSH codes that ship inside ``torchxrayvision``.

The texts are CC BY-NC-ND 4.0 (Indiana University; Demner-Fushman et al. 2016). They are read from the copy
that the user has installed and never leave the user's machine. The package is found without importing it,
so torch stays out.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import json
import re
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from harness.core.errors import CorruptFileError, HarnessError, UnavailableError
from harness.core.packages import install
from harness.datasets.readers.headings import COMPARISON, FINDINGS, IMPRESSION, INDICATION, section_of
from harness.datasets.readers.sections import before_report_text

ARCHIVE = "NLMCXR_reports.tgz"
METADATA = "nlmcxr_dicom_metadata.csv.gz"
N_REPORTS = 3955
SPLIT_SIZES = {"train": 2069, "val": 296, "test": 590}
SPLIT_FILE = Path(__file__).with_name("r2gen_iu_split_ids.json")

_REINSTALL = "reinstall it: pip install --force-reinstall --no-deps torchxrayvision"
_SEXES = {
    "female": re.compile(r"\b(?:females?|wom[ae]n|lady|girl|she)\b", re.IGNORECASE),
    "male": re.compile(r"\b(?:males?|m[ae]n|gentleman|boy|he)\b", re.IGNORECASE),
}
ACQUISITION_FIELDS = (
    "Acquisition Device Processing Code",
    "LUT Explanation",
    "KVP",
    "Sensitivity",
    "Pixel Spacing",
    "Rows",
    "Columns",
)
"""DICOM fields that decide how a device's images look; many cells are empty."""

_ANONYMISED = re.compile(r"X{2,}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IUReport:
    """One study of the collection; a field that the source leaves empty is None (or an empty tuple).

    Attributes:
        uid: study and patient id, e.g. ``CXR1002``; the collection has one study per patient.
        mesh: human-made major codes, e.g. ``Opacity/lung/base/left``.
        automatic: codes that a program found in the text; nothing here uses them.
        images: ids of the study's real images, e.g. ``CXR1002_IM-0004-1001``.
        view_positions: DICOM view position of each row of the metadata file, ``""`` where it is empty.
        age: years at the study date.
        sex: ``female`` or ``male`` where the indication states it; the DICOM field is empty in every row.
        acquisition: the cells of ``ACQUISITION_FIELDS`` in the metadata's first row of the study.
    """

    uid: str
    findings: str | None
    impression: str | None
    indication: str | None
    comparison: str | None
    mesh: tuple[str, ...]
    automatic: tuple[str, ...]
    images: tuple[str, ...]
    view_positions: tuple[str, ...]
    age: float | None
    sex: str | None
    acquisition: tuple[str, ...] = ()

    @property
    def view_position(self) -> str | None:
        """``PA`` or ``AP`` of the frontal view, or None where the metadata do not say."""
        return next((position for position in self.view_positions if position in ("PA", "AP")), None)


def find_data_folder(root: Path | None = None) -> Path:
    """The folder of the report archive and the metadata: ``root``, or the installed package's ``data``.

    Raises:
        UnavailableError: the package is not installed.
        HarnessError: one of the two files is absent.
    """
    if root is None:
        spec = importlib.util.find_spec("torchxrayvision")  # finds a top-level package without running it
        if spec is None or not spec.submodule_search_locations:
            raise UnavailableError(
                "iu-phantom reads its reports from the package torchxrayvision, which is not installed",
                install("run"),
            )
        folder = Path(spec.submodule_search_locations[0]) / "data"
    else:
        folder = root
    for name in (ARCHIVE, METADATA):
        if not (folder / name).is_file():
            hint = _REINSTALL if root is None else f"put {name} there, or leave --root out"
            raise HarnessError(f"{folder / name}: no such file", hint)
    return folder


def archive_digest(folder: Path) -> str:
    """SHA-256 of archive and metadata together: the identity of everything parsed from ``folder``."""
    digest = hashlib.sha256()
    for name in (ARCHIVE, METADATA):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def read_reports(folder: Path) -> dict[str, IUReport]:
    """All 3,955 reports by uid, in the archive's order.

    Raises:
        CorruptFileError: the archive or the metadata are damaged, or reports are missing.
    """
    people = read_people(folder)
    path = folder / ARCHIVE
    reports: dict[str, IUReport] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name.endswith(".xml") else None
                if stream is not None:
                    report = parse_report(ElementTree.fromstring(stream.read()), people)
                    reports[report.uid] = report
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ElementTree.ParseError) as error:
        raise CorruptFileError(f"{path}: damaged archive: {error}", _REINSTALL) from error
    if len(reports) != N_REPORTS:
        raise CorruptFileError(f"{path}: {len(reports)} reports where {N_REPORTS} are expected", _REINSTALL)
    return reports


def to_records(reports: Mapping[str, IUReport]) -> list[list[Any]]:
    """The reports as JSON-ready rows (fields in the order of ``IUReport``)."""
    return [[getattr(report, name) for name in IUReport.__slots__] for report in reports.values()]


def from_records(rows: Sequence[Sequence[Any]]) -> dict[str, IUReport]:
    """The inverse of ``to_records`` after a trip through JSON."""
    reports: dict[str, IUReport] = {}
    for row in rows:
        cells: list[Any] = [tuple(cell) if isinstance(cell, list) else cell for cell in row]
        reports[cells[0]] = IUReport(*cells)
    return reports


@cache
def split_ids() -> dict[str, tuple[str, ...]]:
    """R2Gen study ids by split, in R2Gen's order, e.g. ``CXR2384_IM-0942``."""
    splits = json.loads(SPLIT_FILE.read_text(encoding="utf-8"))
    return {split: tuple(splits[split]) for split in SPLIT_SIZES}


def uid_of(study_id: str) -> str:
    """``CXR2384_IM-0942`` to ``CXR2384``."""
    return study_id.partition("_")[0]


def check_splits(reports: Mapping[str, IUReport], path: Path) -> None:
    """Raise ``CorruptFileError`` unless 2,069 / 296 / 590 studies with findings stand in ``reports``."""
    for split, expected in SPLIT_SIZES.items():
        uids = {uid_of(i) for i in split_ids()[split] if uid_of(i) in reports and reports[uid_of(i)].findings}
        if len(uids) != expected:
            message = f"{path}: {len(uids)} {split} studies with findings where {expected} are expected"
            raise CorruptFileError(message, _REINSTALL)


def context_of(report: IUReport) -> str | None:
    """Demographics and indication as text, or None where no word of the indication survives.

    E.g. ``age 54, sex female. indication: chest pain``; an unknown age or sex is left out. An indication that
    is empty, or only anonymisation marks (``XXXX``) and punctuation, does not say why the study was made: its
    context is missing by nature, and the age alone, which every DICOM file has, does not make it present.
    Text behind ``findings:`` or ``impression:`` is no context.
    """
    indication = before_report_text(" ".join((report.indication or "").split()))
    if not re.search(r"[^\W_]", _ANONYMISED.sub("", indication)):
        return None
    facts = []
    if report.age is not None:
        facts.append(f"age {int(report.age)}")
    if report.sex is not None:
        facts.append(f"sex {report.sex}")
    prefix = f"{', '.join(facts)}. " if facts else ""
    return f"{prefix}indication: {indication}"


def parse_report(root: ElementTree.Element, people: Mapping[str, Person]) -> IUReport:
    """One report file; age and view positions come from ``people``, as ``read_people`` gives them."""
    uid_element = root.find("uId")
    uid = (uid_element.get("id") or "") if uid_element is not None else ""
    sections = {_section(element): _text(element) for element in root.iter("AbstractText")}
    person = people.get(uid.removeprefix("CXR"), Person((), None, ()))
    return IUReport(
        uid=uid,
        findings=sections.get(FINDINGS),
        impression=sections.get(IMPRESSION),
        indication=sections.get(INDICATION),
        comparison=sections.get(COMPARISON),
        mesh=tuple(text for element in root.iter("major") if (text := _text(element))),
        automatic=tuple(text for element in root.iter("automatic") if (text := _text(element))),
        images=tuple(image.get("id") or "" for image in root.iter("parentImage")),
        view_positions=person.view_positions,
        age=person.age,
        sex=sex_of(sections.get(INDICATION) or ""),
        acquisition=person.acquisition,
    )


def sex_of(indication: str) -> str | None:
    """``female`` or ``male`` where the text states exactly one of them."""
    stated = [sex for sex, pattern in _SEXES.items() if pattern.search(indication)]
    return stated[0] if len(stated) == 1 else None


def _section(element: ElementTree.Element) -> str | None:
    """The section that an element's label names, with or without a mistyped letter."""
    return section_of(element.get("Label") or "")


@dataclass(frozen=True, slots=True)
class Person:
    """What the metadata say of one patient (see the fields of ``IUReport``)."""

    view_positions: tuple[str, ...]
    age: float | None
    acquisition: tuple[str, ...]


def _text(element: ElementTree.Element) -> str | None:
    return (element.text or "").strip() or None


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the metadata say of one image: DICOM view position (``""`` where empty), height and width."""

    position: str
    rows: int
    columns: int


def read_image_facts(folder: Path) -> dict[str, ImageFacts]:
    """Image id as in the report files, e.g. ``CXR1002_IM-0004-1001`` -> what the metadata say of it."""
    facts = {}
    for row in _read_rows(folder / METADATA):
        # The report files number the first patient's images CXR1_1_IM-..., the metadata CXR1_IM-...
        name = row["imageid"].replace("CXR1_IM", "CXR1_1_IM")
        facts[name] = ImageFacts(row["View Position"].strip(), int(row["Rows"]), int(row["Columns"]))
    return facts


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise CorruptFileError(f"{path}: damaged metadata: {error}", _REINSTALL) from error
    if not rows or "Patient ID" not in rows[0]:
        raise CorruptFileError(f"{path}: damaged metadata: no column Patient ID", _REINSTALL)
    return rows


def read_people(folder: Path) -> dict[str, Person]:
    """Patient number -> view positions and age at the first image's study date."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in _read_rows(folder / METADATA):
        rows[row["Patient ID"]].append(row)
    return {
        patient: Person(
            tuple(row["View Position"] for row in images),
            _age(images[0]["Patient's Birth Date"], images[0]["Study Date"]),
            tuple(images[0][field] for field in ACQUISITION_FIELDS),
        )
        for patient, images in rows.items()
    }


def _age(birth: str, study: str) -> float | None:
    """Whole years between two ``YYYYMMDD`` dates, or None where a date is absent or the age is not 0-110."""
    try:
        born, seen = (date(int(d[:4]), int(d[4:6]), int(d[6:8])) for d in (birth, study))
    except ValueError:
        return None
    years = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    return float(years) if 0 <= years <= 110 else None
