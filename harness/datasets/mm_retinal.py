"""``mm-retinal``: fundus photographs, angiographies and OCT with captions from textbooks (Wu et al. 2024).

MM-Retinal v1 as its folder is published::

    CFP_translated_v1.csv  FFA_translated_v1.csv  OCT_translated_v1.csv
    CFP/ID.png ...         FFA/ID.png ...         OCT/ID.png ...

Columns: ``Image_ID`` (file name without its ending), ``en_caption``, ``cn_caption`` (and ``is_multipic`` for
OCT). Checked against public code that reads these files, and on the 2,167 CFP and 1,947 FFA captions that the
authors' repository lists for training, with placeholder images: the OCT table is not in it. The README gives
2,169 CFP, 1,947 FFA and 233 OCT cases, each with one image: so the view is ``image``, and the kind of
image is an attribute, ``modality``.

The release has no split and names no patients: a case is one image. Captions that refer to one patient
("same eye as Fig. 3-2a") show that patients have several, which nothing but those words tells apart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from harness.core.types import IMAGE
from harness.datasets.readers.profiles import Profile, one_line, r2gen_text, table
from harness.datasets.readers.records import Listing, Problem, ReportRecord
from harness.datasets.readers.report_dataset import ImageTree, ReportDataset
from harness.datasets.readers.rows import Row, read_csv
from harness.datasets.readers.splits import drawn

KINDS = ("CFP", "FFA", "OCT")
_SEED = 9876
_PUBLISHED = {"studies": 4349, "modality CFP": 2169, "modality FFA": 1947, "modality OCT": 233}
_NUMBER = r"\d{1,2}-\d{1,2}[a-z]?"
_SAME = rf"same (?:person|patient|eye) as (?:figures?|figs\.|figure\.)? {_NUMBER}(?: and [a-z])?"
_FIGURE = rf"(?:fig|figs|figure)\.? {_NUMBER}"
_PANEL = r"[a-z] (?:for|is|shows)"
_REFERENCES = re.compile(rf"\b(?:{_SAME}|{_FIGURE}|{_PANEL})\b[.,]?", re.IGNORECASE)
"""As in MicarVLMoE's code: ``Figures 3-2`` stays, and of ``same eye as Fig. 3-2`` the first three words."""


def without_figures(text: str) -> str:
    """One line without references to a book's figures (``Fig. 3-2a``, ``a shows``)."""
    return one_line(_REFERENCES.sub(" ", text))


def micar_text(text: str) -> str:
    """R2Gen's words of the text without references to figures."""
    return r2gen_text(without_figures(text))


class MMRetinal(ReportDataset):
    """MM-Retinal: 4,349 images of the retina (CFP, FFA, OCT) with captions from textbooks."""

    name: ClassVar[str] = "mm-retinal"
    expected: ClassVar[str] = "CFP_translated_v1.csv, CFP/ and the same for FFA and OCT"
    views: ClassVar[tuple[str, ...]] = (IMAGE,)
    channels: ClassVar[int] = 3
    region: ClassVar[str] = "retina"
    licence: ClassVar[str] = (
        "MM-Retinal: the terms of its authors; images and captions of textbooks; read from --root"
    )
    profiles: ClassVar[Mapping[str, Profile]] = table(
        Profile(
            "default",
            "English caption as it stands; the split of MicarVLMoE's released code",
            sections=("en_caption",),
            clean=one_line,
            split="micar-vlmoe",
        ),
        Profile(
            "micar-vlmoe",
            "MicarVLMoE: split (8:1:1 by image, seed 9876), cleaning, cut and <unk> of its released code",
            sections=("en_caption",),
            clean=micar_text,
            tokenizer="jury",
            report_words=58,
            rare_words=3,
            split="micar-vlmoe",
        ),
    )

    @classmethod
    def list_root(cls, root: Path, profile: Profile) -> Listing:
        """Every row of the three tables; see ``ReportDataset.list_root``."""
        records: list[ReportRecord] = []
        problems: list[Problem] = []
        for kind in KINDS:
            rows, row_problems = read_csv(root / f"{kind}_translated_v1.csv", ("Image_ID", "en_caption"))
            problems += row_problems
            files = _by_stem(root / kind)
            tree = ImageTree(root / kind, cls.name)
            first_rows: dict[str, Row] = {}
            for row, split in zip(rows, drawn(len(rows), _SEED, 0.2, 0.5), strict=True):
                case = row.cells["Image_ID"]
                if first_rows.setdefault(case, row) is not row:
                    message = f"{case} has a second row, after {first_rows[case].where}; the first one counts"
                    problems.append(Problem("repeated-image", row.where, message, fatal=False))
                    continue
                image = tree.find(files.get(case, case), row.where) if case else _unnamed(row)
                if isinstance(image, Problem):
                    problems.append(image)
                    continue
                text = profile.clean(" ".join(row.cells[section] for section in profile.sections))
                study = f"{kind}-{case}"
                attributes = {"modality": kind}
                records.append(
                    ReportRecord(study, study, split, {IMAGE: image}, text, row.where, attributes=attributes)
                )
            tree.keep()
        return Listing(records, problems, _PUBLISHED)


def _by_stem(folder: Path) -> dict[str, str]:
    """File name without its ending -> file name."""
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return {Path(name).stem: name for name in names if not name.startswith(".")}


def _unnamed(row: Row) -> Problem:
    return Problem("no-id", row.where, "Image_ID is empty")
