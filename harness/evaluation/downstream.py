"""Downstream value of generated images: one fixed classifier trained on real, on generated, and on both.

The classifier is the same for everybody and chosen without looking at a test study: frozen ImageNet features
of an image, standardised, and one regularised logistic regression per finding. What differs between two rows
is the images alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import __version__
from harness.core.config import RunConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.files import write_atomic
from harness.core.progress import Progress, Reporter
from harness.core.slugs import slug
from harness.core.types import CHEXPERT_LABELS, Prediction, Reference, Study
from harness.evaluation import provenance
from harness.evaluation.ask import Question, ask
from harness.evaluation.benchmark import N_RESAMPLES, Benchmark, open_benchmark, prepare_images
from harness.evaluation.entries import PROTOCOL, Entry
from harness.evaluation.requests import GenerateView
from harness.evaluation.synthesis import views
from harness.evaluation.trial import Trial
from harness.method.card import card_facts
from harness.method.fingerprint import code_fingerprint
from harness.metrics.base import Metric
from harness.metrics.diagnosis.decisions import Auroc, Diagnosis
from harness.metrics.images.extractors import EnlargedLite0, Image, digest
from harness.metrics.images.features import features
from harness.statistics import bootstrap as statistics
from harness.statistics.estimate import Estimate
from harness.store.arrays import load_array, save_array
from harness.store.manifest import BootstrapFacts, Downstream, DownstreamFinding, Manifest, Triple
from harness.store.results import Measurement
from harness.store.row_labels import DOWNSTREAM, TRAINED_ON

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
        return _labels(studies, self.findings, self.benchmark.dataset.info.label_names)

    @property
    def signature(self) -> str:
        """Identity of the numbers, without the score's own part."""
        names = hashlib.sha256("\0".join(self.findings).encode()).hexdigest()[:8]
        parts = [
            f"{GROUP}|{VIEW}-from-report",
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


def measure(settings: RunSettings, limit: int | None, reporter: Reporter) -> list[Measurement]:
    """Train generators that are not trained, generate what is not generated, classify, store.

    Args:
        settings: dataset, generators (``methods``), preset, seeds, store; ``limit`` must be None.
        limit: the classifier learns from the first so many training studies; default all. Generators learn
            from all of them in any case.
        reporter: where the command says what it does.

    Returns:
        One row per generator, seed, score and training set; the store has them, too.

    Raises:
        HarnessError: the dataset lacks labels, views or reports, or a method generates no frontal view.
    """
    benchmark = open_benchmark(settings)
    rows = [row for row in benchmark.entries if row.label == row.trained_label]
    for row in rows:
        if VIEW not in views(row.method_class.card, benchmark.dataset.info):
            raise HarnessError(
                f"--generator {row.label}: it generates no {VIEW} view on {benchmark.dataset.info.name}",
                "harness list methods says which methods do the task synthesize",
            )
    experiment = prepare(benchmark, limit)
    prepare_images(benchmark, reporter)
    trials = (Trial(benchmark, row, seed, reporter) for row in rows for seed in benchmark.config.seeds)
    return [measurement for trial in trials for measurement in _measured(experiment, trial)]


def prepare(benchmark: Benchmark, limit: int | None) -> Experiment:
    """Choose studies and findings.

    Raises:
        HarnessError: nothing to learn from or to test on.
    """
    info = benchmark.dataset.info
    offered = [name for name in FINDINGS if name in info.label_names]
    if not info.multilabel or not offered:
        raise HarnessError(
            f"{info.name} has none of the findings {', '.join(FINDINGS)}", "choose a chest X-ray dataset"
        )
    test = [s for s in benchmark.splits["test"] if VIEW in s.images and s.labels is not None]
    train = [s for s in benchmark.splits["train"] if VIEW in s.images and s.labels is not None and s.report][
        :limit
    ]
    if not test or not train:
        raise HarnessError(f"{info.name}: no study with a {VIEW} view, a report and labels")
    absent = {name: f"{info.name} has no such label" for name in FINDINGS if name not in offered}
    for split, studies in (("test", test), ("training", train)):
        counts = dict(zip(offered, _labels(studies, offered, info.label_names).sum(axis=0), strict=True))
        for name in (n for n in offered if n not in absent):
            if not 0 < counts[name] < len(studies):
                share = "every" if counts[name] else "no"
                absent[name] = f"{share} {split} study has it"
    findings = tuple(name for name in offered if name not in absent)
    if not findings:
        raise HarnessError(f"{info.name}: no finding can be learned", "raise --limit")
    truth = _labels(test, findings, info.label_names).astype(np.float32)
    references = [Reference(s.id, s.patient_id, labels=row) for s, row in zip(test, truth, strict=True)]
    weights = statistics.bootstrap_weights([s.patient_id for s in test], N_RESAMPLES)
    return Experiment(benchmark, findings, absent, train, test, references, weights)


def _labels(studies: Sequence[Study], findings: Sequence[str], names: Sequence[str]) -> Floats:
    columns = [names.index(name) for name in findings]
    return np.stack([np.asarray(s.labels, dtype=np.float64)[columns] for s in studies])


def _measured(experiment: Experiment, trial: Trial) -> list[Measurement]:
    """One generator: its images, the classifier on each training set, and its stored row."""
    real = [study.images[VIEW] for study in experiment.train]
    test = [study.images[VIEW] for study in experiment.test]
    with trial.cell.lock(trial.waiting):
        trial.require_trained()
        images = {"real": real, "synthetic": synthesized_images(experiment, trial), "test": test}
        sets = {
            name: _features(trial.benchmark, own, trial.phase(f"look at {name} images"))
            for name, own in images.items()
        }
        sets["both"] = np.concatenate([sets["real"], sets["synthetic"]])
        labels, progress = experiment.labels(experiment.train), trial.phase("classify")
        measured: dict[tuple[str, str], Measured] = {}
        for number, on in enumerate(TRAINED_ON):
            truth = np.concatenate([labels, labels]) if on == "both" else labels
            probabilities = classify(sets[on], truth, sets["test"])
            measured |= {(score, on): _scored(experiment, probabilities, score) for score in SCORES}
            progress((number + 1) / len(TRAINED_ON), f"trained on {on}")
        rows = _store(experiment, trial, measured)
    values = {row.metric: row.value for row in rows}
    trial.reporter.done(trial.entry.label, ", ".join(f"{name} {values[name]:.3f}" for name in DOWNSTREAM[:3]))
    return rows


def synthesized_images(experiment: Experiment, trial: Trial) -> list[Image]:
    """A generated view of every training study, from its report and nothing else; resumable.

    The caller holds the cell's lock.
    """
    empty = [Study(s.id, s.patient_id, s.split, images={}) for s in experiment.train]
    request = GenerateView(VIEW, {s.id: s.report for s in experiment.train}, trial.seed)
    question = Question(f"downstream-{VIEW}-from-report", empty, f"generate {VIEW}")
    generated = ask(trial, request, question)
    return [(generated[s.id].images or {})[VIEW] for s in experiment.train]


def _features(benchmark: Benchmark, images: Sequence[Image], progress: Progress) -> Floats:
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


def _scored(experiment: Experiment, probabilities: Floats, score: str) -> Measured:
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


def _store(
    experiment: Experiment, trial: Trial, measured: Mapping[tuple[str, str], Measured]
) -> list[Measurement]:
    """Write a generator's numbers, their replicates and how they came about."""
    benchmark, entry = trial.benchmark, trial.entry
    name = slug(f"{benchmark.config.preset}-s{trial.seed}-{GROUP}-n{len(experiment.train)}")
    key = "/".join([slug(benchmark.dataset.info.name), slug(entry.label), name])
    rows = [
        Measurement(
            dataset=benchmark.dataset.info.name,
            method=entry.label,
            preset=trial.preset,
            seed=trial.seed,
            drop="none",
            mechanism="none",
            rate=0.0,
            metric=f"{GROUP}_{score}_{on}",
            value=result.estimate.value,
            ci95=result.estimate.ci95,
            n=len(experiment.test),
            signature=f"{experiment.signature}|{SCORES[score][0](multilabel=True).signature}",
            control=entry.is_control,
            group=GROUP,
            key=key,
            test_set=benchmark.test_set,
        )
        for (score, on), result in sorted(measured.items(), key=lambda item: _place(*item[0]))
    ]
    samples = {
        f"{GROUP}_{score}_{on}": m.samples[None].astype(np.float32) for (score, on), m in measured.items()
    }
    path = benchmark.store.root / "results" / f"{key}.npz"
    write_atomic(path, lambda stream: np.savez(stream, **samples))  # type: ignore[arg-type]
    benchmark.store.write_result(key, rows, _manifest(experiment, trial, measured))
    return rows


def _place(score: str, on: str) -> int:
    return DOWNSTREAM.index(f"{GROUP}_{score}_{on}")


def _manifest(experiment: Experiment, trial: Trial, measured: Mapping[tuple[str, str], Measured]) -> Manifest:
    benchmark, entry = trial.benchmark, trial.entry
    settings = trial.new_method().config.model_dump(mode="json")
    return Manifest(
        harness=__version__,
        protocol=PROTOCOL,
        seed=trial.seed,
        method=entry.label,
        card=card_facts(entry.method_class.card, entry.variant, settings),
        code=code_fingerprint(entry.method_class),
        cell=str(trial.cell.directory.relative_to(benchmark.store.root)),
        test_set=benchmark.test_set,
        bootstrap=BootstrapFacts(resamples=N_RESAMPLES, seed=0, unit="patient"),
        machine=provenance.machine(benchmark.device),
        environment=provenance.environment(),
        unix_time=int(time.time()),
        command=command(benchmark.config, entry, trial.seed, len(experiment.train)),
        downstream=facts(experiment, measured),
    )


def facts(experiment: Experiment, measured: Mapping[tuple[str, str], Measured]) -> Downstream:
    """What stands beside the numbers: differences to real images, and each finding's own scores."""
    splits = {"train": experiment.train, "test": experiment.test}
    counts = {name: experiment.labels(own).sum(axis=0).astype(int).tolist() for name, own in splits.items()}

    def scores(name: str, score: str) -> dict[str, Triple]:
        return {on: _triple(measured[score, on].each[name]) for on in TRAINED_ON}

    return Downstream(
        training_studies=len(experiment.train),
        absent=dict(experiment.absent),
        minus_real={
            score: {
                on: _triple(_difference(measured[score, on], measured[score, "real"]))
                for on in TRAINED_ON[:2]
            }
            for score in SCORES
        },
        findings={
            name: DownstreamFinding(
                train=counts["train"][number],
                test=counts["test"][number],
                auroc=scores(name, "auroc"),
                f1=scores(name, "f1"),
            )
            for number, name in enumerate(experiment.findings)
        },
    )


def _difference(one: Measured, real: Measured) -> Estimate:
    """A difference with its interval: both were tested on the same resamples."""
    ends = statistics.interval(one.samples - real.samples)
    return Estimate(one.estimate.value - real.estimate.value, *ends, one.estimate.n)


def _triple(estimate: Estimate) -> Triple:
    """(Value, lower end, upper end), as the manifest stores it."""
    return estimate.value, *estimate.ci95


def command(config: RunConfig, entry: Entry, seed: int, limit: int) -> str:
    """What makes the row again."""
    parts = [f"harness downstream --generator {entry.name}{f':{entry.variant}' if entry.variant else ''}"]
    parts += [f"--dataset {config.dataset}", *(["--root DIR"] if config.root else [])]
    parts += [f"--preset {config.preset}", f"--seeds {seed}", f"--limit {limit}"]
    for owner, settings in config.set.items():
        if owner in (entry.name, f"{entry.name}:{entry.variant}", config.dataset):
            parts += [f"--set {owner}.{key}={value}" for key, value in settings.items()]
    return " ".join(parts)
