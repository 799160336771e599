"""``cov-ctr``: lung CT slices with English reports and a COVID-19 label (Li et al. 2022, ASGK).

The archive as the authors publish it, and as MicarVLMoE's README renames it::

    COV-CTR/reports_ZH_EN.csv     or  covctr/reports.csv
    COV-CTR/20.jpg ...            or  covctr/images/20.jpg ...

Columns: ``image_id`` (file name), ``findings``, ``terminologies``, ``impression`` (all Chinese), ``COVID``
(0 or 1) and ``reports_En`` (the English report that papers score). Checked against public code and an audit
of the archive, not against the archive itself: column and file names, the flat folder, report cells that end
in a line break, six images with two rows, of which the first counts here. The authors give 728 images, 349 of
them COVID-19; the audit found 726 rows.

The release has no split and names no patients. ``83%0.jpg`` and ``83%1.jpg`` are panels of one published
figure, so most likely one patient: by default a figure counts as a patient and is in one split only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.core.errors import HarnessError
from harness.core.types import IMAGE
from harness.datasets.readers.profiles import Profile, one_line, table
from harness.datasets.readers.records import Listing, Problem, ReportRecord
from harness.datasets.readers.report_dataset import ImageTree, ReportDataset
from harness.datasets.readers.rows import Row, read_csv
from harness.datasets.readers.splits import by_group, drawn

CLASSES = ("no COVID-19", "COVID-19")
TABLES = ("reports_ZH_EN.csv", "reports.csv")
BY_FIGURE, BY_IMAGE = "by-figure", "micar-vlmoe"
_SEED, _MICAR_SEED = 0, 9876
_PUBLISHED = {"studies": 728, "label COVID-19": 349, "label no COVID-19": 379}
_SPACED = str.maketrans({'"': "", "(": "", ")": "", "-": "", ",": " ,", ";": " ,", ".": " ."})


def micar_text(text: str) -> str:
    """Lower case, commas and full stops as words of their own, quotes, brackets and hyphens gone."""
    words = text.translate(_SPACED).lower().split()
    return " ".join(words if words[-1:] == ["."] else [*words, "."]) if words else ""


class COVCTR(ReportDataset):
    """COV-CTR: 728 lung CT slices with a report and a COVID-19 label, split by published figure."""

    name: ClassVar[str] = "cov-ctr"
    expected: ClassVar[str] = "reports_ZH_EN.csv and the images of COV-CTR"
    views: ClassVar[tuple[str, ...]] = (IMAGE,)
    label_names: ClassVar[tuple[str, ...]] = CLASSES
    multilabel: ClassVar[bool] = False
    licence: ClassVar[str] = (
        "COV-CTR: the terms of its authors; slices from published papers; read from --root"
    )
    profiles: ClassVar[Mapping[str, Profile]] = table(
        Profile(
            "default",
            "English report as it stands; 80/10/10 of images, no figure in two splits, seed 0",
            sections=("reports_En",),
            clean=one_line,
            split=BY_FIGURE,
        ),
        Profile(
            "micar-vlmoe",
            "MicarVLMoE: split (8:1:1 by image, seed 9876), cleaning, cut and <unk> of its released code",
            sections=("reports_En",),
            clean=micar_text,
            tokenizer="jury",
            report_words=78,
            rare_words=3,
            split=BY_IMAGE,
        ),
    )

    @classmethod
    def list_root(cls, root: Path, profile: Profile) -> Listing:
        """Every row of the table; see ``ReportDataset.list_root``."""
        folder, rows, problems = _table(root)
        figures = [figure_of(row.cells["image_id"]) for row in rows]
        by_figure = profile.split == BY_FIGURE
        splits = by_group(figures, _SEED, 0.1, 0.1) if by_figure else drawn(len(rows), _MICAR_SEED, 0.2, 0.5)
        tree = ImageTree(folder / "images" if (folder / "images").is_dir() else folder, cls.name)
        records: list[ReportRecord] = []
        first_rows: dict[str, Row] = {}
        for row, figure, split in zip(rows, figures, splits, strict=True):
            name = row.cells["image_id"]
            if first_rows.setdefault(name, row) is not row:
                problems.append(_repeated(row, first_rows[name]))
                continue
            image = tree.find(name, row.where) if name else _unnamed(row)
            label = _label(row)
            row_problems = [each for each in (image, label) if isinstance(each, Problem)]
            problems += row_problems
            if isinstance(image, Problem) or isinstance(label, Problem):
                continue
            text = profile.clean(" ".join(row.cells[section] for section in profile.sections))
            patient = figure if by_figure else name
            records.append(ReportRecord(name, patient, split, {IMAGE: image}, text, row.where, labels=label))
        tree.keep()
        problems += [] if by_figure else _shared_figures(records)
        return Listing(records, problems, _PUBLISHED)


def figure_of(name: str) -> str:
    """``83%2.jpg`` to ``83``: the published figure that a slice was cut from."""
    return Path(name).stem.partition("%")[0]


def _table(root: Path) -> tuple[Path, list[Row], list[Problem]]:
    for folder in (root, root / "COV-CTR"):
        for name in TABLES:
            if (folder / name).exists():
                columns = ("image_id", "COVID", "reports_En")
                return folder, *read_csv(folder / name, columns)
    raise HarnessError(f"{root}: no {TABLES[0]}", f"--root is the folder with {COVCTR.expected}")


def _label(row: Row) -> np.ndarray[tuple[int], np.dtype[np.float32]] | Problem:
    value = row.cells["COVID"]
    if value not in ("0", "1"):
        return Problem("bad-label", row.where, "COVID is neither 0 nor 1")
    return np.eye(2, dtype=np.float32)[int(value)]


def _unnamed(row: Row) -> Problem:
    return Problem("no-id", row.where, "image_id is empty")


def _repeated(row: Row, first: Row) -> Problem:
    message = f"{row.cells['image_id']} has a second row, after {first.where}; the first one counts"
    return Problem("repeated-image", row.where, message, fatal=False)


def _shared_figures(records: list[ReportRecord]) -> list[Problem]:
    """One problem for all figures with panels in two splits: the split by image does not look at figures."""
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(figure_of(record.id), set()).add(record.split)
    shared = sum(len(parts) > 1 for parts in splits.values())
    if not shared:
        return []
    message = f"{shared} of {len(splits)} figures have panels in more than one split; the studies stand"
    return [
        Problem("figure-in-two-splits", BY_IMAGE, message, "the default profile keeps them together", False)
    ]
