"""From drawn planes to a radiograph.

Bodies attenuate, lungs are air inside them, and what the FILL plane holds replaces air::

    attenuation = body - air * (1 - fill) + lung structures + soft tissue + bone + metal
    brightness  = 1 - exp(-gain * exposure * attenuation ** 1.25)

so a consolidation hides the vessels and borders it touches (the silhouette sign) without a rule that says so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.datasets import phantom_anatomy as chest
from harness.datasets.phantom_anatomy import SIDES, Anatomy, clip, sign_of
from harness.datasets.phantom_device import Device
from harness.datasets.phantom_raster import FloatImage, Plane
from harness.datasets.phantom_scene import Scene

_AIR = 0.84  # attenuation that a full depth of aerated lung takes away
_GAIN = 1.35


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
    attenuation: FloatImage, anatomy: Anatomy, rng: np.random.Generator, device: Device
) -> NDArray[np.uint8]:
    """Blur, quantum noise, the film's response and the device's look: brightness, uint8 (size, size)."""
    image = attenuation
    size = image.shape[0]
    for _ in range(round(3 * anatomy.blur * size / 128)):
        image = _smooth(image)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= anatomy.noise * device.noise * size / 128
    noise *= 0.4 + image
    image = np.maximum(image + noise, 0.0)
    film = 1 - np.exp(-_GAIN * anatomy.exposure * image * np.sqrt(np.sqrt(image)))  # image ** 1.25, cheaply
    if device.sharpening:
        film += device.sharpening * (film - _smooth(_smooth(film)))
    film = device.black + (device.white - device.black) * clip(film, 0.0, 1.0) ** device.gamma
    if device.shutter:
        edge = max(1, round(device.shutter * size))
        film[:, :edge] = film[:, -edge:] = 0.0
    pixels: NDArray[np.uint8] = (clip(film, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
    return pixels


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
    mask = _step(across - inner, soft)
    mask = mask * _step(outer - across, soft)
    mask *= _step(chest.diaphragm_y(anatomy, side, across) - y, soft)
    return mask


def _lateral_lung(anatomy: Anatomy, side: str, size: int, shrink: float = 0.0) -> FloatImage:
    """One lung's share of air in each pixel."""
    x, y = _pixel_axes(size)
    soft = max(0.014, 1.5 / size)
    margin = 0.4 * shrink
    mask = _step(x - chest.lateral_front(anatomy, y - margin) - margin, soft)
    mask = mask * _step(chest.lateral_rear(anatomy, y - margin) - margin - x, soft)
    mask *= _step(chest.lateral_diaphragm_y(anatomy, side, x) - y, soft)
    mask *= _step(y - (anatomy.apex + 0.02 + shrink), 0.09)
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


def _attenuation(planes: FloatImage, body: FloatImage, air: FloatImage, lungs: FloatImage) -> FloatImage:
    fill = clip(planes[Plane.FILL], 0.0, 1.0)
    total = body - air
    air *= fill
    total += air
    fill *= -0.6
    fill += 1.0
    fill *= lungs
    fill *= planes[Plane.LUNG]
    total += fill
    for plane in (Plane.SOFT, Plane.BONE, Plane.METAL):
        total += planes[plane]
    return np.maximum(total, 0.0, out=total)


def _smooth(image: FloatImage) -> FloatImage:
    """A 3 x 3 binomial filter; the border repeats."""
    for _ in range(2):
        padded = np.pad(image, ((1, 1), (0, 0)), mode="edge")
        image = (0.25 * (padded[:-2] + padded[2:]) + 0.5 * image).T
    return image
