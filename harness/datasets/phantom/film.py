"""From drawn planes to a radiograph.

Bodies attenuate, lungs are air inside them, and what the FILL plane holds replaces air::

    attenuation = body - air * (1 - fill) + lung structures + soft tissue + bone + metal
    brightness  = 1 - exp(-gain * exposure * attenuation ** 1.25)

so a consolidation hides the vessels and borders it touches (the silhouette sign) without a rule that says so.
"""

from __future__ import annotations

import random
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from harness.datasets.phantom import anatomy as chest
from harness.datasets.phantom.acquisition import Device
from harness.datasets.phantom.anatomy import SIDES, Anatomy, clip, sign_of
from harness.datasets.phantom.raster import FloatImage, Plane
from harness.datasets.phantom.scene import Scene

_AIR = 0.84  # attenuation that a full depth of aerated lung takes away
_GAIN = 1.35
_FILL, _LUNG, _SOFT, _BONE, _METAL = map(int, Plane)  # compiled code wants plain numbers


def frontal_attenuation(scene: Scene) -> FloatImage:
    """Attenuation of the frontal view, float32 (size, size)."""
    anatomy, size = scene.anatomy, scene.frontal.size
    planes = scene.frontal.draw()
    masks = [_frontal_lung(anatomy, side, size) for side in SIDES]
    x, y = _pixel_axes(size)
    for side, mask in zip(SIDES, masks, strict=True):
        if scene.collapse[side]:
            _open_pleura(planes, mask, _frontal_lung(anatomy, side, size, scene.collapse[side]))
        if scene.fluid[side]:
            across = sign_of(side) * (x - anatomy.midline) / anatomy.half_width
            floor = anatomy.dome[side] + anatomy.dome_height + 0.01
            meniscus = scene.fluid[side] * (0.62 + 0.5 * clip(across, 0.0, 1.0) ** 3)
            planes[Plane.FILL] += _step(across, 0.02) * _step(y - (floor - meniscus), 0.035)
    return _compose_frontal(planes, anatomy, masks[0] + masks[1])


def lateral_attenuation(scene: Scene) -> FloatImage:
    """Attenuation of the lateral view, float32 (size, size); each lung is half of the air on the way."""
    anatomy, size = scene.anatomy, scene.lateral.size
    planes = scene.lateral.draw()
    masks = [_lateral_lung(anatomy, side, size) for side in SIDES]
    x, y = _pixel_axes(size)
    for side, mask in zip(SIDES, masks, strict=True):
        if scene.collapse[side]:
            inside = _lateral_lung(anatomy, side, size, 0.6 * scene.collapse[side])
            _open_pleura(planes, mask, inside, 0.5)
        if scene.fluid[side]:
            floor = chest.lateral_diaphragm_y(anatomy, side, 0.5 + 0.34 * anatomy.depth)
            curve = 0.75 + 0.7 * (np.abs(x - 0.52) / 0.34) ** 3
            level = floor - scene.fluid[side] * curve
            planes[Plane.FILL] += 0.8 * _step(y - level, 0.04)
    return _compose_lateral(planes, anatomy, 0.5 * (masks[0] + masks[1]))


def expose(
    attenuation: FloatImage, anatomy: Anatomy, rng: random.Random, device: Device
) -> NDArray[np.uint8]:
    """Blur, quantum noise, the film's response and the device's look: brightness, uint8 (size, size)."""
    size = attenuation.shape[0]
    bank = _noise_bank(2 * max(size * size, 2**19))
    start = rng.randrange(len(bank) - size * size)
    noise = bank[start : start + size * size].reshape(size, size)
    for _ in range(round(3 * anatomy.blur * size / 128)):
        attenuation = _smooth(attenuation)
    grain = np.float32(anatomy.noise * device.noise * size / 128)
    film = _grainy(attenuation, noise, grain, np.float32(-_GAIN * anatomy.exposure))
    np.exp(film, out=film)  # numpy's transcendental functions are vectorised, a compiled loop's are not
    np.subtract(1.0, film, out=film)
    if device.sharpening:
        film = _sharpened(film, np.float32(device.sharpening))
    if device.gamma != 1.0:
        np.log(np.maximum(film, 1e-6, out=film), out=film)
        film *= np.float32(device.gamma)
        np.exp(film, out=film)
    border = max(1, round(device.shutter * size)) if device.shutter else 0
    pixels: NDArray[np.uint8] = _quantised(film, np.float32(device.black), np.float32(device.white), border)
    return pixels


@cache
def _noise_bank(length: int) -> FloatImage:
    """Standard normal numbers, the same in every process: each view cuts its noise out of them.

    Drawing new ones for each view would take a tenth of all rendering time.
    """
    return np.random.Generator(np.random.Philox(20261122)).standard_normal(length, dtype=np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _grainy(image, noise, grain, factor):  # type: ignore[no-untyped-def]
    """``factor`` times (attenuation with quantum noise) ** 1.25."""
    result = np.empty_like(image)
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            value = image[i, j] + grain * noise[i, j] * (np.float32(0.4) + image[i, j])
            value = max(value, np.float32(0.0))
            result[i, j] = factor * value * np.sqrt(np.sqrt(value))
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def _sharpened(film, share):  # type: ignore[no-untyped-def]
    """The unsharp mask, limited to [0, 1]."""
    soft = _smooth(_smooth(film))
    for i in range(film.shape[0]):
        for j in range(film.shape[1]):
            value = film[i, j] + share * (film[i, j] - soft[i, j])
            soft[i, j] = min(max(value, np.float32(0.0)), np.float32(1.0))
    return soft


@njit(cache=True, nogil=True, error_model="numpy")
def _quantised(film, black, white, border):  # type: ignore[no-untyped-def]
    """Brightness between the device's black and white, uint8, with the shutter's borders at both sides."""
    pixels = np.zeros(film.shape, dtype=np.uint8)
    for i in range(film.shape[0]):
        for j in range(border, film.shape[1] - border):
            pixels[i, j] = np.uint8(
                (black + (white - black) * film[i, j]) * np.float32(255.0) + np.float32(0.5)
            )
    return pixels


@njit(cache=True, nogil=True, error_model="numpy")
def _smooth(image):  # type: ignore[no-untyped-def]
    """A 3 x 3 binomial filter; the border repeats."""
    quarter, half = np.float32(0.25), np.float32(0.5)
    high, wide = image.shape
    rows, result = np.empty_like(image), np.empty_like(image)
    for i in range(high):
        above, below = max(i - 1, 0), min(i + 1, high - 1)
        for j in range(wide):
            rows[i, j] = quarter * (image[above, j] + image[below, j]) + half * image[i, j]
    for i in range(high):
        result[i, 0] = quarter * (rows[i, 0] + rows[i, 1]) + half * rows[i, 0]
        for j in range(1, wide - 1):
            result[i, j] = quarter * (rows[i, j - 1] + rows[i, j + 1]) + half * rows[i, j]
        result[i, wide - 1] = quarter * (rows[i, wide - 2] + rows[i, wide - 1]) + half * rows[i, wide - 1]
    return result


def _pixel_axes(size: int) -> tuple[FloatImage, FloatImage]:
    """Pixel centres as a row (1, size) of x and a column (size, 1) of y."""
    centers = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    return centers[None, :], centers[:, None]


def _step(distance: FloatImage, soft: float) -> FloatImage:
    """0 to 1 across an edge of width ``soft`` centred where ``distance`` is 0."""
    ramp = distance * (1.0 / soft)
    ramp += 0.5
    np.maximum(ramp, 0.0, out=ramp)
    return np.minimum(ramp, 1.0, out=ramp)


def _frontal_lung(anatomy: Anatomy, side: str, size: int, shrink: float = 0.0) -> FloatImage:
    """Share of aerated lung in each pixel; ``shrink`` gives a collapsed lung's outline."""
    x, y = _pixel_axes(size)
    soft = max(0.012, 1.5 / size)
    across = sign_of(side) * (x - (anatomy.midline + anatomy.mediastinal_shift * 0.3))
    inner = anatomy.mediastinum * 0.9 + 0.02 * clip((y - 0.3) / 0.3, 0.0, 1.0)
    outer = chest.wall_distance(anatomy, y - 0.6 * shrink) - 0.75 * shrink
    floor = chest.diaphragm_y(anatomy, side, across)
    return _lung(across[0], y[:, 0], (inner[:, 0], outer[:, 0]), floor[0], np.ones_like(y[:, 0]), soft)


def _lateral_lung(anatomy: Anatomy, side: str, size: int, shrink: float = 0.0) -> FloatImage:
    """One lung's share of air in each pixel."""
    x, y = _pixel_axes(size)
    soft = max(0.014, 1.5 / size)
    margin = 0.4 * shrink
    front = chest.lateral_front(anatomy, y - margin) + margin
    rear = chest.lateral_rear(anatomy, y - margin) - margin
    floor = chest.lateral_diaphragm_y(anatomy, side, x)
    top = _step(y - (anatomy.apex + 0.02 + shrink), 0.09)
    return _lung(x[0], y[:, 0], (front[:, 0], rear[:, 0]), floor[0], top[:, 0], soft)


@njit(cache=True, nogil=True, error_model="numpy")
def _lung(x, y, walls, floor, top, soft):  # type: ignore[no-untyped-def]
    """Share of lung in each pixel, float32 (len(y), len(x)).

    The lung lies between the two ``walls`` of each row, above the ``floor`` of each column, and fades by the
    row's factor ``top``.
    """
    left, right = walls
    zero, half, one = np.float32(0.0), np.float32(0.5), np.float32(1.0)
    sharp = np.float32(1.0 / soft)
    mask = np.empty((y.size, x.size), dtype=np.float32)
    for i in range(y.size):
        for j in range(x.size):
            value = min(max((x[j] - left[i]) * sharp + half, zero), one)
            value *= min(max((right[i] - x[j]) * sharp + half, zero), one)
            mask[i, j] = value * min(max((floor[j] - y[i]) * sharp + half, zero), one) * top[i]
    return mask


def _open_pleura(planes: FloatImage, mask: FloatImage, inside: FloatImage, share: float = 1.0) -> None:
    """A pneumothorax: beyond the collapsed lung's edge nothing but air, and the edge itself a fine line."""
    gap = clip(mask - inside, 0.0, 1.0)
    planes[Plane.LUNG] *= 1 - share * gap
    planes[Plane.LUNG] -= 0.24 * share * gap
    planes[Plane.FILL] += 0.10 * share * inside
    planes[Plane.LUNG] += 2.0 * share * inside * (1 - inside) * mask


def _compose_frontal(planes: FloatImage, anatomy: Anatomy, lungs: FloatImage) -> FloatImage:
    size = planes.shape[1]
    x, y = _pixel_axes(size)
    across = np.abs(x - anatomy.midline)
    outline = _frontal_outline(anatomy, y)
    body = _step(outline - across, 0.018)
    body = body * (0.88 + 0.3 * anatomy.fat + 0.14 * (1 - (across / 0.55) ** 2))
    body += 0.20 * clip(1.0 - (across - anatomy.mediastinum) / 0.04, 0.0, 1.0)
    lungs = np.minimum(lungs, 1.0)
    below = _step(y - (anatomy.dome["right"] + 0.02), 0.10)
    body += 0.20 * below * (across < outline) * (1 - lungs)
    depth = 1.0 - 0.30 * (across / anatomy.half_width) ** 4
    height = 0.86 + 0.14 * clip((y - anatomy.apex) / 0.25, 0.0, 1.0)
    air = (_AIR * anatomy.lucency) * lungs * np.maximum(depth * height, 0.0)
    return _attenuation(planes, body, air, lungs)


def _frontal_outline(anatomy: Anatomy, y: FloatImage) -> FloatImage:
    """Half-width of neck, shoulders and trunk at each height, smoothed."""
    wall = anatomy.half_width + 0.075 + 0.06 * anatomy.fat
    heights = (0.0, 0.04, 0.08, 0.12, 0.17, 0.32, 0.45, 0.58, 1.0)
    widths = (0.125, 0.13, 0.19, 0.36, 0.50, 0.54, wall + 0.025, wall, wall + 0.02)
    spread = np.mean([np.interp(y[:, 0] + shift, heights, widths) for shift in (-0.02, 0.0, 0.02)], axis=0)
    return np.asarray(spread, dtype=np.float32)[:, None]


def _compose_lateral(planes: FloatImage, anatomy: Anatomy, lungs: FloatImage) -> FloatImage:
    size = planes.shape[1]
    x, y = _pixel_axes(size)
    column = y[:, 0]
    margin = 0.055 + 0.06 * anatomy.fat
    bulge = 0.35 * (anatomy.breast["right"] + anatomy.breast["left"])
    breast = bulge * np.exp(-(((column - 0.62) / 0.09) ** 2))
    front = chest.lateral_front(anatomy, column) - margin - breast
    rear = chest.lateral_rear(anatomy, column) + margin + 0.02
    # Shoulders and raised arms make the top of the body broad.
    front = np.minimum(front, np.interp(column, (0.0, 0.10, 0.22, 0.30), (0.10, 0.20, 0.30, 0.9)))
    rear = np.maximum(rear, np.interp(column, (0.0, 0.10, 0.25, 0.45), (0.66, 0.79, 0.83, 0.60)))
    edges = np.asarray([front, rear], dtype=np.float32)[:, :, None]
    body = _step(x - edges[0], 0.02) * _step(edges[1] - x, 0.02)
    below = _step(y - chest.lateral_diaphragm_y(anatomy, "right", x), 0.05)
    body = body * (0.94 + 0.26 * below * (1 - lungs))
    air = (0.92 * _AIR * anatomy.lucency) * lungs
    return _attenuation(planes, body, air, lungs)


@njit(cache=True, nogil=True, error_model="numpy")
def _attenuation(planes, body, air, lungs):  # type: ignore[no-untyped-def]
    """body - air * (1 - fill) + lung structures + everything that is drawn anywhere, float32 (size, size)."""
    one, zero = np.float32(1.0), np.float32(0.0)
    total = np.empty_like(body)
    for i in range(body.shape[0]):
        for j in range(body.shape[1]):
            fill = min(max(planes[_FILL, i, j], zero), one)
            value = body[i, j] - air[i, j] * (one - fill)
            value += (one - np.float32(0.6) * fill) * lungs[i, j] * planes[_LUNG, i, j]
            value += planes[_SOFT, i, j] + planes[_BONE, i, j] + planes[_METAL, i, j]
            total[i, j] = max(value, zero)
    return total
