"""The fixed classifier of ``harness downstream``: its findings, features, regressions and scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from harness.statistics import bootstrap as statistics
from harness.statistics.estimate import Estimate
from harness.store.arrays import load_array, save_array

Floats = NDArray[np.float64]


NO_DISEASE = ("No Finding", "Pleural Other", "Fracture", "Support Devices")


FINDINGS = tuple(name for name in CHEXPERT_LABELS if name not in NO_DISEASE)
"""The ten classes. The source of the CoDi XR paper counts ten and does not name them: these are what is left
of CheXpert's fourteen without ``NO_DISEASE``."""


GROUP = "downstream"


VIEW = "frontal"


REGULARISATION = 0.01
"""scikit-learn's ``C`` of every regression."""


ITERATIONS = 2000


BLOCK = 128
"""Images whose features are computed and kept together."""


SCORES: Mapping[str, tuple[type[Any], str]] = {
    "auroc": (Auroc, "auroc_macro"),
    "f1": (Diagnosis, "f1_macro"),
}
"""What is measured -> metric family and its output."""


@dataclass(frozen=True)
class Experiment:
    """What all generators of a run share.

    Attributes:
        findings: those of the ten that can be learned and tested here.
        absent: the others -> why.
        train: training studies with the view, a report and labels.
        test: test studies with the view and labels.
        references: labels (n_findings,) of the test studies.
        weights: (B, n_test), patients resampled.
    """

    benchmark: Benchmark
    findings: tuple[str, ...]
    absent: Mapping[str, str]
    train: Sequence[Study]
    test: Sequence[Study]
    references: Sequence[Reference]
    weights: Floats

    def labels(self, studies: Sequence[Study]) -> Floats:
        """0 or 1, (n_studies, n_findings)."""
        return labels_of(studies, self.findings, self.benchmark.dataset.info.label_names)

    @property
    def signature(self) -> str:
        """Identity of the numbers, without the score's own part."""
        names = hashlib.sha256("\0".join(self.findings).encode()).hexdigest()[:8]
        parts = [
            f"{GROUP}|image:{VIEW}-from-report",
            f"features:lite0-{digest(EnlargedLite0().source())}",
            f"classifier:standardised,logistic-l2-C{REGULARISATION:g},balanced",
            f"findings:{len(self.findings)}-{names}",
            f"train:{len(self.train)}",
        ]
        return "|".join(parts)


@dataclass(frozen=True, slots=True)
class Measured:
    """One score of the classifier trained on one set.

    Attributes:
        estimate: over all findings.
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


def image_features(benchmark: Benchmark, images: Sequence[Image], progress: Progress) -> Floats:
    """Features (n, 1280) of images, block by block; each is kept in the store under its pixels' digest."""
    folder = benchmark.store.root / "downstream" / slug(benchmark.dataset.info.name)
    blocks = []
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        path = folder / f"lite0-{_digest(block)}.npy"
        of_block = load_array(path)
        if of_block is None:
            of_block = features(EnlargedLite0(), block)
            save_array(path, of_block)
        blocks.append(of_block)
        done = min(start + BLOCK, len(images))
        progress(done / len(images), f"{done}/{len(images)}")
    return np.concatenate(blocks)


def _digest(images: Sequence[Image]) -> str:
    total = hashlib.sha256(f"{EnlargedLite0().preparation} {digest(EnlargedLite0().source())}".encode())
    for image in images:
        total.update(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes())
    return total.hexdigest()[:20]


def classify(train: Floats, labels: Floats, test: Floats) -> Floats:
    """Probabilities (n_test, L) of regressions fitted to features (n, d) and labels (n, L)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    train_scaled, test_scaled = scaler.transform(train), scaler.transform(test)
    probabilities = np.empty((len(test), labels.shape[1]))
    for column, truth in enumerate(labels.T):
        model = LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=ITERATIONS)
        probabilities[:, column] = model.fit(train_scaled, truth).predict_proba(test_scaled)[:, 1]
    return probabilities


def scored(experiment: Experiment, probabilities: Floats, score: str) -> Measured:
    """A score over all findings, and over each."""
    family, output = SCORES[score]
    metric: Metric = family(multilabel=True)
    value, samples = _values(metric, output, probabilities, experiment.references, experiment.weights)
    each = {}
    for column, name in enumerate(experiment.findings):
        alone = [
            Reference(r.id, r.patient_id, labels=r.labels[column : column + 1])
            for r in experiment.references
            if r.labels is not None
        ]
        one, several = _values(
            metric, output, probabilities[:, column : column + 1], alone, experiment.weights
        )
        each[name] = Estimate(one, *statistics.interval(several), len(alone))
    estimate = Estimate(value, *statistics.interval(samples), len(experiment.references))
    return Measured(estimate, samples, each)


def _values(
    metric: Metric, output: str, probabilities: Floats, truth: Sequence[Reference], weights: Floats
) -> tuple[float, Floats]:
    """An output on all test studies, and its replicates (B,)."""
    stats = metric.statistics([Prediction(probabilities=line) for line in probabilities], truth)
    once = statistics.replicates(metric, stats, np.ones((1, len(stats))))[output]
    return float(once[0]), statistics.replicates(metric, stats, weights)[output]
