"""Intervals of the metrics of all three tasks contain the truth in at least 90 % of simulated test sets.

A population is a list of patients with one or two studies each, so its value is known. A test set draws
patients from it with replacement. The slow tier repeats the quick one with more simulations; its shares stand
in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.core.types import LabelCounts, Prediction, Reference
from harness.metrics.base import Metric, Statistics
from harness.metrics.clinical.chexpert_rules import ChexpertRulesF1
from harness.metrics.clinical.labels import LABELS, NEGATIVE, POSITIVE, label_statistics
from harness.metrics.diagnosis.decisions import Auroc, Diagnosis
from harness.metrics.diagnosis.operating_points import OperatingPoints
from harness.metrics.diagnosis.proper_scores import Brier, NegativeLogLikelihood
from harness.metrics.diagnosis.selective import RiskCoverage
from harness.metrics.diagnosis.tuned import TunedF1
from harness.metrics.images.alignment import CoarseAlignment, CoarseJointDistance
from harness.metrics.images.distances import Lite0Distance
from harness.metrics.images.ms_ssim import MsSsim
from harness.metrics.text.bleu import Bleu
from harness.metrics.text.cider import Cider, CiderPlain
from harness.metrics.text.meteor import Meteor
from harness.metrics.text.rouge import RougeL, RougeScoreL
from harness.statistics.bootstrap import bootstrap_weights, estimate, gap_interval, replicates
from tests.statistics.test_coverage import SHARES, method

Floats = NDArray[np.float64]

PATIENTS, RESAMPLES, POOL = 450, 300, 2000
"""Of a test set, of a bootstrap, and of the population; two thirds of the patients have one study."""

NARROW = {"f1_macro", "auroc_macro", *(f"chexpert_rules_f1_macro_{size}" for size in (14, 5))}
"""Averages over rare labels too: their intervals are too narrow, and their remarks say so."""


@dataclass(frozen=True)
class Sample:
    """A test set: its metrics with their statistics, and what they are on the whole population.

    Attributes:
        metrics: each with statistics of the test set (n, k) and of the population (m, k).
        patients: of each study of the test set.
    """

    metrics: Sequence[tuple[Metric, Statistics, Statistics]]
    patients: Sequence[str]


def studies_of_patients() -> list[NDArray[np.intp]]:
    """The studies of each patient of the population, numbered."""
    sizes = np.where(np.arange(POOL) % 3 == 0, 2, 1)
    return np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1])


def drawn(rng: np.random.Generator) -> tuple[NDArray[np.intp], list[str]]:
    """Studies of a test set, and the patient of each; drawn twice, a patient counts as two."""
    own = studies_of_patients()
    chosen = [own[place] for place in rng.integers(0, POOL, PATIENTS)]
    patients = [str(number) for number, studies in enumerate(chosen) for _ in studies]
    return np.concatenate(chosen), patients


def answers(probabilities: Floats, labels: Floats) -> tuple[list[Prediction], list[Reference]]:
    references = [Reference(str(place), str(place), labels=row) for place, row in enumerate(labels)]
    return [Prediction(probabilities=row) for row in probabilities], references


def diagnosis() -> Callable[[np.random.Generator], Sample]:
    """A method that is a little too sure, 14 findings from rare to common."""
    rng = np.random.default_rng(11)
    n = sum(map(len, studies_of_patients()))
    probabilities, truth = method(0.2, 1.3)(rng, n)
    labels = (rng.random(truth.shape) < truth).astype(np.float64)
    validation, chance = method(0.2, 1.3)(rng, 300)
    tuned = TunedF1().fitted(*answers(validation, (rng.random(chance.shape) < chance).astype(np.float64)))
    families = (Diagnosis, Auroc, OperatingPoints, RiskCoverage, Brier, NegativeLogLikelihood)
    pooled = {family: family().statistics(*answers(probabilities, labels)) for family in families}
    of_tuned = tuned.statistics(*answers(probabilities, labels))

    def draw(rng: np.random.Generator) -> Sample:
        rows, patients = drawn(rng)
        positives = tuple(int(each) for each in labels[rows].sum(axis=0))
        counts = LabelCounts(tuple(map(str, range(len(SHARES)))), positives)
        metrics: list[tuple[Metric, Statistics, Statistics]] = [
            (family(labels=counts), pooled[family][rows], pooled[family]) for family in families
        ]
        own = TunedF1(labels=counts)
        return Sample([*metrics, (own, of_tuned[rows], of_tuned)], patients)

    return draw


def findings() -> Callable[[np.random.Generator], Sample]:
    """Reports that mention most findings of their reference, and some that are not there."""
    rng = np.random.default_rng(12)
    n = sum(map(len, studies_of_patients()))
    true = rng.random((n, len(LABELS))) < SHARES
    said = np.where(true, rng.random(true.shape) < 0.6, rng.random(true.shape) < 0.5 * SHARES)
    classes = [np.where(each, POSITIVE, NEGATIVE).astype(np.int8) for each in (said, true)]
    pooled = label_statistics(*classes, "positive")

    def draw(rng: np.random.Generator) -> Sample:
        rows, patients = drawn(rng)
        own = label_statistics(classes[0][rows], classes[1][rows], "positive")
        same_labels = pooled.copy()
        same_labels[:, -len(LABELS) :] = own[0, -len(LABELS) :]
        return Sample([(ChexpertRulesF1(), own, same_labels)], patients)

    return draw


SENTENCES = (
    "bony structures are intact .",
    "there is a right lower lobe opacity .",
    "degenerative changes of the spine .",
    "the lungs are clear .",
    "mild cardiomegaly .",
    "no pleural effusion or pneumothorax .",
    "stable appearance of the chest .",
    "the heart is normal in size .",
)


def report(rng: np.random.Generator) -> NDArray[np.intp]:
    """The places of two to five sentences, of which the first are the most frequent."""
    likely = np.arange(len(SENTENCES), 0, -1) / sum(range(len(SENTENCES) + 1))
    return rng.choice(len(SENTENCES), size=int(rng.integers(2, 6)), replace=False, p=likely)


def written(places: NDArray[np.intp]) -> str:
    return " ".join(SENTENCES[place] for place in places)


def texts() -> Callable[[np.random.Generator], Sample]:
    """Reports of a few sentences, about half of which are those of the reference.

    METEOR's jar is asked once, about the whole population.
    """
    rng = np.random.default_rng(13)
    n = sum(map(len, studies_of_patients()))
    predictions, references = [], []
    for number in range(n):
        predictions.append(Prediction(written(report(rng))))
        references.append(Reference(str(number), str(number), written(report(rng))))
    families = [Bleu(), RougeL(), Cider(), CiderPlain(), RougeScoreL(), Meteor()]
    pooled = [
        (metric, metric.statistics(predictions, references))
        for metric in families
        if metric.unavailable() is None
    ]

    def draw(rng: np.random.Generator) -> Sample:
        rows, patients = drawn(rng)
        return Sample([(metric, own[rows], own) for metric, own in pooled], patients)

    return draw


def images() -> Callable[[np.random.Generator], Sample]:
    """Features of real and of generated images with another mean and spread; similarities of pairs."""
    rng = np.random.default_rng(14)
    n, width = sum(map(len, studies_of_patients())), 6
    own = rng.normal(size=(n, 1, width)) * 0.5
    real, generated = np.moveaxis(own + rng.normal(size=(n, 2, width)) * [[[1.0], [1.3]]], 1, 0)
    features = np.concatenate([np.ones((n, 1)), real, generated + 0.2], axis=1)
    similar = np.stack([rng.beta(2, 5, n), np.ones(n)], axis=1)

    def draw(rng: np.random.Generator) -> Sample:
        rows, patients = drawn(rng)
        metrics = [(Lite0Distance(), features[rows], features), (MsSsim(), similar[rows], similar)]
        return Sample(metrics, patients)

    return draw


def pairs() -> Callable[[np.random.Generator], Sample]:
    """Images with a bright area per sentence of their report; a generated image misses some of the areas.

    The space that images and reports share is fitted anew on each test set, as in a run.
    """
    rng = np.random.default_rng(17)
    areas = rng.normal(size=(len(SENTENCES), 16, 16)) * 12

    def image(places: NDArray[np.intp]) -> NDArray[np.uint8]:
        drawing = 120 + areas[places].sum(axis=0) + rng.normal(size=(16, 16)) * 15
        return np.clip(drawing, 0, 255).astype(np.uint8)[:, :, None]

    reports = [report(rng) for _ in range(sum(map(len, studies_of_patients())))]
    real = [image(places) for places in reports]
    generated = [image(places[rng.random(len(places)) < 0.6]) for places in reports]

    def draw(rng: np.random.Generator) -> Sample:
        rows, patients = drawn(rng)
        predictions = [Prediction(images={"frontal": generated[row]}) for row in rows]
        references = [
            Reference(str(number), patient, written(reports[row]), images={"frontal": real[row]})
            for number, (row, patient) in enumerate(zip(rows, patients, strict=True))
        ]
        metrics = [CoarseAlignment(), CoarseJointDistance()]
        own = [(metric, metric.statistics(predictions, references)) for metric in metrics]
        return Sample([(metric, statistics, statistics) for metric, statistics in own], patients)

    return draw


POPULATIONS = {
    "diagnosis": diagnosis,
    "report findings": findings,
    "report text": texts,
    "images": images,
    "images with reports": pairs,
}
BIASED = {"fid_lite0", "fjd_coarse", *(output.name for output in CoarseAlignment.outputs)}
"""Values that depend on the number of studies: the truth is their mean over test sets of this size."""


def coverage(name: str, simulations: int) -> dict[str, float]:
    """Metric output -> share of simulated test sets whose interval contains the truth."""
    draw, rng = POPULATIONS[name](), np.random.default_rng(15)
    ends: dict[str, list[tuple[float, float, float, float]]] = {}
    for number in range(simulations):
        sample = draw(rng)
        weights = bootstrap_weights(sample.patients, RESAMPLES, seed=number)
        for metric, own, population in sample.metrics:
            truth = replicates(metric, population, np.ones((1, len(population))))
            for output, each in estimate(metric, own, weights).items():
                ends.setdefault(output, []).append((each.value, each.lo, each.hi, float(truth[output][0])))
    shares = {}
    for output, rows in ends.items():
        value, lo, hi, true = np.array(rows).T
        target = np.full(len(rows), value.mean()) if output in BIASED else true
        shares[output] = float(np.mean((lo <= target + 1e-12) & (target - 1e-12 <= hi)))
    return shares


def least(simulations: int, errors: float) -> float:
    """So many standard errors of a simulation below 90 %."""
    return 0.9 - errors * float(np.sqrt(0.9 * 0.1 / simulations))


@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_contain_the_truth(name: str) -> None:
    shares = coverage(name, 30)
    assert min(share for output, share in shares.items() if output not in NARROW) >= least(30, 3), shares


@pytest.mark.slow
@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_contain_the_truth_in_many_simulations(name: str) -> None:
    shares = coverage(name, 400)
    assert min(share for output, share in shares.items() if output not in NARROW) >= least(400, 2), shares


@pytest.mark.parametrize("apart", [0.0, 0.04, 0.1])
def test_the_gap_between_groups_is_covered(apart: float) -> None:
    """Three groups of 100, 150 and 200 studies with shares of hits that lie ``apart``, or not at all."""
    rng = np.random.default_rng(16)
    group = np.repeat(np.arange(3), [100, 150, 200])
    weights = np.asarray(bootstrap_weights([str(number) for number in range(len(group))], RESAMPLES))
    inside = 0
    for _ in range(200):
        hit = (rng.random(len(group)) < 0.5 + apart * group / 2).astype(np.float64)
        of_groups = [group == each for each in range(3)]
        values = [hit[members].mean() for members in of_groups]
        samples = np.stack(
            [(weights[:, members] @ hit[members]) / weights[:, members].sum(1) for members in of_groups]
        )
        lo, hi = gap_interval(samples, np.array(values))
        inside += lo <= apart <= hi
    assert inside / 200 >= least(200, 2)
