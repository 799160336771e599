"""What findings of lungs, pleura and mediastinum paint on a drawn chest."""

from __future__ import annotations

import math
import random

from harness.datasets.iu.mesh import MeshCode
from harness.datasets.phantom.anatomy import SIDES, hilum_center, lung_point, sign_of
from harness.datasets.phantom.bones import calcified_nodes, paint_bone_hole
from harness.datasets.phantom.raster import Plane, Profile, Shading, Texture
from harness.datasets.phantom.scene import Painter, Scene, Site, sides_of, sites_of, strength

_FLUID = {1: 0.09, 2: 0.13, 2.5: 0.17, 3: 0.23, 4: 0.38}
_COLLAPSE = {1: 0.03, 2: 0.045, 2.5: 0.06, 3: 0.085, 4: 0.14}


# ---------------------------------------------------------------- parenchyma
def paint_opacity(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """``Opacity`` in the words of its qualifiers: streaks, a net, a round spot, or a hazy patch."""
    if code.has("interstitial"):
        paint_interstitial(scene, code, rng)
    elif code.has("streaky"):
        paint_bands(scene, code, rng)
    elif code.has("round"):
        for site in sites_of(code, rng):
            scene.both(Plane.FILL, 0.75, site, (0.03, 0.03), Shading(soft=0.02))
    elif code.has("patchy", "scattered"):
        paint_patch(scene, code, rng, Texture.PATCHY, 1.0)
    else:
        paint_patch(scene, code, rng, Texture.NONE, 0.62)


def paint_patch(scene: Scene, code: MeshCode, rng: random.Random, texture: Texture, density: float) -> None:
    """A soft cloud that replaces air at each site."""
    degree = strength(code)
    for site in sites_of(code, rng):
        size = (0.075 if code.has("focal", "small") else 0.105) * (0.55 + 0.45 * degree)
        radii = (size * rng.uniform(0.95, 1.15), size * rng.uniform(0.7, 0.9))
        offset = rng.randrange(256)
        scene.both(
            Plane.FILL,
            density * degree,
            site,
            radii,
            Shading(profile=Profile.BLUR, texture=texture, offset=offset),
        )


def paint_airspace(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Airspace disease: fluffy, confluent."""
    paint_patch(scene, code, rng, Texture.FLUFFY, 1.05)


def paint_infiltrate(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Infiltrate: patchy, or a net where it is interstitial."""
    if code.has("interstitial"):
        paint_interstitial(scene, code, rng)
    else:
        paint_patch(scene, code, rng, Texture.PATCHY, 1.15)


def paint_consolidation(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Dense and lobar, with thin air bronchograms branching through it."""
    for site in sites_of(code, rng):
        degree = strength(code)
        for across, down in ((0.0, 0.0), (0.20, 0.02), (-0.14, 0.05)):
            part = site.moved(across, down, 0.7 * across)
            scene.both(Plane.FILL, 0.55, part, (0.085 * degree, 0.070 * degree), Shading(soft=0.03))
        stem = site.moved(-0.25, -0.03, -0.16)
        for turn in (-0.6, 0.1, 0.7):
            end = site.moved(0.24 * math.cos(turn), 0.13 * math.sin(turn), 0.16 * math.cos(turn))
            scene.line(Plane.FILL, -0.40, [stem, site.moved(-0.08), end], (0.0042, 0.0030))


def paint_density(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A density: round and sharp, or a haze."""
    if code.has("round", "small"):
        for site in sites_of(code, rng):
            scene.both(Plane.FILL, 0.8, site, (0.024, 0.024), Shading(soft=0.012))
    else:
        paint_patch(scene, code, rng, Texture.NONE, 0.7)


def paint_bands(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Linear (plate-like) opacities, nearly level: atelectasis and streaks."""
    degree = strength(code)
    for site in sites_of(code, rng, anywhere=("base", "lower lobe")):
        scene.both(Plane.FILL, 0.30 * degree, site, (0.10, 0.05), Shading(profile=Profile.BLUR))
        for row in (-1, 0, 1):
            middle = site.moved(rng.uniform(-0.06, 0.06), 0.055 * row + rng.uniform(-0.01, 0.01))
            tilt = rng.uniform(-0.05, 0.05)
            line = [middle.moved(-0.26, tilt, -0.16), middle, middle.moved(0.26, -tilt, 0.16)]
            scene.line(Plane.FILL, 0.62 * degree, line, (0.0075, 0.0055), profile=Profile.FLAT)


def paint_interstitial(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Reticular lines over the named zone, or over both lungs."""
    degree = strength(code)
    zone = sites_of(code, rng, default_sides="both", anywhere=("base",))
    for site in zone:
        wide = not code.has("base", "apex", "upper lobe", "lower lobe", "middle lobe", "lingula", "focal")
        center = Site(site.side, 0.5, 0.62, 0.5) if wide else site
        radii = (0.16, 0.26) if wide else (0.13, 0.11)
        net = Shading(profile=Profile.BLUR, texture=Texture.NET, offset=rng.randrange(256))
        scene.both(Plane.LUNG, 0.42 * degree, center, radii, net)


def paint_fibrosis(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Coarse basal net on both sides unless the code says where."""
    for side in sides_of(code, rng, "both"):
        site = Site(side, 0.6, 0.85, 0.7)
        for offset in (rng.randrange(256), rng.randrange(256)):
            amount = 0.40 * strength(code)
            net = Shading(profile=Profile.BLUR, texture=Texture.NET, offset=offset)
            scene.both(Plane.LUNG, amount, site, (0.15, 0.14), net)


def paint_markings(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Interstitial markings; bronchovascular ones are a matter of vessel size (see ``increase_markings``)."""
    if code.has("interstitial"):
        paint_interstitial(scene, code, rng)


def paint_edema(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Perihilar haze (bat wings) and septal lines at the bases."""
    degree = strength(code)
    for side in SIDES:
        wing = Site(side, 0.33, 0.55, 0.5)
        if not code.has("interstitial"):
            scene.both(
                Plane.FILL,
                0.75 * degree,
                wing,
                (0.11, 0.17),
                Shading(profile=Profile.BLUR, texture=Texture.FLUFFY),
            )
        scene.both(
            Plane.LUNG,
            0.30 * degree,
            wing,
            (0.16, 0.25),
            Shading(profile=Profile.BLUR, texture=Texture.NET, offset=40),
        )
        for row in range(5):  # Kerley B lines
            y = 0.78 + 0.04 * row
            scene.line(
                Plane.LUNG,
                0.25 * degree,
                [Site(side, 0.82, y, 0.8), Site(side, 0.99, y, 0.95)],
                (0.003, 0.003),
            )


def paint_congestion(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A haze around both hila, beside the thick vessels."""
    for side in SIDES:
        hilum = Site(side, 0.22, 0.48, 0.5)
        scene.both(Plane.FILL, 0.38 * strength(code), hilum, (0.085, 0.15), Shading(profile=Profile.BLUR))


def paint_nodule(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A soft-tissue nodule."""
    radius = 0.020 if code.has("small") else 0.027
    for site in sites_of(code, rng):
        scene.both(Plane.FILL, 0.85, site, (radius, radius), Shading(soft=0.012))
        scene.both(Plane.LUNG, 0.12, site, (radius, radius), Shading(soft=0.012))


def paint_mass(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A mass: over 3 cm, lobulated."""
    radius = 0.062 if code.has("large") else 0.05
    for site in sites_of(code, rng):
        for turn in (0.0, 2.1, 4.2):
            lobe = site.moved(0.06 * math.cos(turn), 0.035 * math.sin(turn), 0.04 * math.cos(turn))
            scene.both(Plane.FILL, 0.7, lobe, (radius, radius), Shading(soft=0.014))
        scene.both(Plane.SOFT, 0.10, site, (radius, radius), Shading(soft=0.02))


def paint_granuloma(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Calcified: tiny, sharp and brighter than rib."""
    calcified = "calcified" in code.heading
    radius = 0.0115 if calcified else 0.016
    for site in sites_of(code, rng, anywhere=("upper lobe", "lower lobe", "middle lobe", "lingula")):
        scene.both(Plane.BONE, 0.75 if calcified else 0.40, site, (radius, radius), Shading(soft=0.006))


def paint_granulomatous(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Old granulomatous disease: a calcified lung spot and calcified nodes at the hilum of the same side."""
    side = sides_of(code, rng)[0]
    calcified_nodes(scene, side, rng)
    spot = Site(side, rng.uniform(0.4, 0.75), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.7))
    scene.both(Plane.BONE, 0.65, spot, (0.010, 0.010), Shading(soft=0.006))


def paint_cicatrix(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Scar: a few thin lines that meet, and a cap where it lies at the apex or on the pleura."""
    if code.has("pleura") or code.has("apex"):
        paint_thickening(scene, code, rng)
    for site in sites_of(code, rng, anywhere=("base", "upper lobe", "lingula")):
        for turn in (0.4, 2.3, 3.6, 5.4):
            end = site.moved(0.17 * math.cos(turn), 0.085 * math.sin(turn), 0.12 * math.cos(turn))
            scene.line(Plane.LUNG, 0.42 * strength(code), [site, end], (0.0065, 0.003))


def paint_lucency(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A bulla, cyst or cavity: a dark round hole with a thin wall."""
    if code.has("humerus", "ribs"):
        paint_bone_hole(scene, code, rng)
        return
    radius = 0.035 if code.has("small") or code.heading == "cavitation" else 0.055
    for site in sites_of(code, rng, anywhere=("apex", "upper lobe")):
        wall = 0.45 if code.heading == "cavitation" else 0.24
        scene.both(Plane.LUNG, -0.20, site, (radius, radius), Shading(soft=0.02))
        scene.both(Plane.LUNG, wall, site, (radius, radius), Shading(soft=0.012, profile=Profile.RING))


def paint_bronchiectasis(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Ring shadows in a cluster."""
    for site in sites_of(code, rng, default_sides="both"):
        for _ in range(7):
            place = site.moved(rng.uniform(-0.2, 0.2), rng.uniform(-0.12, 0.12), rng.uniform(-0.15, 0.15))
            scene.both(Plane.LUNG, 0.40, place, (0.014, 0.014), Shading(soft=0.008, profile=Profile.RING))


# ---------------------------------------------------------------- pleura
def paint_effusion(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Fluid with a meniscus, its height by degree."""
    for side in sides_of(code, rng):
        scene.fluid[side] = max(scene.fluid[side], _FLUID[code.severity])


def paint_blunting(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A blunted costophrenic angle: the least fluid that shows."""
    if code.has("blunted", "obscured"):
        for side in sides_of(code, rng):
            scene.fluid[side] = max(scene.fluid[side], 0.085 if code.severity < 2.5 else 0.10)


def paint_pneumothorax(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Free air between lung and wall."""
    for side in sides_of(code, rng):
        scene.collapse[side] = max(scene.collapse[side], _COLLAPSE[code.severity])
        if code.heading != "pneumothorax":  # hydro- and hemopneumothorax: fluid too
            scene.fluid[side] = max(scene.fluid[side], _FLUID[code.severity])


def paint_thickening(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A dense rim along the wall, or a cap on the apex."""
    apical = code.has("apex", "upper lobe")
    heights = (0.015, 0.03, 0.06, 0.11) if apical else (0.35, 0.5, 0.65, 0.8, 0.9)
    for side in sides_of(code, rng):
        rim = [lung_point(scene.anatomy, side, 0.97, down) for down in heights]
        if apical:
            rim = [
                lung_point(scene.anatomy, side, a, d)
                for a, d in ((0.1, 0.09), (0.35, 0.035), (0.7, 0.03), (1.0, 0.12))
            ]
        width = 0.020 if apical else 0.016
        scene.frontal.stroke(Plane.FILL, 0.85, rim, (width, width), soft=0.012, profile=Profile.FLAT)
        back = [Site(side, 0.9, d, b).lateral(scene.anatomy) for d, b in ((0.03, 0.2), (0.03, 0.8)) if apical]
        back = back or [Site(side, 0.9, d, 0.98).lateral(scene.anatomy) for d in heights]
        scene.lateral.stroke(Plane.FILL, 0.6, back, (width, width), soft=0.012, profile=Profile.FLAT)


# ---------------------------------------------------------------- mediastinum
def paint_nodes(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Enlarged hilar or paratracheal nodes: lobulated bulges."""
    for side in sides_of(code, rng, "both"):
        x, y = hilum_center(scene.anatomy, side)
        if code.has("paratracheal", "trachea, carina"):
            x, y = scene.anatomy.midline + sign_of(side) * 0.06, y - 0.12
        back = Site(side, 0.15, 0.44, 0.5).lateral(scene.anatomy)
        for dx, dy in ((0.0, -0.03), (0.018, 0.005), (0.0, 0.038)):
            scene.frontal.ellipse(
                Plane.FILL, 0.8, (x + sign_of(side) * dx, y + dy), (0.032, 0.030), Shading(soft=0.012)
            )
            scene.lateral.ellipse(
                Plane.FILL, 0.6, (back[0] + dx, back[1] + dy), (0.035, 0.03), Shading(soft=0.015)
            )


def paint_mediastinum(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """What widens the mediastinum clouds the space behind the sternum; nodes bulge."""
    if code.has("lymph nodes", "paratracheal"):
        paint_nodes(scene, code, rng)
    center = Site("left", 0.1, 0.28, 0.28).lateral(scene.anatomy)
    scene.lateral.ellipse(Plane.FILL, 0.55 * strength(code), center, (0.075, 0.11), Shading(soft=0.05))


def paint_lung(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """``Lung``: its hilum, interstitium or azygos lobe; inflation is a matter of shape."""
    if code.has("hilum", "lymph nodes"):
        paint_nodes(scene, code, rng)
    elif code.has("interstitial"):
        paint_interstitial(scene, code, rng)
    elif code.has("azygos lobe"):
        line = [Site("right", a, d, 0.45) for a, d in ((0.7, 0.06), (0.5, 0.2), (0.2, 0.3), (0.08, 0.32))]
        scene.line(Plane.LUNG, 0.40, line, (0.004, 0.006))


def paint_pulmonary_artery(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A bulging main pulmonary artery and wide hila."""
    anatomy = scene.anatomy
    trunk = (anatomy.midline + 0.075, anatomy.apex + 0.255)
    for plane, amount in ((Plane.FILL, 0.75), (Plane.SOFT, 0.08)):
        scene.frontal.ellipse(plane, amount, trunk, (0.042, 0.045), Shading(soft=0.012))
    for side in code.sides or SIDES:
        hilum = hilum_center(anatomy, side)
        scene.frontal.ellipse(
            Plane.LUNG, 0.30, hilum, (0.032, 0.065), Shading(soft=0.02, profile=Profile.BALL)
        )
    center = Site("left", 0.2, 0.42, 0.48).lateral(anatomy)
    scene.lateral.ellipse(Plane.FILL, 0.6, center, (0.055, 0.045), Shading(soft=0.02))


def paint_hiatal_hernia(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """A round mass behind the heart with air and a fluid level in it."""
    radius = {2: 0.045, 2.5: 0.06, 3: 0.065, 4: 0.085}.get(code.severity, 0.06)
    anatomy = scene.anatomy
    frontal = (anatomy.midline + 0.035, anatomy.dome["left"] - 0.5 * radius)
    lateral = Site("left", 0.2, 0.86, 0.68).lateral(anatomy)
    for canvas, center in ((scene.frontal, frontal), (scene.lateral, lateral)):
        canvas.ellipse(Plane.FILL, 0.8, center, (radius, radius), Shading(soft=0.012))
        canvas.ellipse(Plane.SOFT, 0.22, center, (radius, radius), Shading(soft=0.012, profile=Profile.RING))
        canvas.ellipse(
            Plane.SOFT, -0.42, (center[0], center[1] - 0.3 * radius), (0.72 * radius, 0.45 * radius)
        )


def paint_fat(scene: Scene, code: MeshCode, rng: random.Random) -> None:
    """Fat pads fill the cardiophrenic angles."""
    for side in code.sides or ("left",):
        pad = Site(side, 0.30 if side == "left" else 0.10, 0.95, 0.15)
        scene.both(Plane.FILL, 0.65, pad, (0.065, 0.05), Shading(soft=0.03))


PAINTERS: dict[str, Painter] = {
    "opacity": paint_opacity,
    "airspace disease": paint_airspace,
    "infiltrate": paint_infiltrate,
    "pneumonia": paint_airspace,
    "consolidation": paint_consolidation,
    "density": paint_density,
    "pulmonary atelectasis": paint_bands,
    "lung diseases, interstitial": paint_interstitial,
    "sarcoidosis": paint_nodes,
    "pulmonary fibrosis": paint_fibrosis,
    "fibrosis": paint_fibrosis,
    "cystic fibrosis": paint_bronchiectasis,
    "bronchiectasis": paint_bronchiectasis,
    "tuberculosis": paint_cicatrix,
    "markings": paint_markings,
    "pulmonary edema": paint_edema,
    "heart failure": paint_edema,
    "pulmonary congestion": paint_congestion,
    "nodule": paint_nodule,
    "mass": paint_mass,
    "granuloma": paint_granuloma,
    "calcified granuloma": paint_granuloma,
    "granulomatous disease": paint_granulomatous,
    "cicatrix": paint_cicatrix,
    "lucency": paint_lucency,
    "blister": paint_lucency,
    "cysts": paint_lucency,
    "cavitation": paint_lucency,
    "bullous emphysema": paint_lucency,
    "pleural effusion": paint_effusion,
    "hemothorax": paint_effusion,
    "costophrenic angle": paint_blunting,
    "sulcus": paint_blunting,
    "pneumothorax": paint_pneumothorax,
    "hydropneumothorax": paint_pneumothorax,
    "hemopneumothorax": paint_pneumothorax,
    "thickening": paint_thickening,
    "lung": paint_lung,
    "lymph nodes": paint_nodes,
    "mediastinum": paint_mediastinum,
    "trachea, carina": paint_nodes,
    "pulmonary artery": paint_pulmonary_artery,
    "hypertension, pulmonary": paint_pulmonary_artery,
    "hernia, hiatal": paint_hiatal_hernia,
    "epicardial fat": paint_fat,
    "adipose tissue": paint_fat,
}
