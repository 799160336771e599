"""How findings of heart, vessels and lungs change a patient's shape before anything is drawn."""

from __future__ import annotations

import random

from harness.datasets.iu.mesh import MeshCode
from harness.datasets.phantom.anatomy import SIDES, Anatomy, sign_of
from harness.datasets.phantom.scene import Shaper, sides_of, strength

_CTR = {1: 0.515, 2: 0.555, 2.5: 0.59, 3: 0.63, 4: 0.70}
"""Severity -> cardiothoracic ratio; a normal heart's is at most 0.5."""


def enlarge_heart(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Raise the cardiothoracic ratio to the degree's; the patient's own heart keeps a small say."""
    if code.has("obscured", "irregular"):
        return
    own = 0.2 * (anatomy.cardiothoracic_ratio - 0.445)
    anatomy.cardiothoracic_ratio = max(anatomy.cardiothoracic_ratio, _CTR[code.severity] + own)


def shape_heart(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """``Heart/small`` narrows it; enlarged chambers widen it a little."""
    if code.has("small"):
        anatomy.cardiothoracic_ratio = 0.36
    elif code.has("enlarged", "prominent"):
        anatomy.cardiothoracic_ratio = max(anatomy.cardiothoracic_ratio, 0.55)


def globular_heart(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """A pericardial effusion makes a large, upright flask."""
    enlarge_heart(anatomy, code, rng)
    anatomy.heart_tilt = 0.3


def congest(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Congestion and edema: thick, redistributed vessels."""
    anatomy.vessels = max(anatomy.vessels, 1.0 + 0.75 * strength(code))
    anatomy.cephalisation = max(anatomy.cephalisation, strength(code))


def shape_lung(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """``Lung/hypoinflation`` and ``Lung/hyperdistention``."""
    if code.has("hypoinflation"):
        deflate(anatomy, code, rng)
    elif code.has("hyperdistention"):
        hyperinflate(anatomy, code, rng)


def deflate(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """High domes, crowded vessels, a heart that lies broad."""
    lift = 0.115 * strength(code)
    for side in SIDES:
        anatomy.dome[side] -= lift
    anatomy.vessels += 0.35
    anatomy.lucency -= 0.10
    anatomy.cardiothoracic_ratio += 0.02


def hyperinflate(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Low flat domes, dark lungs, a narrow heart, deep retrosternal air."""
    drop = 0.075 * strength(code)
    for side in SIDES:
        anatomy.dome[side] = min(anatomy.dome[side] + drop, 0.84)
    anatomy.dome_height = min(anatomy.dome_height, 0.055)
    anatomy.cardiothoracic_ratio = (
        anatomy.cardiothoracic_ratio - 0.05 if anatomy.cardiothoracic_ratio < 0.5 else 0.5
    )
    anatomy.retrosternal = max(anatomy.retrosternal, strength(code))
    anatomy.lucency = min(anatomy.lucency + 0.05, 1.08)
    anatomy.vessels -= 0.15


def destroy_lung(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Emphysema: hyperinflation with few vessels."""
    hyperinflate(anatomy, code, rng)
    anatomy.vessels = min(anatomy.vessels, 0.65)
    anatomy.lucency = 1.1


def shape_diaphragm(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Elevated (on its side) or flattened domes."""
    if code.has("flattened"):
        anatomy.dome_height = 0.035
        for side in SIDES:
            anatomy.dome[side] += 0.035
    elif code.has("elevated"):
        for side in sides_of(code, rng):
            anatomy.dome[side] -= 0.10 * strength(code)


def eventrate(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """A hump on one dome."""
    for side in code.sides or ("right",):
        anatomy.eventration[side] = 0.085 * strength(code)


def shape_aorta(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Tortuous: unfolded; prominent, enlarged or aneurysm: a big knob."""
    degree = strength(code)
    if code.has("tortuous"):
        anatomy.tortuosity = max(anatomy.tortuosity, 0.9 * degree)
        anatomy.aortic_knob += 0.010 * degree
    if code.has("prominent", "enlarged") or "aneurysm" in code.heading:
        anatomy.aortic_knob += 0.028 * degree


def widen_mediastinum(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """A prominent or enlarged mediastinum is a broad one."""
    if code.has("prominent", "enlarged"):
        anatomy.mediastinum += 0.035 * strength(code)


def shift_mediastinum(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Heart and trachea move toward the named side."""
    for side in sides_of(code, rng)[:1]:
        anatomy.mediastinal_shift += 0.055 * sign_of(side)


def lose_volume(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """The side's dome rises and the mediastinum follows."""
    for side in sides_of(code, rng)[:1]:
        anatomy.dome[side] -= 0.07
        anatomy.mediastinal_shift += 0.045 * sign_of(side)


def collapse_base(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """Atelectasis pulls its dome up a little."""
    for side in code.sides:
        anatomy.dome[side] -= 0.022 * strength(code)


def increase_markings(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """``Markings/bronchovascular``: thick vessels."""
    if code.has("bronchovascular") or not code.has("interstitial"):
        anatomy.vessels = max(anatomy.vessels, 1.0 + 0.65 * strength(code))


def degrade_image(anatomy: Anatomy, code: MeshCode, rng: random.Random) -> None:
    """A technically poor film: blurred, noisy, wrongly exposed."""
    anatomy.blur = 1.1
    anatomy.noise = 0.045
    anatomy.exposure *= rng.choice((0.75, 1.3))


SHAPERS: dict[str, Shaper] = {
    "cardiomegaly": enlarge_heart,
    "cardiac shadow": enlarge_heart,
    "heart": shape_heart,
    "heart atria": shape_heart,
    "heart ventricles": shape_heart,
    "pericardial effusion": globular_heart,
    "heart failure": congest,
    "pulmonary congestion": congest,
    "pulmonary edema": congest,
    "hypertension, pulmonary": congest,
    "blood vessels": congest,
    "lung": shape_lung,
    "emphysema": destroy_lung,
    "pulmonary emphysema": destroy_lung,
    "bullous emphysema": destroy_lung,
    "lung, hyperlucent": hyperinflate,
    "pulmonary disease, chronic obstructive": hyperinflate,
    "cystic fibrosis": hyperinflate,
    "diaphragm": shape_diaphragm,
    "diaphragmatic eventration": eventrate,
    "hernia, diaphragmatic": eventrate,
    "aorta": shape_aorta,
    "aorta, thoracic": shape_aorta,
    "aortic aneurysm": shape_aorta,
    "mediastinum": widen_mediastinum,
    "shift": shift_mediastinum,
    "trachea": shift_mediastinum,
    "volume loss": lose_volume,
    "pneumonectomy": lose_volume,
    "pulmonary atelectasis": collapse_base,
    "markings": increase_markings,
    "bronchitis": increase_markings,
    "bronchiolitis": increase_markings,
    "technical quality of image unsatisfactory": degrade_image,
}
