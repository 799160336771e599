"""MIMIC-CXR's release as a tree of empty images: what opening it and drawing masks costs at any size."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from harness.core.types import CHEXPERT_LABELS
from harness.datasets.opening import open_dataset, studies_of
from harness.missingness.masks import missing_shares, plan_of
from harness.missingness.plan import Missingness

RATES, SEEDS = (0.2, 0.4, 0.6, 0.8), range(20)
_PER_PATIENT, _WITH_LATERAL = 3, 0.66
"""Studies of a patient, and the share of studies with a second view: 227,000 studies have 377,000 images."""
_SPLITS = (("train", 0.9), ("validate", 0.95), ("test", 1.0))
"""Upper ends of the splits' shares. The release's test split is smaller; masks are drawn for this one."""
_TABLES = {
    "mimic-cxr-2.0.0-metadata.csv": ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate"),
    "mimic-cxr-2.0.0-split.csv": ("dicom_id", "study_id", "subject_id", "split"),
}
_REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old with {complaint}

 COMPARISON:  ___

 FINDINGS:

 Study {number}. {findings}

 IMPRESSION:

 {impression}
"""


def write(root: Path, size: int) -> None:
    """Tables, an archive of report texts and empty images of ``size`` studies."""
    rng = np.random.default_rng(0)
    rows = list(_images(size, rng))
    for name, columns in _TABLES.items():
        _table(root / name, columns, ([row[column] for column in columns] for row in rows))
    studies = {row["study_id"]: row for row in rows}
    labels = rng.choice(("1.0", "0.0", "-1.0", ""), size=(size, len(CHEXPERT_LABELS)), p=(0.1, 0.1, 0.1, 0.7))
    _table(
        root / "mimic-cxr-2.0.0-chexpert.csv",
        ("subject_id", "study_id", *CHEXPERT_LABELS),
        (
            [row["subject_id"], study, *line]
            for (study, row), line in zip(studies.items(), labels, strict=True)
        ),
    )
    with ZipFile(root / "mimic-cxr-reports.zip", "w", ZIP_DEFLATED) as archive:
        for number, row in enumerate(studies.values()):
            text = _REPORT.format(
                complaint=("cough", "fever", "shortness of breath")[number % 3],
                number=number,
                findings="Alpha lobe quiet today. Beta border as drawn. Gamma base unremarkable here. " * 3,
                impression="Nothing new in this made-up chest.",
            )
            archive.writestr(f"files/{_folder(row)}.txt", text)
    for row in rows:
        folder = root / "files" / _folder(row)
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(f"{row['dicom_id']}.jpg").touch()


def open_and_mask(root: Path) -> None:
    """Open the dataset, list its studies, and draw masks of every rate and seed with their shares."""
    dataset = open_dataset("mimic-cxr", root)
    counts = {split: len(studies_of(dataset, split)) for split in ("train", "val")}
    studies = studies_of(dataset, "test")
    assert sum(counts.values()) > len(studies)
    for policy in ("context", "any"):
        plan = plan_of(studies, dataset.info, Missingness(policy, "mcar", RATES, SEEDS))
        missing_shares(plan, studies, dataset.info)


def _images(size: int, rng: np.random.Generator) -> Iterator[dict[str, str]]:
    lateral = rng.random(size) < _WITH_LATERAL
    for number in range(size):
        share = number // _PER_PATIENT * _PER_PATIENT / size
        split = next(name for name, end in _SPLITS if share < end)
        for position in ("PA", "LATERAL") if lateral[number] else ("PA",):
            yield {
                "dicom_id": f"{number:08x}-{len(position):08x}-0-0-0",
                "subject_id": f"{10_000_000 + number // _PER_PATIENT * 29}",
                "study_id": f"{50_000_000 + number}",
                "ViewPosition": position,
                "StudyDate": "21800506",
                "split": split,
            }


def _folder(row: dict[str, str]) -> str:
    return f"p{row['subject_id'][:2]}/p{row['subject_id']}/s{row['study_id']}"


def _table(path: Path, names: tuple[str, ...], rows: Iterator[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        writer.writerows(rows)
