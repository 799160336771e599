"""From decoded pixels of any depth and size to 8-bit images of one size."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_PIXELS = 2**26
"""8192 x 8192: above the detectors of mammography and chest radiography, below what fills a memory."""


SMALLEST_SIDE = 8

PERCENTILES = (1.0, 99.0)
_MARGIN, _SAMPLE = 0.25, 2**18
"""Grey values beyond a percentile by more than this share of the percentiles' distance are clipped; about so
many pixels are taken for the percentiles at most."""
_TOO_FEW = 0.1
"""Where no more pixels than this share are neither dead nor saturated, percentiles are those of all."""

_END, _SCAN, _MOST_PADDING = b"\xff\xd9", b"\xff\xda", 16
"""Markers of a JPEG: end of the image, start of a scan; zeros that may follow where the end is missing."""


_PNG, _FRAME = b"\x89PNG\r\n\x1a\n", 12
"""How a PNG begins, and the bytes around the content of each of its chunks: length, kind and checksum."""


class AbsentDecoderError(ValueError):
    """An image of a format that a package reads which is not installed here."""


_ALPHA = ("LA", "RGBA", "PA", "La", "RGBa")


def check_shape(width: int, height: int) -> None:
    """``ValueError`` for an image too large to be decoded safely or too small to show anything."""
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than the limit of {MAX_PIXELS:,}")
    if min(width, height) < SMALLEST_SIDE:
        raise ValueError(f"{width} x {height} pixels, less than {SMALLEST_SIDE} on a side")


def check_webp(data: bytes) -> None:
    """``ValueError`` for a WebP whose header claims too many pixels: Pillow makes room for them on opening.

    The three kinds of first chunk are those of RFC 9649: ``VP8X`` with 24 bits a side, ``VP8L`` with 14, and
    ``VP8 `` with 14 bits in 16.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        check_shape(1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little"))
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        check_shape(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    elif kind == b"VP8 ":
        sides = (int.from_bytes(body[start : start + 2], "little") & 0x3FFF for start in (6, 8))
        check_shape(*sides)
    else:
        raise ValueError("WebP without an image")


def check_png(data: bytes) -> None:
    """``ValueError`` for a PNG whose pixels are not what was written; Pillow skips their checksums."""
    view, start = memoryview(data), len(_PNG)
    while data.startswith(_PNG) and start + _FRAME <= len(data):
        kind, end = data[start + 4 : start + 8], start + 8 + int.from_bytes(data[start : start + 4], "big")
        if kind == b"IDAT" and zlib.crc32(view[start + 4 : end]) != int.from_bytes(
            data[end : end + 4], "big"
        ):
            raise ValueError("PNG whose checksum does not fit: the file was damaged or may be truncated")
        start = end + 4


def check_end(data: bytes) -> None:
    """``ValueError`` for a JPEG whose end was overwritten by zeros; libjpeg makes a grey area of them."""
    content = data.rstrip(b"\0")
    if len(data) - len(content) > _MOST_PADDING and content.rfind(_END) < content.rfind(_SCAN):
        raise ValueError("JPEG whose end is missing: the file may be truncated")


def eight_bits(image: Image.Image) -> Image.Image:
    """Any image as ``L`` or ``RGB``, by the rules that ``harness.datasets.images.decode`` lists."""
    if image.mode in _ALPHA or image.has_transparency_data:
        over = image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", over.size, (0, 0, 0, 255)), over)
        return flat.convert("L" if image.mode in ("L", "LA", "La") else "RGB")
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(stretched(np.asarray(image)))
    return image.convert("L" if image.mode == "1" else "RGB")


def stretched(values: NDArray[Any], padding: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Grey values (H, W) of any range, the ends of their ``grey_range`` as 0 and 255; a constant becomes 0.

    Args:
        values: (H, W).
        padding: (H, W) pixels that show nothing.

    Raises:
        ValueError: a value is not finite.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("grey values that are not finite")
    low, high = grey_range(values, padding)
    shown = values.astype(np.float64)
    shown -= low
    shown *= 255.0 / (high - low) if high > low else 0.0
    return np.rint(np.clip(shown, 0.0, 255.0, out=shown), out=shown).astype(np.uint8)


def grey_range(values: NDArray[Any], padding: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Lowest and highest grey value that count.

    A value does not count if it lies below the 1st or above the 99th percentile by more than a quarter of
    their distance: one hot pixel would turn the rest black. Percentiles are of the pixels that have neither
    the value of a corner nor the lowest or highest one, so that dead borders and burnt-in marks do not move
    them; of large images every so many rows and columns are taken. Padding counts nowhere.
    """
    shown = values.ravel() if padding is None or padding.all() else values[~padding]
    lowest, highest = float(shown.min()), float(shown.max())
    step = max(1, int(np.sqrt(values.size / _SAMPLE)))
    sample = values[::step, ::step]
    if len(shown) < values.size and padding is not None:
        sample = sample[~padding[::step, ::step]]
    inner = sample.ravel()
    corners = {float(values[row, column]) for row in (0, -1) for column in (0, -1)}
    for flat in corners | {lowest, highest}:
        inner = inner[inner != flat]
    if len(inner) < max(1, _TOO_FEW * sample.size):
        inner = sample.ravel()
    low, high = (float(each) for each in np.percentile(inner, PERCENTILES)) if len(inner) else (0.0, 0.0)
    margin = _MARGIN * (high - low)
    if margin > 0 and not low - margin <= lowest <= highest <= high + margin:
        shown = shown[(shown >= low - margin) & (shown <= high + margin)]
        lowest, highest = float(shown.min()), float(shown.max())
    return lowest, highest


def resized(image: Image.Image, size: int, channels: int) -> NDArray[np.uint8]:
    """Pixels (size, size, channels) by bicubic interpolation; the aspect ratio is not kept."""
    mode = "RGB" if channels == 3 else "L"
    if image.mode != "L":
        image = image.convert(mode)
    # Grey images get their three equal channels after the resize: the same pixels for a third of the work.
    small = image.resize((size, size), Image.Resampling.BICUBIC).convert(mode)
    return np.asarray(small, dtype=np.uint8).reshape(size, size, channels)
