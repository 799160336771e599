"""Downstream value of generated images: one fixed classifier trained on real, on generated, and on both.

The classifier is the same for everybody and chosen without looking at a test study: fixed features of an
image, standardised by the real training images, and one regularised logistic regression per finding. What
differs between two rows is the images alone. A control learns from the generated images with permuted labels.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping

import numpy as np

from harness import __version__
from harness.core.config import RunConfig, RunSettings
from harness.core.content import without_paths
from harness.core.errors import HarnessError
from harness.core.progress import Reporter
from harness.core.slugs import slug
from harness.core.types import Reference, Study
from harness.datasets.selection import select
from harness.evaluation import provenance
from harness.evaluation.ask import Question, ask
from harness.evaluation.benchmark import N_RESAMPLES, Benchmark, open_benchmark, prepare_images
from harness.evaluation.downstream_classifier import (
    FEWEST_POSITIVES,
    FINDINGS,
    GROUP,
    SCORES,
    VIEW,
    Experiment,
    Eyes,
    Floats,
    Measured,
    classify,
    image_features,
    labels_of,
    permutations,
    scored,
)
from harness.evaluation.entries import PROTOCOL, Entry
from harness.evaluation.requests import GenerateView
from harness.evaluation.synthesis import views
from harness.evaluation.trial import Trial
from harness.method.card import card_facts
from harness.method.fingerprint import code_fingerprint
from harness.metrics.images.extractors import Image
from harness.statistics import bootstrap as statistics
from harness.statistics.estimate import Estimate
from harness.store.manifest import BootstrapFacts, Downstream, DownstreamFinding, Manifest, Triple
from harness.store.results import Measurement
from harness.store.row_labels import DOWNSTREAM, TRAINED_ON

Measurements = Mapping[tuple[str, str], Measured]
"""(Score, training set) -> what came out."""


def measure(settings: RunSettings, limit: int | None, reporter: Reporter) -> list[Measurement]:
    """Train generators that are not trained, generate what is not generated, classify, store.

    Args:
        settings: dataset, generators (``methods``), preset, seeds, store; ``limit`` must be None.
        limit: the classifier learns from so many training studies of all findings; default all. Generators
            learn from all of them in any case.
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
    able = [s for s in benchmark.splits["train"] if VIEW in s.images and s.labels is not None and s.report]
    train = select(able, limit)
    if not test or not train:
        raise HarnessError(f"{info.name}: no study with a {VIEW} view, a report and labels")
    absent = {name: f"{info.name} has no such label" for name in FINDINGS if name not in offered}
    for split, studies in (("test", test), ("training", train)):
        counts = dict(zip(offered, labels_of(studies, offered, info.label_names).sum(axis=0), strict=True))
        for name in (n for n in offered if n not in absent):
            if not 0 < counts[name] < len(studies):
                share = "every" if counts[name] else "no"
                absent[name] = f"{share} {split} study has it"
    findings = tuple(name for name in offered if name not in absent)
    if not findings:
        raise HarnessError(f"{info.name}: no finding can be learned", "raise --limit")
    truth = labels_of(test, findings, info.label_names).astype(np.float32)
    positives = dict(zip(findings, truth.sum(axis=0), strict=True))
    averaged = tuple(name for name in findings if positives[name] >= FEWEST_POSITIVES) or findings
    references = [Reference(s.id, s.patient_id, labels=row) for s, row in zip(test, truth, strict=True)]
    weights = statistics.bootstrap_weights([s.patient_id for s in test], N_RESAMPLES)
    return Experiment(benchmark, findings, averaged, absent, train, test, references, weights)


def _measured(experiment: Experiment, trial: Trial) -> list[Measurement]:
    """One generator: its images, the classifier on each training set, and its stored row."""
    real = [study.images[VIEW] for study in experiment.train]
    test = [study.images[VIEW] for study in experiment.test]
    with trial.cell.lock(trial.waiting):
        trial.require_trained()
        images = {"real": real, "synthetic": synthesized_images(experiment, trial), "test": test}
        sets = {
            name: image_features(trial.benchmark, own, trial.phase(f"look at {name} images"))
            for name, own in images.items()
        }
        progress = trial.phase("classify")
        measured: dict[tuple[str, str], Measured] = {}
        kinds = list(dict.fromkeys(score.seen for score in SCORES.values()))
        for number, seen in enumerate(kinds):
            answers = _answers(experiment, {name: own[seen] for name, own in sets.items()})
            measured |= {
                (name, on): scored(experiment, own, name)
                for name, score in SCORES.items()
                for on, own in answers.items()
                if score.seen == seen
            }
            progress((number + 1) / len(kinds), f"features {seen}")
        rows = _store(experiment, trial, measured)
    values = {row.metric: row.value for row in rows}
    trial.done(", ".join(f"{name} {values[name]:.3f}" for name in DOWNSTREAM[:2]))
    return rows


def _answers(experiment: Experiment, sets: Mapping[str, Floats]) -> dict[str, list[Floats]]:
    """Training set -> probabilities (n_test, L) of its classifiers: one, or one per permutation of labels.

    Args:
        sets: features of the ``real``, the ``synthetic`` and the ``test`` images.
    """
    eyes, labels = Eyes.of(sets["real"]), experiment.labels(experiment.train)
    real, synthetic, test = (eyes(sets[name]) for name in ("real", "synthetic", "test"))
    learned = {
        "synthetic": [(synthetic, labels)],
        "permuted": [(synthetic, labels[order]) for order in permutations(len(labels))],
        "both": [(np.concatenate([real, synthetic]), np.concatenate([labels, labels]))],
        "real": [(real, labels)],
    }
    return {on: [classify(*each, test) for each in learned[on]] for on in TRAINED_ON}


def synthesized_images(experiment: Experiment, trial: Trial) -> list[Image]:
    """A generated view of every training study, from its report and nothing else; resumable.

    The caller holds the cell's lock.
    """
    empty = [Study(s.id, s.patient_id, s.split, images={}) for s in experiment.train]
    request = GenerateView(VIEW, {s.id: s.report for s in experiment.train}, trial.seed)
    question = Question(f"downstream-{VIEW}-from-report", empty, f"generate {VIEW}")
    generated = ask(trial, request, question)
    return [(generated[s.id].images or {})[VIEW] for s in experiment.train]


def _store(experiment: Experiment, trial: Trial, measured: Measurements) -> list[Measurement]:
    """Write a generator's numbers, their replicates and how they came about."""
    benchmark, entry = trial.benchmark, trial.entry
    key = _key(experiment, trial)
    rows = [
        Measurement(
            dataset=benchmark.dataset.info.title,
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
            signature=experiment.signature(score),
            control=entry.is_control,
            group=GROUP,
            key=key,
            test_set=benchmark.test_set,
            **benchmark.left_out,
        )
        for (score, on), result in sorted(measured.items(), key=lambda item: _place(*item[0]))
    ]
    samples = {
        f"{GROUP}_{score}_{on}": own.samples[None].astype(np.float32) for (score, on), own in measured.items()
    }
    benchmark.store.write_result(key, rows, _manifest(experiment, trial, measured), samples)
    return rows


def _key(experiment: Experiment, trial: Trial) -> str:
    """Result file of a generator's row; it ends with a digest of what the numbers depend on."""
    benchmark = trial.benchmark
    signatures = map(experiment.signature, SCORES)
    parts = (trial.cell.directory.name, benchmark.test_set, *signatures)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    name = f"{benchmark.config.preset}-s{trial.seed}-{GROUP}-n{len(experiment.train)}-{digest}"
    return "/".join([slug(benchmark.dataset.info.title), slug(trial.entry.label), slug(name)])


def _place(score: str, on: str) -> int:
    return DOWNSTREAM.index(f"{GROUP}_{score}_{on}")


def _manifest(experiment: Experiment, trial: Trial, measured: Measurements) -> Manifest:
    benchmark, entry = trial.benchmark, trial.entry
    return Manifest(
        harness=__version__,
        protocol=PROTOCOL,
        seed=trial.seed,
        method=entry.label,
        card=card_facts(entry.method_class.card, entry.variant, trial.settings, trial.config.pretrained),
        code=code_fingerprint(entry.method_class),
        cell=str(trial.cell.directory.relative_to(benchmark.store.root)),
        test_set=benchmark.test_set,
        **benchmark.left_out,
        bootstrap=BootstrapFacts(resamples=N_RESAMPLES, seed=0, unit="patient"),
        machine=provenance.machine(benchmark.device),
        environment=provenance.environment(),
        unix_time=int(time.time()),
        **trial.settings_facts,
        command=command(benchmark.config, entry, trial.seed, len(experiment.train)),
        downstream=facts(experiment, measured),
        may_show_images=trial.info.may_show_images,
    )


def facts(experiment: Experiment, measured: Measurements) -> Downstream:
    """What stands beside the numbers: differences to real images, and each finding's own scores."""
    splits = {"train": experiment.train, "test": experiment.test}
    counts = {name: experiment.labels(own).sum(axis=0).astype(int).tolist() for name, own in splits.items()}

    def differences(score: str) -> dict[str, Triple]:
        real = measured[score, TRAINED_ON[-1]]
        return {on: _triple(_difference(measured[score, on], real)) for on in TRAINED_ON[:-1]}

    return Downstream(
        training_studies=len(experiment.train),
        absent=dict(experiment.absent),
        minus_real={score: differences(score) for score in SCORES},
        findings={
            name: DownstreamFinding(
                train=counts["train"][number],
                test=counts["test"][number],
                averaged=name in experiment.averaged,
                **{
                    score: {on: _triple(measured[score, on].each[name]) for on in TRAINED_ON}
                    for score in SCORES
                },
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
            shown = without_paths(settings, {})
            parts += [f"--set {owner}.{key}={value}" for key, value in shown.items()]
    return " ".join(parts)
