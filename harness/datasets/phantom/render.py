"""Drawing one patient: anatomy shaped by the codes, findings painted on it, both views exposed."""

from __future__ import annotations

import hashlib
import random

import numpy as np
from numpy.typing import NDArray

from harness.datasets.iu.mesh import MeshCode, parse
from harness.datasets.phantom import bones, devices, normal, shapes
from harness.datasets.phantom import findings as phantom_findings
from harness.datasets.phantom.acquisition import device_of
from harness.datasets.phantom.anatomy import normal_anatomy
from harness.datasets.phantom.film import expose, frontal_attenuation, lateral_attenuation
from harness.datasets.phantom.patient import Patient
from harness.datasets.phantom.raster import Canvas
from harness.datasets.phantom.scene import Scene

SHAPERS = bones.SHAPERS | shapes.SHAPERS
PAINTERS = bones.PAINTERS | devices.PAINTERS | phantom_findings.PAINTERS


def render_patient(patient: Patient, size: int) -> NDArray[np.uint8]:
    """Frontal and lateral phantom, uint8 (2, size, size)."""
    scene = build_scene(patient, size)
    noise = _random(patient.study_id, "noise")
    device = device_of(patient.acquisition)
    out = np.empty((2, size, size), dtype=np.uint8)
    for index, attenuation in enumerate((frontal_attenuation(scene), lateral_attenuation(scene))):
        out[index] = expose(attenuation, scene.anatomy, noise, device)
    return out


def build_scene(patient: Patient, size: int) -> Scene:
    """Anatomy shaped by the codes, and both canvases with everything to draw on them."""
    anatomy = normal_anatomy(_random(patient.study_id, "anatomy"), patient.age, patient.sex)
    codes = [parse(code) for code in sorted(set(patient.codes))]
    for code in codes:
        shaper = SHAPERS.get(code.heading)
        if shaper is not None:
            shaper(anatomy, code, _finding_random(patient, code))
    scene = Scene(anatomy, Canvas(size), Canvas(size))
    normal.draw_frontal(scene.frontal, anatomy, _random(patient.study_id, "frontal"))
    normal.draw_lateral(scene.lateral, anatomy, _random(patient.study_id, "lateral"))
    for code in codes:
        painter = PAINTERS.get(code.heading)
        if painter is not None:
            painter(scene, code, _finding_random(patient, code))
    return scene


def _seed(*parts: str) -> int:
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")


def _random(*parts: str) -> random.Random:
    return random.Random(_seed(*parts))


def _finding_random(patient: Patient, code: MeshCode) -> random.Random:
    """Randomness of one finding: the same for its shaper and its painter, whatever else the study has."""
    places = sorted(code.qualifiers - {"borderline", "mild", "moderate", "severe", "small", "large"})
    return _random(patient.study_id, "finding", code.heading, *places)
