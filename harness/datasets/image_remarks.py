"""What ``harness data check`` says of images that can be read: small, flat, repeated, in two splits.

Images are compared by their decoded pixels, so that a copy in another format is the same image; the views of
one study also by a thumbnail, so that a copy with losses is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from harness.datasets.images.decode import ImageFacts
from harness.datasets.images.pixels import ImageFile
from harness.datasets.readers.records import Problem

_SMALL = 32
_LARGEST, _MEAN = 6, 1.0
"""How far grey values of two thumbnails of one image may differ, each and on average; of 255."""

Facts = Mapping[tuple[Path, str], ImageFacts]
"""What each file holds, by path and digest of its source."""


@dataclass(frozen=True, slots=True)
class StudyImage:
    """An image of a study; ``study`` is None where a file of its own is not known."""

    study: str
    view: str
    split: str
    source: ImageFile


def image_remarks(images: Sequence[StudyImage], facts: Facts) -> Iterable[Problem]:
    """All remarks; an image without facts is unreadable and named elsewhere."""
    for remarks in (_small, _shared, _flat, _repeated):
        yield from remarks(images, facts)


def _small(images: Sequence[StudyImage], facts: Facts) -> Iterable[Problem]:
    places = {_key(each): each.source.where for each in images}
    for key, image in facts.items():
        if min(image.width, image.height) < _SMALL:
            message = f"{key[0].name} has {image.width} x {image.height} pixels; it is enlarged"
            yield Problem("small-image", places[key], message, fatal=False)


def _shared(images: Sequence[StudyImage], facts: Facts) -> Iterable[Problem]:
    """One problem for each image whose content belongs to studies of two splits."""
    first: dict[str, StudyImage] = {}
    reported: set[str] = set()
    for each in images:
        if _key(each) not in facts:
            continue
        digest = facts[_key(each)].pixels
        other = first.setdefault(digest, each)
        if other.split != each.split and digest not in reported:
            reported.add(digest)
            message = (
                f"the image of {each.study} ({each.split}) is also that of {other.study} ({other.split}), "
                f"{other.source.where}; the studies stand"
            )
            hint = "a test image that was trained on says little"
            yield Problem("image-in-two-splits", each.source.where, message, hint, fatal=False)


def _flat(images: Sequence[StudyImage], facts: Facts) -> Iterable[Problem]:
    """One remark on all views that are one grey or colour: they stand for views that the studies lack."""
    own = [each for each in images if (key := _key(each)) in facts and facts[key].flat]
    if own:
        message = f"{len(own)} views are one grey or one colour; {own[0].view} of {own[0].study} is the first"
        hint = "such an image counts as present: leave out a view that the study lacks"
        yield Problem("flat-image", own[0].source.where, message, hint, fatal=False)


def _repeated(images: Sequence[StudyImage], facts: Facts) -> Iterable[Problem]:
    """A remark on studies with two views of one content, and one on images that several studies share."""
    views: dict[str, list[StudyImage]] = {}
    studies: dict[str, dict[str, StudyImage]] = {}
    for each in images:
        if _key(each) in facts:
            views.setdefault(each.study, []).append(each)
            studies.setdefault(facts[_key(each)].pixels, {}).setdefault(each.study, each)
    twice = [pair for own in views.values() if (pair := _copies(own, facts)) is not None]
    if twice:
        first, second = twice[0]
        encoded = sum(facts[_key(one)].digest != facts[_key(other)].digest for one, other in twice)
        message = f"{len(twice)} studies have one image as two views" + (
            f" ({encoded} of them in two encodings)" if encoded else ""
        )
        message += f"; {first.view} and {second.view} of {first.study} are the first"
        hint = "leave out the view that the study lacks"
        yield Problem("same-image-as-view", first.source.where, message, hint, fatal=False)
    shared = [list(own.values()) for own in studies.values() if len(own) > 1]
    if shared:
        first, second = shared[0][:2]
        number = sum(map(len, shared))
        message = (
            f"{len(shared)} images belong to {number} studies; those of {first.study} and {second.study}"
        )
        hint = "a stand-in for views that studies lack counts as present: leave it out"
        yield Problem("shared-image", second.source.where, f"{message} are the first", hint, fatal=False)


def _copies(views: Sequence[StudyImage], facts: Facts) -> tuple[StudyImage, StudyImage] | None:
    """The first two views of a study that show the same, whatever format and compression they have."""
    for one, other in combinations(views, 2):
        ours, theirs = facts[_key(one)], facts[_key(other)]
        if ours.pixels == theirs.pixels or (not ours.flat and _alike(ours.thumbnail, theirs.thumbnail)):
            return one, other
    return None


def _alike(thumbnail: bytes, other: bytes) -> bool:
    differences = [abs(ours - theirs) for ours, theirs in zip(thumbnail, other, strict=True)]
    return max(differences) <= _LARGEST and sum(differences) <= _MEAN * len(differences)


def _key(image: StudyImage) -> tuple[Path, str]:
    return image.source.path, image.source.digest
