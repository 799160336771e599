"""``iu-xray``: the Indiana University chest X-rays as R2Gen distributes them (Chen et al. 2020).

The layout below ``--root``::

    annotation.json                  {"train": [{"id", "report", "image_path", "split"}, ...], "val", "test"}
    images/CXR2384_IM-0942/0.png     one folder per study, images numbered from 0

The annotation's text is the FINDINGS section, and nothing else is in it. Context (INDICATION, age, sex) and
labels (MeSH codes) come from the report files of the same studies in the installed ``torchxrayvision``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from PIL import Image

from harness.core.errors import HarnessError, UnavailableError
from harness.core.packages import install
from harness.core.types import CHEXPERT_LABELS
from harness.datasets.images.pixels import ImageFile
from harness.datasets.iu import reports as iu_reports
from harness.datasets.iu.mesh import labels_of
from harness.datasets.iu.reports import SPLIT_SIZES, ImageFacts, IUReport
from harness.datasets.readers import views
from harness.datasets.readers.annotations import FILE, IMAGES, Item, image_folder, read_items
from harness.datasets.readers.profiles import IU_PROFILES, Profile
from harness.datasets.readers.records import Listing, Problem, ReportRecord
from harness.datasets.readers.report_dataset import ImageTree, ReportDataset
from harness.datasets.readers.splits import drawn
from harness.datasets.readers.views import Shot

LICENCE = "IU X-Ray (Indiana University), CC BY-NC-ND 4.0; read from --root, never redistributed"
PUBLISHED: dict[str, int | float] = {**SPLIT_SIZES, "test without context": 0.02}
"""R2Gen's split; the share is DiA's (Table 6), of a split of its own."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the installed report files say, by uid and by image id; empty where they are not installed."""

    reports: Mapping[str, IUReport]
    images: Mapping[str, ImageFacts]


@cache
def installed_sources() -> Sources:
    """Reports and image facts of ``torchxrayvision``, read once per process."""
    try:
        folder = iu_reports.find_data_folder()
    except UnavailableError:
        return Sources({}, {})
    return Sources(iu_reports.read_reports(folder), iu_reports.read_image_facts(folder))


class IUXRay(ReportDataset):
    """IU X-Ray: 2,069 / 296 / 590 studies of R2Gen's split, frontal and lateral view, context, 14 labels."""

    name = "iu-xray"
    expected = f"R2Gen's {FILE} and {IMAGES}/"
    views = views.VIEWS
    label_names = CHEXPERT_LABELS
    licence = LICENCE
    profiles = IU_PROFILES

    @classmethod
    def list_root(cls, root: Path, profile: Profile) -> Listing:
        """All entries of the annotation; see ``views.by_shape`` for which image is which view."""
        if not (root / FILE).is_file():
            raise HarnessError(f"{root}: no {FILE}", f"{cls.name} needs {cls.expected}; Open-i files: open-i")
        tree = ImageTree(image_folder(root), cls.name)
        sources = installed_sources()
        records: list[ReportRecord] = []
        problems: list[Problem] = []
        for item in read_items(root):
            if isinstance(item, Problem):
                problems.append(item)
                continue
            shots, wrong = _shots(item, tree, sources)
            problems += wrong
            if not wrong:
                records.append(_record(item, shots, profile, sources))
        tree.keep()
        problems += _without_context(records, sources, profile)
        if profile.per_image:
            records, shared = _by_image(records)
            problems.append(shared)
        return Listing(records, problems, PUBLISHED)


def _shots(item: Item, tree: ImageTree, sources: Sources) -> tuple[list[Shot], list[Problem]]:
    """The images of an entry; R2Gen numbers them in the order in which the report file lists them."""
    report = sources.reports.get(iu_reports.uid_of(item.id))
    shots, problems = [], []
    for relative in item.paths:
        image = tree.find(relative, item.where)
        if isinstance(image, Problem):
            problems.append(image)
            continue
        number = Path(relative).stem
        names = report.images if report else ()
        name = names[int(number)] if number.isdecimal() and int(number) < len(names) else relative
        facts = sources.images.get(name)
        rows, columns = image_size_of(image)
        shots.append(Shot(relative, image, facts.position if facts else "", rows, columns))
    return shots, problems


def image_size_of(file: ImageFile) -> tuple[int, int]:
    """Height and width from an image's header; zeros if it is damaged, which reading the pixels reports."""
    try:
        with Image.open(file.path) as image:
            return image.height, image.width
    except Exception:  # a broken header makes Pillow raise almost anything
        return 0, 0


def _record(item: Item, shots: list[Shot], profile: Profile, sources: Sources) -> ReportRecord:
    uid = iu_reports.uid_of(item.id)
    report = sources.reports.get(uid)
    impression = report.impression if report else None
    return ReportRecord(
        id=item.id,
        patient_id=uid,
        split=item.split,
        images=profile.seen(views.by_shape(shots)),
        report=profile.target({"findings": item.report, "impression": impression}),
        where=item.where,
        context=iu_reports.context_of(report) if report else None,
        labels=labels_of(report.mesh) if report else None,
        attributes=attributes_of(report),
    )


def attributes_of(report: IUReport | None) -> dict[str, str | float | None]:
    """Age, sex and view position where the report file of the study is known."""
    if report is None:
        return {}
    return {"age": report.age, "sex": report.sex, "view_position": report.view_position}


def _by_image(records: list[ReportRecord]) -> tuple[list[ReportRecord], Problem]:
    """A record per image, and how many of the test split have a sibling in training.

    The images are split 70/10/20 as if each were a study, which is how DiA's sizes add up. The attribute
    ``study_in_training`` says of a record whether another image of its study is a training image: with
    ``--by study_in_training`` both groups have scores of their own.
    """
    images = [(record, view) for record in records for view in record.images]
    splits = drawn(len(images), 0, 0.3, 2 / 3)
    trained = Counter(
        record.id for (record, _), split in zip(images, splits, strict=True) if split == "train"
    )

    def sibling(record: ReportRecord, split: str) -> str:
        return "yes" if trained[record.id] > (split == "train") else "no"

    alone = [
        replace(
            record,
            id=f"{record.id}-{view}",
            split=split,
            images={view: record.images[view]},
            attributes={**record.attributes, "study_in_training": sibling(record, split)},
        )
        for (record, view), split in zip(images, splits, strict=True)
    ]
    test = [record for record in alone if record.split == "test"]
    shared = sum(record.attributes["study_in_training"] == "yes" for record in test)
    message = f"{shared} of {len(test)} test images are of a study that has training images"
    hint = "--by study_in_training scores them apart from the others"
    return alone, Problem("study-in-two-splits", FILE, message, hint, fatal=False)


def _without_context(records: list[ReportRecord], sources: Sources, profile: Profile) -> list[Problem]:
    """The studies that the report files lack: fatal where the profile wants sections that only those have."""
    unknown = [r for r in records if iu_reports.uid_of(r.id) not in sources.reports]
    if not unknown:
        return []
    fatal = set(profile.sections) != {"findings"}
    message = (
        f"{len(unknown)} studies are not among the report files of torchxrayvision, e.g. {unknown[0].id}: "
        "they have no context and no labels"
    )
    if fatal:
        message += f", and no {' and '.join(profile.sections)} as profile {profile.name} wants"
    return [Problem("no-context", FILE, message, install("run"), fatal)]
