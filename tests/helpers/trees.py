"""Small folders in the layouts of datasets that the user has to supply: the tests' stand-ins for them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.core.types import CHEXPERT_LABELS
from harness.datasets.iu import reports

DIAGNOSES = ("clark nevus", "basal cell carcinoma", "melanoma (in situ)", "lentigo", "seborrheic keratosis")


def image(path: Path, seed: int, size: tuple[int, int] = (60, 40)) -> None:
    """A JPEG of noise, width and height as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_lines(path: Path, lines: list[str]) -> None:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def derm7pt(root: Path) -> Path:
    """Twelve cases: six train, three validation, three test; case 12 has no clinical photograph."""
    rows = []
    for number in range(1, 13):
        clinic, derm = f"NEL/NEL{number:03}.JPG", f"NEL/Nel{number:03}d.jpg"
        image(root / "images" / derm, number)
        if number == 12:
            clinic = derm
        else:
            image(root / "images" / clinic, 100 + number)
        diagnosis = DIAGNOSES[number % 5]
        rows.append(
            {
                "case_num": number,
                "diagnosis": diagnosis,
                "elevation": "flat",
                "location": "back",
                "sex": ("female", "male")[number % 2],
                "clinic": clinic,
                "derm": derm,
                "case_id": "",
                "notes": "",
            }
        )
    write_rows(root / "meta" / "meta.csv", rows)
    for split, indexes in {"train": range(6), "valid": range(6, 9), "test": range(9, 12)}.items():
        write_rows(root / "meta" / f"{split}_indexes.csv", [{"indexes": index} for index in indexes])
    return root


def mmc_amd(root: Path) -> Path:
    """Four eyes a split, one of each class; the last of each has no OCT, the first has two."""
    for first, split in enumerate(("train", "val", "test")):
        fundus, scans = [], []
        for number, letter in enumerate("hdpw"):
            eye = f"{letter}-{1000 + 10 * first + number}"
            fundus.append(f"f-{eye}")
            if number < 3:
                scans.append(f"o-{eye}")
            if number == 0:
                scans.append(f"o-{eye}_2")
        for names, images in ((fundus, "cfp-clahe-448x448"), (scans, "oct-median3x3-448x448")):
            for number, name in enumerate(names):
                path = root / "mmc-amd" / "ImageData" / images / f"{name}.jpg"
                image(path, 100 * first + number + len(images), (64, 64))
        part = root / f"mmc-amd-splitAP-{split}"
        write_lines(part / "ImageSets" / "cfp.txt", fundus)
        write_lines(part / "ImageSets" / "oct.txt", scans)
        write_lines(part / "SubjectSets" / "cfp.txt", [f"patient{first}"])
    return root


def subject(path: Path, seed: int, **changes: Any) -> None:
    """One FairVision archive, its volume smaller than the real one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    content = {
        "slo_fundus": rng.integers(0, 256, (50, 50)).astype(np.float64),
        "oct_bscans": rng.integers(0, 256, (9, 50, 50), dtype=np.uint8),
        "glaucoma": np.array(seed % 2),
        "race": np.array(seed % 3),
        "male": np.array(seed % 2),
        "hispanic": np.array(-1),
    }
    np.savez(path, **{key: value for key, value in {**content, **changes}.items() if value is not None})


def fairvision(root: Path) -> Path:
    """Four subjects a split; one test subject has no OCT."""
    for first, split in enumerate(("Training", "Validation", "Test")):
        for number in range(4):
            lacks = {"oct_bscans": np.zeros((0,))} if split == "Test" and number == 3 else {}
            name = f"data_{10 * first + number:05}.npz"
            subject(root / "Glaucoma" / split / name, 10 * first + number, **lacks)
    return root


SENTENCES = (
    "The heart is normal in size.",
    "The lungs are clear.",
    "No fluid is in the pleural space.",
    "A small nodule lies in the left apex.",
    "Mild edema is present.",
)


def words(number: int) -> str:
    """An invented report of three sentences."""
    return " ".join(SENTENCES[(number + step) % len(SENTENCES)] for step in range(3))


SMALL_SPLIT = {"train": 6, "val": 2, "test": 3}


def iu_xray(root: Path) -> Path:
    """R2Gen's layout: eleven studies, real ids, invented texts, a landscape and a portrait image."""
    annotation: dict[str, list[dict[str, Any]]] = {}
    number = 0
    for split, count in SMALL_SPLIT.items():
        annotation[split] = []
        for study in reports.split_ids()[split][:count]:
            number += 1
            paths = [f"{study}/0.png", f"{study}/1.png"]
            image(root / "images" / paths[0], number, (60, 50))
            image(root / "images" / paths[1], 100 + number, (50, 60))
            entry = {"id": study, "report": words(number), "image_path": paths, "split": split}
            annotation[split].append(entry)
    (root / "annotation.json").write_text(json.dumps(annotation))
    return root


OPEN_I_REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="{uid}"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="INDICATION">{indication}</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION">No acute disease.</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH><major>{mesh}</major></MeSH>{images}</eCitation>
"""


def open_i(root: Path) -> Path:
    """Open-i's layout: eleven studies of R2Gen's split and one that it lacks, as PNG."""
    studies = [study for split, count in SMALL_SPLIT.items() for study in reports.split_ids()[split][:count]]
    for number, uid in enumerate([*map(reports.uid_of, studies), "CXR9999"]):
        names = [f"{uid}_IM-{number:04}-{view}" for view in ("1001", "2001")]
        for view, name in enumerate(names):
            image(root / "NLMCXR_png" / f"{name}.png", 10 * number + view, ((60, 50), (50, 60))[view])
        text = OPEN_I_REPORT.format(
            uid=uid,
            indication="" if number == 3 else "female with chest pain",
            findings=words(number),
            mesh=("normal", "Cardiomegaly/mild")[number % 2],
            images="".join(f'<parentImage id="{name}"/>' for name in names),
        )
        write_lines(root / "ecgen-radiology" / f"{uid.removeprefix('CXR')}.xml", [text])
    return root


MIMIC_REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  {indication}

 COMPARISON:  None.

 FINDINGS:

 {findings}

 IMPRESSION:

 No acute process.
"""


def mimic_rows() -> list[dict[str, str]]:
    """Images of eleven studies of eleven patients: PA and lateral; the last has AP alone."""
    splits = ["train"] * 6 + ["validate"] * 2 + ["test"] * 3
    return [
        {
            "dicom_id": f"{number:08x}-{len(position):08x}-0-0-0",
            "subject_id": f"{10000000 + number}",
            "study_id": f"{50000000 + number}",
            "ViewPosition": position,
            "StudyDate": "21800506",
            "split": split,
        }
        for number, split in enumerate(splits)
        for position in (("AP",) if number == 10 else ("LATERAL", "PA"))
    ]


def mimic_folder(row: dict[str, str]) -> str:
    """The study's folder below ``files`` or ``images``."""
    return f"p{row['subject_id'][:2]}/p{row['subject_id']}/s{row['study_id']}"


def mimic_tables(root: Path) -> None:
    """The tables of MIMIC-CXR-JPG, the labels gzipped, and MIMIC-IV's patients."""
    rows = mimic_rows()
    metadata = [{key: value for key, value in row.items() if key != "split"} for row in rows]
    write_rows(root / "mimic-cxr-2.0.0-metadata.csv", metadata)
    keys = ("dicom_id", "study_id", "subject_id", "split")
    write_rows(root / "mimic-cxr-2.0.0-split.csv", [{key: row[key] for key in keys} for row in rows])
    lines = [",".join(["subject_id", "study_id", *sorted(CHEXPERT_LABELS)])]
    for number, row in enumerate({row["study_id"]: row for row in rows}.values()):
        values = [("1.0", "0.0", "-1.0", "")[(number + place) % 4] for place in range(14)]
        lines.append(",".join([row["subject_id"], row["study_id"], *values]))
    with gzip.open(root / "mimic-cxr-2.0.0-chexpert.csv.gz", "wt") as stream:
        stream.write("\n".join(lines) + "\n")
    people = [
        {"subject_id": f"{10000000 + n}", "gender": "FM"[n % 2], "anchor_age": 50, "anchor_year": 2176}
        for n in range(11)
    ]
    write_rows(root / "patients.csv", people)


def mimic_texts(root: Path) -> None:
    """Report texts below ``files``; the second test study has no indication."""
    for number, row in enumerate({row["study_id"]: row for row in mimic_rows()}.values()):
        indication = "___" if number == 9 else "___ year old with cough"
        text = MIMIC_REPORT.format(indication=indication, findings=words(number))
        write_lines(root / "files" / f"{mimic_folder(row)}.txt", [text])


def mimic_cxr(root: Path) -> Path:
    """PhysioNet's layout with JPG images."""
    mimic_tables(root)
    mimic_texts(root)
    for number, row in enumerate(mimic_rows()):
        image(root / "files" / mimic_folder(row) / f"{row['dicom_id']}.jpg", number)
    return root


def mimic_r2gen(root: Path) -> Path:
    """R2Gen's layout of the same images, an entry each, without any table."""
    annotation: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    for number, row in enumerate(mimic_rows()):
        path = f"{mimic_folder(row)}/{row['dicom_id']}.jpg"
        image(root / "images" / path, number)
        split = {"validate": "val"}.get(row["split"], row["split"])
        annotation[split].append(
            {
                "id": row["dicom_id"],
                "study_id": int(row["study_id"]),
                "subject_id": int(row["subject_id"]),
                "report": words(int(row["study_id"]) % 100),
                "image_path": [path],
                "split": split,
            }
        )
    (root / "annotation.json").write_text(json.dumps(annotation))
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "derm7pt": derm7pt,
    "mmc-amd": mmc_amd,
    "fairvision": fairvision,
    "iu-xray": iu_xray,
    "open-i": open_i,
    "mimic-cxr": mimic_cxr,
}
"""Dataset name -> what builds its folder and returns the value of ``--root``."""
