"""``roco``: images from open-access papers with their captions, ROCO (Pelka et al. 2018) and ROCOv2 (2024).

ROCO as its repository and ``scripts/fetch.py`` leave it (the radiology part; ``data/`` or ``all_data/`` may
stand in between), and ROCOv2::

    train/radiology/captions.txt   ROCO_00002, tab, caption       train_captions.csv   columns ID, Caption
    train/radiology/licences.txt   ROCO_ID,PMC_ID,CC              valid_captions.csv
    train/radiology/images/ROCO_00002.jpg                         test_captions.csv
    validation/radiology/...                                      train/ID.jpg  valid/ID.jpg  test/ID.jpg
    test/radiology/...

Checked: ROCO against the repository's own files, whose tables name 65,448 / 8,180 / 8,179 images, captions
of the last two parts included, with placeholder images; ROCOv2 against public code that reads it. Older
versions of the script name an image ``PMC..._name.jpg``, the second column of ``licences.txt``; both names
are found.

The split is the release's. It was made by image: of the 42,471 articles in ``licences.txt``, 8,802 have
images in more than one split. So an image counts as a patient, intervals take images for independent,
and ``harness data check`` says how many articles are shared. Papers vanish from the archive that the script
reads: an image that is not there is left out, with a line in ``data check``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from harness.core.errors import HarnessError
from harness.core.types import IMAGE
from harness.datasets.readers.profiles import Profile, one_line, table
from harness.datasets.readers.records import Listing, Problem, ReportRecord
from harness.datasets.readers.report_dataset import ImageTree, ReportDataset
from harness.datasets.readers.rows import read_csv
from harness.datasets.readers.tables import read_text

FOLDERS = {"train": "train", "val": "validation", "test": "test"}
TABLES = {"train": "train", "val": "valid", "test": "test"}
_PUBLISHED = {"train": 65448, "val": 8180, "test": 8179}
_PUBLISHED_2 = {"studies": 79789}
_AGE = re.compile(r"\b\d{1,3}[-\s]?year[-\s]?old\b", re.IGNORECASE)
_MEASURE = re.compile(r"\b\d+(?:\.\d+)?\s?(?:mm|cm|m|kg|g|mg|ml)\b", re.IGNORECASE)
_STOPS = str.maketrans({".": " . ", ",": " , "})


def micar_text(text: str) -> str:
    """Lower case, ages and measures as ``xxxx``, commas and full stops as words, a full stop at the end."""
    hidden = _MEASURE.sub("xxxx", _AGE.sub("xxxx", one_line(text)))
    words = hidden.removesuffix(".").translate(_STOPS).lower().split()
    return " ".join([*words, "."]) if words else ""


class ROCO(ReportDataset):
    """ROCO: some 81,800 images of radiology papers with their captions; ROCOv2 in its own layout, too."""

    name: ClassVar[str] = "roco"
    expected: ClassVar[str] = "train/radiology/captions.txt (ROCO) or train_captions.csv (ROCOv2)"
    views: ClassVar[tuple[str, ...]] = (IMAGE,)
    region: ClassVar[str] = ""
    licence: ClassVar[str] = "ROCO: Creative Commons licences of each image's paper; read from --root"
    profiles: ClassVar[Mapping[str, Profile]] = table(
        Profile("default", "caption as it stands; the release's split", clean=one_line),
        Profile(
            "micar-vlmoe",
            "MicarVLMoE: cleaning, cut and <unk> of its released code, the release's split",
            clean=micar_text,
            tokenizer="jury",
            report_words=58,
            rare_words=3,
        ),
    )

    @classmethod
    def list_root(cls, root: Path, profile: Profile) -> Listing:
        """Every caption; see ``ReportDataset.list_root``."""
        for folder in ("", "data/", "all_data/"):
            if (root / folder / "train" / "radiology" / "captions.txt").exists():
                return _list_first(root, folder, profile)
        if (root / "train_captions.csv").exists():
            return _list_second(root, profile)
        raise HarnessError(f"{root}: no captions", f"--root is the folder with {cls.expected}")


def _list_first(root: Path, folder: str, profile: Profile) -> Listing:
    records: list[ReportRecord] = []
    problems: list[Problem] = []
    for split, name in FOLDERS.items():
        part = f"{folder}{name}/radiology"
        older = _older_names(root, part, problems)
        tree = ImageTree(root / part / "images", ROCO.name)
        for line in _captions(root / part / "captions.txt", f"{part}/captions.txt"):
            if isinstance(line, Problem):
                problems.append(line)
                continue
            where, study, text = line
            former = older.get(study, "")
            image = tree.find(f"{study}.jpg", where)
            if isinstance(image, Problem) and image.kind == "absent-image" and former:
                image = tree.find(former, where)
            if isinstance(image, Problem):
                problems.append(_left_out(image, study))
                continue
            attributes = {"article": former.partition("_")[0] or None}
            clean = profile.clean(text)
            records.append(
                ReportRecord(study, study, split, {IMAGE: image}, clean, where, attributes=attributes)
            )
        tree.keep()
    return Listing(records, problems + _shared_articles(records), _PUBLISHED)


def _list_second(root: Path, profile: Profile) -> Listing:
    records: list[ReportRecord] = []
    problems: list[Problem] = []
    for split, name in TABLES.items():
        rows, row_problems = read_csv(root / f"{name}_captions.csv", ("ID", "Caption"))
        problems += row_problems
        tree = ImageTree(root / name, ROCO.name)
        for row in rows:
            study = row.cells["ID"]
            image = tree.find(f"{study}.jpg", row.where)
            if isinstance(image, Problem):
                problems.append(_left_out(image, study))
            else:
                text = profile.clean(row.cells["Caption"])
                records.append(ReportRecord(study, study, split, {IMAGE: image}, text, row.where))
        tree.keep()
    return Listing(records, problems, _PUBLISHED_2)


def _captions(path: Path, label: str) -> Iterator[tuple[str, str, str] | Problem]:
    """(where, id, caption) of each line; a caption may hold any character but tab and line feed."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        where = f"{label}, line {number}"
        study, tab, text = line.rstrip("\r").partition("\t")
        if tab and study.strip():
            yield where, study.strip(), text
        elif line.strip():
            yield Problem("bad-row", where, "expected an id, a tab and a caption")


def _older_names(root: Path, part: str, problems: list[Problem]) -> dict[str, str]:
    """Id -> ``PMC..._name.jpg``; nothing where the table was not downloaded."""
    path = root / part / "licences.txt"
    if not path.exists():
        return {}
    rows, row_problems = read_csv(path, ("ROCO_ID", "PMC_ID"), label=f"{part}/licences.txt")
    problems += [replace(each, fatal=False) for each in row_problems]
    return {row.cells["ROCO_ID"]: row.cells["PMC_ID"] for row in rows}


def _left_out(problem: Problem, study: str) -> Problem:
    """An absent image costs its study, nothing more; a path that leads outside stays fatal."""
    if problem.kind != "absent-image":
        return problem
    return replace(problem, message=f"{problem.message}; {study} is left out", fatal=False)


def _shared_articles(records: list[ReportRecord]) -> list[Problem]:
    splits: dict[str, set[str]] = {}
    for record in records:
        article = record.attributes["article"]
        if isinstance(article, str):
            splits.setdefault(article, set()).add(record.split)
    shared = sum(len(parts) > 1 for parts in splits.values())
    if not shared:
        return []
    message = f"{shared} of {len(splits)} articles have images in more than one split; the studies stand"
    hint = "the release was split by image: read its scores with that in mind"
    return [Problem("article-in-two-splits", "licences.txt", message, hint, fatal=False)]
