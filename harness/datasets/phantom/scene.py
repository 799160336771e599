"""What findings act on: one chest's anatomy, its two canvases, and where in the lungs a code points."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.datasets.iu.mesh import MeshCode
from harness.datasets.phantom.anatomy import SIDES, Anatomy, Point, lateral_point, lung_point
from harness.datasets.phantom.raster import PLAIN, Canvas, Pair, Plane, Profile, Shading


def _per_side() -> dict[str, float]:
    return dict.fromkeys(SIDES, 0.0)


@dataclass(slots=True)
class Scene:
    """A chest being drawn.

    Attributes:
        fluid: side -> height of pleural fluid above the costophrenic angle, image fraction.
        collapse: side -> width of a pneumothorax, image fraction.
    """

    anatomy: Anatomy
    frontal: Canvas
    lateral: Canvas
    fluid: dict[str, float] = field(default_factory=_per_side)
    collapse: dict[str, float] = field(default_factory=_per_side)

    def both(self, plane: Plane, amount: float, site: Site, radii: Pair, shading: Shading = PLAIN) -> None:
        """The same lesion on both views; on the lateral one the other lung's air dilutes it."""
        self.frontal.ellipse(plane, amount, site.frontal(self.anatomy), radii, shading)
        weight = 0.85 if plane in (Plane.FILL, Plane.LUNG) else 1.0
        self.lateral.ellipse(plane, weight * amount, site.lateral(self.anatomy), radii, shading)

    def line(
        self,
        plane: Plane,
        amount: float,
        sites: list[Site],
        radii: Pair,
        *,
        soft: float = 0.006,
        profile: Profile = Profile.BALL,
    ) -> None:
        """A line through the same places on both views."""
        front = [site.frontal(self.anatomy) for site in sites]
        side = [site.lateral(self.anatomy) for site in sites]
        self.frontal.stroke(plane, amount, front, radii, soft=soft, profile=profile)
        self.lateral.stroke(plane, 0.8 * amount, side, radii, soft=soft, profile=profile)


@dataclass(frozen=True, slots=True)
class Site:
    """A place in one lung, each from 0 to 1: mediastinum to wall, apex to base, sternum to rear."""

    side: str
    across: float
    down: float
    back: float

    def frontal(self, anatomy: Anatomy) -> Point:
        """Position on the frontal view."""
        return lung_point(anatomy, self.side, self.across, self.down)

    def lateral(self, anatomy: Anatomy) -> Point:
        """Position on the lateral view."""
        return lateral_point(anatomy, self.back, self.down)

    def moved(self, across: float = 0.0, down: float = 0.0, back: float = 0.0) -> Site:
        """A neighbouring place, kept inside the lung."""
        return Site(
            self.side,
            min(max(self.across + across, 0.03), 0.97),
            min(max(self.down + down, 0.02), 0.99),
            min(max(self.back + back, 0.05), 0.95),
        )


# place -> (across, down, back), and the side it implies where the code names none
PLACES: dict[str, tuple[float, float, float]] = {
    "apex": (0.45, 0.13, 0.50),
    "upper lobe": (0.52, 0.32, 0.42),
    "middle lobe": (0.42, 0.74, 0.24),
    "lingula": (0.58, 0.76, 0.24),
    "retrocardiac": (0.22, 0.84, 0.66),
    "lower lobe": (0.52, 0.80, 0.72),
    "base": (0.50, 0.89, 0.62),
    "hilum": (0.17, 0.46, 0.50),
    "paratracheal": (0.06, 0.24, 0.45),
    "cardiophrenic angle": (0.14, 0.92, 0.22),
}
_IMPLIED_SIDE = {"middle lobe": "right", "lingula": "left", "retrocardiac": "left", "paratracheal": "right"}
_ANYWHERE = ("upper lobe", "lower lobe", "hilum", "base")


def sides_of(code: MeshCode, rng: random.Random, default: str = "one") -> tuple[str, ...]:
    """Sides that a code names or implies; else one by the study's seed, or both for ``default="both"``."""
    if code.sides:
        return code.sides
    for place, side in _IMPLIED_SIDE.items():
        if code.has(place):
            return (side,)
    if default == "both" or code.has("diffuse", "scattered"):
        return SIDES
    return (rng.choice(SIDES),)


def place_of(code: MeshCode, rng: random.Random, anywhere: tuple[str, ...] = _ANYWHERE) -> str:
    """The most specific place a code names, or one of ``anywhere`` by the study's seed."""
    return next((place for place in PLACES if code.has(place)), None) or rng.choice(anywhere)


def sites_of(
    code: MeshCode, rng: random.Random, *, default_sides: str = "one", anywhere: tuple[str, ...] = _ANYWHERE
) -> list[Site]:
    """Where to draw a code: one site per side, or several for ``multiple`` and ``scattered``."""
    sites = []
    several = code.has("multiple", "scattered", "multilobar")
    for side in sides_of(code, rng, default_sides):
        for _ in range(rng.randint(3, 4) if several else 1):
            across, down, back = PLACES[place_of(code, rng, anywhere)]
            spread = 0.16 if several else 0.05
            site = Site(side, across, down, back)
            sites.append(site.moved(*(rng.uniform(-spread, spread) for _ in range(3))))
    return sites


def strength(code: MeshCode) -> float:
    """Degree as a factor: 0.7 borderline, 0.85 mild, 0.95 unstated, 1.05 moderate, 1.25 severe."""
    return {1: 0.7, 2: 0.85, 2.5: 0.95, 3: 1.05, 4: 1.25}[code.severity]


Shaper = Callable[[Anatomy, MeshCode, random.Random], None]
"""Changes a patient's shape before anything is drawn."""

Painter = Callable[[Scene, MeshCode, random.Random], None]
"""Adds to a drawn chest."""
