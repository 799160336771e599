"""Which report metric notices what: rewritten reports of our own, and agreement with human judgements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from harness.bench.judgement_sets import JudgedSet, JudgementFile, read_judgements
from harness.bench.rows import Row
from harness.core import registry
from harness.core.types import Prediction, Reference, Task
from harness.evaluation.metric_failures import MetricFailures
from harness.metrics.base import Metric, MetricOutput, checked_statistics
from harness.statistics.agreement import kendall_tau, share
from harness.statistics.estimate import Estimate

PAIRS = Path(__file__).with_name("judgement_pairs.yaml")
HARMFUL = ("negation", "laterality", "severity", "omitted", "invented", "measure", "device", "comparison")
"""Kinds of rewrites that change what a report says."""

NOTICED = "share of rewrites that score below a paraphrase of the whole report"
NOTICED_BESIDE = "share of rewrites that score below a paraphrase of the one sentence that they change"
DROP = "mean score lost against the report itself"
AGREEMENT = "Kendall's tau-b with people"

_SUITE = "judgement"
_SHOWN: Mapping[str, tuple[str, ...]] = {
    "bleu": ("bleu_2", "bleu_4"),
    "radgraph_f1": ("radgraph_f1_partial",),
}
"""Outputs of a family that stand in the tables; of other families the first one."""
_LEFT_OUT = ("wording", "mesh_rules_f1", "chexpert_rules_pr", "chexbert_pr")
"""One reads no references; the others measure what the F1 of the same labels does."""
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A report and another version of it.

    Attributes:
        report: number of the report.
        kind: ``paraphrase``, ``order`` or one of ``HARMFUL``; ``itself`` for the report unchanged;
            ``reworded`` where one sentence alone is paraphrased.
        sentence: number of the sentence that differs; 0 where none or all do. The sentence after which one
            is invented counts as changed.
        reference, text: the report and its other version.
    """

    report: int
    kind: str
    sentence: int
    reference: str
    text: str


@dataclass(frozen=True, slots=True)
class PairScores:
    """Scores of pairs of texts.

    Attributes:
        by_output: metric output -> (n,), turned so that more is better.
        failed: metric family -> why it has no scores.
        unavailable: metric family -> one line of advice.
    """

    by_output: Mapping[str, NDArray[np.float64]]
    failed: Mapping[str, str]
    unavailable: Mapping[str, str]


def read_rewrites() -> list[Rewrite]:
    """All rewrites of ``judgement_pairs.yaml``, and each report as its own first version."""
    listed: list[dict[str, Any]] = yaml.safe_load(PAIRS.read_text(encoding="utf-8"))
    return [
        Rewrite(number, kind, sentence, " ".join(entry["reference"]), " ".join(sentences))
        for number, entry in enumerate(listed)
        for kind, sentence, sentences in _versions(entry)
    ]


def _versions(entry: Mapping[str, Any]) -> Iterator[tuple[str, int, list[str]]]:
    sentences: list[str] = entry["reference"]
    yield "itself", 0, sentences
    yield "paraphrase", 0, entry["paraphrase"]
    yield "order", 0, [sentences[place - 1] for place in entry["order"]]
    for place, reworded in enumerate(entry["paraphrase"], 1):
        yield "reworded", place, _replaced(sentences, place, [reworded])
    yield "omitted", entry["omitted"], _replaced(sentences, entry["omitted"], [])
    yield "invented", len(sentences), [*sentences, entry["invented"]]
    for kind in HARMFUL:
        if isinstance(entry.get(kind), dict):
            ((place, changed),) = entry[kind].items()
            yield kind, place, _replaced(sentences, place, [changed])


def _replaced(sentences: Sequence[str], place: int, others: Sequence[str]) -> list[str]:
    return [*sentences[: place - 1], *others, *sentences[place:]]


def score_pairs(references: Sequence[str], texts: Sequence[str]) -> PairScores:
    """Scores of every text against its reference, by all report metrics that can run here."""
    targets = [Reference(str(place), str(place), text) for place, text in enumerate(references)]
    predictions = [Prediction(report=text) for text in texts]
    failures, unavailable = MetricFailures(), {}
    by_output: dict[str, NDArray[np.float64]] = {}
    for metric in _metrics():
        if reason := metric.unavailable():
            unavailable[metric.name] = reason
            continue
        with failures.of(metric):
            alone = metric.alone(checked_statistics(metric, predictions, targets))
            for output in _outputs(metric):
                by_output[output.name] = alone[output.name] * (1.0 if output.higher_is_better else -1.0)
    return PairScores(by_output, failures.reasons, unavailable)


def _metrics() -> Iterator[Metric]:
    for name in registry.names("metrics"):
        metric: Metric = registry.make_metric(name)
        if metric.task is Task.REPORT and name not in _LEFT_OUT:
            yield metric


def _outputs(metric: Metric) -> list[MetricOutput]:
    names = _SHOWN.get(metric.name, (metric.outputs[0].name,))
    return [
        output for output in metric.outputs if output.name in names and output.higher_is_better is not None
    ]


def rewrite_benchmark() -> list[Row]:
    """Tables with a line per metric and a column per kind: what is noticed, and what it costs."""
    rewrites = read_rewrites()
    scores = score_pairs([each.reference for each in rewrites], [each.text for each in rewrites])
    rows = [
        row
        for output, values in scores.by_output.items()
        for row in _rows_of_metric(output, rewrites, values)
    ]
    return [*rows, *_failed(scores), *_unavailable(scores)]


def _rows_of_metric(output: str, rewrites: Sequence[Rewrite], values: NDArray[np.float64]) -> Iterator[Row]:
    of = {
        (each.report, each.kind, each.sentence): value for each, value in zip(rewrites, values, strict=True)
    }
    for kind in ("order", *HARMFUL, "paraphrase"):
        own = [each for each in rewrites if each.kind == kind]
        scored = [of[each.report, kind, each.sentence] for each in own]
        lost = np.array([of[each.report, "itself", 0] for each in own]) - scored
        if kind != "paraphrase":
            whole = [of[each.report, "paraphrase", 0] for each in own]
            yield _row(NOTICED, output, kind, _below(scored, whole))
        if kind in HARMFUL:
            beside = [of[each.report, "reworded", each.sentence] for each in own]
            yield _row(NOTICED_BESIDE, output, kind, _below(scored, beside))
        yield _row(DROP, output, kind, _mean(lost))


def _below(scores: Sequence[float], paraphrases: Sequence[float]) -> Estimate:
    """Share of scores that are lower; a tie is none."""
    lower = sum(score < other - _TIE for score, other in zip(scores, paraphrases, strict=True))
    return share(lower, len(scores))


def agreement_benchmark(file: JudgementFile) -> list[Row]:
    """Kendall's tau of each metric with the judgements of one file.

    Raises:
        HarnessError: the file is none of its kind.
    """
    judged = read_judgements(file)
    scores = score_pairs([pair.reference for pair in judged.pairs], [pair.candidate for pair in judged.pairs])
    rows = [
        _row(
            AGREEMENT,
            output,
            f"{file.kind}, {quality}",
            kendall_tau(values[judgements.judged], judgements.values, judgements.clusters),
            judged.remark,
        )
        for quality, judgements in _qualities(judged)
        for output, values in scores.by_output.items()
    ]
    return [*rows, *_failed(scores)]


@dataclass(frozen=True, slots=True)
class _Judgements:
    judged: NDArray[np.bool_]
    values: NDArray[np.float64]
    clusters: list[str]


def _qualities(judged: JudgedSet) -> Iterator[tuple[str, _Judgements]]:
    for name, values in judged.qualities.items():
        has_value = np.isfinite(values)
        clusters = [pair.study for pair, has in zip(judged.pairs, has_value, strict=True) if has]
        yield name, _Judgements(has_value, values[has_value], clusters)


def _row(table: str, output: str, column: str, estimate: Estimate, note: str = "") -> Row:
    return Row(
        _SUITE,
        f"{output}: {column}: {table}",
        estimate.value,
        unit="",
        note="; ".join(part for part in (f"n {estimate.n}", note) if part),
        state="no peer",
        interval=estimate.ci95 if estimate.has_interval else None,
        place=(table, output, column),
    )


def _mean(values: NDArray[np.float64]) -> Estimate:
    """Mean with the normal 95 % interval of independent reports."""
    mean, half = float(values.mean()), 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
    return Estimate(mean, mean - half, mean + half, len(values))


def _failed(scores: PairScores) -> list[Row]:
    return [Row(_SUITE, name, note=reason, state="failed") for name, reason in scores.failed.items()]


def _unavailable(scores: PairScores) -> list[Row]:
    note = "not available here: " + ", ".join(scores.unavailable)
    return [Row(_SUITE, "other metrics", note=note, state="skipped")] if scores.unavailable else []
