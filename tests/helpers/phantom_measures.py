"""Rulers for frontal phantoms: how wide the heart is, and how deep the costophrenic angles reach."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def heart_width(image: Pixels) -> float:
    """Equivalent width of the heart's shadow in image widths, of a frontal phantom (H, W) or (H, W, 1).

    In the rows of the lower heart, the area of the profile above the lungs over its height at the spine: the
    width of a box as bright as the spine. Soft edges, as generated images have, count by what they hold.
    """
    profile = _rows(image, 0.52, 0.64)
    size = len(profile)
    inner = profile[round(0.2 * size) : round(0.8 * size)]
    lung, spine = np.percentile(inner, 10), np.median(profile[round(0.48 * size) : round(0.54 * size)])
    return float(np.clip((inner - lung) / (spine - lung), 0.0, 1.0).sum() / size)


def costophrenic_depth(image: Pixels, side: str) -> float:
    """Depth of the outer lung's lower end in image heights; an effusion lifts it. ``side`` is the patient's.

    Down the columns of the outer lung, where brightness comes halfway from the lung to what is below it.
    """
    pixels = _grey(image)
    size = pixels.shape[1]
    columns = slice(round(0.17 * size), round(0.25 * size))
    if side == "left":
        columns = slice(size - columns.stop, size - columns.start)
    line = pixels[:, columns].mean(1)
    height = len(line)
    top, bottom = round(0.4 * height), round(0.92 * height)
    lung = np.percentile(line[top : round(0.6 * height)], 25)
    below = np.median(line[round(0.86 * height) : bottom])
    over = line[top:bottom] > 0.5 * (lung + below)
    dark = np.flatnonzero(~over)
    return (top + (int(dark[-1]) + 1 if len(dark) else 0)) / height


def _grey(image: Pixels) -> NDArray[np.float64]:
    return image.reshape(*image.shape[:2], -1).mean(-1)


def _rows(image: Pixels, top: float, bottom: float) -> NDArray[np.float64]:
    pixels = _grey(image)
    return pixels[round(top * len(pixels)) : round(bottom * len(pixels))].mean(0)
