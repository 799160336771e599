"""Devices, surgery, and findings of soft tissue and abdomen, for both views."""

from __future__ import annotations

import math
import random

from harness.datasets.iu.mesh import MeshCode
from harness.datasets.phantom import anatomy as chest
from harness.datasets.phantom.anatomy import SIDES, Point, sign_of
from harness.datasets.phantom.raster import Canvas, Plane, Profile, Shading, Texture
from harness.datasets.phantom.scene import Painter, Scene, Site, sides_of


def _wire(canvas: Canvas, points: list[Point], radius: float = 0.0050, amount: float = 0.75) -> None:
    canvas.stroke(Plane.METAL, amount, points, (radius, radius), profile=Profile.FLAT)


def _curve(points: list[Point]) -> list[Point]:
    """A smooth line through ``points`` (Catmull-Rom), as lines and leads lie in a vessel."""
    padded = [points[0], *points, points[-1]]
    smooth: list[Point] = []
    for (ax, ay), (bx, by), (cx, cy), (dx, dy) in zip(
        padded, padded[1:], padded[2:], padded[3:], strict=False
    ):
        for t in (0.0, 0.25, 0.5, 0.75):
            near, far = (-0.5 * t + t * t - 0.5 * t**3), (-0.5 * t * t + 0.5 * t**3)
            start, end = (1 - 2.5 * t * t + 1.5 * t**3), (0.5 * t + 2 * t * t - 1.5 * t**3)
            smooth.append(
                (near * ax + start * bx + end * cx + far * dx, near * ay + start * by + end * cy + far * dy)
            )
    return [*smooth, points[-1]]


def _clips(canvas: Canvas, center: Point, rng: random.Random, count: int = 5) -> None:
    """Short bright bars, as surgical clips show."""
    for _ in range(count):
        x, y = center[0] + rng.uniform(-0.045, 0.045), center[1] + rng.uniform(-0.04, 0.04)
        turn = rng.uniform(0, math.pi)
        dx, dy = 0.012 * math.cos(turn), 0.012 * math.sin(turn)
        _wire(canvas, [(x - dx, y - dy), (x + dx, y + dy)], 0.0045, 0.95)


def paint_catheter(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A line from arm or neck along the vein to the superior vena cava, some with a port."""
    anatomy = scene.anatomy
    cava = anatomy.midline + anatomy.mediastinal_shift - 0.045
    for side in sides_of(code, rng):
        sign = sign_of(side)
        collar = chest.clavicle_points(anatomy, side)
        tip = (cava, anatomy.apex + 0.33)
        entry = [(anatomy.midline + sign * 0.50, anatomy.apex + 0.17)] if rng.random() < 0.6 else []
        port = (anatomy.midline + sign * 0.26, anatomy.apex + 0.20)
        path = [*(entry or [port]), (collar[4][0], collar[4][1] + 0.05), (collar[2][0], collar[2][1] + 0.035),
                (collar[0][0], collar[0][1] + 0.015), (cava, anatomy.apex + 0.14), tip]  # fmt: skip
        _wire(scene.frontal, _curve(path))
        if not entry:
            scene.frontal.ellipse(Plane.METAL, 0.7, port, (0.026, 0.026), Shading(profile=Profile.SHELL))
            scene.lateral.ellipse(Plane.METAL, 0.7, (0.24, 0.30), (0.010, 0.026))
        _wire(scene.lateral, _curve([(0.34, 0.10), (0.42, 0.14), (0.46, 0.22), (0.45, anatomy.apex + 0.33)]))


def paint_device(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A pacemaker, or what the code's place says: a valve, a shoulder prosthesis, rods, implants."""
    if code.has("aortic valve", "mitral valve", "heart atria"):
        _valve(scene, code)
    elif code.has("humerus", "shoulder"):
        _prosthesis(scene, code, rng)
    elif code.has("cervical vertebrae", "thoracic vertebrae", "spine"):
        paint_fusion(scene, code, rng)
    elif code.has("breast"):
        paint_implants(scene, code, rng)
    else:
        _pacemaker(scene, code.sides[0] if code.sides else "left")


def _pacemaker(scene: Scene, side: str) -> None:
    anatomy = scene.anatomy
    sign = sign_of(side)
    box = (anatomy.midline + sign * 0.27, anatomy.apex + 0.14)
    heart_left, heart_right = chest.heart_extent(anatomy)
    floor = anatomy.dome["left"] - 0.01
    for canvas, center, radii in (
        (scene.frontal, box, (0.052, 0.042)),
        (scene.lateral, (0.265, 0.26), (0.016, 0.045)),
    ):
        canvas.box(Plane.METAL, 1.1, center, radii, Shading(soft=0.006))
    entry = [
        box,
        (anatomy.midline + sign * 0.14, anatomy.apex + 0.075),
        (anatomy.midline - 0.03, anatomy.apex + 0.13),
    ]
    cava = (anatomy.midline - 0.05, anatomy.apex + 0.33)
    tip = (heart_right - 0.09, floor)
    _wire(
        scene.frontal,
        _curve(
            [
                *entry,
                cava,
                (anatomy.midline - 0.04, floor - 0.10),
                (anatomy.midline + 0.03, floor - 0.01),
                tip,
            ]
        ),
    )
    _wire(scene.frontal, _curve([*entry, cava, (heart_left + 0.05, floor - 0.14)]))
    center, radius = chest.lateral_heart_frame(anatomy)
    apex = (center[0] - 0.6 * radius, center[1] + 0.6 * radius)
    _wire(
        scene.lateral,
        _curve([(0.27, 0.24), (0.40, 0.17), (0.46, 0.30), (center[0] + 0.2 * radius, center[1]), apex]),
    )


def _valve(scene: Scene, code: MeshCode) -> None:
    left, right = chest.heart_extent(scene.anatomy)
    center, radius = chest.lateral_heart_frame(scene.anatomy)
    low = 0.03 if code.has("mitral valve", "heart atria") else -0.03
    place = (left + 0.5 * (right - left) + 0.4 * low, scene.anatomy.dome["left"] - 0.13 + low)
    for canvas, spot in (
        (scene.frontal, place),
        (scene.lateral, (center[0] + 0.2 * radius + low, center[1] + low)),
    ):
        canvas.ellipse(
            Plane.METAL, 1.0, spot, (0.034, 0.022), Shading(soft=0.012, profile=Profile.RING), angle=-0.6
        )


def _prosthesis(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    for side in sides_of(code, rng):
        x, y = chest.shoulder_center(scene.anatomy, side)
        scene.frontal.ellipse(Plane.METAL, 1.3, (x, y), (0.045, 0.045))
        _wire(scene.frontal, [(x, y), (x + sign_of(side) * 0.04, y + 0.17)], 0.014, 1.3)
    scene.lateral.ellipse(Plane.METAL, 1.2, (0.46, 0.045), (0.045, 0.045))


def paint_surgery(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Sternotomy wires for the mediastinum, clips elsewhere."""
    anatomy = scene.anatomy
    if code.has("abdomen"):
        _clips(scene.frontal, (anatomy.midline + (0.13 if code.has("left") else -0.13), 0.90), rng)
        _clips(scene.lateral, (0.42, 0.90), rng)
    elif code.has("mediastinum", "sternum") or not code.qualifiers:
        _sternotomy(scene)
    elif code.has("neck"):
        _clips(scene.frontal, (anatomy.midline + sign_of(sides_of(code, rng)[0]) * 0.06, 0.06), rng)
        _clips(scene.lateral, (0.48, 0.05), rng)
    elif code.has("shoulder"):
        for side in sides_of(code, rng):
            _clips(scene.frontal, chest.shoulder_center(anatomy, side), rng)
    else:
        for side in sides_of(code, rng):
            site = Site(side, 0.2 if code.has("hilum") else 0.85, 0.45 if code.has("hilum") else 0.6, 0.4)
            _clips(scene.frontal, site.frontal(anatomy), rng)
            _clips(scene.lateral, site.lateral(anatomy), rng)


def _sternotomy(scene: Scene) -> None:
    x = scene.anatomy.midline
    for row in range(6):
        y = scene.anatomy.apex + 0.14 + 0.075 * row
        loop = [
            (x - 0.020, y - 0.006),
            (x, y + 0.010),
            (x + 0.020, y - 0.006),
            (x, y - 0.012),
            (x - 0.020, y - 0.006),
        ]
        _wire(scene.frontal, loop, 0.0045, 0.9)
        front = chest.lateral_front(scene.anatomy, y)
        _wire(scene.lateral, [(front - 0.030, y), (front - 0.004, y + 0.004)], 0.0055, 1.1)


def paint_sutures(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A staple line."""
    if code.has("mediastinum", "sternum"):
        _sternotomy(scene)
        return
    down = 0.15 if code.has("apex") else 0.45 if code.has("hilum") else 0.3
    for side in sides_of(code, rng):
        for step in range(6):
            place = Site(side, 0.25 + 0.08 * step, down + 0.02 * step, 0.35 + 0.05 * step)
            scene.both(Plane.METAL, 0.9, place, (0.006, 0.006))


def paint_tube(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """An endotracheal, enteric or chest tube."""
    anatomy = scene.anatomy
    if code.has("trachea", "trachea, carina"):
        path = chest.trachea_points(anatomy)
        _wire(scene.frontal, [*path[:3], (path[3][0], path[3][1] - 0.03)], 0.008)
        _wire(scene.lateral, [(0.52, 0.0), (0.53, 0.14), (0.54, anatomy.apex + 0.19)], 0.008)
    elif code.has("thorax") or code.sides or code.has("large"):
        side = sides_of(code, rng)[0]
        path = [
            Site(side, across, down, 0.5).frontal(anatomy)
            for across, down in ((1.0, 0.85), (0.9, 0.6), (0.7, 0.3), (0.5, 0.12))
        ]
        _wire(scene.frontal, [(path[0][0] + sign_of(side) * 0.09, path[0][1] + 0.04), *path], 0.009)
        _wire(
            scene.lateral,
            [
                Site(side, 0.5, down, back).lateral(anatomy)
                for down, back in ((0.85, 0.55), (0.5, 0.5), (0.12, 0.5))
            ],
            0.009,
        )
    else:
        x = anatomy.midline + 0.012
        _wire(
            scene.frontal,
            [(x - 0.012, 0.0), (x, 0.3), (x + 0.01, 0.7), (x + 0.05, 0.82), (x + 0.15, 0.86)],
            0.006,
        )
        _wire(scene.lateral, [(0.56, 0.0), (0.58, 0.3), (0.62, 0.65), (0.56, 0.82), (0.45, 0.88)], 0.006)


def paint_stent(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A mesh tube on the heart, in the aorta or in the upper abdomen."""
    anatomy = scene.anatomy
    left, right = chest.heart_extent(anatomy)
    center, _ = chest.lateral_heart_frame(anatomy)
    if code.has("aorta"):
        places = ((anatomy.midline + 0.075, 0.48), (0.66, 0.5))
    elif code.has("abdomen"):
        places = ((anatomy.midline - 0.10, 0.90), (0.45, 0.92))
    else:
        places = ((left + 0.66 * (right - left), anatomy.dome["left"] - 0.14), (center[0], center[1] - 0.05))
    wide, long = (0.022, 0.10) if code.has("aorta") else (0.012, 0.045)
    for canvas, (x, y) in zip((scene.frontal, scene.lateral), places, strict=True):
        for row in range(7):
            y0, y1 = y + long * (row / 6 - 0.5), y + long * ((row + 1) / 6 - 0.5)
            _wire(canvas, [(x - wide, y0), (x + wide, y1)], 0.0035, 0.6)
            _wire(canvas, [(x + wide, y0), (x - wide, y1)], 0.0035, 0.6)


def paint_fusion(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Rods and screws (thoracic, lumbar), or a plate in front of the neck's spine."""
    anatomy = scene.anatomy
    top, bottom = (
        (0.0, 0.12)
        if code.has("cervical vertebrae")
        else (0.84, 1.0)
        if code.has("lumbar vertebrae")
        else (0.34, 0.66)
    )
    heights = [top + (bottom - top) * step / 4 for step in range(5)]
    for side in SIDES:
        rod = [(chest.spine_x(anatomy, y) + sign_of(side) * 0.018, y) for y in heights]
        _wire(scene.frontal, rod, 0.0065, 1.0)
        for x, y in rod:
            _wire(scene.frontal, [(x - 0.012, y), (x + 0.012, y)], 0.006, 1.0)
    rod = [(chest.lateral_spine_x(anatomy, y) + 0.045, y) for y in heights]
    _wire(scene.lateral, rod, 0.0075, 1.0)
    for x, y in rod:
        _wire(scene.lateral, [(x, y), (x - 0.055, y + 0.006)], 0.0055, 1.0)


def paint_foreign_body(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Something very bright with a sharp outline, outside the body's plan."""
    anatomy = scene.anatomy
    sign = sign_of(sides_of(code, rng)[0])
    x, y, back = anatomy.midline + sign * rng.uniform(0.15, 0.25), rng.uniform(0.45, 0.6), 0.55
    if code.has("abdomen"):
        y = 0.91
    elif code.has("neck", "shoulder", "cervical vertebrae"):
        x, y = anatomy.midline + sign * (0.08 if code.has("neck") else 0.4), 0.08
    elif code.has("thoracic vertebrae", "spine"):
        x, back = anatomy.midline + 0.01, 0.75
    for _ in range(3 if code.has("multiple") else 1):
        shape = (rng.uniform(0.014, 0.026), rng.uniform(0.014, 0.022))
        scene.frontal.box(Plane.METAL, 1.4, (x, y), shape, Shading(soft=0.005), angle=rng.uniform(0, 3))
        scene.lateral.box(Plane.METAL, 1.4, (back, y), shape, Shading(soft=0.005), angle=rng.uniform(0, 3))
        x, y, back = (
            x + rng.uniform(-0.09, 0.09),
            y + rng.uniform(-0.06, 0.06),
            back + rng.uniform(-0.09, 0.09),
        )


def paint_implants(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Breast implants: round shadows with a crisp rim."""
    for side in code.sides or SIDES:
        center = (scene.anatomy.midline + sign_of(side) * 0.24, scene.anatomy.dome["right"] - 0.08)
        scene.frontal.ellipse(Plane.SOFT, 0.30, center, (0.115, 0.115), Shading(profile=Profile.SHELL))
        scene.frontal.ellipse(Plane.SOFT, 0.18, center, (0.115, 0.115), Shading(profile=Profile.RING))
    front = chest.lateral_front(scene.anatomy, 0.6)
    scene.lateral.ellipse(
        Plane.SOFT, 0.6, (front - 0.035, 0.6), (0.055, 0.10), Shading(profile=Profile.SHELL)
    )


# ---------------------------------------------------------------- soft tissue and abdomen
def paint_subcutaneous_air(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Dark streaks in the chest wall, neck or flank."""
    anatomy = scene.anatomy
    for side in sides_of(code, rng):
        x = anatomy.midline + sign_of(side) * (0.09 if code.has("neck") else anatomy.half_width + 0.05)
        y = 0.08 if code.has("neck") else 0.85 if code.has("abdomen") else 0.45
        radii = (0.06, 0.09) if code.has("neck") else (0.05, 0.2)
        scene.frontal.ellipse(
            Plane.SOFT,
            -0.75,
            (x, y),
            radii,
            Shading(soft=0.05, texture=Texture.PATCHY, offset=rng.randrange(256)),
        )
    scene.lateral.ellipse(
        Plane.SOFT, -0.7, (0.50, 0.08), (0.18, 0.09), Shading(soft=0.05, texture=Texture.PATCHY)
    )


def paint_free_air(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Air under the right dome, or a gas-filled loop."""
    anatomy = scene.anatomy
    for canvas, reach in ((scene.frontal, True), (scene.lateral, False)):
        points = []
        for t in (0.2, 0.35, 0.5, 0.65, 0.8):
            if reach:
                floor = chest.diaphragm_y(anatomy, "right", t * anatomy.half_width)
                points.append((anatomy.midline - t * anatomy.half_width, floor + 0.03))
            else:
                x = 0.25 + 0.4 * t
                points.append((x, chest.lateral_diaphragm_y(anatomy, "right", x) + 0.03))
        canvas.stroke(Plane.SOFT, -0.65, points, (0.016, 0.016), profile=Profile.FLAT)


def paint_contrast(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Contrast medium in the gullet, else in the upper abdomen."""
    if code.has("esophagus"):
        _wire(scene.frontal, [(scene.anatomy.midline + 0.01, y) for y in (0.1, 0.4, 0.75)], 0.016, 0.9)
        _wire(scene.lateral, [(0.57, 0.1), (0.60, 0.4), (0.63, 0.75)], 0.016, 0.9)
        return
    for canvas, x in ((scene.frontal, scene.anatomy.midline + 0.17), (scene.lateral, 0.45)):
        canvas.ellipse(Plane.METAL, 1.0, (x, 0.90), (0.10, 0.045), Shading(soft=0.02, texture=Texture.FLUFFY))


def paint_gallstones(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Rings under the liver."""
    for dx in (-0.03, 0.0, 0.03):
        for canvas, x in ((scene.frontal, scene.anatomy.midline - 0.17), (scene.lateral, 0.40)):
            canvas.ellipse(
                Plane.METAL, 0.7, (x + dx, 0.92 + abs(dx)), (0.016, 0.016), Shading(profile=Profile.RING)
            )


def paint_nipples(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Small round shadows over both bases, on the frontal view alone."""
    for side in sides_of(code, rng, "both"):
        place = Site(side, 0.55, 0.82, 0.1).frontal(scene.anatomy)
        scene.frontal.ellipse(Plane.SOFT, 0.30, place, (0.016, 0.016))


PAINTERS: dict[str, Painter] = {
    "catheters, indwelling": paint_catheter,
    "medical device": paint_device,
    "implanted medical device": paint_device,
    "surgical instruments": paint_surgery,
    "sutures": paint_sutures,
    "pneumonectomy": paint_sutures,
    "tube, inserted": paint_tube,
    "stents": paint_stent,
    "spinal fusion": paint_fusion,
    "foreign bodies": paint_foreign_body,
    "breast implants": paint_implants,
    "subcutaneous emphysema": paint_subcutaneous_air,
    "pneumoperitoneum": paint_free_air,
    "colonic interposition": paint_free_air,
    "contrast media": paint_contrast,
    "cholelithiasis": paint_gallstones,
    "nipple shadow": paint_nipples,
}
