"""How fast scoring is, each time as a ratio against a peer in the same run."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.bench.radeval import radeval_benchmark
from harness.bench.rows import Row, best, measured
from harness.core import registry
from harness.core.files import peak_gib
from harness.core.types import Prediction, Reference
from harness.datasets.iu import reports as iu_reports
from harness.metrics.base import Metric
from harness.metrics.text.tokenization import DEFAULT_PROFILE, tokenizer
from harness.missingness.mechanisms import Population
from harness.missingness.plan import Missingness, draw_plan
from harness.statistics import bootstrap
from harness.statistics import curves as robustness
from harness.statistics.significance import Resampling, paired_randomisation

_SUITE = "metrics"
_TRIALS = 10_000
_PEER_TRIALS = 5
_RADEVAL_TRIALS = 100
_IMAGES, _FEATURES = (590, 5_000), 2_048
_RATES = (0.0, 0.2, 0.4, 0.6, 0.8)
_BIG = 3_858
"""Studies of the larger public test split of chest radiographs."""


def compare_benchmark() -> list[Row]:
    """Paired randomisation of BLEU-4 on 590 pairs against rescoring the corpus in every trial."""
    first, second, references = _systems(590)
    metric = registry.make_metric("bleu")
    rows_a, rows_b = metric.statistics(first, references), metric.statistics(second, references)
    patients = [reference.patient_id for reference in references]

    def ours() -> None:
        paired_randomisation(metric, rows_a, rows_b, Resampling(patients, _TRIALS))

    systems, truth = [_tokens(texts) for texts in (first, second)], _tokens(references)
    name, trials, peer = _peer_of_compare(systems, truth)
    seconds, naive = best(ours), best(peer, 1) * _TRIALS / trials
    of = f"{name}, {trials} trials extrapolated"
    return [measured(_SUITE, f"compare, BLEU-4, {_TRIALS:,} trials, 590 pairs", seconds, peer=naive, of=of)]


def _peer_of_compare(
    systems: Sequence[Sequence[str]], truth: Sequence[str]
) -> tuple[str, int, Callable[[], None]]:
    """Name, number of trials and work of radeval's test, or of pycocoevalcap where radeval is absent."""
    if find_spec("radeval") is not None:
        from radeval import compare_systems
        from radeval.metrics.bleu.bleu import Bleu

        def radeval() -> None:
            compare_systems(
                {"a": list(systems[0]), "b": list(systems[1])},
                {"bleu": lambda hypotheses, references: Bleu(n=4)(references, hypotheses)[0]},
                list(truth),
                n_samples=_RADEVAL_TRIALS,
                print_results=False,
            )

        return "radeval.compare_systems", _RADEVAL_TRIALS, radeval
    rng = np.random.default_rng(0)

    def coco() -> None:
        for _ in range(_PEER_TRIALS):
            swap = rng.random(len(truth)) < 0.5
            for one, other in (systems, systems[::-1]):
                _coco(["bleu"], [b if s else a for a, b, s in zip(one, other, swap, strict=True)], truth)

    return "pycocoevalcap per trial", _PEER_TRIALS, coco


def rates_benchmark() -> list[Row]:
    """The overlap metrics of one method at five missing rates against scoring each masked test set anew."""
    full, dropped, references = _systems(590)
    names = [reference.id for reference in references]
    have = [frozenset({"frontal", "context"})] * len(names)
    missingness = Missingness("context", "mcar", _RATES, range(1))
    plan = draw_plan(Population.of(names, have), ("frontal", "context"), missingness)
    weights = bootstrap.bootstrap_weights(names)
    families = ["bleu", "rouge_l", "cider"]
    metrics: list[Metric] = [registry.make_metric(name) for name in families]

    def ours() -> None:
        for metric in metrics:
            rows = {
                state: metric.statistics(predictions, references)
                for state, predictions in zip(plan.states, (full, dropped), strict=True)
            }
            robustness.curves(metric, rows, plan, weights)

    texts, truth = [_tokens(system) for system in (full, dropped)], _tokens(references)

    def peer() -> None:
        for masks in plan.assignment[0]:
            _coco(families, [texts[state][study] for study, state in enumerate(masks)], truth)

    return [
        measured(
            _SUITE,
            f"{', '.join(families)} at {len(_RATES)} rates with intervals, 590 pairs",
            best(ours),
            peer=best(peer, 1),
            of="pycocoevalcap per rate, without intervals",
        )
    ]


def fid_benchmark() -> list[Row]:
    """FID from features, on one thread: ours against the two packages that most papers use."""
    from threadpoolctl import threadpool_limits

    from harness.metrics.images.distances import frechet_distance

    rng = np.random.default_rng(0)
    mix = rng.normal(size=(_FEATURES, _FEATURES)) / np.sqrt(_FEATURES)
    rows = []
    for n in _IMAGES:
        real, generated = (
            np.maximum(rng.normal(size=(n, _FEATURES)) @ mix + shift, 0.0) for shift in (0.0, 0.1)
        )
        name = f"FID from {n:,} x {_FEATURES:,} features, one thread"
        with threadpool_limits(1):  # several wait for one another wherever a core has other work
            seconds = best(partial(frechet_distance, real, generated), 2)
            rows += [
                measured(_SUITE, name, seconds, peer=best(peer, 1), of=f"{package} {version(package)}")
                for package, peer in _fid_peers(real, generated).items()
            ] or [measured(_SUITE, name, seconds, note="neither clean-fid nor torch-fidelity is installed")]
    return rows


def _fid_peers(real: NDArray[np.float64], generated: NDArray[np.float64]) -> dict[str, Callable[[], None]]:
    """Those of the reference implementations that are installed."""
    peers: dict[str, Callable[[], None]] = {}
    if find_spec("cleanfid") is not None:
        from cleanfid.fid import fid_from_feats

        def clean_fid() -> None:
            fid_from_feats(real, generated)

        peers["clean-fid"] = clean_fid
    if find_spec("torch_fidelity") is not None:
        import torch
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

        def torch_fidelity() -> None:
            sides = [fid_features_to_statistics(torch.from_numpy(side)) for side in (real, generated)]
            fid_statistics_to_metric(*sides, verbose=False)

        peers["torch-fidelity"] = torch_fidelity
    return peers


def memory_benchmark() -> list[Row]:
    """Peak memory of a fresh process that scores the larger test split with intervals."""
    code = "from harness.bench.metrics import _score_big; _score_big()"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    name = f"peak memory, {_BIG:,} pairs, overlap metrics with intervals"
    return [measured(_SUITE, name, float(done.stdout), unit="GiB")]


def score_benchmark() -> list[Row]:
    """``harness score`` as a user calls it: a fresh process, no cache, all metrics without downloads."""
    predictions, _, references = _systems(590)
    settings = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")}
    with TemporaryDirectory() as name:
        folder = Path(name)
        sides: dict[str, Sequence[Prediction | Reference]] = {"truth": references, "ours": predictions}
        for side, texts in sides.items():
            content = {str(place): each.report for place, each in enumerate(texts)}
            (folder / f"{side}.json").write_text(json.dumps(content))
        files = [str(folder / f"{side}.json") for side in sides]
        command = [sys.executable, "-m", "harness.cli", "score", *files]
        before, started = _processor_seconds(), time.perf_counter()
        subprocess.run(
            [*command, "--format", "json"],
            check=True,
            capture_output=True,
            text=True,
            env={**settings, "HARNESS_CACHE": f"{folder}/cache"},
        )
        seconds = time.perf_counter() - started
    note = f"{_processor_seconds() - before:.0f} s of processor time"
    return [measured(_SUITE, "harness score, all metrics without downloads, 590 pairs", seconds, note=note)]


def _processor_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _score_big() -> None:
    predictions, _, references = _systems(_BIG)
    weights = bootstrap.bootstrap_weights([reference.patient_id for reference in references])
    for family in ("bleu", "rouge_l", "cider"):
        metric = registry.make_metric(family)
        bootstrap.estimate(metric, metric.statistics(predictions, references), weights)
    print(peak_gib())


def _systems(count: int) -> tuple[list[Prediction], list[Prediction], list[Reference]]:
    """Two systems that copy other studies' findings, and the truth; texts repeat where there are too few."""
    reports = iu_reports.read_reports(iu_reports.find_data_folder())
    findings = [report.findings for report in reports.values() if report.findings]
    texts = [findings[index % len(findings)] for index in range(count + 2)]
    references = [Reference(str(index), str(index), text) for index, text in enumerate(texts[:count])]
    first, second = ([Prediction(report=text) for text in texts[shift : count + shift]] for shift in (1, 2))
    return first, second, references


def _tokens(texts: Sequence[Prediction | Reference]) -> list[str]:
    """Tokenised texts, joined by spaces, as the COCO tools take them."""
    batch = tokenizer(DEFAULT_PROFILE).batch([text.report or "" for text in texts])
    return [" ".join(tokens) for tokens in batch]


def _coco(families: Sequence[str], candidates: Sequence[str], truth: Sequence[str]) -> None:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    hypotheses = {index: [text] for index, text in enumerate(candidates)}
    references = {index: [text] for index, text in enumerate(truth)}
    scorers: dict[str, Callable[[], Any]] = {"bleu": lambda: Bleu(4), "rouge_l": Rouge, "cider": Cider}
    for family in families:
        extra = {"verbose": 0} if family == "bleu" else {}
        scorers[family]().compute_score(references, hypotheses, **extra)


BENCHMARKS = {
    "compare": compare_benchmark,
    "missing rates": rates_benchmark,
    "FID": fid_benchmark,
    "memory": memory_benchmark,
    "harness score": score_benchmark,
    "RadEval": radeval_benchmark,
}
"""What ``harness bench metrics`` measures, in this order."""
