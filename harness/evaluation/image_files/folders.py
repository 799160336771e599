"""Folders of images: listed, decoded some at a time, and turned into features.

Of an image only its features, its size and a digest of its pixels are kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.datasets.images.decode import decoded, read_bytes
from harness.evaluation.report_files.fields import listed
from harness.metrics.images.extractors import Extractor, Floats, Image
from harness.metrics.images.features import features
from harness.metrics.text.hygiene import Remark

FEWEST = 6
"""Images of a set: a ball reaches to the fifth nearest neighbour of its image."""

SMALLEST_SIDE = 16
"""Pixels; of smaller images the networks see nothing."""

_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".ppm", ".pgm"),
    *(".dcm", ".dicom"),
)
_AT_ONCE = 64
"""Decoded images in memory."""


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The images below a folder.

    Attributes:
        path: of the folder.
        side: what the images are, in remarks: ``real images``.
        files: name -> file. A name is the path below the folder, without the ending.
        others: files without the ending of an image format.
    """

    path: Path
    side: str
    files: Mapping[str, Path]
    others: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, side: str) -> ImageFolder:
        """List a folder with the folders in it; hidden files are left out.

        Raises:
            HarnessError: no folder, fewer than ``FEWEST`` images, two of one name, or one that is no file.
        """
        if not path.is_dir():
            raise HarnessError(f"{path}: no folder of {side}", "one image per file, in any image format")
        files: dict[str, Path] = {}
        others: list[str] = []
        for file in sorted(path.rglob("*")):
            place = file.relative_to(path)
            if any(part.startswith(".") for part in place.parts):
                continue
            if not file.is_file():
                if file.suffix.casefold() in _SUFFIXES or not file.is_dir():
                    what = "a folder" if file.is_dir() else "a pipe, or a link that leads nowhere"
                    message = f"{path}: {place.as_posix()} is no image but {what}"
                    raise HarnessError(message, "mend or delete it")
                continue
            name = place.with_suffix("").as_posix()
            if file.suffix.casefold() not in _SUFFIXES:
                others.append(place.as_posix())
            elif name in files:
                raise HarnessError(f"{path}: two files for {name!r}", f"{files[name].name} and {file.name}")
            else:
                files[name] = file
        if len(files) < FEWEST:
            raise HarnessError(
                f"{path}: {len(files)} {side}, at least {FEWEST} are needed",
                f"endings: {', '.join(_SUFFIXES)}",
            )
        return cls(path, side, files, tuple(others))

    def images(self, names: Sequence[str]) -> Iterator[list[Image]]:
        """Images (H, W) or (H, W, 3), some at a time. Grey that is stored as colour becomes grey.

        Raises:
            HarnessError: unreadable files or images that are too small; names all of them among some.
        """
        for start in range(0, len(names), _AT_ONCE):
            images: list[Image] = []
            reasons: dict[str, str] = {}
            for name in names[start : start + _AT_ONCE]:
                try:
                    images.append(_image(self.files[name]))
                except Exception as error:  # the decoder raises whatever the file's format does
                    reasons[self.files[name].relative_to(self.path).as_posix()] = str(error)
            if reasons:
                why = next(iter(reasons.values())) or "unknown reason"
                raise HarnessError(
                    f"{self.path}: {len(reasons)} files are no readable images: "
                    f"{listed(list(reasons))}: {why}",
                    "mend or delete them; what is left out on one side changes every number",
                )
            yield images


@dataclass(frozen=True, slots=True)
class ImageSet:
    """What is kept of a folder's n images, in the order of their names.

    Attributes:
        folder: where they are.
        names: n of them.
        shapes: (height, width) of each.
        digests: of their pixels.
        flat: (n,), images of one grey level.
        features: extractor -> (n, d).
    """

    folder: ImageFolder
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    digests: tuple[bytes, ...]
    flat: NDArray[np.bool_]
    features: Mapping[str, Floats]

    @classmethod
    def read(cls, folder: ImageFolder, extractors: Sequence[Extractor]) -> ImageSet:
        """Decode every image once.

        Raises:
            HarnessError: as ``ImageFolder.images``.
        """
        names = tuple(folder.files)
        shapes: list[tuple[int, ...]] = []
        digests: list[bytes] = []
        flat: list[bool] = []
        vectors: dict[str, list[Floats]] = {each.name: [] for each in extractors}
        for images in folder.images(names):
            shapes += [image.shape[:2] for image in images]
            digests += [
                hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()
                for image in images
            ]
            flat += [int(image.max()) - int(image.min()) <= 1 for image in images]
            for each in extractors:
                vectors[each.name].append(features(each, images))
        arrays = {name: np.concatenate(parts) for name, parts in vectors.items()}
        return cls(folder, names, tuple(shapes), tuple(digests), np.array(flat), arrays)

    def __len__(self) -> int:
        return len(self.names)

    def remark(self, kind: str, predicate: str, names: Sequence[str]) -> list[Remark]:
        """A remark on some of the images; none on none."""
        side = self.folder.side
        return [Remark(kind, predicate, len(names), len(self), side, tuple(names))] if names else []

    def remarks(self) -> list[Remark]:
        """What is odd about the set alone."""
        others = self.folder.others
        usual, _ = Counter(self.shapes).most_common(1)[0]
        other_size = [name for name, shape in zip(self.names, self.shapes, strict=True) if shape != usual]
        seen: set[bytes] = set()
        repeated = []
        for name, digest in zip(self.names, self.digests, strict=True):
            if digest in seen:
                repeated.append(name)
            seen.add(digest)
        count, words = len(others), "have no ending of an image: left out"
        side = f"files beside the {self.folder.side}"
        return [
            *([Remark("no images", words, count, count, side, others)] if others else []),
            *self.remark("size", f"are not {usual[1]} x {usual[0]} pixels as most", other_size),
            *self.remark("flat", "are of one grey level", [self.names[i] for i in np.flatnonzero(self.flat)]),
            *self.remark("repeated", "have the pixels of an earlier one", repeated),
        ]

    def copies(self, other: ImageSet) -> list[Remark]:
        """A remark on images that are pixel for pixel images of another set."""
        theirs = set(other.digests)
        names = [name for name, digest in zip(self.names, self.digests, strict=True) if digest in theirs]
        return self.remark(f"copies of {other.folder.side}", f"are copies of {other.folder.side}", names)


def _image(path: Path) -> Image:
    data = read_bytes(path)
    image, _ = decoded(data, path.suffix)
    if min(image.size) < SMALLEST_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels, a side below {SMALLEST_SIDE}")
    pixels = np.asarray(image, dtype=np.uint8)
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        return np.ascontiguousarray(pixels[..., 0])
    return pixels
