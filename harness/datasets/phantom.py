"""Chest phantoms: a frontal and a lateral picture drawn from a study's MeSH codes, the same ones every time.

A picture is a function of (study id, codes, age, sex, image size, RENDERER_VERSION). The patient's own anatomy depends on
the study id alone, so the same patient with and without a code differs by that code.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets import phantom_anatomy as chest
from harness.datasets.mesh import MeshCode, parse
from harness.datasets.phantom_anatomy import SIDES, Anatomy
from harness.datasets.phantom_findings import PAINTERS, SHAPERS
from harness.datasets.phantom_raster import Canvas, FloatImage, Plane
from harness.datasets.phantom_scene import Scene

RENDERER_VERSION = 1
"""Raise it whenever a pixel changes: caches and the dataset's fingerprint carry it."""

_CONTRAST, _GAIN = 1.25, 1.35


@dataclass(frozen=True, slots=True)
class Patient:
    """What the renderer needs to know of a study; ``sex`` is ``female``, ``male`` or None."""

    study_id: str
    codes: tuple[str, ...]
    age: float | None = None
    sex: str | None = None


def render(patient: Patient, size: int = 128) -> NDArray[np.uint8]:
    """Frontal and lateral phantom, uint8 (2, size, size); bright is dense, the patient's right is image left."""
    scene = build_scene(patient, size)
    noise = np.random.Generator(np.random.Philox(_seed(patient.study_id, "noise")))
    out = np.empty((2, size, size), dtype=np.uint8)
    for index, attenuation in enumerate((_frontal_attenuation(scene), _lateral_attenuation(scene))):
        out[index] = _expose(attenuation, scene.anatomy, noise)
    return out


def render_many(patients: Sequence[Patient], size: int = 128) -> Iterator[NDArray[np.uint8]]:
    """``render`` for each patient, in order."""
    for patient in patients:
        yield render(patient, size)


def build_scene(patient: Patient, size: int) -> Scene:
    """Anatomy shaped by the codes, and both canvases with everything drawn on them."""
    anatomy = chest.normal_anatomy(_random(patient.study_id, "anatomy"), patient.age, patient.sex)
    codes = [parse(code) for code in dict.fromkeys(patient.codes)]
    for code in codes:
        shaper = SHAPERS.get(code.heading)
        if shaper is not None:
            shaper(anatomy, code, _finding_random(patient, code))
    scene = Scene(anatomy, Canvas(size), Canvas(size))
    chest.draw_frontal(scene.frontal, anatomy, _random(patient.study_id, "frontal"))
    chest.draw_lateral(scene.lateral, anatomy, _random(patient.study_id, "lateral"))
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
    return _random(patient.study_id, "finding", code.heading)


def _frontal_attenuation(scene: Scene) -> FloatImage:
    anatomy, size = scene.anatomy, scene.frontal.size
    planes = scene.frontal.draw()
    masks = [chest.lung_mask(anatomy, side, size) for side in SIDES]
    x, y = chest.pixel_axes(size)
    for side, mask in zip(SIDES, masks, strict=True):
        across = (
            np.float32(chest.sign_of(side))
            * (x - np.float32(anatomy.midline))
            / np.float32(anatomy.half_width)
        )
        if scene.collapse[side]:
            _open_pleura(planes, mask, chest.lung_mask(anatomy, side, size, scene.collapse[side]))
        if scene.fluid[side]:
            floor = np.float32(anatomy.dome[side] + anatomy.dome_height + 0.01)
            meniscus = np.float32(scene.fluid[side]) * (
                np.float32(0.62) + np.float32(0.5) * np.clip(across, 0, 1) ** 3
            )
            planes[Plane.FILL] += mask * chest.smooth_step(y - (floor - meniscus), 0.035)
    return chest.compose_frontal(planes, anatomy, masks)


def _lateral_attenuation(scene: Scene) -> FloatImage:
    anatomy, size = scene.anatomy, scene.lateral.size
    planes = scene.lateral.draw()
    masks = [chest.lateral_lung_mask(anatomy, side, size) for side in SIDES]
    x, y = chest.pixel_axes(size)
    for side, mask in zip(SIDES, masks, strict=True):
        if scene.collapse[side]:
            inside = chest.lateral_lung_mask(anatomy, side, size, 0.6 * scene.collapse[side])
            _open_pleura(planes, mask, inside, 0.5)
        if scene.fluid[side]:
            floor = chest.lateral_diaphragm_y(anatomy, side, np.float32(0.5 + 0.34 * anatomy.depth))
            curve = np.float32(0.75) + np.float32(0.7) * np.abs((x - 0.52) / np.float32(0.34)) ** 3
            level = np.float32(floor) - np.float32(scene.fluid[side]) * curve
            planes[Plane.FILL] += np.float32(0.8) * mask * chest.smooth_step(y - level, 0.04)
    return chest.compose_lateral(planes, anatomy, masks)


def _open_pleura(planes: FloatImage, mask: FloatImage, inside: FloatImage, share: float = 1.0) -> None:
    """A pneumothorax: beyond the collapsed lung's edge nothing but air, and the edge itself a fine line."""
    gap = np.clip(mask - inside, 0, 1)
    planes[Plane.LUNG] *= 1 - np.float32(share) * gap
    planes[Plane.LUNG] -= np.float32(0.20 * share) * gap
    planes[Plane.FILL] += np.float32(0.18 * share) * inside
    line = 4 * inside * (1 - inside) * mask
    planes[Plane.LUNG] += np.float32(0.5 * share) * line


def _expose(attenuation: FloatImage, anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, quantum noise and the film's response: attenuation to uint8 brightness."""
    image = attenuation
    for _ in range(round(2 * anatomy.blur * image.shape[0] / 128)):
        image = _smooth(image)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(anatomy.noise * image.shape[0] / 128) * (np.float32(0.4) + image)
    image = np.maximum(image + noise, 0)
    film = 1 - np.exp(np.float32(-_GAIN * anatomy.exposure) * image ** np.float32(_CONTRAST))
    return (film * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _smooth(image: FloatImage) -> FloatImage:
    """A 3 x 3 binomial filter; the border repeats."""
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        first, last = (
            padded.take(range(image.shape[axis]), axis),
            padded.take(range(2, image.shape[axis] + 2), axis),
        )
        image = np.float32(0.25) * (first + last) + np.float32(0.5) * image
    return image
