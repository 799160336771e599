"""Loss within a modality, graded: an image is blurred, noisy or cut; words of a text are lost.

A corruption is a pure function of the image or text, its amount, and the id of the study. A larger amount
loses more of the same: noise is one draw that is scaled, windows lie within each other, and words that are
lost stay lost. The amounts of blur and noise are those of ImageNet-C (Hendrycks and Dietterich 2019).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.core.arguments import of_type, whole_number
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean

Image = NDArray[np.uint8]
Content = TypeVar("Content", Image, str)

VERSION = 1
"""Raised whenever a corruption gives other images or texts: answers to the earlier ones are not used then."""

_WIDTH = 224
"""Pixels: the width of the images for which ImageNet-C gives the width of its blur."""


@dataclass(frozen=True, slots=True)
class Corruption:
    """A way in which a part of a modality is lost.

    Attributes:
        name: as ``--corrupt`` takes it.
        of: ``image`` or ``text``.
        unit: of an amount.
        amounts: of levels 1 to 5, growing.
        most: the largest amount that makes sense.
        about: what happens, in one line.
        source: where the amounts are from.
    """

    name: str
    of: str
    unit: str
    amounts: tuple[float, ...]
    most: float
    about: str
    source: str

    def level(self, amount: float) -> float:
        """The level of an amount; between two levels, and above the last one, by linear interpolation."""
        ends = (0.0, *self.amounts)
        if amount > ends[-1]:
            return len(self.amounts) + (amount - ends[-1]) / (ends[-1] - ends[-2])
        return float(np.interp(amount, ends, range(len(ends))))


_IMAGENET_C = "Hendrycks and Dietterich 2019"

CORRUPTIONS: Mapping[str, Corruption] = {
    each.name: each
    for each in (
        Corruption(
            "blur",
            "image",
            f"standard deviation of a Gaussian, in pixels of an image {_WIDTH} pixels wide",
            (1.0, 2.0, 3.0, 4.0, 6.0),
            float(_WIDTH),
            "the image is convolved with a Gaussian",
            _IMAGENET_C,
        ),
        Corruption(
            "noise",
            "image",
            "standard deviation, as a share of the range from black to white",
            (0.08, 0.12, 0.18, 0.26, 0.38),
            10.0,
            "Gaussian noise is added to each pixel, and the sum is clipped",
            _IMAGENET_C,
        ),
        Corruption(
            "crop",
            "image",
            "share of the area that is lost",
            (0.1, 0.25, 0.4, 0.6, 0.8),
            1.0,
            "what lies outside a window, whose place depends on the study, turns black",
            "levels of this harness",
        ),
        Corruption(
            "words",
            "text",
            "share of the words that are lost",
            (0.1, 0.3, 0.5, 0.7, 0.9),
            1.0,
            "words are left out, at places that depend on the study; a text of some words keeps one",
            "levels of this harness",
        ),
    )
}
"""Name -> corruption."""


def corruption_named(name: str) -> Corruption:
    """A corruption by its name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in CORRUPTIONS:
        raise UnknownNameError(
            f"no corruption {name}, but {', '.join(CORRUPTIONS)}", did_you_mean(name, CORRUPTIONS)
        )
    return CORRUPTIONS[name]


def amount_of(corruption: Corruption, level: int) -> float:
    """The amount of a level; level 0 loses nothing.

    Raises:
        HarnessError: there is no such level.
    """
    if not 0 <= level <= len(corruption.amounts):
        raise HarnessError(
            f"{corruption.name} has no level {level}", f"levels are 0 to {len(corruption.amounts)}"
        )
    return (0.0, *corruption.amounts)[level]


def corrupt(
    content: Content,
    name: str,
    level: int | None = None,
    *,
    amount: float | None = None,
    study_id: str = "",
    modality: str = "",
) -> Content:
    """An image or a text of which a part is lost.

    Args:
        content: uint8 image (H, W) or (H, W, C), or a text.
        name: ``blur``, ``noise`` or ``crop`` for an image, ``words`` for a text.
        level: 0, nothing is lost, to 5.
        amount: in place of a level, in the unit of the corruption (``CORRUPTIONS[name].unit``).
        study_id: id of the study; what is drawn at random depends on it and on ``modality`` alone.
        modality: name of the view, or ``context``.

    Returns:
        The same shape and type; the content itself is not changed.

    Raises:
        UnknownNameError: no such corruption.
        HarnessError: neither or both of level and amount, one that is out of range, or the wrong content.
    """
    corruption = corruption_named(name)
    if (level is None) == (amount is None):
        raise HarnessError(f"{name}: give a level or an amount, one of the two")
    if level is None:
        size = float(of_type(amount, (int, float, np.integer, np.floating), "amount", "a number"))
    else:
        size = amount_of(corruption, whole_number(level, "level", 0))
    if not 0.0 <= size <= corruption.most:
        raise HarnessError(f"{name}={size:g}: out of range", f"0 to {corruption.most:g}: {corruption.unit}")
    if isinstance(content, str):
        if corruption.of != "text":
            raise HarnessError(f"{name} is for images, not for a text")
        return _words(content, size, _generator(study_id, modality, name)) if size else content
    if not isinstance(content, np.ndarray):
        raise HarnessError(f"{name} takes {_TAKES[corruption.of]}")
    if corruption.of != "image" or content.dtype != np.uint8 or content.ndim not in (2, 3):
        raise HarnessError(f"{name} takes {_TAKES[corruption.of]}")
    if not size:
        return content.copy()
    return _IMAGES[name](content, size, _generator(study_id, modality, name))


_TAKES = {"image": "a uint8 image (H, W) or (H, W, C)", "text": "a text"}


def _generator(study_id: str, modality: str, name: str) -> np.random.Generator:
    """Draws of one study, modality and corruption: the same at every amount."""
    digest = hashlib.blake2b(f"{study_id}\0{modality}\0{name}".encode(), digest_size=8).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def _blur(image: Image, amount: float, generator: np.random.Generator) -> Image:
    """Rows, then columns; beyond its edges an image goes on as its own reflection."""
    scale = amount * image.shape[1] / _WIDTH
    rows, columns = (_gaussian(length, scale) for length in image.shape[:2])
    return _rounded(np.einsum("ih,hw...,jw->ij...", rows, image.astype(np.float64), columns, optimize=True))


@lru_cache(maxsize=64)
def _gaussian(length: int, deviation: float) -> NDArray[np.float64]:
    """(length, length): each row has the weights of a line of pixels for one blurred pixel; they sum to 1."""
    reach = int(4.0 * deviation + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / deviation) ** 2)
    place = (np.arange(length)[:, None] + offsets) % (2 * length)
    place = np.minimum(place, 2 * length - 1 - place)
    matrix = np.zeros((length, length))
    np.add.at(matrix, (np.arange(length)[:, None], place), weights / weights.sum())
    return matrix


def _noise(image: Image, amount: float, generator: np.random.Generator) -> Image:
    return _rounded(image + 255.0 * amount * generator.standard_normal(image.shape))


def _crop(image: Image, amount: float, generator: np.random.Generator) -> Image:
    """The window keeps the image's shape. Its two margins have one ratio at every amount: windows nest."""
    kept = np.zeros_like(image)
    side = (1.0 - amount) ** 0.5
    edges = []
    for length, ratio in zip(image.shape, generator.random(2), strict=False):
        first = round(ratio * (1.0 - side) * length)
        edges.append(slice(first, max(first, length - round((1.0 - ratio) * (1.0 - side) * length))))
    window = tuple(edges)
    kept[window] = image[window]
    return kept


def _words(text: str, amount: float, generator: np.random.Generator) -> str:
    """Words are lost in a drawn order; half a word counts as one, and the last one stays."""
    words = text.split()
    count = min(int(amount * len(words) + 0.5), len(words) - 1)
    if count < 1:
        return text
    lost = {*generator.permutation(len(words))[:count].tolist()}
    return " ".join(word for place, word in enumerate(words) if place not in lost)


def _rounded(values: NDArray[np.float64]) -> Image:
    return np.clip(np.rint(values), 0.0, 255.0).astype(np.uint8)


_IMAGES: Mapping[str, Callable[[Image, float, np.random.Generator], Image]] = {
    "blur": _blur,
    "noise": _noise,
    "crop": _crop,
}
