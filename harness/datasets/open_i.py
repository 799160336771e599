"""``open-i``: the Indiana University chest X-rays as Open-i releases them (Demner-Fushman et al. 2016).

The layout below ``--root``, as the archives unpack, side by side or one in the other::

    ecgen-radiology/1.xml ...                    one report per study; also below NLMCXR_reports/
    NLMCXR_png/CXR1_1_IM-0001-3001.png ...       and, or,
    NLMCXR_dcm/1/1_IM-0001-3001.dcm ...          and, or,
    images/images_normalized/1_IM-0001-3001.dcm.png ...    (as on Kaggle)

The release has no split. The 2,955 studies of R2Gen's split keep it; the profile decides about the others.
View positions and ages are those of the DICOM metadata in the installed ``torchxrayvision``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from harness.core.errors import HarnessError, UnavailableError
from harness.core.types import CHEXPERT_LABELS
from harness.datasets.iu import reports as iu_reports
from harness.datasets.iu.mesh import labels_of
from harness.datasets.iu.reports import IUReport, Person
from harness.datasets.iu_xray import LICENCE, PUBLISHED, attributes_of, image_size_of, installed_sources
from harness.datasets.readers import views
from harness.datasets.readers.profiles import ALL_STUDIES, OPEN_I_PROFILES, Profile
from harness.datasets.readers.records import Listing, Problem, ReportRecord, other_counts
from harness.datasets.readers.report_dataset import ImageTree, ReportDataset
from harness.datasets.readers.views import Shot

REPORTS = ("ecgen-radiology", "NLMCXR_reports/ecgen-radiology", "reports/ecgen-radiology", "reports")
IMAGES = ("NLMCXR_png", "NLMCXR_dcm", "images/images_normalized", "images", "")
_EXPECTED = "ecgen-radiology/*.xml and NLMCXR_png/*.png or NLMCXR_dcm/*/*.dcm of Open-i"
_RELEASED = {"report files": 3955, "images": 7470}
_PICTURES = (".png", ".dcm", ".jpg")
_ID = re.compile(r"(?:CXR)?(\d+)_(?:\1_)?(IM-[\d-]+)")
_TRAIN_SHARE, _VAL_SHARE = 0.7, 0.1


class OpenI(ReportDataset):
    """Open-i's IU X-Ray: R2Gen's split, frontal and lateral view, context, 14 labels from MeSH codes."""

    name = "open-i"
    expected = _EXPECTED
    views = views.VIEWS
    label_names = CHEXPERT_LABELS
    licence = LICENCE
    profiles = OPEN_I_PROFILES

    @classmethod
    def list_root(cls, root: Path, profile: Profile) -> Listing:
        """All report files; see ``views.by_shape`` for which image is which view."""
        folder = next((root / name for name in REPORTS if any((root / name).glob("*.xml"))), None)
        if folder is None:
            raise HarnessError(f"{root}: no report files", f"expected {_EXPECTED}")
        return _Reader(root, profile).listing(folder)


class _Reader:
    def __init__(self, root: Path, profile: Profile) -> None:
        self.profile = profile
        self.problems: list[Problem] = []
        self.images = _index(root)
        if not self.images:
            raise HarnessError(f"{root}: no images", f"expected {_EXPECTED}")
        self.root = root
        self.tree = ImageTree(root, OpenI.name, links=[root / name for name in (*REPORTS, *IMAGES)])
        self.people, self.sources = _people(), installed_sources()
        self.splits = _splits()

    def listing(self, folder: Path) -> Listing:
        files = sorted(folder.glob("*.xml"), key=lambda path: (len(path.name), path.name))
        records: list[ReportRecord] = []
        left_out: list[str] = []
        for path in files:
            report = self._parsed(path)
            if isinstance(report, Problem):
                self.problems.append(report)
                continue
            study_id, split = self.splits.get(report.uid, (report.uid, self._drawn(report.uid)))
            if split is None:
                left_out.append(report.uid)
                continue
            shots = self._shots(report, path)
            if shots is not None:
                records.append(self._record(report, study_id, split, shots, path))
        self.tree.keep()
        if left_out:
            message = f"{len(left_out)} studies are left out: R2Gen's split lacks them, e.g. {left_out[0]}"
            hint = f"--set open-i.profile={ALL_STUDIES} keeps them"
            self.problems.append(Problem("not-in-split", str(folder), message, hint, fatal=False))
        counts = {"report files": len(files), "images": len(self.images)}
        self.problems += other_counts(self.root, counts, _RELEASED)
        return Listing(records, self.problems, {} if self.profile.split == ALL_STUDIES else PUBLISHED)

    def _parsed(self, path: Path) -> IUReport | Problem:
        report_file = self.tree.locate(os.path.relpath(path, self.root), str(path), "bad-xml")
        if isinstance(report_file, Problem):
            return report_file
        try:
            report = iu_reports.parse_report(ElementTree.fromstring(path.read_bytes()), self.people)
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            # The message of a codec may quote bytes of the text; where it stands is enough.
            place = getattr(error, "position", None)
            where = f"{path}, line {place[0]}" if place else str(path)
            return Problem("bad-xml", where, "is no well-formed XML", "download it again")
        except OSError as error:
            return Problem("bad-xml", str(path), f"cannot be read: {error.strerror}")
        return report if report.uid else Problem("missing-field", str(path), "has no uId")

    def _drawn(self, uid: str) -> str | None:
        """The split of a study that R2Gen's lacks: 70/10/20 by the digest of its uid, or none."""
        if self.profile.split != ALL_STUDIES:
            return None
        share = int(hashlib.sha256(uid.encode()).hexdigest()[:8], 16) / 0x1_0000_0000
        return "train" if share < _TRAIN_SHARE else "val" if share < _TRAIN_SHARE + _VAL_SHARE else "test"

    def _shots(self, report: IUReport, path: Path) -> list[Shot] | None:
        """The study's images in the order of its report file; None where one of them cannot be used."""
        shots = []
        for image in report.images:
            relative = self.images.get(_key(image))
            if relative is None:
                message, hint = f"{report.uid}: no image {image}", "the download is incomplete"
                self.problems.append(Problem("absent-image", str(path), message, hint))
                return None
            source = self.tree.find(relative, str(path))
            if isinstance(source, Problem):
                self.problems.append(source)
                return None
            facts = self.sources.images.get(image)
            rows, columns = image_size_of(source)
            if rows == 0 and facts is not None:
                rows, columns = facts.rows, facts.columns
            shots.append(Shot(image, source, facts.position if facts else "", rows, columns))
        return shots

    def _record(
        self, report: IUReport, study_id: str, split: str, shots: list[Shot], path: Path
    ) -> ReportRecord:
        sections = {"findings": report.findings, "impression": report.impression}
        return ReportRecord(
            id=study_id,
            patient_id=report.uid,
            split=split,
            images=self.profile.seen(views.by_shape(shots)),
            report=self.profile.target(sections),
            where=str(path),
            context=iu_reports.context_of(report),
            labels=labels_of(report.mesh),
            attributes=attributes_of(report),
        )


@cache
def _people() -> Mapping[str, Person]:
    try:
        return iu_reports.read_people(iu_reports.find_data_folder())
    except UnavailableError:
        return {}


def _splits() -> dict[str, tuple[str, str]]:
    """Uid -> R2Gen's study id and split."""
    ids = iu_reports.split_ids()
    return {iu_reports.uid_of(study): (study, split) for split, studies in ids.items() for study in studies}


def _key(image: str) -> str:
    """One name for an image's spellings: ``CXR1_1_IM-0001-3001``, ``1_IM-0001-3001`` and their suffixes."""
    match = _ID.match(image)
    return f"{match[1]}_{match[2].rstrip('-')}" if match else image


def _index(root: Path) -> dict[str, str]:
    """Key -> path relative to the root, the first folder that has an image winning; one level of folders."""
    paths: dict[str, str] = {}
    for name in IMAGES:
        folder = root / name
        if not folder.is_dir():
            continue
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            inner = [entry]
            if entry.is_dir() and entry.name.isdecimal():
                inner = sorted(os.scandir(entry.path), key=lambda one: one.name)
            for one in inner:
                if one.name.lower().endswith(_PICTURES) and _ID.match(one.name):
                    paths.setdefault(_key(one.name), os.path.relpath(one.path, root))
    return paths
