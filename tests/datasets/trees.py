"""Small folders in the layouts of datasets that the user has to supply: the tests' stand-ins for them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DIAGNOSES = ("clark nevus", "basal cell carcinoma", "melanoma (in situ)", "lentigo", "seborrheic keratosis")


def picture(path: Path, seed: int, size: tuple[int, int] = (60, 40)) -> None:
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
        picture(root / "images" / derm, number)
        if number == 12:
            clinic = derm
        else:
            picture(root / "images" / clinic, 100 + number)
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
        for names, pictures in ((fundus, "cfp-clahe-448x448"), (scans, "oct-median3x3-448x448")):
            for number, name in enumerate(names):
                path = root / "mmc-amd" / "ImageData" / pictures / f"{name}.jpg"
                picture(path, 100 * first + number + len(pictures), (64, 64))
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


TREES: dict[str, Callable[[Path], Path]] = {"derm7pt": derm7pt, "mmc-amd": mmc_amd, "fairvision": fairvision}
"""Dataset name -> what builds its folder and returns the value of ``--root``."""
