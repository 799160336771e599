"""The normal chest: a patient's shape, and the frontal and lateral radiograph it gives.

How planes become a radiograph: bodies attenuate, lungs are air inside them, and what FILL says replaces air::

    attenuation = body - air * (1 - fill) + lung structures + soft tissue + bone + metal
    brightness  = 1 - exp(-exposure * attenuation ** contrast)

so a consolidation hides vessels and borders it touches (the silhouette sign) without any rule that says so. Frontal
views are PA: the patient's right is on the image's left. Lateral views face left.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.datasets.phantom_raster import Canvas, FloatImage, Plane, Profile

SIDES = ("right", "left")
N_RIBS = 9
N_VERTEBRAE = 11
AIR = 0.86
"""Attenuation that a full depth of aerated lung takes away."""


@dataclass(slots=True)
class Anatomy:
    """One patient's shape; lengths are image fractions. Findings change it before anything is drawn."""

    midline: float = 0.5
    half_width: float = 0.37
    apex: float = 0.13
    dome: dict[str, float] = field(default_factory=lambda: {"right": 0.70, "left": 0.725})
    dome_height: float = 0.11  # from the costophrenic angle up to the dome
    eventration: dict[str, float] = field(default_factory=lambda: {"right": 0.0, "left": 0.0})
    cardiothoracic_ratio: float = 0.45
    heart_tilt: float = 0.5
    mediastinum: float = 0.05  # half-width
    mediastinal_shift: float = 0.0
    aortic_knob: float = 0.030
    tortuosity: float = 0.0
    vessels: float = 1.0
    cephalisation: float = 0.0
    lucency: float = 1.0
    scoliosis: float = 0.0  # sideways bow, to the image's right where positive
    scoliosis_center: float = 0.45
    kyphosis: float = 0.0
    bone_density: float = 1.0
    disc_gap: float = 0.30  # share of a vertebral level
    breast: dict[str, float] = field(default_factory=lambda: {"right": 0.0, "left": 0.0})
    rotation: float = 0.0
    fat: float = 0.0
    exposure: float = 1.0
    blur: float = 0.0
    noise: float = 0.018
    retrosternal: float = 0.0
    depth: float = 1.0  # front-to-back size of the lateral chest
    sternum_shift: float = 0.0


def normal_anatomy(rng: random.Random, age: float | None, sex: str | None) -> Anatomy:
    """A healthy chest drawn from ``rng``; age thins bone and lengthens the aorta a little, sex adds breasts."""
    years = 50.0 if age is None else age
    level = rng.uniform(-0.012, 0.02)
    breast = rng.uniform(0.10, 0.20) if sex == "female" else 0.0
    if sex is None and rng.random() < 0.5:
        breast = rng.uniform(0.08, 0.16)
    return Anatomy(
        midline=0.5 + rng.uniform(-0.015, 0.015),
        half_width=rng.uniform(0.345, 0.395),
        apex=rng.uniform(0.105, 0.14),
        dome={"right": 0.69 + level, "left": 0.715 + level + rng.uniform(-0.006, 0.006)},
        dome_height=rng.uniform(0.10, 0.125),
        cardiothoracic_ratio=rng.uniform(0.42, 0.47),
        heart_tilt=rng.uniform(0.42, 0.6),
        mediastinum=rng.uniform(0.047, 0.056),
        aortic_knob=rng.uniform(0.026, 0.030) + 0.00012 * max(years - 40, 0),
        vessels=rng.uniform(0.9, 1.1),
        bone_density=1.1 - 0.003 * max(years - 40, 0),
        breast={"right": breast, "left": breast},
        rotation=rng.uniform(-0.008, 0.008),
        fat=rng.uniform(0.0, 0.10),
        exposure=rng.uniform(0.93, 1.08),
        noise=rng.uniform(0.012, 0.018),
        depth=rng.uniform(0.94, 1.05),
    )


def sign_of(side: str) -> float:
    """-1 for the patient's right, which is the image's left, +1 for the patient's left."""
    return 1.0 if side == "left" else -1.0


def smooth_step(distance: FloatImage, soft: float) -> FloatImage:
    """0 to 1 across an edge of width ``soft`` centred where ``distance`` is 0."""
    return np.clip(distance * np.float32(1.0 / soft) + np.float32(0.5), 0.0, 1.0)


def pixel_axes(size: int) -> tuple[FloatImage, FloatImage]:
    """Pixel centres as a row (1, size) of x and a column (size, 1) of y."""
    centers = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    return centers[None, :], centers[:, None]


def spine_x(anatomy: Anatomy, y: float) -> float:
    """Frontal x of the spine at height ``y``."""
    bow = math.exp(-(((y - anatomy.scoliosis_center) / 0.17) ** 2))
    counter = math.exp(-(((y - anatomy.scoliosis_center - 0.36) / 0.13) ** 2))
    return anatomy.midline + anatomy.scoliosis * (bow - 0.55 * counter)


def lung_point(anatomy: Anatomy, side: str, across: float, down: float) -> tuple[float, float]:
    """Frontal position inside a lung: ``across`` 0 at the mediastinum to 1 at the wall, ``down`` 0 apex to 1 base."""
    floor = float(diaphragm_y(anatomy, side, np.float32(across * anatomy.half_width)))
    y = anatomy.apex + down * (floor - anatomy.apex)
    outer = float(_outer_border(anatomy, np.float32(y)))
    inner = anatomy.mediastinum
    return anatomy.midline + sign_of(side) * (inner + across * (outer - inner)), y


def lateral_point(anatomy: Anatomy, back: float, down: float) -> tuple[float, float]:
    """Lateral position inside the chest: ``back`` 0 at the sternum to 1 at the rear, ``down`` 0 apex to 1 base."""
    x0 = 0.5 + (0.5 * back - 0.30 + 0.12 * back) * anatomy.depth
    floor = float(lateral_diaphragm_y(anatomy, "right", np.float32(x0)))
    y = anatomy.apex + down * (floor - anatomy.apex)
    front, rear = lateral_borders(anatomy, np.float32(y))
    return float(front + back * (rear - front)), y


def diaphragm_y(anatomy: Anatomy, side: str, across: FloatImage | np.float32) -> FloatImage:
    """Frontal height of a hemidiaphragm at a distance from the midline (image fraction)."""
    t = across / anatomy.half_width
    dome = anatomy.dome[side] + anatomy.dome_height * np.abs((t - 0.48) / 0.56) ** 2.6 * np.where(
        t > 0.48, 1.0, 0.5
    )
    bump = anatomy.eventration[side] * np.exp(-(((t - 0.45) / 0.22) ** 2))
    return np.asarray(dome - bump, dtype=np.float32)


def _outer_border(anatomy: Anatomy, y: FloatImage | np.float32) -> FloatImage:
    """Frontal distance of the lateral chest wall from the midline at height ``y``."""
    middle = 0.58
    t = np.clip((middle - y) / (middle - anatomy.apex), 0.0, 1.0)
    return np.asarray(anatomy.half_width * (1.0 - t**3.0) ** (1 / 1.9), dtype=np.float32)


def lung_mask(anatomy: Anatomy, side: str, size: int, shrink: float = 0.0) -> FloatImage:
    """Frontal share of aerated lung in each pixel, float32 (size, size); ``shrink`` draws a collapsed lung's edge."""
    x, y = pixel_axes(size)
    soft = max(0.012, 1.5 / size)
    across = np.float32(sign_of(side)) * (x - np.float32(anatomy.midline + anatomy.mediastinal_shift * 0.3))
    inner = np.float32(anatomy.mediastinum * 0.9) + np.float32(0.02) * np.clip((y - 0.3) / 0.3, 0, 1)
    outer = _outer_border(anatomy, y - np.float32(0.35 * shrink)) - np.float32(0.75 * shrink)
    mask = smooth_step(across - inner, soft) * smooth_step(outer - across, soft)
    mask *= smooth_step(diaphragm_y(anatomy, side, across) - y, soft)
    return mask


# ---------------------------------------------------------------- frontal
def draw_frontal(canvas: Canvas, anatomy: Anatomy, rng: random.Random) -> None:
    """Everything of the normal frontal view that is drawn as shapes."""
    _frontal_spine(canvas, anatomy)
    _frontal_ribs(canvas, anatomy)
    _shoulders(canvas, anatomy)
    _frontal_heart(canvas, anatomy)
    _frontal_aorta(canvas, anatomy)
    _frontal_airway(canvas, anatomy)
    for side in SIDES:
        _frontal_vessels(canvas, anatomy, side, rng)
        _frontal_breast(canvas, anatomy, side)
    # The stomach's air bubble under the left dome tells left from right, as on a real film.
    bubble = (anatomy.midline + 0.45 * anatomy.half_width, anatomy.dome["left"] + 0.075)
    canvas.ellipse(Plane.SOFT, -0.40, bubble, (0.055, 0.026), soft=0.02, profile=Profile.BALL)


def _frontal_spine(canvas: Canvas, anatomy: Anatomy) -> None:
    density = anatomy.bone_density
    top, step = 0.02, 0.079
    for level in range(13):
        y = top + (level + 0.5) * step
        x = spine_x(anatomy, y)
        tilt = math.atan2(spine_x(anatomy, y + 0.03) - spine_x(anatomy, y - 0.03), 0.06)
        width = 0.026 + 0.0009 * level
        half = 0.5 * step * (1.0 - anatomy.disc_gap)
        canvas.ellipse(
            Plane.BONE, 0.20 * density, (x, y), (width, half), angle=-tilt, power=5, profile=Profile.SHELL
        )
        for offset in (-0.6, 0.6):
            pedicle = (x + offset * width, y - 0.2 * step)
            canvas.ellipse(Plane.BONE, 0.10 * density, pedicle, (0.006, 0.010))


def rib_points(anatomy: Anatomy, side: str, index: int) -> list[tuple[float, float]]:
    """Posterior arc of rib ``index`` (0 to 8) from the spine to the lateral wall, 9 frontal points."""
    sign = sign_of(side)
    span = anatomy.dome["right"] + 0.06 - anatomy.apex
    start = anatomy.apex + 0.005 + index * span / N_RIBS
    drop = 0.02 + 0.0085 * index
    x0 = spine_x(anatomy, start) + sign * 0.03
    reach = float(_outer_border(anatomy, np.float32(min(start + drop + 0.03, 0.9)))) + 0.008
    reach = max(reach, 0.12)
    x1 = anatomy.midline + sign * reach
    points = []
    for step in range(9):
        t = step / 8
        lift = -0.028 * math.sin(math.pi * min(t * 1.25, 1.0)) * (1 - 0.04 * index)
        points.append(
            (x0 + (x1 - x0) * math.sin(t * math.pi / 2) ** 0.9, start + lift + drop * t + 0.05 * t**4)
        )
    return points


def _frontal_ribs(canvas: Canvas, anatomy: Anatomy) -> None:
    density = anatomy.bone_density
    for side in SIDES:
        sign = sign_of(side)
        for index in range(N_RIBS):
            back = rib_points(anatomy, side, index)
            canvas.stroke(Plane.BONE, 0.15 * density, back, (0.0115, 0.0105), profile=Profile.SHELL)
            if index >= 8:
                continue
            x, y = back[-1]
            inner = anatomy.midline + sign * (0.12 + 0.014 * index)
            sag = 0.10 + 0.008 * index
            front = [
                (x + (inner - x) * t - sign * 0.01 * math.sin(math.pi * t), y + sag * (1 - (1 - t) ** 1.6))
                for t in (0.0, 0.15, 0.35, 0.6, 0.85)
            ]
            canvas.stroke(Plane.BONE, 0.085 * density, front, (0.010, 0.013), profile=Profile.SHELL)


def clavicle_points(anatomy: Anatomy, side: str) -> list[tuple[float, float]]:
    """The clavicle from the sternum to the shoulder, 6 frontal points."""
    sign, top = sign_of(side), anatomy.apex
    x0 = anatomy.midline + anatomy.rotation + sign * 0.03
    width = anatomy.half_width * 1.02
    shape = ((0.0, 0.075), (0.2, 0.06), (0.42, 0.045), (0.65, 0.02), (0.85, 0.0), (1.0, -0.005))
    return [(x0 + sign * t * width, top + dy) for t, dy in shape]


def _shoulders(canvas: Canvas, anatomy: Anatomy) -> None:
    density = anatomy.bone_density
    for side in SIDES:
        sign = sign_of(side)
        canvas.stroke(
            Plane.BONE, 0.22 * density, clavicle_points(anatomy, side), (0.016, 0.012), profile=Profile.SHELL
        )
        x = anatomy.midline + sign * (anatomy.half_width + 0.085)
        y = anatomy.apex + 0.05
        canvas.ellipse(Plane.BONE, 0.30 * density, (x, y), (0.045, 0.05), profile=Profile.SHELL)
        arm = [(x + sign * 0.01, y + 0.03), (x + sign * 0.05, y + 0.25)]
        canvas.stroke(Plane.BONE, 0.26 * density, arm, (0.026, 0.024), profile=Profile.SHELL)
        blade = [(x - sign * 0.03, y + 0.03), (x - sign * 0.055, y + 0.14), (x - sign * 0.075, y + 0.28)]
        canvas.stroke(Plane.BONE, 0.10 * density, blade, (0.036, 0.012), soft=0.015, profile=Profile.FLAT)


def heart_extent(anatomy: Anatomy) -> tuple[float, float]:
    """Frontal x of the heart's right and left border, from the cardiothoracic ratio."""
    width = 2 * anatomy.half_width * anatomy.cardiothoracic_ratio
    right_share = 0.30
    center = anatomy.midline + anatomy.mediastinal_shift
    return center - right_share * width, center + (1 - right_share) * width


def _frontal_heart(canvas: Canvas, anatomy: Anatomy) -> None:
    left_edge, right_edge = heart_extent(anatomy)
    width = right_edge - left_edge
    floor = 0.5 * (anatomy.dome["right"] + anatomy.dome["left"])
    height = 0.115 + 0.30 * width
    bottom = floor + 0.035
    center_y = bottom - 0.52 * height
    for plane, amount in ((Plane.FILL, 0.85), (Plane.SOFT, 0.22)):
        # Ventricles lie low and left, the right atrium makes the right border, the base narrows to the vessels.
        canvas.ellipse(
            plane, amount, (right_edge - 0.40 * width, center_y + 0.02), (0.43 * width, 0.44 * height),
            angle=anatomy.heart_tilt, soft=0.014,
        )  # fmt: skip
        canvas.ellipse(
            plane,
            0.6 * amount,
            (left_edge + 0.36 * width, center_y),
            (0.36 * width, 0.47 * height),
            soft=0.014,
        )
        base = (anatomy.midline + anatomy.mediastinal_shift + 0.025, center_y - 0.38 * height)
        canvas.ellipse(plane, 0.5 * amount, base, (0.07, 0.12), soft=0.025)


def _frontal_aorta(canvas: Canvas, anatomy: Anatomy) -> None:
    x, y = knob_center(anatomy)
    size = anatomy.aortic_knob
    for plane, amount in ((Plane.FILL, 0.7), (Plane.SOFT, 0.16)):
        canvas.ellipse(plane, amount, (x, y), (size, size * 1.15), soft=0.012)
    bow = 0.012 + 0.06 * anatomy.tortuosity
    line = [(x, y), (x + bow, y + 0.12), (x + bow * 0.9, y + 0.25), (x - 0.01, y + 0.45)]
    canvas.stroke(Plane.SOFT, 0.13, line, (0.022, 0.018), soft=0.012, profile=Profile.FLAT)
    canvas.stroke(Plane.FILL, 0.45, line, (0.022, 0.018), soft=0.012, profile=Profile.FLAT)
    if anatomy.tortuosity > 0:  # an unfolded ascending aorta bows the right upper border
        rise = [(anatomy.midline - 0.02, y), (anatomy.midline - 0.045 - 0.035 * anatomy.tortuosity, y + 0.10),
                (anatomy.midline - 0.04, y + 0.2)]  # fmt: skip
        canvas.stroke(Plane.FILL, 0.6, rise, (0.03, 0.03), soft=0.012, profile=Profile.FLAT)


def knob_center(anatomy: Anatomy) -> tuple[float, float]:
    """Frontal centre of the aortic knob."""
    lift = 0.03 * anatomy.tortuosity
    x = anatomy.midline + anatomy.mediastinal_shift + anatomy.mediastinum + 0.008 + 0.015 * anatomy.tortuosity
    return x, anatomy.apex + 0.17 - lift


def trachea_points(anatomy: Anatomy) -> list[tuple[float, float]]:
    """The trachea from the neck to the carina, 4 frontal points."""
    carina_y = anatomy.apex + 0.235
    pull = anatomy.mediastinal_shift
    return [
        (anatomy.midline, 0.0),
        (anatomy.midline + 0.3 * pull, 0.10),
        (anatomy.midline + 0.9 * pull - 0.004, carina_y - 0.06),
        (anatomy.midline + pull - 0.006, carina_y),
    ]


def _frontal_airway(canvas: Canvas, anatomy: Anatomy) -> None:
    trachea = trachea_points(anatomy)
    canvas.stroke(Plane.SOFT, -0.26, trachea, (0.017, 0.017), profile=Profile.BALL)
    x, y = trachea[-1]
    canvas.stroke(Plane.SOFT, -0.20, [(x, y), (x - 0.05, y + 0.055)], (0.012, 0.009))
    canvas.stroke(Plane.SOFT, -0.20, [(x, y), (x + 0.06, y + 0.065)], (0.012, 0.008))


def hilum_center(anatomy: Anatomy, side: str) -> tuple[float, float]:
    """Frontal centre of a hilum; the left one stands a little higher."""
    x = anatomy.midline + anatomy.mediastinal_shift * 0.6 + sign_of(side) * (anatomy.mediastinum + 0.032)
    return x, anatomy.apex + (0.29 if side == "right" else 0.27)


def _frontal_vessels(canvas: Canvas, anatomy: Anatomy, side: str, rng: random.Random) -> None:
    """Vessels fan out from the hilum, thinner outward, and thicker downward unless flow is redistributed."""
    x, y = hilum_center(anatomy, side)
    sign = sign_of(side)
    gain = anatomy.vessels
    canvas.ellipse(Plane.LUNG, 0.22 * gain, (x, y), (0.028, 0.055), soft=0.03, profile=Profile.BLUR)
    for branch in range(11):
        angle = -1.25 + 2.65 * branch / 10 + rng.uniform(-0.1, 0.1)
        length = rng.uniform(0.17, 0.26) * (1.1 if angle > 0 else 0.95)
        lower = 1.0 if angle > 0 else 0.75 + 0.6 * anatomy.cephalisation
        thick = rng.uniform(0.0065, 0.0085) * lower * (0.7 + 0.3 * gain)
        bend = rng.uniform(-0.35, 0.35)
        points = [
            (x + sign * length * t * math.cos(angle + bend * t), y + length * t * math.sin(angle + bend * t))
            for t in (0.0, 0.35, 0.7, 1.0)
        ]
        canvas.stroke(Plane.LUNG, 0.20 * gain, points, (thick, 0.0028))
        fork_x, fork_y = points[2]
        turn = angle + rng.choice((-0.7, 0.7))
        fork = [(fork_x, fork_y), (fork_x + sign * 0.09 * math.cos(turn), fork_y + 0.09 * math.sin(turn))]
        canvas.stroke(Plane.LUNG, 0.15 * gain, fork, (0.0038, 0.002))


def _frontal_breast(canvas: Canvas, anatomy: Anatomy, side: str) -> None:
    size = anatomy.breast[side]
    if size <= 0:
        return
    center = (anatomy.midline + sign_of(side) * (0.60 * anatomy.half_width), anatomy.dome["right"] - 0.03)
    canvas.ellipse(
        Plane.SOFT, 0.16 + 0.6 * (size - 0.1), center, (0.155, size), soft=0.012, profile=Profile.BALL
    )


def compose_frontal(planes: FloatImage, anatomy: Anatomy, masks: Sequence[FloatImage]) -> FloatImage:
    """Attenuation (size, size) of the frontal view from drawn planes and the masks of the right and left lung."""
    size = planes.shape[1]
    x, y = pixel_axes(size)
    across = np.abs(x - np.float32(anatomy.midline))
    wall = anatomy.half_width + 0.062 + 0.05 * anatomy.fat
    outline = np.interp(
        y[:, 0], (0.0, 0.05, 0.10, 0.15, 0.27, 0.42, 1.0), (0.115, 0.13, 0.27, 0.52, 0.53, wall, wall + 0.015)
    )
    outline_column = outline.astype(np.float32)[:, None]
    body = smooth_step(outline_column - across, 0.016)
    body *= np.float32(0.86 + 0.3 * anatomy.fat) + np.float32(0.16) * (1 - (across / np.float32(0.55)) ** 2)
    body += np.float32(0.22) * np.clip(
        1.0 - np.maximum(across - np.float32(anatomy.mediastinum), 0) / np.float32(0.025), 0, 1
    )
    lungs = masks[0] + masks[1]
    below = smooth_step(y - np.float32(anatomy.dome["right"] + 0.02), 0.10) * (across < outline_column)
    body += np.float32(0.22) * below * (1 - np.minimum(lungs, 1))
    edge = 1.0 - np.float32(0.30) * (across / np.float32(anatomy.half_width)) ** 4
    height = np.float32(0.86) + np.float32(0.14) * np.clip((y - anatomy.apex) / 0.25, 0, 1)
    air = np.float32(AIR * anatomy.lucency) * lungs * np.clip(edge * height, 0, 1)
    return _combine(planes, body, air, np.minimum(lungs, 1))


def _combine(planes: FloatImage, body: FloatImage, air: FloatImage, lungs: FloatImage) -> FloatImage:
    fill = np.clip(planes[Plane.FILL], 0, 1)
    total = body - air * (1 - fill)
    total += planes[Plane.LUNG] * lungs * (1 - np.float32(0.6) * fill)
    total += planes[Plane.SOFT] + planes[Plane.BONE] + planes[Plane.METAL]
    return np.maximum(total, 0.0)


# ---------------------------------------------------------------- lateral
def lateral_borders(anatomy: Anatomy, y: FloatImage | np.float32) -> tuple[FloatImage, FloatImage]:
    """Lateral x of the sternal and the posterior border of the lungs at height ``y``."""
    t = np.clip((y - anatomy.apex) / 0.36, 0, 1)
    swell = 1.0 - (1.0 - t) ** 2.4
    front = 0.47 - (0.27 + 0.04 * anatomy.retrosternal) * anatomy.depth * swell + anatomy.sternum_shift * t
    rear = 0.60 + 0.25 * anatomy.depth * swell + 0.06 * anatomy.kyphosis * np.exp(-(((y - 0.36) / 0.2) ** 2))
    return np.asarray(front, np.float32), np.asarray(rear, np.float32)


def lateral_diaphragm_y(anatomy: Anatomy, side: str, x: FloatImage | np.float32) -> FloatImage:
    """Lateral height of a hemidiaphragm at ``x``: a dome in front, falling to the posterior sulcus."""
    t = (x - 0.5) / anatomy.depth + 0.5
    rise = anatomy.dome_height / 0.11
    rear = 0.19 * rise * np.clip((t - 0.40) / 0.46, 0, 1) ** 1.9
    front = 0.07 * rise * np.clip((0.40 - t) / 0.22, 0, 1.2) ** 2
    bump = anatomy.eventration[side] * np.exp(-(((t - 0.38) / 0.12) ** 2))
    return np.asarray(anatomy.dome[side] + rear + front - bump, dtype=np.float32)


def lateral_spine_x(anatomy: Anatomy, y: float) -> float:
    """Lateral x of the vertebral bodies at height ``y``: thoracic kyphosis bows backward."""
    bow = math.exp(-(((y - 0.42) / 0.24) ** 2))
    return 0.655 + (0.10 * anatomy.depth + 0.075 * anatomy.kyphosis) * bow + 0.04 * (anatomy.depth - 1)


def vertebra(anatomy: Anatomy, level: int) -> tuple[float, float, float]:
    """Lateral centre x, y and tilt in radians of vertebral body ``level`` (0 to 10)."""
    y = 0.10 + 0.078 * level
    tilt = math.atan2(lateral_spine_x(anatomy, y + 0.03) - lateral_spine_x(anatomy, y - 0.03), 0.06)
    return lateral_spine_x(anatomy, y), y, tilt


def lateral_lung_mask(anatomy: Anatomy, side: str, size: int, shrink: float = 0.0) -> FloatImage:
    """Lateral share of one lung's air in each pixel, float32 (size, size)."""
    x, y = pixel_axes(size)
    soft = max(0.014, 1.5 / size)
    front, rear = lateral_borders(anatomy, y - np.float32(0.4 * shrink))
    mask = smooth_step(x - front - np.float32(0.4 * shrink), soft)
    mask *= smooth_step(rear - np.float32(0.4 * shrink) - x, soft)
    mask *= smooth_step(lateral_diaphragm_y(anatomy, side, x) - y, soft)
    mask *= smooth_step(y - np.float32(anatomy.apex + shrink), 0.05)
    return mask


def draw_lateral(canvas: Canvas, anatomy: Anatomy, rng: random.Random) -> None:
    """Everything of the normal lateral view that is drawn as shapes."""
    density = anatomy.bone_density
    step = 0.078
    for level in range(N_VERTEBRAE):
        x, y, tilt = vertebra(anatomy, level)
        half = 0.5 * step * (1.0 - anatomy.disc_gap)
        radii = (0.036 + 0.001 * level, half)
        canvas.ellipse(Plane.BONE, 0.30 * density, (x, y), radii, angle=-tilt, power=5, profile=Profile.SHELL)
        canvas.stroke(Plane.BONE, 0.12 * density, [(x + 0.05, y), (x + 0.10, y + 0.035)], (0.012, 0.007))
    for index in range(8):
        x, y, _ = vertebra(anatomy, index + 1)
        front, _ = lateral_borders(anatomy, np.float32(y + 0.12))
        end = float(front) + 0.05 + 0.015 * index
        rib = [
            (x + 0.06 + (end - x - 0.06) * t, y - 0.02 * math.sin(math.pi * t) + 0.17 * t**1.4)
            for t in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
        ]
        canvas.stroke(Plane.BONE, 0.07 * density, rib, (0.009, 0.008), profile=Profile.SHELL)
    _lateral_sternum(canvas, anatomy)
    _lateral_heart(canvas, anatomy)
    _lateral_vessels(canvas, anatomy, rng)
    _lateral_soft_tissue(canvas, anatomy)


def _lateral_sternum(canvas: Canvas, anatomy: Anatomy) -> None:
    points = []
    for y in (0.24, 0.34, 0.44, 0.54, 0.64):
        front, _ = lateral_borders(anatomy, np.float32(y))
        points.append((float(front) - 0.018, y))
    canvas.stroke(Plane.BONE, 0.20 * anatomy.bone_density, points, (0.014, 0.012), profile=Profile.SHELL)


def lateral_heart_frame(anatomy: Anatomy) -> tuple[tuple[float, float], tuple[float, float]]:
    """Centre and radii of the heart on the lateral view."""
    size = 0.13 + 0.42 * (anatomy.cardiothoracic_ratio - 0.45)
    floor = float(lateral_diaphragm_y(anatomy, "left", np.float32(0.38)))
    front, _ = lateral_borders(anatomy, np.float32(floor - 0.12))
    center_x = float(front) + 0.035 + 0.95 * size + 0.03 * anatomy.retrosternal
    return (center_x, floor - 0.85 * size), (size, 1.15 * size)


def _lateral_heart(canvas: Canvas, anatomy: Anatomy) -> None:
    center, radii = lateral_heart_frame(anatomy)
    for plane, amount in ((Plane.FILL, 0.72), (Plane.SOFT, 0.14)):
        canvas.ellipse(plane, amount, center, radii, angle=0.35, soft=0.03)
    x, y = center[0] + 0.06, center[1] - 1.25 * radii[1]
    arch = [(x - 0.03, y + 0.08), (x - 0.02, y - 0.02), (x + 0.05, y - 0.06 - 0.03 * anatomy.tortuosity),
            (x + 0.12 + 0.03 * anatomy.tortuosity, y - 0.01), (x + 0.13 + 0.05 * anatomy.tortuosity, y + 0.16)]  # fmt: skip
    wide = 0.8 * anatomy.aortic_knob
    canvas.stroke(
        Plane.FILL, 0.35 + 0.2 * anatomy.tortuosity, arch, (wide, wide), soft=0.02, profile=Profile.FLAT
    )
    airway = [(0.52, 0.0), (0.53, 0.14), (0.545, anatomy.apex + 0.24)]
    canvas.stroke(Plane.SOFT, -0.20, airway, (0.017, 0.016))


def _lateral_vessels(canvas: Canvas, anatomy: Anatomy, rng: random.Random) -> None:
    x, y = lateral_point(anatomy, 0.52, 0.42)
    gain = anatomy.vessels
    canvas.ellipse(Plane.LUNG, 0.24 * gain, (x, y), (0.05, 0.05), profile=Profile.BLUR)
    for branch in range(14):
        angle = 2 * math.pi * branch / 14 + rng.uniform(-0.15, 0.15)
        length = rng.uniform(0.14, 0.24)
        bend = rng.uniform(-0.4, 0.4)
        points = [
            (x + length * t * math.cos(angle + bend * t), y + length * t * math.sin(angle + bend * t))
            for t in (0.0, 0.5, 1.0)
        ]
        canvas.stroke(Plane.LUNG, 0.16 * gain, points, (0.007, 0.0025))


def _lateral_soft_tissue(canvas: Canvas, anatomy: Anatomy) -> None:
    canvas.ellipse(Plane.SOFT, 0.25, (0.50, 0.02), (0.34, 0.13), soft=0.10)  # raised arms and shoulders
    size = 0.5 * (anatomy.breast["right"] + anatomy.breast["left"])
    if size > 0:
        front, _ = lateral_borders(anatomy, np.float32(0.62))
        canvas.ellipse(
            Plane.SOFT, 0.5, (float(front) - 0.05, 0.63), (0.35 * size + 0.02, 0.8 * size), soft=0.02
        )


def compose_lateral(planes: FloatImage, anatomy: Anatomy, masks: Sequence[FloatImage]) -> FloatImage:
    """Attenuation (size, size) of the lateral view; each lung is half of the air on the way through."""
    size = planes.shape[1]
    x, y = pixel_axes(size)
    front, rear = lateral_borders(anatomy, y)
    margin = np.float32(0.055 + 0.05 * anatomy.fat)
    body = smooth_step(x - front + margin, 0.016) * smooth_step(rear + margin + np.float32(0.02) - x, 0.016)
    body *= np.float32(0.92)
    lungs = np.float32(0.5) * (masks[0] + masks[1])
    below = smooth_step(y - lateral_diaphragm_y(anatomy, "right", x), 0.05)
    body += np.float32(0.28) * below * (1 - lungs) * (body > 0)
    air = np.float32(0.96 * AIR * anatomy.lucency) * lungs
    return _combine(planes, body, air, lungs)
