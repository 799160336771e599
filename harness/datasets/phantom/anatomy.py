"""A patient's chest as numbers: its parameters, and where things lie on the frontal and the lateral view.

Positions are image fractions, x right and y down. Frontal views are PA: the patient's right is on the
image's left. Lateral views face left. Border functions take one height or distance, or an array of them.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from harness.datasets.phantom.raster import FloatImage

SIDES = ("right", "left")
N_RIBS = 9
N_VERTEBRAE = 11
VERTEBRA_STEP = 0.078

Real = TypeVar("Real", float, FloatImage)
Point = tuple[float, float]


def _by_side(value: float = 0.0) -> dict[str, float]:
    return dict.fromkeys(SIDES, value)


@dataclass(slots=True)
class Anatomy:
    """One patient's shape; lengths are image fractions. Findings change it before anything is drawn.

    Attributes:
        dome: side -> y of the top of the hemidiaphragm.
        dome_height: from the costophrenic angle up to the dome.
        eventration: side -> height of a hump on the dome.
        mediastinum: half-width.
        mediastinal_shift: how far heart and trachea lie to the image's right of the midline.
        tortuosity: 0 for a straight aorta, 1 for a plainly unfolded one.
        vessels: calibre and contrast of the lung vessels, 1 is normal.
        cephalisation: how much the upper vessels widen, 0 is normal.
        lucency: depth of aerated lung, 1 is normal.
        scoliosis: sideways bow of the spine, to the image's right where positive.
        disc_gap: share of a vertebral level that is disc.
        depth: front-to-back size of the lateral chest, 1 is normal.
        blur: strength of motion blur; noise: standard deviation of the attenuation's relative noise.
    """

    midline: float = 0.5
    half_width: float = 0.37
    apex: float = 0.12
    dome: dict[str, float] = field(default_factory=lambda: _by_side(0.70))
    dome_height: float = 0.11
    eventration: dict[str, float] = field(default_factory=_by_side)
    cardiothoracic_ratio: float = 0.45
    heart_tilt: float = 1.0
    mediastinum: float = 0.05
    mediastinal_shift: float = 0.0
    aortic_knob: float = 0.030
    tortuosity: float = 0.0
    vessels: float = 1.0
    cephalisation: float = 0.0
    lucency: float = 1.0
    scoliosis: float = 0.0
    scoliosis_center: float = 0.45
    kyphosis: float = 0.0
    bone_density: float = 1.0
    disc_gap: float = 0.30
    breast: dict[str, float] = field(default_factory=_by_side)
    rotation: float = 0.0
    fat: float = 0.0
    exposure: float = 1.0
    blur: float = 0.0
    noise: float = 0.015
    retrosternal: float = 0.0
    depth: float = 1.0
    sternum_shift: float = 0.0


def normal_anatomy(rng: random.Random, age: float | None, sex: str | None) -> Anatomy:
    """A healthy chest drawn from ``rng``; age thins bone and widens the aorta a little, sex adds breasts.

    Where the sex is not known, half of the patients get breasts.
    """
    years = 50.0 if age is None else age
    level = rng.uniform(-0.012, 0.02)
    likely_female = rng.random() < 0.5
    size = rng.uniform(0.10, 0.18)
    breast = size if sex == "female" or (sex is None and likely_female) else 0.0
    return Anatomy(
        midline=0.5 + rng.uniform(-0.015, 0.015),
        half_width=rng.uniform(0.345, 0.395),
        apex=rng.uniform(0.10, 0.135),
        dome={"right": 0.69 + level, "left": 0.713 + level + rng.uniform(-0.006, 0.006)},
        dome_height=rng.uniform(0.10, 0.125),
        cardiothoracic_ratio=rng.uniform(0.42, 0.47),
        heart_tilt=rng.uniform(0.8, 1.2),
        mediastinum=rng.uniform(0.047, 0.056),
        aortic_knob=rng.uniform(0.026, 0.030) + 0.00012 * max(years - 40, 0),
        vessels=rng.uniform(0.9, 1.1),
        bone_density=1.1 - 0.003 * max(years - 40, 0),
        breast=_by_side(breast),
        rotation=rng.uniform(-0.008, 0.008),
        fat=rng.uniform(0.0, 0.10),
        exposure=rng.uniform(0.94, 1.07),
        noise=rng.uniform(0.011, 0.016),
        depth=rng.uniform(0.94, 1.05),
    )


def sign_of(side: str) -> float:
    """-1 for the patient's right, which is the image's left, +1 for the patient's left."""
    return 1.0 if side == "left" else -1.0


def clip(value: Real, low: float, high: float) -> Real:
    """``value`` kept between two bounds."""
    if isinstance(value, float):
        return min(max(value, low), high)
    return np.minimum(np.maximum(value, low), high)


def _bell(t: Real) -> Real:
    """``exp(-t**2)``."""
    return math.exp(-t * t) if isinstance(t, float) else np.exp(-t * t)


# ---------------------------------------------------------------- frontal
def spine_x(anatomy: Anatomy, y: float) -> float:
    """Frontal x of the spine at height ``y``; a scoliotic bow has a smaller counter-bow below."""
    bow = _bell((y - anatomy.scoliosis_center) / 0.17)
    counter = _bell((y - anatomy.scoliosis_center - 0.36) / 0.13)
    return anatomy.midline + anatomy.scoliosis * (bow - 0.55 * counter)


def wall_distance(anatomy: Anatomy, y: Real) -> Real:
    """Frontal distance of the lateral chest wall from the midline at height ``y``; 0 above the apex."""
    middle = 0.56
    t = clip((middle - y) / (middle - anatomy.apex), 0.0, 1.0)
    return anatomy.half_width * (1.0 - t**2.7) ** 0.53


def diaphragm_y(anatomy: Anatomy, side: str, across: Real) -> Real:
    """Frontal height of a hemidiaphragm at a distance from the midline (image fraction)."""
    t = across / anatomy.half_width
    outward = clip((t - 0.48) * 1e6, 0.5, 1.0)  # steep toward the wall, gentle toward the heart
    fall = anatomy.dome_height * outward * (abs(t - 0.48) / 0.56) ** 2.6
    return anatomy.dome[side] + fall - anatomy.eventration[side] * _bell((t - 0.45) / 0.22)


def lung_point(anatomy: Anatomy, side: str, across: float, down: float) -> Point:
    """Frontal position in a lung: ``across`` 0 mediastinum to 1 wall, ``down`` 0 apex to 1 base."""
    floor = diaphragm_y(anatomy, side, across * anatomy.half_width)
    y = anatomy.apex + down * (floor - anatomy.apex)
    inner = anatomy.mediastinum
    return anatomy.midline + sign_of(side) * (inner + across * (wall_distance(anatomy, y) - inner)), y


def rib_points(anatomy: Anatomy, side: str, index: int) -> list[Point]:
    """Posterior arc of rib ``index`` (0 to 8) from the spine to the lateral wall, 8 frontal points."""
    sign = sign_of(side)
    start = anatomy.apex + 0.005 + index * (anatomy.dome["right"] + 0.06 - anatomy.apex) / N_RIBS
    drop = 0.02 + 0.0085 * index
    x0 = spine_x(anatomy, start) + sign * 0.03
    reach = max(wall_distance(anatomy, min(start + drop + 0.03, 0.9)) + 0.008, 0.12)
    x1 = anatomy.midline + sign * reach
    points = []
    for step in range(8):
        t = step / 7
        lift = -0.028 * math.sin(math.pi * min(t * 1.25, 1.0)) * (1 - 0.04 * index)
        x = x0 + (x1 - x0) * math.sin(t * math.pi / 2) ** 0.9
        points.append((x, start + lift + drop * t + 0.05 * t**4))
    return points


def clavicle_points(anatomy: Anatomy, side: str) -> list[Point]:
    """The clavicle from the sternum to the shoulder, 6 frontal points."""
    sign, top = sign_of(side), anatomy.apex
    x0 = anatomy.midline + anatomy.rotation + sign * 0.03
    width = anatomy.half_width * 1.02
    shape = ((0.0, 0.075), (0.2, 0.06), (0.42, 0.045), (0.65, 0.02), (0.85, 0.0), (1.0, -0.005))
    return [(x0 + sign * t * width, top + dy) for t, dy in shape]


def shoulder_center(anatomy: Anatomy, side: str) -> Point:
    """Frontal centre of the humeral head."""
    return anatomy.midline + sign_of(side) * min(anatomy.half_width + 0.075, 0.445), anatomy.apex + 0.045


def heart_extent(anatomy: Anatomy) -> Point:
    """Frontal x of the heart's right and left border, from the cardiothoracic ratio."""
    width = 2 * anatomy.half_width * anatomy.cardiothoracic_ratio
    center = anatomy.midline + anatomy.mediastinal_shift
    return center - 0.31 * width, center + 0.69 * width


def knob_center(anatomy: Anatomy) -> Point:
    """Frontal centre of the aortic knob."""
    x = anatomy.midline + anatomy.mediastinal_shift + anatomy.mediastinum + 0.004 + 0.018 * anatomy.tortuosity
    return x, anatomy.apex + 0.175 - 0.03 * anatomy.tortuosity


def trachea_points(anatomy: Anatomy) -> list[Point]:
    """The trachea from the neck to the carina, 4 frontal points."""
    carina_y = anatomy.apex + 0.235
    pull = anatomy.mediastinal_shift
    return [
        (anatomy.midline, 0.0),
        (anatomy.midline + 0.3 * pull, 0.10),
        (anatomy.midline + 0.9 * pull - 0.004, carina_y - 0.06),
        (anatomy.midline + pull - 0.006, carina_y),
    ]


def hilum_center(anatomy: Anatomy, side: str) -> Point:
    """Frontal centre of a hilum; the left one stands a little higher."""
    x = anatomy.midline + anatomy.mediastinal_shift * 0.6 + sign_of(side) * (anatomy.mediastinum + 0.030)
    return x, anatomy.apex + (0.285 if side == "right" else 0.265)


# ---------------------------------------------------------------- lateral
def lateral_front(anatomy: Anatomy, y: Real) -> Real:
    """Lateral x of the lungs' border behind the sternum at height ``y``."""
    t = clip((y - anatomy.apex) / 0.36, 0.0, 1.0)
    swell = 1.0 - (1.0 - t) ** 2.2
    return 0.46 - (0.26 + 0.04 * anatomy.retrosternal) * anatomy.depth * swell + anatomy.sternum_shift * t


def lateral_rear(anatomy: Anatomy, y: Real) -> Real:
    """Lateral x of the lungs' posterior border at height ``y``."""
    t = clip((y - anatomy.apex) / 0.36, 0.0, 1.0)
    swell = 1.0 - (1.0 - t) ** 2.2
    return 0.62 + 0.23 * anatomy.depth * swell + 0.06 * anatomy.kyphosis * _bell((y - 0.36) / 0.2)


def lateral_diaphragm_y(anatomy: Anatomy, side: str, x: Real) -> Real:
    """Lateral height of a hemidiaphragm at ``x``: a dome in front, falling to the posterior sulcus."""
    t = (x - 0.5) / anatomy.depth + 0.5
    rise = anatomy.dome_height / 0.11
    rear = 0.19 * rise * clip((t - 0.40) / 0.46, 0.0, 1.5) ** 1.9
    front = 0.07 * rise * clip((0.40 - t) / 0.22, 0.0, 1.2) ** 2
    return anatomy.dome[side] + rear + front - anatomy.eventration[side] * _bell((t - 0.38) / 0.12)


def lateral_point(anatomy: Anatomy, back: float, down: float) -> Point:
    """Lateral position in the chest: ``back`` 0 sternum to 1 rear, ``down`` 0 apex to 1 base."""
    floor = lateral_diaphragm_y(anatomy, "right", 0.5 + (0.62 * back - 0.30) * anatomy.depth)
    y = anatomy.apex + down * (floor - anatomy.apex)
    front, rear = lateral_front(anatomy, y), lateral_rear(anatomy, y)
    return front + back * (rear - front), y


def lateral_spine_x(anatomy: Anatomy, y: float) -> float:
    """Lateral x of the vertebral bodies at height ``y``: thoracic kyphosis bows backward."""
    bow = _bell((y - 0.42) / 0.24)
    return 0.655 + (0.10 * anatomy.depth + 0.075 * anatomy.kyphosis) * bow + 0.04 * (anatomy.depth - 1)


def vertebra(anatomy: Anatomy, level: int) -> tuple[float, float, float]:
    """Lateral centre x, y and tilt in radians of vertebral body ``level`` (0 to 10)."""
    y = 0.10 + VERTEBRA_STEP * level
    tilt = math.atan2(lateral_spine_x(anatomy, y + 0.03) - lateral_spine_x(anatomy, y - 0.03), 0.06)
    return lateral_spine_x(anatomy, y), y, tilt


def lateral_heart_frame(anatomy: Anatomy) -> tuple[Point, float]:
    """Centre and radius of the ventricles on the lateral view."""
    radius = 0.115 + 0.22 * (anatomy.cardiothoracic_ratio - 0.45)
    floor = lateral_diaphragm_y(anatomy, "left", 0.36)
    front = lateral_front(anatomy, floor - 0.12)
    return (front + 0.004 + radius + 0.03 * anatomy.retrosternal, floor - 0.80 * radius), radius


def lateral_arch(anatomy: Anatomy) -> list[Point]:
    """The aorta on the lateral view: from the heart over the arch (points 1 to 7) down, 9 points."""
    (x, y), radius = lateral_heart_frame(anatomy)
    bow, top = anatomy.tortuosity, anatomy.apex + 0.13 - 0.02 * anatomy.tortuosity
    rear = lateral_spine_x(anatomy, 0.45) - 0.055 + 0.045 * bow
    left, right = x + 0.55 * radius, rear
    middle, height = 0.5 * (left + right), top + 0.16
    turns = [math.pi * t / 6 for t in range(7)]
    arch = [
        (middle - 0.5 * (right - left) * math.cos(a), height - (height - top) * math.sin(a)) for a in turns
    ]
    return [(left, y - 1.0 * radius), *arch, (rear - 0.01, 0.80)]
