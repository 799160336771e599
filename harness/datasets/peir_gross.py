"""``peir-gross``: photographs of gross pathology, each with one sentence (PEIR library; Jing et al. 2018).

The folder that the public scrapers of the library write (``bio_image_caption`` and its descendants), and as
MicarVLMoE's README renames it::

    peir_gross_captions.json     or  captions.json         object: file name -> caption
    peir_gross.tsv                                         instead of it: file name, tab, caption
    peir_gross_images/NAME.jpg   or  images/NAME.jpg

Checked against the scrapers' code, not against the library: file names and formats. Their own random 9:1
split (``train_images.tsv``, ``test_images.tsv``) and ``peir_gross_tags.json`` are not read. Papers give 7,442
pairs; a scrape of today holds what the library holds today. The library names no patients: a photograph
counts as one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from harness.core.errors import HarnessError
from harness.core.types import IMAGE
from harness.datasets.readers.profiles import Profile, one_line, r2gen_text, table
from harness.datasets.readers.records import Listing, Problem, ReportRecord
from harness.datasets.readers.report_dataset import ImageTree, ReportDataset
from harness.datasets.readers.splits import drawn
from harness.datasets.readers.tables import read_text

CAPTIONS = ("peir_gross_captions.json", "captions.json", "peir_gross.tsv")
FOLDERS = ("peir_gross_images", "images")
_SEED = 1234
_PUBLISHED = {"studies": 7442}


def last_part(text: str) -> str:
    """What follows the last colon, on one line: captions begin with ``ORGAN: ``."""
    return one_line(text.rpartition(":")[2])


def micar_text(text: str) -> str:
    """R2Gen's words of what follows the last colon."""
    return r2gen_text(last_part(text))


class PEIRGross(ReportDataset):
    """PEIR Gross: 7,442 photographs of gross pathology, each with one sentence."""

    name: ClassVar[str] = "peir-gross"
    expected: ClassVar[str] = "peir_gross_captions.json and peir_gross_images/"
    views: ClassVar[tuple[str, ...]] = (IMAGE,)
    channels: ClassVar[int] = 3
    region: ClassVar[str] = ""
    licence: ClassVar[str] = "PEIR digital library: its terms; read from --root"
    profiles: ClassVar[Mapping[str, Profile]] = table(
        Profile(
            "default",
            "caption as it stands; the split of MicarVLMoE's released code",
            clean=one_line,
            split="micar-vlmoe",
        ),
        Profile(
            "micar-vlmoe",
            "MicarVLMoE: split (7:1:2, seed 1234), what follows the last colon, cut and <unk> of its code",
            clean=micar_text,
            tokenizer="jury",
            report_words=28,
            rare_words=3,
            split="micar-vlmoe",
        ),
    )

    @classmethod
    def list_root(cls, root: Path, profile: Profile) -> Listing:
        """Every caption; see ``ReportDataset.list_root``."""
        path = next((root / name for name in CAPTIONS if (root / name).exists()), None)
        folder = next((name for name in FOLDERS if (root / name).is_dir()), None)
        if path is None or folder is None:
            absent = CAPTIONS[0] if path is None else f"{FOLDERS[0]}/"
            raise HarnessError(f"{root}: no {absent}", f"--root is the folder with {cls.expected}")
        pairs, problems = _read_tsv(path) if path.suffix == ".tsv" else _read_json(path)
        tree = ImageTree(root / folder, cls.name)
        records: list[ReportRecord] = []
        for (where, name, text), split in zip(pairs, drawn(len(pairs), _SEED, 0.3, 0.66), strict=True):
            image = tree.find(name, where)
            if isinstance(image, Problem):
                problems.append(image)
            else:
                records.append(ReportRecord(name, name, split, {IMAGE: image}, profile.clean(text), where))
        tree.keep()
        return Listing(records, problems, _PUBLISHED)


def _read_json(path: Path) -> tuple[list[tuple[str, str, str]], list[Problem]]:
    """(where, file name, caption) in the file's order; entries without a caption are left out."""
    try:
        entries = json.loads(read_text(path), object_pairs_hook=list)
    except ValueError as error:
        raise HarnessError(f"{path}: not JSON: {error}", "download or make the file again") from error
    if not isinstance(entries, list) or not all(_is_entry(each) for each in entries):
        raise HarnessError(f"{path}: expected one object of file name -> caption")
    pairs: list[tuple[str, str, str]] = []
    problems: list[Problem] = []
    for number, (name, text) in enumerate(entries, 1):
        where = f"{path.name}, entry {number}"
        if isinstance(text, str):
            pairs.append((where, name, text))
        else:
            problems.append(Problem("empty-report", where, f"{name} has no caption; left out", fatal=False))
    return pairs, problems


def _is_entry(each: Any) -> bool:
    return isinstance(each, tuple) and len(each) == 2 and isinstance(each[1], str | None)


def _read_tsv(path: Path) -> tuple[list[tuple[str, str, str]], list[Problem]]:
    pairs: list[tuple[str, str, str]] = []
    problems: list[Problem] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        where = f"{path.name}, line {number}"
        name, tab, text = line.rstrip("\r").partition("\t")
        if tab:
            pairs.append((where, name, text))
        elif line.strip():
            problems.append(Problem("bad-row", where, "no tab between file name and caption"))
    return pairs, problems
