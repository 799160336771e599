"""How the machine that took a study makes its images look.

Radiographs carry the look of their device: tone curve, sharpening, noise, the shutter's borders. The study's
own DICOM cells choose it here: two studies of one machine look alike, as real ones do, and a method
can read the site, with the habits of its reports, off a phantom as it can off a radiograph.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Device:
    """The look of one machine; the defaults change nothing.

    Attributes:
        gamma: exponent of the tone curve.
        black, white: brightness of air and of metal, 0 to 1.
        sharpening: share of the unsharp mask that is added.
        noise: factor of the quantum noise.
        shutter: share of the width that each side's shutter hides.
    """

    gamma: float = 1.0
    black: float = 0.0
    white: float = 1.0
    sharpening: float = 0.0
    noise: float = 1.0
    shutter: float = 0.0


def device_of(acquisition: tuple[str, ...]) -> Device:
    """The look that DICOM cells (``harness.datasets.iu.reports.ACQUISITION_FIELDS``) stand for.

    Processing code and look-up table choose tone curve and sharpening: the manufacturer's tables are not
    public, so each code gets its own, drawn from a hash of it. Tube voltage flattens contrast, a sensitivity
    index above the usual 200 to 400 adds noise, and an image that is narrower than high has shutter borders.
    """
    if not acquisition:
        return Device()
    code, table, voltage, sensitivity, spacing, rows, columns = acquisition
    tone, sharp, floor, ceiling = _uniform(code, table, spacing)
    kilovolts = _number(voltage)
    flat = 0.0 if not kilovolts else float(np.clip((kilovolts - 100.0) / 100.0, -0.3, 0.3))
    index = _number(sensitivity)
    grain = 1.0 if not index else float(np.clip(np.sqrt(index / 300.0), 0.7, 2.5))
    height, width = _number(rows), _number(columns)
    border = 0.0 if not height or not width else float(np.clip(0.5 - 0.5 * width / height, 0.0, 0.12))
    return Device(
        gamma=float(np.exp(0.9 * (tone - 0.5))) * (1.0 - flat),
        black=0.10 * floor,
        white=0.86 + 0.14 * ceiling,
        sharpening=1.2 * sharp,
        noise=grain,
        shutter=border,
    )


def _uniform(*parts: str) -> tuple[float, float, float, float]:
    """Four numbers in [0, 1) from a hash of the parts."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
    a, b, c, d = (int.from_bytes(digest[start : start + 4], "big") / 2**32 for start in range(0, 16, 4))
    return a, b, c, d


def _number(cell: str) -> float:
    """The cell as a positive number, 0 where it is empty or none."""
    try:
        value = float(cell)
    except ValueError:
        return 0.0
    return value if np.isfinite(value) and value > 0 else 0.0
