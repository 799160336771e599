"""Drawing what every chest has: bones, heart, great vessels, airways, lung vessels and breasts."""

from __future__ import annotations

import math
import random

from harness.datasets.phantom import anatomy as chest
from harness.datasets.phantom.anatomy import SIDES, VERTEBRA_STEP, Anatomy, sign_of
from harness.datasets.phantom.raster import Canvas, Plane, Profile, Shading


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
    canvas.ellipse(Plane.SOFT, -0.40, bubble, (0.055, 0.026), Shading(soft=0.02, profile=Profile.BALL))


def _frontal_spine(canvas: Canvas, anatomy: Anatomy) -> None:
    density = anatomy.bone_density
    for level in range(13):
        y = 0.02 + (level + 0.5) * VERTEBRA_STEP
        x = chest.spine_x(anatomy, y)
        tilt = math.atan2(chest.spine_x(anatomy, y + 0.03) - chest.spine_x(anatomy, y - 0.03), 0.06)
        size = (0.026 + 0.0009 * level, 0.5 * VERTEBRA_STEP * (1.0 - anatomy.disc_gap))
        canvas.box(Plane.BONE, 0.30 * density, (x, y), size, Shading(profile=Profile.SHELL), angle=-tilt)
        for offset in (-0.6, 0.6):
            pedicle = (x + offset * size[0], y - 0.2 * VERTEBRA_STEP)
            canvas.ellipse(Plane.BONE, 0.10 * density, pedicle, (0.006, 0.010))


def _frontal_ribs(canvas: Canvas, anatomy: Anatomy) -> None:
    density = anatomy.bone_density
    for side in SIDES:
        sign = sign_of(side)
        for index in range(chest.N_RIBS):
            back = chest.rib_points(anatomy, side, index)
            canvas.stroke(Plane.BONE, 0.20 * density, back, (0.0115, 0.0105), profile=Profile.SHELL)
            if index in (0, chest.N_RIBS - 1):
                continue
            x, y = back[-1]
            inner = anatomy.midline + sign * (0.12 + 0.014 * index)
            sag = 0.10 + 0.008 * index
            front = [
                (x + (inner - x) * t - sign * 0.01 * math.sin(math.pi * t), y + sag * (1 - (1 - t) ** 1.6))
                for t in (0.0, 0.15, 0.35, 0.6, 0.85)
            ]
            canvas.stroke(Plane.BONE, 0.10 * density, front, (0.010, 0.013), profile=Profile.SHELL)


def _shoulders(canvas: Canvas, anatomy: Anatomy) -> None:
    density = anatomy.bone_density
    for side in SIDES:
        sign = sign_of(side)
        clavicle = chest.clavicle_points(anatomy, side)
        canvas.stroke(Plane.BONE, 0.26 * density, clavicle, (0.016, 0.012), profile=Profile.SHELL)
        x, y = chest.shoulder_center(anatomy, side)
        canvas.ellipse(Plane.BONE, 0.28 * density, (x, y), (0.043, 0.048), Shading(profile=Profile.SHELL))
        arm = [(x + sign * 0.01, y + 0.03), (x + sign * 0.05, y + 0.25)]
        canvas.stroke(Plane.BONE, 0.22 * density, arm, (0.026, 0.022), profile=Profile.SHELL)
        blade = [(x - sign * 0.03, y + 0.03), (x - sign * 0.055, y + 0.14), (x - sign * 0.075, y + 0.28)]
        canvas.stroke(Plane.BONE, 0.09 * density, blade, (0.036, 0.012), soft=0.015, profile=Profile.FLAT)


def _frontal_heart(canvas: Canvas, anatomy: Anatomy) -> None:
    """A pear: great vessels above, the right atrium on the right border, the apex low on the left."""
    left_edge, right_edge = chest.heart_extent(anatomy)
    width = right_edge - left_edge
    floor = 0.5 * (anatomy.dome["right"] + anatomy.dome["left"]) + 0.03
    atrium, ventricle = 0.36 * width, 0.25 * width
    drop = 0.16 * width * anatomy.heart_tilt
    apex_y = floor - 0.95 * ventricle
    body = (left_edge + atrium, apex_y - drop)
    base = (anatomy.midline + anatomy.mediastinal_shift + 0.012, body[1] - 1.05 * atrium - 0.03)
    points = [base, body, (right_edge - ventricle, apex_y)]
    radii = (0.055, atrium, ventricle)
    for plane, amount in ((Plane.FILL, 0.88), (Plane.SOFT, 0.13)):
        canvas.stroke(plane, amount, points, radii, soft=0.018, profile=Profile.FLAT)


def _frontal_aorta(canvas: Canvas, anatomy: Anatomy) -> None:
    x, y = chest.knob_center(anatomy)
    size, bow = anatomy.aortic_knob, 0.065 * anatomy.tortuosity
    canvas.ellipse(Plane.FILL, 0.75, (x, y), (size, size * 1.15), Shading(soft=0.012))
    canvas.ellipse(Plane.SOFT, 0.06, (x, y), (size, size * 1.15), Shading(soft=0.012))
    line = [(x, y), (x + 0.008 + bow, y + 0.12), (x + 0.004 + bow, y + 0.25), (x - 0.015, y + 0.45)]
    canvas.stroke(Plane.FILL, 0.50, line, (0.022, 0.018), soft=0.012, profile=Profile.FLAT)
    canvas.stroke(Plane.SOFT, 0.05, line, (0.022, 0.018), soft=0.012, profile=Profile.FLAT)
    trunk = (anatomy.midline + anatomy.mediastinal_shift + anatomy.mediastinum + 0.012, y + 0.085)
    canvas.ellipse(Plane.FILL, 0.55, trunk, (0.024, 0.034), Shading(soft=0.016))
    if anatomy.tortuosity > 0:  # an unfolded ascending aorta bows the right upper border
        middle = anatomy.midline - 0.045 - 0.035 * anatomy.tortuosity
        rise = [(anatomy.midline - 0.02, y), (middle, y + 0.10), (anatomy.midline - 0.04, y + 0.2)]
        canvas.stroke(Plane.FILL, 0.6, rise, (0.03, 0.03), soft=0.012, profile=Profile.FLAT)


def _frontal_airway(canvas: Canvas, anatomy: Anatomy) -> None:
    trachea = chest.trachea_points(anatomy)
    canvas.stroke(Plane.SOFT, -0.28, trachea, (0.017, 0.017), profile=Profile.BALL)
    x, y = trachea[-1]
    canvas.stroke(Plane.SOFT, -0.22, [(x - 0.006, y), (x - 0.055, y + 0.06)], (0.012, 0.009))
    canvas.stroke(Plane.SOFT, -0.22, [(x + 0.006, y), (x + 0.065, y + 0.065)], (0.012, 0.008))


def _frontal_vessels(canvas: Canvas, anatomy: Anatomy, side: str, rng: random.Random) -> None:
    """Vessels fan out from the hilum, thinner outward, and thicker downward unless flow is redistributed."""
    x, y = chest.hilum_center(anatomy, side)
    sign, gain = sign_of(side), anatomy.vessels
    canvas.ellipse(Plane.LUNG, 0.20 * gain, (x, y), (0.03, 0.055), Shading(profile=Profile.BLUR))
    artery = [(x + sign * 0.004, y - 0.03), (x + sign * 0.022, y + 0.03), (x + sign * 0.038, y + 0.12)]
    canvas.stroke(Plane.LUNG, 0.30 * gain, artery, (0.017, 0.009))
    for branch in range(11):
        angle = -1.25 + 2.65 * branch / 10 + rng.uniform(-0.12, 0.12)
        length = rng.uniform(0.17, 0.26) * (1.1 if angle > 0 else 0.95)
        calibre = 1.0 if angle > 0 else 0.75 + 0.6 * anatomy.cephalisation
        radius = rng.uniform(0.0075, 0.0095) * calibre * (0.55 + 0.45 * gain)
        bend, start = rng.uniform(-0.4, 0.4), rng.uniform(0.02, 0.045)
        points = [
            (x + sign * r * math.cos(angle + bend * t), y + r * math.sin(angle + bend * t))
            for t, r in ((t, start + length * t) for t in (0.0, 0.35, 0.7, 1.0))
        ]  # fmt: skip
        canvas.stroke(Plane.LUNG, 0.30 * gain, points, (radius, 0.0026))
        fork_x, fork_y = points[rng.choice((1, 2))]
        turn = angle + rng.choice((-0.7, 0.7))
        tip = (fork_x + sign * 0.1 * math.cos(turn), fork_y + 0.1 * math.sin(turn))
        canvas.stroke(Plane.LUNG, 0.18 * gain, [(fork_x, fork_y), tip], (0.0042, 0.002))


def _frontal_breast(canvas: Canvas, anatomy: Anatomy, side: str) -> None:
    size = anatomy.breast[side]
    if size > 0:
        x = anatomy.midline + sign_of(side) * 0.60 * anatomy.half_width
        center = (x, anatomy.dome["right"] - 0.03)
        amount = 0.17 + 0.6 * (size - 0.1)
        canvas.ellipse(Plane.SOFT, amount, center, (0.155, size), Shading(soft=0.012, profile=Profile.BALL))


def draw_lateral(canvas: Canvas, anatomy: Anatomy, rng: random.Random) -> None:
    """Everything of the normal lateral view that is drawn as shapes."""
    _lateral_spine(canvas, anatomy)
    _lateral_ribs(canvas, anatomy)
    _lateral_heart(canvas, anatomy)
    _lateral_vessels(canvas, anatomy, rng)
    # Raised arms cross the top of the film; the shoulder blades end over the rear of the lungs.
    density = anatomy.bone_density
    canvas.ellipse(Plane.SOFT, 0.30, (0.50, 0.03), (0.36, 0.11), Shading(profile=Profile.BLUR))
    canvas.ellipse(Plane.BONE, 0.22 * density, (0.46, 0.045), (0.045, 0.045), Shading(profile=Profile.SHELL))
    canvas.stroke(Plane.BONE, 0.16 * density, [(0.44, 0.03), (0.24, 0.0)], (0.024, 0.02))
    for shift in (0.0, 0.045):
        blade = [(0.62 + shift, 0.10), (0.73 + shift, 0.24), (0.775 + shift, 0.33)]
        canvas.stroke(Plane.BONE, 0.12 * density, blade, (0.012, 0.008), profile=Profile.SHELL)


def _lateral_spine(canvas: Canvas, anatomy: Anatomy) -> None:
    density = anatomy.bone_density
    for level in range(chest.N_VERTEBRAE + 1):
        x, y, tilt = chest.vertebra(anatomy, level)
        size = (0.036 + 0.001 * level, 0.5 * VERTEBRA_STEP * (1.0 - anatomy.disc_gap))
        canvas.box(Plane.BONE, 0.30 * density, (x, y), size, Shading(profile=Profile.SHELL), angle=-tilt)
        canvas.stroke(Plane.BONE, 0.14 * density, [(x + 0.05, y), (x + 0.10, y + 0.035)], (0.012, 0.007))


def _lateral_ribs(canvas: Canvas, anatomy: Anatomy) -> None:
    density = anatomy.bone_density
    for index in range(8):
        x, y, _ = chest.vertebra(anatomy, index + 1)
        x += 0.06
        end = chest.lateral_front(anatomy, y + 0.12) + 0.05 + 0.015 * index
        rib = [
            (x + (end - x) * t, y - 0.02 * math.sin(math.pi * t) + 0.17 * t**1.4)
            for t in (0.0, 0.25, 0.5, 0.75, 1.0)
        ]
        canvas.stroke(Plane.BONE, 0.09 * density, rib, (0.009, 0.008), profile=Profile.SHELL)
    sternum = [(chest.lateral_front(anatomy, y) - 0.018, y) for y in (0.24, 0.34, 0.44, 0.54, 0.64)]
    canvas.stroke(Plane.BONE, 0.26 * density, sternum, (0.014, 0.012), profile=Profile.SHELL)


def _lateral_heart(canvas: Canvas, anatomy: Anatomy) -> None:
    (x, y), radius = chest.lateral_heart_frame(anatomy)
    floor = chest.lateral_diaphragm_y(anatomy, "left", x)
    points = [
        (x - 0.15 * radius, floor - 0.5 * radius),
        (x, y),
        (x + 0.5 * radius, y - 0.55 * radius),
        (x + 0.65 * radius, y - 1.5 * radius),
    ]
    radii = (0.9 * radius, radius, 0.9 * radius, 0.4 * radius)
    canvas.stroke(Plane.FILL, 0.62, points, radii, soft=0.03, profile=Profile.FLAT)
    canvas.stroke(Plane.SOFT, 0.06, points, radii, soft=0.03, profile=Profile.FLAT)
    arch = chest.lateral_arch(anatomy)
    wide = 0.85 * anatomy.aortic_knob
    amount = 0.20 + 0.22 * anatomy.tortuosity
    canvas.stroke(Plane.FILL, amount, arch, (wide, 0.8 * wide), soft=0.02, profile=Profile.FLAT)
    airway = [(0.52, 0.0), (0.53, 0.14), (0.545, anatomy.apex + 0.25)]
    canvas.stroke(Plane.SOFT, -0.16, airway, (0.018, 0.016))


def _lateral_vessels(canvas: Canvas, anatomy: Anatomy, rng: random.Random) -> None:
    x, y = chest.lateral_point(anatomy, 0.52, 0.40)
    gain = anatomy.vessels
    canvas.ellipse(Plane.LUNG, 0.26 * gain, (x, y), (0.055, 0.05), Shading(profile=Profile.BLUR))
    for branch in range(14):
        angle = 2 * math.pi * branch / 14 + rng.uniform(-0.15, 0.15)
        length, start = rng.uniform(0.12, 0.25), rng.uniform(0.005, 0.03)
        bend = rng.uniform(-0.5, 0.5)
        points = [
            (x + r * math.cos(angle + bend * t), y + r * math.sin(angle + bend * t))
            for t, r in ((t, start + length * t) for t in (0.0, 0.5, 1.0))
        ]
        canvas.stroke(Plane.LUNG, 0.24 * gain, points, (0.0085, 0.0025))
