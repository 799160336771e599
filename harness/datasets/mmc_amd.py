"""``mmc-amd``: colour fundus photographs and OCT B-scans of four classes of macular degeneration.

Wang et al., MICCAI 2019 and arXiv 2012.01879. The layout is the one that the authors' repository documents,
with the split in which no patient is in two parts (splitAP)::

    mmc-amd/ImageData/cfp-clahe-448x448/f-w-1544817.jpg ...
    mmc-amd/ImageData/oct-median3x3-448x448/o-w-1544817.jpg ...
    mmc-amd-splitAP-{train,val,test}/ImageSets/{cfp,oct}.txt       image ids, one a line
    mmc-amd-splitAP-{train,val,test}/SubjectSets/{cfp,oct}.txt     patient ids, optional here

An image id reads modality (f fundus, o OCT), class (h normal, d dry, p PCV, w wet), eye, and after an
underscore a suffix where an eye has several images. The authors' evaluation takes class and eye from the id,
and so does this file; ``annotations/`` and ``EyeSets/`` are not read.

Not verified, because the data are given on request only: the suffix of ids of further images of an eye
(taken from the authors' code), and the form of patient ids. No published file says which eyes are of one
patient, so an eye counts as a patient in bootstrap intervals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from harness.core.errors import HarnessError
from harness.datasets.base import SPLITS
from harness.datasets.images.pixels import Digests, ImageFile
from harness.datasets.readers.folders import FolderDataset, Record, Release, inside, read_lines, root_of
from harness.datasets.readers.profiles import DEFAULT, Profile, profile_of, table
from harness.datasets.readers.unreadable import REFUSE

CLASSES = ("normal", "dry AMD", "PCV", "wet AMD")
_LETTERS = "hdpw"
_SOURCES = {
    "fundus": ("f", "cfp", "cfp-clahe-448x448"),
    "oct": ("o", "oct", "oct-median3x3-448x448"),
}
"""Modality -> letter in image ids, name of its lists, folder of its images."""

PAIRS = "pairs"

_ID = re.compile(r"(?P<modality>[a-z])-(?P<letter>[a-z])-(?P<eye>[A-Za-z0-9-]+)(_[A-Za-z0-9_-]+)?")
_LICENCE = "MMC-AMD: research only, given on request by its authors; read from --root"


class MMCAMD(FolderDataset):
    """MMC-AMD: eyes with a fundus photograph, an OCT B-scan or both; four classes, patient-based split.

    A study is an eye, with the first image of each modality that the lists name for it. Many training eyes
    have no OCT; they lack it by nature.
    """

    licence: ClassVar[str] = _LICENCE
    profiles: ClassVar[Mapping[str, Profile]] = table(
        Profile(DEFAULT, "every eye of the authors' splitAP"),
        Profile(PAIRS, "KEDR: eyes with both images alone; the authors' splitAP, for KEDR's is unpublished"),
    )

    @classmethod
    def open(
        cls,
        root: Path | None = None,
        *,
        image_size: int | None = None,
        profile: str = DEFAULT,
        unreadable: str = REFUSE,
    ) -> Self:
        """Read the lists and find every image.

        Args:
            root: the folder that holds ``mmc-amd`` and the three ``mmc-amd-splitAP-*``.
            image_size: height and width of both views in pixels, 32-1024; 224 by default.
            profile: name out of ``profiles``.
            unreadable: ``drop`` leaves views out whose file is no readable image, and studies that have no
                other; ``refuse`` stops at the first such file that is read.

        Raises:
            UnknownNameError: no such profile.
            HarnessError: a file absent, an id that cannot be read, a class unknown, an eye or a patient in
                two splits; the message names file and row.
        """
        chosen = profile_of("mmc-amd", cls.profiles, profile)
        folder = root_of(root, "mmc-amd", "mmc-amd/ and mmc-amd-splitAP-{train,val,test}/")
        _check_subjects(folder)
        digests = Digests("mmc-amd")
        records = [record for split in SPLITS for record in _eyes(folder, split, digests)]
        digests.keep()
        if chosen.name == PAIRS:
            records = [record for record in records if len(record.images) == len(_SOURCES)]
        release = Release(
            name="mmc-amd",
            modalities=tuple(_SOURCES),
            classes=CLASSES,
            channels=3,
            licence=cls.licence,
            complete=chosen.name == PAIRS,
        )
        return cls(release, records, image_size, unreadable)


def _eyes(folder: Path, split: str, digests: Digests) -> list[Record]:
    eyes: dict[str, tuple[int, str, dict[str, ImageFile]]] = {}
    for modality, (letter, file, subfolder) in _SOURCES.items():
        for where, name in read_lines(folder, f"mmc-amd-splitAP-{split}/ImageSets/{file}.txt"):
            match = _ID.fullmatch(name)
            if match is None or match["modality"] != letter:
                raise HarnessError(f"{where}: {name!r} is no id of a {modality} image")
            if match["letter"] not in _LETTERS:
                raise HarnessError(f"{where}: unknown class {match['letter']!r} of {name}")
            eye = f"{match['letter']}-{match['eye']}"
            _, _, images = eyes.setdefault(eye, (_LETTERS.index(match["letter"]), where, {}))
            if modality not in images:
                path = inside(folder / "mmc-amd" / "ImageData" / subfolder, f"{name}.jpg", where)
                images[modality] = ImageFile(path, where, digests.of(path))
    return [Record(eye, eye, split, label, images, where) for eye, (label, where, images) in eyes.items()]


def _check_subjects(folder: Path) -> None:
    """Check that no patient is in two splits, if the lists of patients are there."""
    first_places: dict[str, tuple[str, str]] = {}
    for split in SPLITS:
        for _, file, _ in _SOURCES.values():
            relative = f"mmc-amd-splitAP-{split}/SubjectSets/{file}.txt"
            if not (folder / relative).exists():
                continue
            for where, patient in read_lines(folder, relative):
                first_split, first = first_places.setdefault(patient, (split, where))
                if first_split != split:
                    raise HarnessError(
                        f"{where}: patient {patient} of {split} is also in {first_split} ({first})",
                        "a patient may be in one split only",
                    )
