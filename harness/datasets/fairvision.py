"""``fairvision``: SLO fundus and OCT of 10,000 subjects with and without glaucoma (Luo et al. 2024).

The layout is the glaucoma part of Harvard-FairVision as its authors document it::

    Glaucoma/{Training,Validation,Test}/data_00001.npz ...     or train, val, test, as their code has it

Keys that are read: ``slo_fundus`` (200, 200) and ``oct_bscans`` (200, 200, 200), values in [0, 255], either
of length 0 where the subject has none; ``glaucoma`` 0 or 1; ``race``, ``male``, ``hispanic``, which are -1
where unknown. Methods get the middle B-scan of the volume. The JPEG files and ``data_summary_glaucoma.csv``
beside them are not read.

Not verified, because the data were not available: the number of subjects in each part, and the axis of the
B-scans (the first, as in the authors' code). The authors' loader transposes the SLO image; here it stays as
stored.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.core.errors import HarnessError
from harness.datasets.images.pixels import ImageFile
from harness.datasets.readers.folders import FolderDataset, Record, Release, inside, root_of
from harness.datasets.readers.unreadable import REFUSE

CLASSES = ("no glaucoma", "glaucoma")
_KEYS = {"slo": "slo_fundus", "oct": "oct_bscans"}
_SPLITS = {"train": ("Training", "train"), "val": ("Validation", "val"), "test": ("Test", "test")}
_ATTRIBUTES = {
    "race": ("asian", "black", "white"),
    "male": ("female", "male"),
    "hispanic": ("no", "yes"),
}
_NAMES = {"race": "race", "male": "sex", "hispanic": "hispanic"}
_LICENCE = "Harvard-FairVision: CC BY-NC-ND 4.0, not for clinical use; read from --root"


class FairVision(FolderDataset):
    """Harvard-FairVision, glaucoma: SLO fundus and the middle OCT B-scan, two classes, the authors' split."""

    licence: ClassVar[str] = _LICENCE

    @classmethod
    def open(
        cls, root: Path | None = None, *, image_size: int | None = None, unreadable: str = REFUSE
    ) -> Self:
        """Read labels and attributes of every subject; images stay in their files.

        Args:
            root: the folder that holds ``Glaucoma``.
            image_size: height and width of both views in pixels, 32-1024; 224 by default.
            unreadable: ``drop`` leaves views out whose file is no readable image, and studies that have no
                other; ``refuse`` stops at the first such file that is read.

        Raises:
            HarnessError: a folder absent, a link out of the root, a file that is no such archive, a label
                other than 0 and 1, a subject in two splits; the message names the file.
        """
        folder = root_of(root, "fairvision", "Glaucoma/{Training,Validation,Test}/")
        records = [
            _record(inside(folder, str(path.relative_to(folder)), str(path.parent)), split)
            for split in _SPLITS
            for path in sorted(_split_folder(folder, split).glob("data_*.npz"))
        ]
        release = Release(
            name="fairvision",
            modalities=tuple(_KEYS),
            classes=CLASSES,
            channels=1,
            licence=cls.licence,
        )
        return cls(release, records, image_size, unreadable)


def _split_folder(folder: Path, split: str) -> Path:
    for name in _SPLITS[split]:
        if (folder / "Glaucoma" / name).is_dir():
            return folder / "Glaucoma" / name
    raise HarnessError(f"{folder / 'Glaucoma' / _SPLITS[split][0]}: no such folder", "is --root right?")


def _record(path: Path, split: str) -> Record:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            absent = sorted({"glaucoma", *_KEYS.values()} - set(members))
            if absent:
                raise HarnessError(f"{path}: no key {', '.join(absent)}")
            label = _array(archive, "glaucoma").item()
            shapes = {key: _header(archive, key)[0] for key in _KEYS.values()}
            attributes = {_NAMES[key]: _word(archive, key) for key in _ATTRIBUTES if key in members}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise HarnessError(f"{path}: not a readable archive: {error}") from error
    if label not in (0, 1):
        raise HarnessError(f"{path}: unknown class {label!r}", "glaucoma is 0 or 1")
    images = {}
    for view, key in _KEYS.items():
        if shapes[key] and shapes[key][0] > 0:
            # The archive's own CRC-32 tells contents apart without reading 8 MB of every subject; the name
            # stands beside it because among 10,000 subjects two CRCs may well be equal.
            text = f"{path.name} {key} {members[key].CRC:08x} {members[key].file_size}"
            digest = hashlib.sha256(text.encode()).hexdigest()
            images[view] = ImageFile(path, str(path.parent), digest, partial(_read_image, key=key))
    return Record(path.stem, path.stem, split, int(label), images, str(path), attributes)


def _header(archive: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, without its values."""
    with archive.open(f"{key}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        shape, _, kind = read(stream) if version == (1, 0) else np.lib.format.read_array_header_2_0(stream)
    return shape, kind


def _array(archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    """An array; one that would have to be unpickled is a ``ValueError``."""
    with archive.open(f"{key}.npy") as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _word(archive: zipfile.ZipFile, key: str) -> str | None:
    """An attribute in words; None where it is unknown or stored as a pickle, which is never opened."""
    if _header(archive, key)[1].hasobject:
        return None
    value, words = _array(archive, key).item(), _ATTRIBUTES[key]
    if isinstance(value, str):
        return value.lower() or None
    return words[int(value)] if 0 <= value < len(words) else None


def _read_image(path: Path, key: str) -> Image.Image:
    """The SLO image or the middle B-scan, grey."""
    with zipfile.ZipFile(path) as archive:
        values = _array(archive, key)
    plane = values[len(values) // 2] if values.ndim == 3 else values
    if plane.ndim != 2 or not np.isfinite(plane).all() or plane.min() < 0 or plane.max() > 255:
        raise ValueError(f"{key} has shape {values.shape}, expected planes of grey values in [0, 255]")
    return Image.fromarray(np.rint(plane).astype(np.uint8))
