"""Small folders in the layouts of datasets with reports or captions: the tests' stand-ins for them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.trees import image, write_lines, write_rows

SENTENCES = (
    "The lungs are clear, without effusion.",
    "Small opacity in the left lower lobe; no nodule.",
    "The heart is enlarged (moderate).",
)


def sentence(number: int) -> str:
    """A text that is found nowhere else in a tree."""
    return f"{SENTENCES[number % 3]} Number {'abcdefghijklmnopqrstuvwxyz'[number % 26]}."


def cov_ctr(root: Path) -> Path:
    """Twenty figures, four with two panels; one image has a second row; cells end in a line break."""
    names = [f"{figure}%0.png" for figure in range(20)] + [f"{figure}%1.jpg" for figure in range(4)]
    rows = []
    for number, name in enumerate([*names, names[3]]):
        if number < len(names):
            image(root / name, number)
        rows.append(
            {
                "image_id": name,
                "findings": "双肺",
                "terminologies": "术语",
                "COVID": number % 2,
                "impression": "印象",
                "reports_En": f"{sentence(number)}\n",
            }
        )
    write_rows(root / "reports_ZH_EN.csv", rows)
    return root


def mm_retinal(root: Path) -> Path:
    """Ten cases of each kind, PNG and JPEG."""
    for first, kind in enumerate(("CFP", "FFA", "OCT")):
        rows: list[dict[str, Any]] = []
        for number in range(10):
            case = f"{first}-{number}a"
            image(root / kind / f"{case}.{('png', 'jpg')[number % 2]}", 10 * first + number)
            text = f"Same eye as Fig. 3-{number}b. {sentence(10 * first + number)}"
            row = {"Image_ID": case, "cn_caption": "图", "en_caption": text}
            rows.append(row | ({"is_multipic": 0} if kind == "OCT" else {}))
        write_rows(root / f"{kind}_translated_v1.csv", rows)
    return root


def peir_gross(root: Path) -> Path:
    """Twelve photographs and a caption that is null."""
    captions: dict[str, str | None] = {"null.jpg": None}
    for number in range(12):
        image(root / "peir_gross_images" / f"{number:08}.jpg", number)
        captions[f"{number:08}.jpg"] = f"LUNG: Gross: {sentence(number)}"
    (root / "peir_gross_captions.json").write_text(json.dumps(captions))
    return root


def roco(root: Path) -> Path:
    """Four images a split in the layout of the repository; two of them share an article across splits."""
    for first, split in enumerate(("train", "validation", "test")):
        folder = root / "data" / split / "radiology"
        captions, licences = [], ["ROCO_ID,PMC_ID,CC"]
        for number in range(4):
            study = f"ROCO_{4 * first + number:05}"
            article = f"PMC{100 + (0 if number == 0 and first < 2 else 4 * first + number + 1)}"
            image(folder / "images" / f"{study}.jpg", 4 * first + number)
            captions.append(f"{study}\t A 45-year-old man, mass of 3.5 cm. {sentence(4 * first + number)}")
            licences.append(f"{study},{article}_x-g00{number}.jpg,CC BY")
        write_lines(folder / "captions.txt", captions)
        write_lines(folder / "licences.txt", licences)
    return root


def roco_2(root: Path) -> Path:
    """Three images a split in the layout of ROCOv2."""
    for first, split in enumerate(("train", "valid", "test")):
        rows = []
        for number in range(3):
            study = f"ROCOv2_2023_{split}_{number:06}"
            image(root / split / f"{study}.jpg", 3 * first + number)
            rows.append({"ID": study, "Caption": sentence(3 * first + number)})
        write_rows(root / f"{split}_captions.csv", rows)
    return root


def own_rows(root: Path) -> list[dict[str, Any]]:
    """Twelve studies of a user's own with their images below ``root/images``."""
    rows = []
    for number in range(12):
        views = {}
        for view in ("frontal", "lateral"):
            if view == "frontal" or number % 4:
                views[view] = f"images/{number}-{view}.png"
                image(root / views[view], 2 * number + (view == "lateral"))
        rows.append(
            {
                "id": f"s{number}",
                "patient": f"p{number // 2}",
                "split": "train" if number < 6 else "val" if number < 8 else "test",
                "frontal": views["frontal"],
                "lateral": views.get("lateral", ""),
                "indication": "cough" if number % 3 else "",
                "report": sentence(number),
                "labels": ("Edema; Cardiomegaly", "No Finding", "Edema")[number % 3],
                "attribute:age": 40 + number,
            }
        )
    return rows


def own(root: Path) -> Path:
    """A table of a user's own, ``my.csv``."""
    write_rows(root / "my.csv", own_rows(root))
    return root / "my.csv"


def rewrite(path: Path, change: Callable[[list[dict[str, str]]], object]) -> None:
    """Let ``change`` alter the rows of a CSV file in place."""
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    change(rows)
    write_rows(path, rows)


TREES: dict[str, Callable[[Path], Path]] = {
    "cov-ctr": cov_ctr,
    "mm-retinal": mm_retinal,
    "peir-gross": peir_gross,
    "roco": roco,
    "csv": own,
}
"""Dataset name -> what builds its folder and returns the value of ``--root``."""
