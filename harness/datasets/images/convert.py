"""From decoded pixels of any depth and size to 8-bit images of one size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_PIXELS = 2**26
"""8192 x 8192: above the detectors of mammography and chest radiography, below what fills a memory."""


SMALLEST_SIDE = 8


_ALPHA = ("LA", "RGBA", "PA", "La", "RGBa")


def check_shape(width: int, height: int) -> None:
    """``ValueError`` for an image too large to be decoded safely or too small to show anything."""
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than the limit of {MAX_PIXELS:,}")
    if min(width, height) < SMALLEST_SIDE:
        raise ValueError(f"{width} x {height} pixels, less than {SMALLEST_SIDE} on a side")


def eight_bits(image: Image.Image) -> Image.Image:
    """Any image as ``L`` or ``RGB``, by the rules at the top of this module."""
    if image.mode in _ALPHA or image.has_transparency_data:
        over = image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", over.size, (0, 0, 0, 255)), over)
        return flat.convert("L" if image.mode in ("L", "LA", "La") else "RGB")
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(stretched(np.asarray(image)))
    return image.convert("L" if image.mode == "1" else "RGB")


def stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values (H, W) of any range, their lowest as 0 and their highest as 255; a constant becomes 0.

    Raises:
        ValueError: a value is not finite.
    """
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("grey values that are not finite")
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((values.astype(np.float64) - low) * scale).astype(np.uint8)


def resized(image: Image.Image, size: int, channels: int) -> NDArray[np.uint8]:
    """Pixels (size, size, channels) by bicubic interpolation; the aspect ratio is not kept."""
    mode = "RGB" if channels == 3 else "L"
    if image.mode != "L":
        image = image.convert(mode)
    # Grey images get their three equal channels after the resize: the same pixels for a third of the work.
    small = image.resize((size, size), Image.Resampling.BICUBIC).convert(mode)
    return np.asarray(small, dtype=np.uint8).reshape(size, size, channels)
