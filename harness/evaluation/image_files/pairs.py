"""MS-SSIM of generated images with the real images of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.image_files.folders import ImageSet
from harness.evaluation.image_files.sides import Sides, with_interval
from harness.evaluation.score_files import Score
from harness.metrics.images.extractors import Floats, Image
from harness.metrics.images.ms_ssim import SMALLEST, MsSsim, similarity

PAIRS = "ms_ssim"


@dataclass(frozen=True, slots=True)
class PairScores:
    """Numbers of pairs, or why there are none."""

    scores: list[Score] = field(default_factory=list)
    per_study: dict[str, Floats] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)


def pair_scores(sides: Sides) -> PairScores:
    """MS-SSIM of all pairs of one size; images of other sizes are counted, never resized to fit."""
    if (reason := MsSsim().unavailable()) is not None:
        return PairScores(unavailable={PAIRS: reason})
    real, generated = sides.real, sides.generated
    place = {name: number for number, name in enumerate(real.names)}
    pairs = [(place[name], number) for number, name in enumerate(generated.names) if name in place]
    same = [(a, b) for a, b in pairs if real.shapes[a] == generated.shapes[b]]
    if not same:
        why = "no pair has images of one size" if pairs else "no generated image has the name of a real one"
        return PairScores(unavailable={PAIRS: why})
    values = _similarities(real, generated, same)
    each = np.full(len(generated), np.nan)
    each[[b for _, b in same]] = values
    weights = sides.weights()[1][:, [b for _, b in same]]
    totals = weights.sum(axis=1)
    samples = np.divide(weights @ values, totals, out=np.full(len(weights), np.nan), where=totals > 0)
    signature = (
        f"{PAIRS}|sets:pairs-by-name|input:grey,{SMALLEST}-bilinear-if-smaller|window:gauss11,1.5|scales:5"
        "|impl:harness,as-torchmetrics|v:1"
    )
    score = Score(PAIRS, with_interval(values.mean(), samples, len(values)), signature, "images", True)
    note = f"{len(same)} pairs of {len(generated)} generated images"
    note += f"; {len(pairs) - len(same)} pairs are of two sizes: left out" if len(pairs) > len(same) else ""
    alone = len(real) - len(pairs)
    note += f"; real images without a partner, left out: {alone}" if alone else ""
    return PairScores([score], {PAIRS: each}, {PAIRS: note})


def _similarities(real: ImageSet, generated: ImageSet, pairs: list[tuple[int, int]]) -> Floats:
    """(n,), some pairs of one size at a time."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for number, (first, _) in enumerate(pairs):
        by_shape.setdefault(real.shapes[first], []).append(number)
    values = np.empty(len(pairs))
    for members in by_shape.values():
        sides = (
            real.folder.images([real.names[pairs[number][0]] for number in members]),
            generated.folder.images([generated.names[pairs[number][1]] for number in members]),
        )
        start = 0
        for ours, theirs in zip(*sides, strict=True):
            values[members[start : start + len(ours)]] = similarity(_grey(ours), _grey(theirs))
            start += len(ours)
    return values


def _grey(images: Sequence[Image]) -> list[NDArray[np.float32]]:
    """Each as one channel: of a pair, one image may be grey and the other one in colour."""
    return [image.reshape(*image.shape[:2], -1).mean(-1, dtype=np.float32) for image in images]
