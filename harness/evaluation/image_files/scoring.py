"""Scores of images that any system generated, from folders of files: no model of it, no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.core.arguments import file_of
from harness.core.errors import HarnessError, UnavailableError, UnknownNameError
from harness.core.names import did_you_mean
from harness.evaluation.image_files.findings import ImageLabels
from harness.evaluation.image_files.folders import FEWEST, ImageFolder, ImageSet
from harness.evaluation.image_files.pairs import PAIRS, pair_scores
from harness.evaluation.image_files.sides import Sides, with_interval
from harness.evaluation.probability_files.cells import Values
from harness.evaluation.probability_files.tables import LabelReading
from harness.evaluation.score_files import Score, Scores
from harness.metrics.images.distances import RESAMPLES
from harness.metrics.images.extractors import (
    Extractor,
    Floats,
    Inception,
    Lite0,
    RadDino,
    XrayDenseNet,
    digest,
)
from harness.metrics.images.neighbours import NEIGHBOURS, Balls, balls, nearer_share, nearer_than, nearest
from harness.metrics.images.sets import frechet_replicates, kid_replicates
from harness.metrics.text.hygiene import Remark
from harness.statistics.estimate import Estimate

GROUP, BY_FINDING = "images", "images by finding"
EXTRACTORS: tuple[Extractor, ...] = (Inception(), XrayDenseNet(), RadDino(), Lite0())

DISTANCES = ("fid", "kid")
SHARES = ("precision", "recall", "density", "coverage")
MEMORISED = "memorised"
_SPLITS = 10
"""Random halvings of the real images that a floor is the mean of."""


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """What is read.

    Attributes:
        real: folder of real test images.
        generated: folder of generated images; a name that both have makes a pair.
        train: folder of the images that the system learned from, for memorisation.
        labels: table with ids, which are names of images, and a column per finding.
        reading: what the table of labels cannot say.
    """

    real: Path | str
    generated: Path | str
    train: Path | str | None = None
    labels: Values | None = None
    reading: LabelReading = field(default_factory=LabelReading)


def score_images(files: ImageFiles, metrics: Sequence[str] | None = None) -> Scores:
    """Score generated images against real ones.

    Args:
        files: folders, and a table of labels.
        metrics: families (``images_lite0``, ``ms_ssim``) or single numbers (``fid_lite0``); default all that
            can run.

    Raises:
        HarnessError: a folder or a file cannot be read, a folder is given twice, too few images, labels that
            do not fit, or an unknown metric.
        UnavailableError: none of the metrics that were named can run.
    """
    wanted = _Wanted.of(metrics, memorised=files.train is not None)
    extractors, unavailable = wanted.extractors()
    folders = _folders(files)
    sets = [ImageSet.read(folder, extractors) for folder in folders]
    real, generated, *train = sets
    labels = None if files.labels is None else ImageLabels.of(files.labels, files.reading, sets[:2])
    sides = Sides.of(real, generated, labels)
    scores: list[Score] = []
    notes: dict[str, str] = {}
    per_study: dict[str, Floats] = {}
    for extractor in extractors:
        measured = _Measured(sides, extractor, train[0] if train else None)
        for score, note in (*measured.distances(), *measured.shares(per_study)):
            if wanted(extractor, score.metric):
                scores.append(score)
                notes |= {score.metric: note} if note else {}
        for name, rows in labels.findings() if labels else ():
            if min(map(len, rows)) < FEWEST:
                few = f"{len(rows[0])} real and {len(rows[1])} generated images, at least {FEWEST} are needed"
                unavailable |= {f"{kind}_{extractor.name}[{name}]": few for kind in DISTANCES}
                continue
            part = _Measured(sides.part(*rows), extractor, None)
            for score, note in part.distances(name):
                if wanted(extractor, score.metric.partition("[")[0]):
                    scores.append(score)
                    notes[score.metric] = note
    if wanted.names(PAIRS, PAIRS):
        pairs = pair_scores(sides)
        scores += pairs.scores
        per_study |= pairs.per_study
        notes |= pairs.notes
        unavailable |= pairs.unavailable
    per_study = {name: values for name, values in per_study.items() if name in {s.metric for s in scores}}
    if metrics and not scores:
        name, reason = next(iter(unavailable.items()))
        raise UnavailableError(f"--metrics {name}: {reason}")
    remarks = (*_oddities(sets), *sides.remarks(), *(labels.remarks if labels else ()))
    return Scores(tuple(scores), unavailable, generated.names, per_study, {}, remarks, notes)


def _folders(files: ImageFiles) -> list[ImageFolder]:
    """Real, generated and, where there is one, training folder; no folder stands for two of them."""
    places = {"real images": files.real, "generated images": files.generated}
    if files.train is not None:
        places["training images"] = files.train
    folders = [ImageFolder.of(file_of(place, side), side) for side, place in places.items()]
    for number, folder in enumerate(folders):
        for other in folders[:number]:
            if folder.path.samefile(other.path):
                raise HarnessError(f"{folder.path}: {other.side} and {folder.side}", "give different folders")
    return folders


def _oddities(sets: Sequence[ImageSet]) -> list[Remark]:
    """What is odd about each set, and which images of one are copies of another's."""
    remarks = [remark for each in sets for remark in each.remarks()]
    real, generated, *train = sets
    remarks += generated.copies(real)
    for each in train:
        remarks += [*generated.copies(each), *real.copies(each)]
    return remarks


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which numbers were asked for; all where none were named."""

    metrics: frozenset[str]

    @classmethod
    def of(cls, metrics: Sequence[str] | None, *, memorised: bool) -> _Wanted:
        wanted = cls(frozenset(metrics or ()))
        kinds = (*DISTANCES, *SHARES, MEMORISED)
        known_names = {PAIRS} | {f"images_{each.name}" for each in EXTRACTORS}
        known_names |= {f"{kind}_{each.name}" for each in EXTRACTORS for kind in kinds}
        for name in metrics or ():
            if name not in known_names:
                raise UnknownNameError(
                    f"--metrics {name}: no such metric of folders of images", did_you_mean(name, known_names)
                )
            if name.startswith(f"{MEMORISED}_") and not memorised:
                raise HarnessError(f"--metrics {name}: it needs the training images", "--train-dir DIR")
        return wanted

    def names(self, family: str, output: str) -> bool:
        return not self.metrics or bool(self.metrics & {family, output})

    def __call__(self, extractor: Extractor, output: str) -> bool:
        return self.names(f"images_{extractor.name}", output)

    def extractors(self) -> tuple[list[Extractor], dict[str, str]]:
        """Extractors that are asked for and can run, and why the numbers of others are not there."""
        able: list[Extractor] = []
        reasons: dict[str, str] = {}
        for each in EXTRACTORS:
            outputs = [f"{kind}_{each.name}" for kind in (*DISTANCES, *SHARES)]
            chosen = [name for name in (*outputs, f"{MEMORISED}_{each.name}") if self(each, name)]
            try:
                each.source()
            except UnavailableError as error:
                reasons |= {name: str(error) for name in chosen if name in outputs or self.metrics}
            else:
                able += [each] if chosen else []
        return able, reasons


@dataclass(frozen=True, slots=True)
class _Measured:
    """Two sets in the features of one extractor."""

    sides: Sides
    extractor: Extractor
    train: ImageSet | None

    @property
    def real(self) -> Floats:
        return self.sides.real_features(self.extractor.name)

    @property
    def generated(self) -> Floats:
        return self.sides.generated_features(self.extractor.name)

    def distances(self, finding: str = "") -> Iterator[tuple[Score, str]]:
        """FID and KID, each with what two halves of the real images score."""
        n, m = len(self.real), len(self.generated)
        ones, weights = (np.ones((1, n)), np.ones((1, m))), self.sides.weights(RESAMPLES)
        tail = [f"resamples:{RESAMPLES},recentred"]
        for kind, measure in zip(DISTANCES, (frechet_replicates, kid_replicates), strict=True):
            value = float(measure(self.real, self.generated, ones)[0])
            samples = measure(self.real, self.generated, weights)
            defined = samples[~np.isnan(samples)]
            moved = samples - (defined.mean() if len(defined) else np.nan) + value
            bounded = np.maximum(moved, 0.0) if kind == "fid" else moved
            floor = [
                float(measure(first, second, (np.ones((1, len(first))),) * 2)[0])
                for first, second in self._halves()
            ]
            note = f"{n} real and {m} generated; two halves of the real ones (n {n // 2}) score "
            note += f"{np.mean(floor):.3g}"
            if kind == "fid" and min(n, m) <= self.extractor.width:
                note += f"; fewer images than features ({self.extractor.width}): too high, read the KID"
            name = f"{kind}_{self.extractor.name}" + (f"[{finding}]" if finding else "")
            parts = [*(["kid:poly3-all"] if kind == "kid" else []), *tail]
            yield self._score(name, with_interval(value, bounded, m), parts, False), note

    def shares(self, per_study: dict[str, Floats]) -> Iterator[tuple[Score, str]]:
        """Precision, recall, density, coverage; memorisation where there are training images."""
        weights = self.sides.weights()
        ours = balls(self.real, self.generated)
        floors = self._ball_floor()
        for kind, values in _of_balls(ours).items():
            side = weights[0] if kind in ("recall", "coverage") else weights[1]
            name = f"{kind}_{self.extractor.name}"
            estimate = with_interval(values.mean(), side @ values / side.sum(axis=1), len(values))
            half = len(self.real) // 2
            note = f"two halves of the real ones (n {half}) score {floors[kind]:.3g}" if floors else ""
            if kind in ("precision", "density"):
                per_study[name] = values
            yield self._score(name, estimate, [f"k:{NEIGHBOURS}"], True), note
        if self.train is not None:
            yield self._memorised(per_study)

    def _memorised(self, per_study: dict[str, Floats]) -> tuple[Score, str]:
        assert self.train is not None
        train = self.train.features[self.extractor.name]
        generated, real = nearest(self.generated, train), nearest(self.real, train)
        samples = nearer_share(generated, real, self.sides.weights()[::-1])
        ones = (np.ones((1, len(generated))), np.ones((1, len(real))))
        name = f"{MEMORISED}_{self.extractor.name}"
        estimate = with_interval(float(nearer_share(generated, real, ones)[0]), samples, len(generated))
        per_study[name] = nearer_than(generated, real, ones[1])[0] / len(real)
        limit = np.quantile(real, 0.05)
        note = (
            f"{len(train)} training images; real ones score 0.5; {np.mean(generated < limit):.1%} of the "
            "generated are nearer to a training image than the nearest 5 % of the real ones"
        )
        return self._score(name, estimate, ["ties:half"], None), note

    def _score(self, name: str, estimate: Estimate, parts: Sequence[str], higher: bool | None) -> Score:
        family, _, finding = name.partition("[")
        fields = [
            family,
            f"d:{self.extractor.width}",
            f"input:{self.extractor.preparation}",
            f"weights:{digest(self.extractor.source())}",
            f"sets:{'pairs-by-name' if self.sides.paired else 'independent'}",
            *([f"finding:{finding.rstrip(']').casefold().replace(' ', '-')}"] if finding else []),
            *parts,
            "v:1",
        ]
        group = BY_FINDING if finding else GROUP
        return Score(name, estimate, "|".join(fields), group, higher)

    def _halves(self) -> Iterator[tuple[Floats, Floats]]:
        rng, half = np.random.default_rng(0), len(self.real) // 2
        for _ in range(_SPLITS):
            order = rng.permutation(len(self.real))
            yield self.real[order[:half]], self.real[order[half : 2 * half]]

    def _ball_floor(self) -> dict[str, float]:
        """Of halves that are large enough for balls; empty where they are not."""
        if len(self.real) // 2 <= NEIGHBOURS:
            return {}
        halves = [_of_balls(balls(first, second)) for first, second in self._halves()]
        return {kind: float(np.mean([each[kind].mean() for each in halves])) for kind in SHARES}


def _of_balls(each: Balls) -> dict[str, Floats]:
    values = (each.in_real, each.in_generated, each.density, each.covered)
    return dict(zip(SHARES, values, strict=True))
