"""Findings of bone, great-vessel calcification, devices and surgery, for both views."""

from __future__ import annotations

import math
import random

from harness.datasets import phantom_anatomy as chest
from harness.datasets.mesh import MeshCode
from harness.datasets.phantom_anatomy import SIDES, Anatomy, Point, sign_of
from harness.datasets.phantom_raster import Canvas, Plane, Profile, Texture
from harness.datasets.phantom_scene import Painter, Scene, Shaper, Site, sides_of, strength

_SPINE_LEVELS = {"cervical vertebrae": (0, 1), "lumbar vertebrae": (9, 10)}
_THORACIC_LEVELS = (2, 3, 4, 5, 6, 7, 8)


# ---------------------------------------------------------------- shape
def bend_spine(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Scoliosis, convex to the named side."""
    side = sides_of(code, rng)[0]
    anatomy.scoliosis = sign_of(side) * {2: 0.05, 2.5: 0.068, 3: 0.085, 4: 0.11}.get(code.severity, 0.068)
    anatomy.scoliosis_center = 0.72 if code.has("lumbar vertebrae") else 0.45


def hunch(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Kyphosis: the lateral spine bows backward."""
    anatomy.kyphosis = max(anatomy.kyphosis, 0.9 * strength(code))
    anatomy.depth += 0.04


def thin_bone(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Metabolic bone disease: pale bone."""
    anatomy.bone_density *= 0.5


def move_sternum(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Funnel chest pushes the sternum in and the heart left; pectus carinatum pulls it out."""
    if code.heading == "funnel chest":
        anatomy.sternum_shift = 0.07
        anatomy.mediastinal_shift += 0.035
    else:
        anatomy.sternum_shift = -0.05


def remove_breast(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Mastectomy: one breast shadow is absent, the other plain to see."""
    for side in SIDES:
        anatomy.breast[side] = max(anatomy.breast[side], 0.20)
    for side in sides_of(code, rng):
        anatomy.breast[side] = 0.0


def swell_abdomen(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """A distended abdomen pushes both domes up."""
    for side in SIDES:
        anatomy.dome[side] -= 0.08


# ---------------------------------------------------------------- spine and other bone
def _levels(code: MeshCode) -> tuple[int, ...]:
    return next(
        (levels for word, levels in _SPINE_LEVELS.items() if code.has(word) or code.heading == word),
        _THORACIC_LEVELS,
    )


def paint_spine(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Degeneration: sclerotic endplates and beaks of bone, most visible on the lateral view."""
    if not code.has("degenerative", "vertebrae") and code.heading in ("spine", "ribs", "bone and bones"):
        return
    degree = strength(code) * (1.25 if code.heading != "spine" else 1.0)
    levels = [level for level in _levels(code) if rng.random() < 0.85] or [5]
    for level in levels:
        _endplate(scene, level, degree)
        _osteophyte(scene, level, degree, rng)


def _endplate(scene: Scene, level: int, degree: float) -> None:
    x, y, tilt = chest.vertebra(scene.anatomy, level)
    y += 0.039
    dx, dy = 0.036 * math.cos(tilt), -0.036 * math.sin(tilt)
    scene.lateral.stroke(
        Plane.BONE, 0.34 * degree, [(x - dx, y - dy), (x + dx, y + dy)], (0.007, 0.007), profile=Profile.FLAT
    )
    front = chest.spine_x(scene.anatomy, y)
    scene.frontal.stroke(
        Plane.BONE,
        0.24 * degree,
        [(front - 0.034, y), (front + 0.034, y)],
        (0.006, 0.006),
        profile=Profile.FLAT,
    )


def _osteophyte(scene: Scene, level: int, degree: float, rng: random.Random) -> None:
    x, y, _ = chest.vertebra(scene.anatomy, level)
    y += 0.039
    reach = 0.012 + 0.012 * degree
    beak = [(x - 0.030, y - 0.008), (x - 0.036 - reach, y)]
    scene.lateral.stroke(Plane.BONE, 0.48 * degree, beak, (0.014, 0.008), profile=Profile.FLAT)
    front = chest.spine_x(scene.anatomy, y)
    for side in SIDES:
        if rng.random() < 0.75:
            tip = front + sign_of(side) * (0.036 + 0.7 * reach)
            beak = [(front + sign_of(side) * 0.028, y - 0.004), (tip, y)]
            scene.frontal.stroke(Plane.BONE, 0.40 * degree, beak, (0.010, 0.005), profile=Profile.FLAT)


def paint_arthritis(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Arthritis where the code says: the spine, else both shoulders."""
    if code.has("spine", "thoracic vertebrae", "cervical vertebrae", "lumbar vertebrae"):
        paint_spine(scene, code, rng)
    else:
        paint_shoulder(scene, code, rng)


def paint_shoulder(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Degenerative shoulders: bright, ragged joint margins."""
    for side in sides_of(code, rng, "both"):
        x, y = chest.shoulder_center(scene.anatomy, side)
        scene.frontal.ellipse(Plane.BONE, 0.45, (x, y), (0.05, 0.052), profile=Profile.RING, soft=0.014)
        for turn in (0.6, 2.0, 3.4, 4.6):
            spur = (x + 0.05 * math.cos(turn), y + 0.052 * math.sin(turn))
            scene.frontal.ellipse(Plane.BONE, 0.40, spur, (0.015, 0.012))
    center = (0.46, 0.045)
    scene.lateral.ellipse(Plane.BONE, 0.40, center, (0.05, 0.05), profile=Profile.RING, soft=0.014)


def paint_fracture(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A broken or deformed bone: rib, clavicle, vertebra, sternum or humerus."""
    if code.has("thoracic vertebrae", "lumbar vertebrae", "spine"):
        _wedge(scene, code, rng)
    elif code.has("clavicle"):
        for side in sides_of(code, rng):
            _break(scene.frontal, chest.clavicle_points(scene.anatomy, side)[2], 0.024, rng)
    elif code.has("humerus", "shoulder"):
        for side in sides_of(code, rng):
            x, y = chest.shoulder_center(scene.anatomy, side)
            _break(scene.frontal, (x, y + 0.055), 0.032, rng)
    elif code.has("sternum"):
        front = chest.lateral_front(scene.anatomy, 0.42)
        _break(scene.lateral, (front - 0.018, 0.42), 0.028, rng)
        _break(scene.frontal, (scene.anatomy.midline, 0.42), 0.022, rng)
    else:
        _break_ribs(scene, code, rng)


def _break_ribs(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    first = rng.randint(2, 4)
    count = 4 if code.has("multiple") else 2
    for side in sides_of(code, rng):
        for index in range(first, first + count):
            points = chest.rib_points(scene.anatomy, side, index)
            _break(scene.frontal, points[3 if code.has("posterior") else 6], 0.026, rng)
            back = 0.85 if code.has("posterior") else 0.55
            _break(
                scene.lateral, Site(side, 0.5, 0.25 + 0.1 * index, back).lateral(scene.anatomy), 0.020, rng
            )


def _break(canvas: Canvas, place: Point, size: float, rng: random.Random) -> None:
    """Callus on both sides of a dark, stepped gap."""
    x, y = place
    step = rng.choice((-1, 1)) * 0.35 * size
    canvas.ellipse(Plane.BONE, 0.42, (x - 0.55 * size, y - step), (0.75 * size, 0.6 * size), soft=0.008)
    canvas.ellipse(Plane.BONE, 0.42, (x + 0.55 * size, y + step), (0.75 * size, 0.6 * size), soft=0.008)
    gap = [(x - 0.15 * size, y - 0.9 * size), (x + 0.15 * size, y + 0.9 * size)]
    canvas.stroke(Plane.BONE, -0.65, gap, (0.0055, 0.0055), profile=Profile.FLAT)


def _wedge(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Compression: the front of a body is lost, what remains is dense."""
    levels: tuple[int, ...] = (9,) if code.has("lumbar vertebrae") else (rng.randint(5, 7),)
    levels = (4, 6, 7) if code.has("multiple") else levels
    degree = strength(code)
    for level in levels:
        x, y, tilt = chest.vertebra(scene.anatomy, level)
        scene.lateral.ellipse(
            Plane.BONE, -0.42, (x - 0.022, y - 0.022), (0.026, 0.018 * degree), angle=-tilt + 0.35
        )
        scene.lateral.ellipse(Plane.BONE, 0.55, (x, y + 0.012), (0.042, 0.017), angle=-tilt, box=True)
        front = chest.spine_x(scene.anatomy, y)
        scene.frontal.ellipse(Plane.BONE, 0.45, (front, y + 0.008), (0.036, 0.016), box=True)
        scene.frontal.ellipse(Plane.BONE, -0.25, (front, y - 0.022), (0.030, 0.011), box=True)


def paint_sclerosis(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Dense bone (a bright vertebra), or a calcified pleura."""
    if code.has("pleura"):
        paint_plaque(scene, code, rng)
        return
    for level in _levels(code)[3:5] or _levels(code)[:1]:
        x, y, tilt = chest.vertebra(scene.anatomy, level)
        scene.lateral.ellipse(Plane.BONE, 0.5, (x, y), (0.04, 0.027), angle=-tilt, box=True)
        scene.frontal.ellipse(Plane.BONE, 0.4, (chest.spine_x(scene.anatomy, y), y), (0.03, 0.027), box=True)


def paint_dislocation(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A humeral head out of its place, or a slipped vertebra."""
    if code.has("shoulder"):
        for side in sides_of(code, rng):
            x, y = chest.shoulder_center(scene.anatomy, side)
            scene.frontal.ellipse(
                Plane.BONE, 0.45, (x - sign_of(side) * 0.06, y + 0.05), (0.045, 0.05), profile=Profile.SHELL
            )
    else:
        paint_sclerosis(scene, code, rng)


# ---------------------------------------------------------------- calcification
def paint_calcinosis(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Calcified aorta, nodes, pleura or lung spot, by the code's place."""
    if code.has("aorta", "aorta, thoracic", "blood vessels", "coronary vessels", "aortic valve"):
        paint_aortic_calcium(scene, code, rng)
    elif code.has("pleura"):
        paint_plaque(scene, code, rng)
    elif code.has("lymph nodes", "hilum", "mediastinum", "trachea, carina") or not code.has("lung"):
        for side in sides_of(code, rng):
            calcified_nodes(scene, side, rng)
    else:
        for side in sides_of(code, rng):
            spot = Site(side, rng.uniform(0.35, 0.75), rng.uniform(0.3, 0.85), rng.uniform(0.3, 0.7))
            scene.both(Plane.BONE, 0.75, spot, (0.0125, 0.0125), soft=0.006)


def calcified_nodes(scene: Scene, side: str, rng: random.Random) -> None:
    """A cluster of bright nodes at one hilum."""
    x, y = chest.hilum_center(scene.anatomy, side)
    center = Site(side, 0.14, 0.44, 0.52).lateral(scene.anatomy)
    for _ in range(4):
        dx, dy = rng.uniform(-0.026, 0.026), rng.uniform(-0.04, 0.04)
        radius = rng.uniform(0.010, 0.015)
        scene.frontal.ellipse(Plane.BONE, 0.65, (x + dx, y + dy), (radius, radius), soft=0.006)
        scene.lateral.ellipse(
            Plane.BONE, 0.55, (center[0] + dx, center[1] + dy), (radius, radius), soft=0.006
        )


def paint_plaque(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Calcified pleura: a bright line along the wall or dome."""
    for side in sides_of(code, rng):
        rim = [chest.lung_point(scene.anatomy, side, 0.95, down) for down in (0.5, 0.62, 0.74, 0.86)]
        scene.frontal.stroke(Plane.BONE, 0.5, rim, (0.008, 0.008), profile=Profile.FLAT)
        back = [Site(side, 0.9, down, 0.97).lateral(scene.anatomy) for down in (0.5, 0.65, 0.8)]
        scene.lateral.stroke(Plane.BONE, 0.45, back, (0.008, 0.008), profile=Profile.FLAT)


def paint_aortic_calcium(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A bright broken rim on the aortic knob and along the arch on the lateral view."""
    anatomy = scene.anatomy
    degree = strength(code)
    (x, y), size = chest.knob_center(anatomy), anatomy.aortic_knob
    for start, end in ((-1.9, -0.6), (-0.4, 0.9)):
        turns = [start + (end - start) * t / 4 for t in range(5)]
        arc = [(x + 1.05 * size * math.cos(a), y + 1.2 * size * math.sin(a)) for a in turns]
        scene.frontal.stroke(Plane.BONE, 0.60 * degree, arc, (0.0075, 0.0075), profile=Profile.FLAT)
    arch = chest.lateral_arch(anatomy)
    for start in (3, 4, 5, 6):
        (x0, y0), (x1, y1) = arch[start], arch[start + 1]
        piece = [(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t - 0.018) for t in (0.1, 0.75)]
        scene.lateral.stroke(Plane.BONE, 0.55 * degree, piece, (0.0075, 0.0075), profile=Profile.FLAT)


# ---------------------------------------------------------------- devices and surgery
def _wire(canvas: Canvas, points: list[Point], radius: float = 0.0050, amount: float = 0.75) -> None:
    canvas.stroke(Plane.METAL, amount, points, (radius, radius), profile=Profile.FLAT)


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
        _wire(scene.frontal, path)
        if not entry:
            scene.frontal.ellipse(Plane.METAL, 0.7, port, (0.026, 0.026), profile=Profile.SHELL)
            scene.lateral.ellipse(Plane.METAL, 0.7, (0.24, 0.30), (0.010, 0.026))
        _wire(scene.lateral, [(0.34, 0.10), (0.42, 0.14), (0.46, 0.22), (0.45, anatomy.apex + 0.33)])


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
        canvas.ellipse(Plane.METAL, 1.1, center, radii, box=True, soft=0.006)
    entry = [
        box,
        (anatomy.midline + sign * 0.14, anatomy.apex + 0.075),
        (anatomy.midline - 0.03, anatomy.apex + 0.13),
    ]
    cava = (anatomy.midline - 0.05, anatomy.apex + 0.33)
    tip = (heart_right - 0.09, floor)
    _wire(
        scene.frontal,
        [*entry, cava, (anatomy.midline - 0.04, floor - 0.10), (anatomy.midline + 0.03, floor - 0.01), tip],
    )
    _wire(scene.frontal, [*entry, cava, (heart_left + 0.05, floor - 0.14)])
    center, radius = chest.lateral_heart_frame(anatomy)
    apex = (center[0] - 0.6 * radius, center[1] + 0.6 * radius)
    _wire(
        scene.lateral, [(0.27, 0.24), (0.40, 0.17), (0.46, 0.30), (center[0] + 0.2 * radius, center[1]), apex]
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
        canvas.ellipse(Plane.METAL, 1.0, spot, (0.034, 0.022), angle=-0.6, profile=Profile.RING, soft=0.012)


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
        scene.frontal.ellipse(Plane.METAL, 1.4, (x, y), shape, angle=rng.uniform(0, 3), box=True, soft=0.005)
        scene.lateral.ellipse(
            Plane.METAL, 1.4, (back, y), shape, angle=rng.uniform(0, 3), box=True, soft=0.005
        )
        x, y, back = (
            x + rng.uniform(-0.09, 0.09),
            y + rng.uniform(-0.06, 0.06),
            back + rng.uniform(-0.09, 0.09),
        )


def paint_implants(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Breast implants: round shadows with a crisp rim."""
    for side in code.sides or SIDES:
        center = (scene.anatomy.midline + sign_of(side) * 0.24, scene.anatomy.dome["right"] - 0.08)
        scene.frontal.ellipse(Plane.SOFT, 0.30, center, (0.115, 0.115), profile=Profile.SHELL)
        scene.frontal.ellipse(Plane.SOFT, 0.18, center, (0.115, 0.115), profile=Profile.RING)
    front = chest.lateral_front(scene.anatomy, 0.6)
    scene.lateral.ellipse(Plane.SOFT, 0.6, (front - 0.035, 0.6), (0.055, 0.10), profile=Profile.SHELL)


# ---------------------------------------------------------------- soft tissue and abdomen
def paint_subcutaneous_air(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Dark streaks in the chest wall, neck or flank."""
    anatomy = scene.anatomy
    for side in sides_of(code, rng):
        x = anatomy.midline + sign_of(side) * (0.09 if code.has("neck") else anatomy.half_width + 0.05)
        y = 0.08 if code.has("neck") else 0.85 if code.has("abdomen") else 0.45
        radii = (0.06, 0.09) if code.has("neck") else (0.05, 0.2)
        scene.frontal.ellipse(
            Plane.SOFT, -0.75, (x, y), radii, soft=0.05, texture=Texture.PATCHY, offset=rng.randrange(256)
        )
    scene.lateral.ellipse(Plane.SOFT, -0.7, (0.50, 0.08), (0.18, 0.09), soft=0.05, texture=Texture.PATCHY)


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
        canvas.ellipse(Plane.METAL, 1.0, (x, 0.90), (0.10, 0.045), soft=0.02, texture=Texture.FLUFFY)


def paint_gallstones(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Rings under the liver."""
    for dx in (-0.03, 0.0, 0.03):
        for canvas, x in ((scene.frontal, scene.anatomy.midline - 0.17), (scene.lateral, 0.40)):
            canvas.ellipse(Plane.METAL, 0.7, (x + dx, 0.92 + abs(dx)), (0.016, 0.016), profile=Profile.RING)


def paint_nipples(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Small round shadows over both bases, on the frontal view alone."""
    for side in sides_of(code, rng, "both"):
        place = Site(side, 0.55, 0.82, 0.1).frontal(scene.anatomy)
        scene.frontal.ellipse(Plane.SOFT, 0.30, place, (0.016, 0.016))


SHAPERS: dict[str, Shaper] = {
    "scoliosis": bend_spine,
    "kyphosis": hunch,
    "bone diseases, metabolic": thin_bone,
    "funnel chest": move_sternum,
    "pectus carinatum": move_sternum,
    "mastectomy": remove_breast,
    "abdomen": swell_abdomen,
}

PAINTERS: dict[str, Painter] = {
    "thoracic vertebrae": paint_spine,
    "lumbar vertebrae": paint_spine,
    "cervical vertebrae": paint_spine,
    "spine": paint_spine,
    "spondylosis": paint_spine,
    "osteophyte": paint_spine,
    "hyperostosis, diffuse idiopathic skeletal": paint_spine,
    "arthritis": paint_arthritis,
    "shoulder": paint_shoulder,
    "humerus": paint_shoulder,
    "bone and bones": paint_shoulder,
    "ribs": paint_fracture,
    "fractures, bone": paint_fracture,
    "deformity": paint_fracture,
    "sclerosis": paint_sclerosis,
    "dislocations": paint_dislocation,
    "calcinosis": paint_calcinosis,
    "atherosclerosis": paint_aortic_calcium,
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
