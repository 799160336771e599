"""Findings of spine, ribs, shoulders and sternum, and calcification, for both views."""

from __future__ import annotations

import math
import random

from harness.datasets.iu.mesh import MeshCode
from harness.datasets.phantom import anatomy as chest
from harness.datasets.phantom.anatomy import SIDES, Anatomy, Point, sign_of
from harness.datasets.phantom.raster import Canvas, Plane, Profile, Shading
from harness.datasets.phantom.scene import Painter, Scene, Shaper, Site, sides_of, strength

_SPINE_LEVELS = {"cervical vertebrae": (0, 1), "lumbar vertebrae": (9, 10)}
_THORACIC_LEVELS = (2, 3, 4, 5, 6, 7, 8)


# ---------------------------------------------------------------- shape
def bend_spine(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Scoliosis, convex to the named side."""
    side = sides_of(code, rng)[0]
    anatomy.scoliosis = sign_of(side) * {2: 0.05, 2.5: 0.068, 3: 0.085, 4: 0.11}.get(code.severity, 0.068)
    anatomy.scoliosis_center = 0.72 if code.has("lumbar vertebrae") else 0.45


def hunch(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Kyphosis: the lateral spine bows backward, and the frontal view loses height at the top."""
    anatomy.kyphosis = max(anatomy.kyphosis, 0.9 * strength(code))
    anatomy.depth += 0.04
    anatomy.apex += 0.025 * strength(code)


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
        scene.frontal.ellipse(
            Plane.BONE, 0.45, (x, y), (0.05, 0.052), Shading(soft=0.014, profile=Profile.RING)
        )
        for turn in (0.6, 2.0, 3.4, 4.6):
            spur = (x + 0.05 * math.cos(turn), y + 0.052 * math.sin(turn))
            scene.frontal.ellipse(Plane.BONE, 0.40, spur, (0.015, 0.012))
    center = (0.46, 0.045)
    scene.lateral.ellipse(Plane.BONE, 0.40, center, (0.05, 0.05), Shading(soft=0.014, profile=Profile.RING))


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
    canvas.ellipse(
        Plane.BONE, 0.42, (x - 0.55 * size, y - step), (0.75 * size, 0.6 * size), Shading(soft=0.008)
    )
    canvas.ellipse(
        Plane.BONE, 0.42, (x + 0.55 * size, y + step), (0.75 * size, 0.6 * size), Shading(soft=0.008)
    )
    gap = [(x - 0.15 * size, y - 0.9 * size), (x + 0.15 * size, y + 0.9 * size)]
    canvas.stroke(Plane.BONE, -0.65, gap, (0.0055, 0.0055), profile=Profile.FLAT)


def paint_bone_hole(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A lucent spot or cyst in a rib or the humerus, with a sclerotic rim."""
    for side in sides_of(code, rng):
        if code.has("humerus"):
            x, y = chest.shoulder_center(scene.anatomy, side)
            places = ((x + sign_of(side) * 0.005, y + 0.05), (0.42, 0.04))
        else:
            rib = chest.rib_points(scene.anatomy, side, 4)[3 if code.has("posterior") else 5]
            places = (rib, Site(side, 0.5, 0.6, 0.85).lateral(scene.anatomy))
        for canvas, place in zip((scene.frontal, scene.lateral), places, strict=True):
            canvas.ellipse(Plane.BONE, -0.35, place, (0.022, 0.017), Shading(soft=0.008))
            canvas.ellipse(Plane.BONE, 0.45, place, (0.026, 0.021), Shading(soft=0.010, profile=Profile.RING))


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
        scene.lateral.box(Plane.BONE, 0.55, (x, y + 0.012), (0.042, 0.017), angle=-tilt)
        front = chest.spine_x(scene.anatomy, y)
        scene.frontal.box(Plane.BONE, 0.45, (front, y + 0.008), (0.036, 0.016))
        scene.frontal.box(Plane.BONE, -0.25, (front, y - 0.022), (0.030, 0.011))


def paint_sclerosis(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Dense bone (a bright vertebra), or a calcified pleura."""
    if code.has("pleura"):
        paint_plaque(scene, code, rng)
        return
    for level in _levels(code)[3:5] or _levels(code)[:1]:
        x, y, tilt = chest.vertebra(scene.anatomy, level)
        scene.lateral.box(Plane.BONE, 0.5, (x, y), (0.04, 0.027), angle=-tilt)
        scene.frontal.box(Plane.BONE, 0.4, (chest.spine_x(scene.anatomy, y), y), (0.03, 0.027))


def paint_dislocation(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A humeral head out of its place, or a slipped vertebra."""
    if code.has("shoulder"):
        for side in sides_of(code, rng):
            x, y = chest.shoulder_center(scene.anatomy, side)
            scene.frontal.ellipse(
                Plane.BONE,
                0.45,
                (x - sign_of(side) * 0.06, y + 0.05),
                (0.045, 0.05),
                Shading(profile=Profile.SHELL),
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
            scene.both(Plane.BONE, 0.75, spot, (0.0125, 0.0125), Shading(soft=0.006))


def calcified_nodes(scene: Scene, side: str, rng: random.Random) -> None:
    """A cluster of bright nodes at one hilum."""
    x, y = chest.hilum_center(scene.anatomy, side)
    center = Site(side, 0.14, 0.44, 0.52).lateral(scene.anatomy)
    for _ in range(4):
        dx, dy = rng.uniform(-0.026, 0.026), rng.uniform(-0.04, 0.04)
        radius = rng.uniform(0.010, 0.015)
        scene.frontal.ellipse(Plane.BONE, 0.65, (x + dx, y + dy), (radius, radius), Shading(soft=0.006))
        scene.lateral.ellipse(
            Plane.BONE, 0.55, (center[0] + dx, center[1] + dy), (radius, radius), Shading(soft=0.006)
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
}
