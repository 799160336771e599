"""Draws soft shapes into attenuation planes.

Coordinates are fractions of the image: x right, y down, both 0 to 1. A shape is a row of numbers, so that one
compiled loop draws a whole radiograph. Each shape touches only the pixels of its bounding box.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
Pair = tuple[float, float]
"""x and y: a position or two radii, in image fractions."""

_ELLIPSE, _STROKE = 0.0, 1.0
_ROUND, _SQUARE = 2.0, 4.0  # exponent of the outline |a| ** n + |b| ** n = 1
_COLUMNS = 13
_TEXTURE_SIZE = 256


class Plane(IntEnum):
    """What a shape adds to; ``phantom/film.py`` makes one radiograph of the planes."""

    FILL = 0  # fraction of the lung's air that something denser replaces
    LUNG = 1  # attenuation inside the lung only (vessels, fine lines; negative for lucencies)
    SOFT = 2  # soft tissue anywhere
    BONE = 3
    METAL = 4


class Profile(IntEnum):
    """How thickness runs from the axis of a shape to its rim."""

    FLAT = 0
    BALL = 1  # chord of a sphere or cylinder
    BLUR = 2  # Gaussian, two standard deviations at the rim
    SHELL = 3  # brighter rim, like cortical bone
    RING = 4  # rim only


class Texture(IntEnum):
    """A repeating pattern that multiplies a shape."""

    NONE = -1
    PATCHY = 0
    NET = 1
    STREAKS = 2
    FLUFFY = 3


class Shading(NamedTuple):
    """How a shape fills the pixels inside its outline.

    Attributes:
        soft: width of the edge, image fraction.
        profile: how thickness runs from the axis to the rim.
        texture: pattern that multiplies the thickness.
        offset: shift of the pattern, in its pixels.
    """

    soft: float = 0.01
    profile: Profile = Profile.FLAT
    texture: Texture = Texture.NONE
    offset: float = 0.0


PLAIN = Shading()


class Canvas:
    """Shapes to draw, collected first and drawn at once.

    Coordinates and sizes are image fractions; ``amount`` is what a shape's thickest point adds to its plane.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._shapes = array("d")
        self._points = array("d")

    def ellipse(
        self,
        plane: Plane,
        amount: float,
        center: Pair,
        radii: Pair,
        shading: Shading = PLAIN,
        *,
        angle: float = 0.0,
    ) -> None:
        """An ellipse; ``angle`` in radians turns it clockwise."""
        self._shapes.extend((_ELLIPSE, plane, amount, *shading, *center, *radii, angle, _ROUND))

    def box(
        self,
        plane: Plane,
        amount: float,
        center: Pair,
        radii: Pair,
        shading: Shading = PLAIN,
        *,
        angle: float = 0.0,
    ) -> None:
        """A box with rounded corners; ``angle`` in radians turns it clockwise."""
        self._shapes.extend((_ELLIPSE, plane, amount, *shading, *center, *radii, angle, _SQUARE))

    def stroke(
        self,
        plane: Plane,
        amount: float,
        points: Sequence[Pair],
        radii: Sequence[float],
        *,
        soft: float = 0.006,
        profile: Profile = Profile.BALL,
    ) -> None:
        """A line through ``points``; where it overlaps itself it does not add up.

        ``radii`` are its half-widths: one for each point, or the first and the last. A ``BALL`` line is a
        tube: where it is thinner it is fainter too.
        """
        start = len(self._points) // 3
        if len(radii) != len(points):
            first, step = radii[0], (radii[-1] - radii[0]) / (len(points) - 1)
            radii = [first + step * index for index in range(len(points))]
        flat = [value for (x, y), radius in zip(points, radii, strict=True) for value in (x, y, radius)]
        self._points.fromlist(flat)
        self._shapes.extend(
            (_STROKE, plane, amount, soft, profile, -1.0, 0.0, start, len(points), 0.0, 0.0, 0.0, 0.0)
        )

    def draw(self) -> FloatImage:
        """All shapes on empty planes, float32 (planes, size, size)."""
        planes = np.zeros((len(Plane), self.size, self.size), dtype=np.float32)
        shapes = np.frombuffer(self._shapes).reshape(-1, _COLUMNS)
        points = np.frombuffer(self._points).reshape(-1, 3)
        _draw_all(planes, shapes, points, _textures())
        return planes


@cache
def _textures() -> NDArray[np.float32]:
    """Tileable patterns in [0, 1], float32 (4, 256, 256), the same in every process."""
    rng = np.random.Generator(np.random.Philox(20240601))
    patchy = _smooth_noise(rng, 6.0, 6.0)
    net = _smooth_noise(rng, 2.6, 2.6)
    streaks = _smooth_noise(rng, 2.0, 16.0)
    fluffy = _smooth_noise(rng, 3.4, 3.4)
    return np.stack(
        [
            np.clip(0.35 + 0.55 * patchy, 0, 1),
            np.clip(1.0 - 2.0 * np.abs(net), 0, 1),
            np.clip(0.1 + 0.8 * streaks, 0, 1),
            np.clip(0.68 + 0.32 * fluffy, 0, 1),
        ]
    ).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, sigma_y: float, sigma_x: float) -> NDArray[np.float64]:
    """Periodic Gaussian noise of unit variance, smoothed by the given standard deviations in texels."""
    noise = rng.standard_normal((_TEXTURE_SIZE, _TEXTURE_SIZE))
    frequency = np.fft.fftfreq(_TEXTURE_SIZE) * 2 * np.pi
    kernel = np.exp(-0.5 * ((sigma_y * frequency[:, None]) ** 2 + (sigma_x * frequency[None, :]) ** 2))
    kernel[0, 0] = 0.0
    smooth = np.fft.ifft2(np.fft.fft2(noise) * kernel).real
    return np.asarray(smooth / smooth.std())


@njit(cache=True, nogil=True, error_model="numpy")
def _thickness(q: float, reach: float, soft: float, profile: int) -> float:
    """Thickness at ``q`` radii from the axis of a shape of radius ``reach``, antialiased over ``soft``."""
    cover = min(max(0.5 + (1.0 - q) * reach / soft, 0.0), 1.0)
    if profile == 0:
        return cover
    if profile == 1:
        inside = 1.0 - q * q
        return min(cover, max(np.sqrt(inside), 0.0)) if inside > 0.04 else 0.2 * cover
    if profile == 2:
        return np.exp(-2.0 * q * q)
    if profile == 3:
        square = min(q * q, 1.0)
        return cover * (0.5 + 0.5 * square * square)
    return max(0.0, 1.0 - abs(q - 1.0) * reach / soft)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_ellipse(plane, row, texture, size):  # type: ignore[no-untyped-def]
    soft = max(row[3], 1.3 / size)
    profile, offset = int(row[4]), int(row[6])
    cx, cy, rx, ry, power = row[7], row[8], row[9], row[10], row[12]
    cos, sin = np.cos(row[11]), np.sin(row[11])
    reach = min(rx, ry)
    margin = 1.45 if profile == 2 else 1.0
    beyond = np.inf if profile == 2 else (1.0 + soft / reach) ** 2
    wide = margin * np.sqrt((rx * cos) ** 2 + (ry * sin) ** 2) + soft
    high = margin * np.sqrt((rx * sin) ** 2 + (ry * cos) ** 2) + soft
    if power == 4.0:  # the corners of a rounded box reach beyond its ellipse
        wide, high = 1.2 * wide, 1.2 * high
    left, right = max(0, int((cx - wide) * size)), min(size, int((cx + wide) * size) + 2)
    top, bottom = max(0, int((cy - high) * size)), min(size, int((cy + high) * size) + 2)
    for i in range(top, bottom):
        dy = (i + 0.5) / size - cy
        for j in range(left, right):
            dx = (j + 0.5) / size - cx
            a, b = abs(cos * dx + sin * dy) / rx, abs(cos * dy - sin * dx) / ry
            a, b = a * a, b * b
            squared = np.sqrt(a * a + b * b) if power == 4.0 else a + b
            if squared > beyond:
                continue
            q = np.sqrt(squared)
            value = row[2] * _thickness(q, reach, soft, profile)
            if row[5] >= 0.0:
                v = int((i + 0.5) / size * 256.0) + offset
                h = int((j + 0.5) / size * 256.0) + 3 * offset
                value *= texture[v % 256, h % 256]
            plane[i, j] += value


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_stroke(plane, row, points, scratch, size):  # type: ignore[no-untyped-def]
    soft = max(row[3], 1.3 / size)
    profile, start, count = int(row[4]), int(row[7]), int(row[8])
    widest = 1e-9
    for k in range(start, start + count):
        widest = max(widest, points[k, 2])
    box = np.array([size, 0, size, 0])
    for k in range(start, start + count - 1):
        x0, y0, r0 = points[k]
        x1, y1, r1 = points[k + 1]
        pad = max(r0, r1) + soft
        left, right = max(0, int((min(x0, x1) - pad) * size)), min(size, int((max(x0, x1) + pad) * size) + 2)
        top, bottom = max(0, int((min(y0, y1) - pad) * size)), min(size, int((max(y0, y1) + pad) * size) + 2)
        if left >= right or top >= bottom:
            continue
        box[0], box[1] = min(box[0], top), max(box[1], bottom)
        box[2], box[3] = min(box[2], left), max(box[3], right)
        ex, ey = x1 - x0, y1 - y0
        along_x, along_y = ex / (ex * ex + ey * ey + 1e-12), ey / (ex * ex + ey * ey + 1e-12)
        limit = (max(r0, r1) + soft) ** 2
        # A row meets a slanting line in a short span only: skip the rest of the bounding box.
        slope = ex / ey if abs(ey) > 1e-9 else 0.0
        reach = pad * np.sqrt(1.0 + slope * slope) if abs(ey) > 1e-9 else 2.0
        for i in range(top, bottom):
            py = (i + 0.5) / size - y0
            middle = x0 + slope * py
            first, last = (
                max(left, int((middle - reach) * size)),
                min(right, int((middle + reach) * size) + 2),
            )
            for j in range(first, last):
                px = (j + 0.5) / size - x0
                t = min(max(px * along_x + py * along_y, 0.0), 1.0)
                ux, uy = px - t * ex, py - t * ey
                squared = ux * ux + uy * uy
                if squared > limit:
                    continue
                radius = r0 + t * (r1 - r0)
                value = _thickness(np.sqrt(squared) / radius, radius, soft, profile)
                if profile == 1:
                    value *= radius / widest
                scratch[i, j] = max(scratch[i, j], value)
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            plane[i, j] += row[2] * scratch[i, j]
            scratch[i, j] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_all(planes, shapes, points, textures):  # type: ignore[no-untyped-def]
    size = planes.shape[1]
    scratch = np.zeros((size, size), dtype=np.float32)
    for index in range(shapes.shape[0]):
        row = shapes[index]
        plane = planes[int(row[1])]
        if row[0] == 0.0:
            _draw_ellipse(plane, row, textures[max(int(row[5]), 0)], size)
        else:
            _draw_stroke(plane, row, points, scratch, size)
