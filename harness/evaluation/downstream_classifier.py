"""The fixed classifier of ``harness downstream``: its findings, features, regressions and scores.

It is asked twice, with different eyes: features of EfficientNet-Lite0, on which texture and sharpness weigh
heavily, and ``coarse`` ones, grey levels of 16 x 16 areas, which hold outlines and no texture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from harness.core.progress import Progress
from harness.core.slugs import slug
from harness.core.types import CHEXPERT_LABELS, Prediction, Reference, Study
from harness.evaluation.benchmark import Benchmark
from harness.metrics.base import Metric
from harness.metrics.diagnosis.decisions import Auroc, Diagnosis
from harness.metrics.images.extractors import EnlargedLite0, Image, digest
from harness.metrics.images.features import features
from harness.metrics.images.shared_space import GRID, coarse
from harness.statistics import bootstrap as statistics
from harness.statistics.estimate import Estimate
from harness.store.arrays import save_array, sound_array

Floats = NDArray[np.float64]

_OF_DATASET = 2
"""Names at the end of the path of a block of features: its dataset, its digest."""


NO_DISEASE = ("No Finding", "Pleural Other", "Fracture", "Support Devices")


FINDINGS = tuple(name for name in CHEXPERT_LABELS if name not in NO_DISEASE)
"""The ten classes. The source of the CoDi XR paper counts ten and does not name them: these are what is left
of CheXpert's fourteen without ``NO_DISEASE``."""


GROUP = "downstream"


VIEW = "frontal"


REGULARISATION = 0.01
"""scikit-learn's ``C`` of every regression."""


ITERATIONS = 2000


FEWEST_POSITIVES = 10
"""Positive test studies of a finding that counts in the macro averages."""


PERMUTATIONS = 5
"""How often the labels of the control are dealt out; its scores are means."""


BLOCK = 128
"""Images whose features are computed and kept together."""


@dataclass(frozen=True, slots=True)
class Score:
    """One of ``DOWNSTREAM_SCORES``.

    Attributes:
        seen: image features of the classifier, ``lite0`` or ``coarse``.
        family, output: metric family, and which of its numbers.
    """

    seen: str
    family: type[Any]
    output: str


SCORES: Mapping[str, Score] = {
    "auroc": Score("lite0", Auroc, "auroc_macro"),
    "f1": Score("lite0", Diagnosis, "f1_macro"),
    "coarse_auroc": Score("coarse", Auroc, "auroc_macro"),
    "coarse_f1": Score("coarse", Diagnosis, "f1_macro"),
}


@dataclass(frozen=True)
class Experiment:
    """What all generators of a run share.

    Attributes:
        findings: those of the ten that can be learned and tested here.
        averaged: those of them with enough positive test studies for the macro averages; all where none has.
        absent: the others -> why.
        train: training studies with the view, a report and labels.
        test: test studies with the view and labels.
        references: labels (n_findings,) of the test studies.
        weights: (B, n_test), patients resampled.
    """

    benchmark: Benchmark
    findings: tuple[str, ...]
    averaged: tuple[str, ...]
    absent: Mapping[str, str]
    train: Sequence[Study]
    test: Sequence[Study]
    references: Sequence[Reference]
    weights: statistics.Weights

    def labels(self, studies: Sequence[Study]) -> Floats:
        """0 or 1, (n_studies, n_findings)."""
        return labels_of(studies, self.findings, self.benchmark.dataset.info.label_names)

    def signature(self, score: str) -> str:
        """Identity of the numbers of a score."""
        seen, family = SCORES[score].seen, SCORES[score].family(multilabel=True)
        names = hashlib.sha256("\0".join(self.averaged).encode()).hexdigest()[:8]
        eyes = f"lite0-{digest(EnlargedLite0().source())}" if seen == "lite0" else f"grey{GRID}x{GRID}"
        parts = [
            f"{GROUP}|image:{VIEW}-from-report",
            f"features:{eyes}",
            f"classifier:standardised-by-real,logistic-l2-C{REGULARISATION:g},balanced",
            f"findings:{len(self.averaged)}-{names},{FEWEST_POSITIVES}-positives",
            f"permutations:{PERMUTATIONS}",
            f"train:{len(self.train)}",
            f"score:{family.signature}",
        ]
        return "|".join(parts)


@dataclass(frozen=True, slots=True)
class Measured:
    """One score of the classifier trained on one set.

    Attributes:
        estimate: mean over the averaged findings.
        samples: bootstrap replicates (B,).
        each: finding -> its own estimate.
    """

    estimate: Estimate
    samples: Floats
    each: Mapping[str, Estimate]


def labels_of(studies: Sequence[Study], findings: Sequence[str], names: Sequence[str]) -> Floats:
    """0 or 1, (n_studies, n_findings); ``names`` are the dataset's labels, in the order of its columns."""
    columns = [names.index(name) for name in findings]
    return np.stack([np.asarray(s.labels, dtype=np.float64)[columns] for s in studies])


def image_features(benchmark: Benchmark, images: Sequence[Image], progress: Progress) -> dict[str, Floats]:
    """Both kinds of features of images: ``lite0`` (n, 1280) and ``coarse`` (n, 256).

    The first are computed block by block; each block is kept in the store under its pixels' digest.
    """
    folder = benchmark.store.root / "downstream" / slug(benchmark.dataset.info.name)
    blocks = []
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        path = folder / f"lite0-{_digest(block)}.npy"
        of_block = sound_array(path, _OF_DATASET)
        if of_block is None:
            of_block = features(EnlargedLite0(), block)
            save_array(path, of_block, _OF_DATASET)
        blocks.append(of_block)
        done = min(start + BLOCK, len(images))
        progress(done / len(images), f"{done}/{len(images)}")
    return {"lite0": np.concatenate(blocks), "coarse": coarse(images)}


def _digest(images: Sequence[Image]) -> str:
    total = hashlib.sha256(f"{EnlargedLite0().preparation} {digest(EnlargedLite0().source())}".encode())
    for image in images:
        total.update(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes())
    return total.hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Eyes:
    """Image features as the classifier sees them: standardised by the moments of the real training images.

    A set of generated images that is too dark or too soft as a whole stays so; with moments of its own, that
    would be forgiven in training and come back at the test.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, real: Floats) -> Self:
        """From the features (n, d) of the real training images; a constant feature keeps its size."""
        deviation = real.std(axis=0)
        return cls(real.mean(axis=0), np.where(deviation > 0, deviation, 1.0))

    def __call__(self, x: Floats) -> Floats:
        """Features (n, d), standardised."""
        standardised: Floats = (x - self.mean) / self.deviation
        return standardised


def classify(train: Floats, labels: Floats, test: Floats) -> Floats:
    """Probabilities (n_test, L) of regressions fitted to standardised features (n, d) and labels (n, L)."""
    from sklearn.linear_model import LogisticRegression

    probabilities = np.empty((len(test), labels.shape[1]))
    for column, truth in enumerate(labels.T):
        model = LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=ITERATIONS)
        probabilities[:, column] = model.fit(train, truth).predict_proba(test)[:, 1]
    return probabilities


def permutations(count: int) -> list[NDArray[np.intp]]:
    """The orders in which the control's labels are dealt out, each (count,); the same in every run."""
    rng = np.random.default_rng(0)
    return [rng.permutation(count) for _ in range(PERMUTATIONS)]


def scored(experiment: Experiment, answers: Sequence[Floats], score: str) -> Measured:
    """A score over the averaged findings, and over each.

    Args:
        answers: probabilities (n_test, L) of one classifier, or of several, whose scores are averaged.
    """
    columns = [experiment.findings.index(name) for name in experiment.averaged]
    value, samples = _mean_values(experiment, answers, score, columns)
    each = {}
    for column, name in enumerate(experiment.findings):
        one, several = _mean_values(experiment, answers, score, [column])
        each[name] = Estimate(one, *statistics.interval(several), len(experiment.references))
    estimate = Estimate(value, *statistics.interval(samples), len(experiment.references))
    return Measured(estimate, samples, each)


def _mean_values(
    experiment: Experiment, answers: Sequence[Floats], score: str, columns: Sequence[int]
) -> tuple[float, Floats]:
    """A score of some findings on all test studies, and its replicates (B,); means over the answers."""
    output = SCORES[score].output
    metric: Metric = SCORES[score].family(multilabel=True)
    truth = [
        Reference(r.id, r.patient_id, labels=r.labels[list(columns)])
        for r in experiment.references
        if r.labels is not None
    ]
    pairs = [
        _values(metric, output, probabilities[:, list(columns)], truth, experiment.weights)
        for probabilities in answers
    ]
    return float(np.mean([value for value, _ in pairs])), np.mean([samples for _, samples in pairs], axis=0)


def _values(
    metric: Metric,
    output: str,
    probabilities: Floats,
    truth: Sequence[Reference],
    weights: statistics.Weights,
) -> tuple[float, Floats]:
    """An output on all test studies, and its replicates (B,)."""
    stats = metric.statistics([Prediction(probabilities=line) for line in probabilities], truth)
    once = statistics.replicates(metric, stats, np.ones((1, len(stats))))[output]
    return float(once[0]), statistics.replicates(metric, stats, weights)[output]
