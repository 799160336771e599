"""From the bytes of an image file to an 8-bit image, by rules that are the same for every dataset.

The rules, which ``docs/datasets.md`` lists for users:

- 8-bit grey and RGB images are taken as they are; palettes and CMYK become RGB, transparent parts black.
- Deeper grey images (16-bit PNG, 32-bit TIFF) go linearly from their lowest and highest value to 0 and 255,
  except for outliers: see ``harness.datasets.images.convert.grey_range``.
- EXIF orientation is applied; of a file with several pages the first is read.
- DICOM: see ``harness.datasets.images.dicom``.
- Refused: above ``MAX_PIXELS`` or ``MAX_BYTES``, a side below ``SMALLEST_SIDE``, truncated, other formats,
  colour of 16 bits a channel that uses few of them.
"""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from harness.core.errors import HarnessError
from harness.core.user_files import read_user_file
from harness.datasets.images.convert import (
    MAX_PIXELS,
    AbsentDecoderError,
    check_end,
    check_png,
    check_shape,
    check_webp,
    eight_bits,
)

DECODER_VERSION = 4
"""Goes up whenever decoding or resizing gives other pixels; part of fingerprints."""

KEPT_VERSION = 6
"""Goes up with the version above, and where an image is refused that was read; in names of image stores."""

ORDINARY_VERSION = 1
"""Goes up when an 8-bit grey or RGB image without orientation gives other pixels; part of fingerprints.

Versions 2 to 4 of the decoder read these as version 1 did, so what was trained on them stands.
"""


MAX_BYTES = 2**30

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
_DICOM_SUFFIXES = (".dcm", ".dicom")
_DATA_SET = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""How DICOM begins that lacks preamble and prefix: the group of its first element."""
_THUMBNAIL = 16
"""Side of the thumbnail by which a copy of an image is recognised."""
_ORIENTATION = 0x0112
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_FEW_LEVELS = 16
"""Colour of 16 bits a channel is read with 8; what uses at most 12 of them has no more levels than this."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Value of the EXIF tag -> what turns the stored image upright."""

Decoder = Callable[[Path], Image.Image]


class UnreadableImageError(HarnessError):
    """The content of a file is no readable image, on whatever machine."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image file holds.

    Attributes:
        width: pixels of the upright image.
        height: pixels of the upright image.
        mode: as stored: Pillow's name (``L``, ``RGB``, ``I;16``, ``CMYK``), or e.g. ``MONOCHROME1, 12 bits``.
        digest: SHA-256 of the file as hex.
        flat: all pixels are of one grey or colour.
        pixels: digest of the decoded pixels as grey, the same in every lossless format.
        thumbnail: a few grey values, almost the same in every copy.
    """

    width: int
    height: int
    mode: str
    digest: str
    flat: bool = False
    pixels: str = ""
    thumbnail: bytes = b""


def facts_of(image: Image.Image, mode: str, digest: str) -> ImageFacts:
    """What a decoded image shows; ``mode`` and ``digest`` are those of its file."""
    grey = image.convert("L")
    size = f"{image.width}x{image.height}".encode()
    content = hashlib.blake2b(grey.tobytes(), digest_size=16, person=size[:16])
    small = grey.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return ImageFacts(
        image.width, image.height, mode, digest, is_flat(image), content.hexdigest(), small.tobytes()
    )


def is_flat(image: Image.Image) -> bool:
    """Whether all pixels are of one grey or colour; compression may change the last bit."""
    extrema: Any = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else [extrema]
    return all(high - low <= 1 for low, high in bands)


def inspect(path: Path) -> ImageFacts:
    """Decode a file to the last pixel, as a run would, and say what it holds.

    Raises:
        HarnessError: the file is no readable image; names it.
    """
    try:
        data = read_bytes(path)
        image, mode = decoded(data, path.suffix)
    except Exception as error:
        raise unreadable(path, error) from error
    digest = hashlib.sha256(data).hexdigest()
    return facts_of(image, mode, digest)


def read_bytes(path: Path) -> bytes:
    """Content of a file of up to ``MAX_BYTES``; larger ones are a ``ValueError``."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{size:,} bytes, more than the limit of {MAX_BYTES:,}")
    return read_user_file(path, MAX_BYTES)


def decoded(data: bytes, suffix: str = "") -> tuple[Image.Image, str]:
    """The upright image, 8-bit ``L`` or ``RGB``, and its stored mode.

    Args:
        data: content of an image file.
        suffix: of the file's name; ``.dcm`` says that it is DICOM unless it is an image of another format.

    Raises:
        Exception: the content is no readable image; the caller adds the file's name.
    """
    if not data:
        raise ValueError("the file is empty")
    with _SILENCE:
        named = suffix.lower() in _DICOM_SUFFIXES and not _is_pillow_image(data)
        if named or data[128:132] == b"DICM":
            return _dicom_image(data)
        return _pillow_image(data)


def _dicom_image(data: bytes) -> tuple[Image.Image, str]:
    from harness.datasets.images.dicom import dicom_image

    return dicom_image(data)


def _is_pillow_image(data: bytes) -> bool:
    """Whether a file without the DICM prefix is of another format, whatever its name says."""
    try:
        check_webp(data)
        Image.open(BytesIO(data), formats=FORMATS)
    except Exception:
        return data[:4] == b"RIFF"
    return data[128:132] != b"DICM"


def _pillow_image(data: bytes) -> tuple[Image.Image, str]:
    check_webp(data)
    try:
        image: Image.Image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if data[:2] in _DATA_SET:
            return _dicom_image(data)
        raise ValueError(f"none of {', '.join(FORMATS)}, DICOM") from None
    except Image.DecompressionBombError:
        raise ValueError(f"more pixels than the limit of {MAX_PIXELS:,}") from None
    mode = image.mode
    stored = f"{mode}, first of several pages" if getattr(image, "is_animated", False) else mode
    check_shape(*image.size)
    if image.format == "JPEG":
        check_end(data)
    deep_colour = ";16" in str(getattr(image, "tile", "")) and not mode.startswith("I")
    inverted = mode.startswith(("I", "F")) and _white_is_zero(image)
    check_png(data)
    if image.format == "PNG" and _lacks_rows(image) and _lacks_rows(Image.open(BytesIO(data))):
        raise ValueError("its last rows are missing: the file may be truncated")
    image.load()
    shown = eight_bits(_upright(image))
    if deep_colour:
        _check_levels(shown)
    return ImageOps.invert(shown) if inverted else shown, stored


def _lacks_rows(image: Image.Image) -> bool:
    """Decode a PNG; whether its last row got no pixels.

    Pillow refuses files that end early. Of a PNG whose compressed data end properly after some of its rows it
    leaves the others black, without a word. So the last row holds noise before, which only such a one keeps.
    """
    last = (0, image.height - 1, *image.size)
    noise = Image.frombytes("L", (image.width, 1), os.urandom(image.width)).convert(image.mode)
    prepared = Image.new(image.mode, image.size)
    prepared.paste(noise, last)
    image.im = prepared.im
    image.load()
    return image.crop(last).tobytes() == noise.tobytes()


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF says that its lowest value is white; Pillow minds that in images of 8 bits only."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _check_levels(image: Image.Image) -> None:
    """``ValueError`` for colour of which 8 of 16 bits show next to nothing."""
    if int(np.asarray(image).max()) < _FEW_LEVELS:
        raise ValueError(
            "colour or transparency of 16 bits a channel, of which the upper four are not used; save it as "
            "grey of 16 bits or as colour of 8"
        )


class _Silence:
    """No warnings while any thread decodes; ``catch_warnings`` alone mixes up threads that overlap.

    They tell of sizes that are refused here anyway, of broken EXIF data and of DICOM elements.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._saved.__exit__(None, None, None)


_SILENCE = _Silence()


def unreadable(path: Path, error: Exception, where: str = "") -> HarnessError:
    """The error of a file that could not be decoded; ``where`` is the row that names it.

    Returns:
        An ``UnreadableImageError`` unless the machine is at fault: its memory, a right, a disk, a package.
    """
    of_machine = isinstance(error, (MemoryError, AbsentDecoderError)) or getattr(error, "errno", None)
    kind = HarnessError if of_machine else UnreadableImageError
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    prefix = f"{where}: " if where else ""
    hint = "--set DATASET.unreadable=drop leaves it out" if where and kind is UnreadableImageError else ""
    reason = reason or f"it is damaged ({type(error).__name__})"
    return kind(f"{prefix}{path} is not a readable image: {reason}", hint)


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # EXIF data that cannot be read say nothing of the pixels
        return image
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
