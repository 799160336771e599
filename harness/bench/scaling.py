"""How time and peak memory grow with the number of studies: each size in a fresh process, then exponents."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.bench import index
from harness.bench.rows import Row, measured
from harness.core import registry
from harness.core.errors import HarnessError
from harness.core.files import peak_gib
from harness.core.types import Prediction, Reference
from harness.evaluation import score_files
from harness.statistics import bootstrap

_SUITE = "scaling"
SIZES = (1_000, 5_000, 20_000, 50_000, 200_000)
FEWEST, MOST = 100, 2_000_000
_START = 50
"""Studies of the run whose time and memory count as the part that does not grow."""
_TRIALS = 10_000
_LABELS, _FEATURES = 14, 256
_SHARE = 0.1
"""A size counts for an exponent if what grows is at least this share of what does not."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One piece of work at any size.

    Attributes:
        work: what is done, in words.
        prepare: writes the files of so many studies into a folder; its time does not count.
        run: does the work with these files.
    """

    work: str
    prepare: Callable[[Path, int], None]
    run: Callable[[Path], object]


def check(sizes: Sequence[int]) -> None:
    """Find what is wrong with the sizes before anything is measured.

    Raises:
        HarnessError: a size out of range, or fewer than two.
    """
    if len(set(sizes)) < 2 or not all(FEWEST <= size <= MOST for size in sizes):
        raise HarnessError(
            f"--sizes {','.join(map(str, sizes))}: at least two numbers of studies",
            f"each from {FEWEST:,} to {MOST:,}",
        )


def scaling_benchmark(kind: str, sizes: Sequence[int] = SIZES) -> list[Row]:
    """Time and peak memory of one kind of work at each size, and the exponents of both.

    Args:
        kind: one of ``KINDS``.
        sizes: numbers of studies.

    Raises:
        CalledProcessError: a process that does the work fails.
    """
    measures = KINDS[kind]
    used = sorted(set(sizes))
    start, *points = [_measured(kind, size) for size in (_START, *used)]
    rows = [
        measured(
            _SUITE,
            f"{measures.work}: {size:,} studies",
            point.seconds,
            gib=point.gib,
            note=f"{point.processor:.3g} s of one processor",
        )
        for size, point in zip(used, points, strict=True)
    ]
    for what, attribute in (("processor time", "processor"), ("peak memory", "gib")):
        values = [getattr(point, attribute) for point in points]
        exponent, count = _exponent(used, values, getattr(start, attribute))
        name = f"{measures.work}: exponent of {what}"
        note = f"above that of {_START} studies; fitted to {count} sizes"
        if exponent is None:
            grown = values[-1] / getattr(start, attribute)
            note = f"none: {used[-1]:,} studies take only {grown:.2f} times what {_START} take"
        rows.append(Row(_SUITE, name, exponent, unit="power of n", note=note, state="no peer"))
    return rows


@dataclass(frozen=True, slots=True)
class _Point:
    """What one process took: wall time, processor time of all its threads, peak memory."""

    seconds: float
    processor: float
    gib: float


def _exponent(sizes: Sequence[int], values: Sequence[float], start: float) -> tuple[float | None, int]:
    """p where the values are about ``start`` + c x (size - ``_START``)^p, and how many sizes it is fitted to.

    A least squares line through logarithms. Each size weighs by the share of its value that grows: the start
    varies from process to process, and near it that is most of what is left. Sizes whose values are mostly
    ``start`` do not count; None where fewer than two are left.
    """
    grown = [
        (size - _START, value - start, 1.0 - start / value) for size, value in zip(sizes, values, strict=True)
    ]
    points = [point for point in grown if point[1] > 0.0 and point[1] >= _SHARE * start]
    if len(points) < 2:
        return None, len(points)
    size, value, share = np.array(points).T
    return float(np.polyfit(np.log(size), np.log(value), 1, w=share)[0]), len(points)


def _measured(kind: str, size: int) -> _Point:
    """One process, whose files another process has written."""
    with TemporaryDirectory() as folder:
        for step in ("prepare", "run"):
            code = f"from harness.bench import scaling; scaling.work({step!r}, {kind!r}, {folder!r}, {size})"
            done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return _Point(*json.loads(done.stdout.splitlines()[-1]))


def work(step: str, kind: str, folder: str, size: int) -> None:
    """Write the files of a kind of work, or do it and print what ``_Point`` holds."""
    if step == "prepare":
        KINDS[kind].prepare(Path(folder), size)
        return
    started, processor = time.perf_counter(), time.process_time()
    KINDS[kind].run(Path(folder))
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, time.process_time() - processor, peak_gib()]))


_FINDINGS = ("effusion", "pneumothorax", "consolidation", "atelectasis", "edema", "opacity", "cardiomegaly")
_PLACES = ("left lung", "right lung", "left base", "right apex", "lower lobes", "hilum")
_FRAMES = (
    "There is no {finding} in the {place}",
    "Small {finding} of the {place} is seen",
    "The {place} may show {finding}",
    "No evidence of {finding}",
    "The {place} is clear",
)
_SYLLABLES = ("lo", "ra", "ti", "ne", "mu", "sa", "ve", "ko", "pi", "du", "xa", "be")
_WORDS = 12_000


def _reports(rng: np.random.Generator, count: int) -> Iterator[str]:
    """Reports of about 40 words: sentences of a small grammar, which end in rare words of our own making.

    Word r of these is drawn in proportion to 1 / r, as in natural texts (Zipf), so that new words and
    n-grams go on to appear.
    """
    shares = 1.0 / np.arange(1, _WORDS + 1)
    ends = np.cumsum(shares / shares.sum())
    for _ in range(count):
        sentences = []
        for frame in rng.integers(len(_FRAMES), size=5):
            finding, place = _FINDINGS[rng.integers(len(_FINDINGS))], _PLACES[rng.integers(len(_PLACES))]
            numbers = np.searchsorted(ends, rng.random(3))
            rare = " ".join(
                "".join(_SYLLABLES[number // 12**power % 12] for power in range(4)) for number in numbers
            )
            sentences.append(f"{_FRAMES[frame].format(finding=finding, place=place)}, {rare}.")
        yield " ".join(sentences)


def _write_reports(folder: Path, size: int) -> None:
    """References, and two systems that share most sentences with them."""
    rng = np.random.default_rng(0)
    files = [(folder / f"{name}.jsonl").open("w", encoding="utf-8") for name in ("true", "a", "b")]
    for number, (report, other) in enumerate(zip(_reports(rng, size), _reports(rng, size), strict=True)):
        sentences, others = report.split(". "), other.split(". ")
        for file, changed in zip(files, (0, 2, 3), strict=True):
            text = ". ".join(others[:changed] + sentences[changed:])
            file.write(json.dumps({"id": f"study {number}", "report": text}) + "\n")
    for file in files:
        file.close()


def _score(metrics: Sequence[str]) -> Callable[[Path], object]:
    return lambda folder: score_files.score(folder / "true.jsonl", folder / "a.jsonl", metrics)


def _compare(folder: Path) -> object:
    systems = {name: folder / f"{name}.jsonl" for name in ("a", "b")}
    return score_files.compare(folder / "true.jsonl", systems, ("bleu", "rouge_l", "cider"), trials=_TRIALS)


def _write_probabilities(folder: Path, size: int) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random((size, _LABELS))
    np.save(folder / "probabilities.npy", probabilities)
    np.save(folder / "labels.npy", (rng.random((size, _LABELS)) < probabilities).astype(np.float32))


def _calibration(folder: Path) -> object:
    probabilities, labels = (np.load(folder / f"{name}.npy") for name in ("probabilities", "labels"))
    predictions = [Prediction(probabilities=line) for line in probabilities]
    references = [Reference(str(n), str(n), labels=line) for n, line in enumerate(labels)]
    weights = bootstrap.bootstrap_weights([reference.patient_id for reference in references])
    return [
        bootstrap.estimate(metric, metric.statistics(predictions, references), weights)
        for metric in (registry.make_metric(name) for name in ("ece", "ece_classwise", "ece_mass", "brier"))
    ]


def _write_features(folder: Path, size: int) -> None:
    rng = np.random.default_rng(0)
    for name, shift in (("real", 0.0), ("generated", 0.1)):
        features = rng.standard_normal((max(size, 2 * _FEATURES), _FEATURES), dtype=np.float32) + shift
        np.save(folder / f"{name}.npy", features)


def _frechet(folder: Path) -> object:
    from harness.metrics.images.distances import frechet_distance

    real, generated = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("real", "generated"))
    return frechet_distance(real, generated)


KINDS = {
    "text": Kind(
        "text, score of bleu, rouge_l, cider with intervals",
        _write_reports,
        _score(("bleu", "rouge_l", "cider")),
    ),
    "compare": Kind(f"compare on bleu, rouge_l, cider, {_TRIALS:,} trials", _write_reports, _compare),
    "labels": Kind(
        "labels, score of chexpert_rules_f1 with intervals",
        _write_reports,
        _score(("chexpert_rules_f1",)),
    ),
    "calibration": Kind(
        f"calibration, ece, ece_classwise, ece_mass, brier of {_LABELS} labels with intervals",
        _write_probabilities,
        _calibration,
    ),
    "FID": Kind(f"FID from files of {_FEATURES} features, value alone", _write_features, _frechet),
    "index": Kind(
        "MIMIC-CXR's layout without pixels: open, list, masks of a tenth for 4 rates x 20 seeds x 2 policies",
        index.write,
        index.open_and_mask,
    ),
}
"""What ``harness bench scaling`` measures, in this order."""
