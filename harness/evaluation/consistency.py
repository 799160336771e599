"""Whether reports drawn for one study agree, and whether studies on which they agree have better reports.

The consistency of a study's drawn reports is a confidence that every system has which can draw: by labels,
the mean over the 14 labels of the share of the larger side; by text, the mean ROUGE-L F1 over pairs of
reports. Sorted by it, the first share of the studies has a mean quality: a quality-coverage curve.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError, require
from harness.core.null_words import is_null
from harness.core.types import Prediction, Reference, Task
from harness.core.user_files import read_user_file
from harness.evaluation.extra_scores import targets_of
from harness.evaluation.report_files.fields import listed
from harness.evaluation.report_files.in_memory import Texts
from harness.evaluation.report_files.reader import ReportFile, fault_of
from harness.evaluation.score_files import N_RESAMPLES, Score, Scores
from harness.metrics.base import JointMetric, MetricOutput, Statistics
from harness.metrics.clinical.chexpert_rules import ChexpertRulesF1, labeler, table_digest
from harness.metrics.clinical.labels import POSITIVE, UNCERTAIN
from harness.metrics.diagnosis.selective import coverage_curves
from harness.metrics.text.hygiene import Remark
from harness.metrics.text.rouge import RougeScoreL
from harness.statistics import bootstrap

COVERAGES = (25, 50)
"""Shares of the studies, in percent, whose mean quality is printed."""

_UNBOUNDED = (-float("inf"), float("inf"))


class SelectiveQuality(JointMetric):
    """Mean quality of the studies whose drawn reports agree most, by coverage.

    Outputs are the mean at each of ``COVERAGES``, and the gain: the mean over all coverages less the mean of
    all studies, positive where consistency tells good reports from bad ones. Statistics are
    ``[consistency, quality]``; studies of equal consistency come in together.

    Args:
        quality: the metric that is the quality.
        by: ``labels`` or ``text``.
        draws: reports per study.
        values: study id -> consistency and quality.
    """

    name: ClassVar[str] = "selective_quality"
    task: ClassVar[Task] = Task.REPORT
    group = "quality of the most consistent studies"

    def __init__(
        self, quality: Score, by: str, draws: int, values: Mapping[str, tuple[float, float]]
    ) -> None:
        self._quality, self._by, self._draws, self._values = quality, by, draws, values
        higher, stem = quality.higher_is_better, f"{quality.metric}_{by}"
        self.outputs = (
            *(MetricOutput(f"{stem}_{share}", higher, _UNBOUNDED) for share in COVERAGES),
            MetricOutput(f"{stem}_gain", True, _UNBOUNDED),
        )

    @property
    def signature(self) -> str:
        """Identity of the numbers: how consistency is measured, and that of the quality by its family."""
        how = f"labels|rules:{table_digest()}" if self._by == "labels" else "rouge-score-l|beta:1"
        family = self._quality.metric
        return f"selective_quality|quality:{family}|consistency:{how}|draws:{self._draws}|ties:together|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Consistency and quality, float64 (n_studies, 2)."""
        return np.array([self._values[reference.id] for reference in references], dtype=np.float64)

    def joint(self, statistics: Statistics, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Statistics (n, 2) under each line of ``weights`` (B, n) to means and gains (B,)."""
        coverage, quality = coverage_curves(statistics, weights)
        lines, last = np.arange(len(weights)), coverage.shape[1] - 1
        values = {}
        for share, output in zip(COVERAGES, self.outputs, strict=False):
            place = np.minimum((coverage < share / 100 - 1e-9).sum(axis=1), last)
            values[output.name] = quality[lines, place]
        steps = np.diff(coverage, axis=1, prepend=0.0)
        gain = (steps * np.nan_to_num(quality)).sum(axis=1) - quality[:, -1]
        values[self.outputs[-1].name] = gain if self._quality.higher_is_better else -gain
        return values


def with_consistency(scores: Scores, references: Texts, file: Path) -> Scores:
    """A system's numbers, and its quality on the studies whose drawn reports agree most.

    Args:
        scores: of the system's reports; each metric with a direction is a quality.
        references: the same file of true reports.
        file: drawn reports, see ``read_drawn``.

    Raises:
        HarnessError: as ``read_drawn``, or an id on one side only.
        UnavailableError: the rule labeller's packages are absent.
    """
    require(ChexpertRulesF1().unavailable())
    drawn = read_drawn(file)
    scored = set(scores.ids)
    places = {name: place for place, name in enumerate(scores.ids)}
    joined = targets_of(references, [ReportFile(file, "drawn reports", dict.fromkeys(drawn, "."), "ids", {})])
    targets = [target for target in joined if target.id in scored]
    consistency = {
        "labels": label_consistency([drawn[target.id] for target in targets]),
        "text": text_consistency([drawn[target.id] for target in targets]),
    }
    rows, per_study = list(scores.scores), dict(scores.per_study)
    draws = len(next(iter(drawn.values())))
    for by, confidences in consistency.items():
        order = [places[target.id] for target in targets]
        per_study[f"consistency_{by}"] = np.empty(len(scores.ids))
        per_study[f"consistency_{by}"][order] = confidences
        for score in scores.scores:
            if score.higher_is_better is not None:
                quality = scores.per_study[score.metric][order]
                rows += _rows(score, by, draws, (targets, confidences, quality))
    return replace(
        scores, scores=tuple(rows), per_study=per_study, remarks=(*scores.remarks, *_remarks_on(drawn))
    )


def _remarks_on(drawn: Mapping[str, Sequence[str]]) -> list[Remark]:
    ids = tuple(name for name, texts in drawn.items() if any(map(is_null, texts)))
    predicate = "have a drawn report that is empty or a null word"
    return [Remark("empty", predicate, len(ids), len(drawn), "studies", ids)] if ids else []


def _rows(
    score: Score,
    by: str,
    draws: int,
    studies: tuple[Sequence[Reference], NDArray[np.float64], NDArray[np.float64]],
) -> list[Score]:
    """Means and gain of one quality under one consistency; studies without a quality are left out."""
    targets, confidences, quality = studies
    usable = [place for place, value in enumerate(quality) if np.isfinite(value)]
    if len(usable) < 2:
        return []
    values = {targets[place].id: (confidences[place], quality[place]) for place in usable}
    metric = SelectiveQuality(score, by, draws, values)
    chosen = [targets[place] for place in usable]
    weights = bootstrap.bootstrap_weights([target.patient_id for target in chosen], N_RESAMPLES)
    estimates = bootstrap.estimate(metric, metric.statistics([], chosen), weights)
    return [
        Score(each.name, estimates[each.name], metric.signature, metric.group, each.higher_is_better)
        for each in metric.outputs
    ]


def read_drawn(path: Path) -> dict[str, list[str]]:
    """Drawn reports by study: JSON ``{id: [texts]}``, or JSON lines with ``id`` and ``reports``.

    The second is what ``harness run --report-samples`` keeps in a cell of the store.

    Raises:
        HarnessError: none of these, an id twice, fewer than two reports, or not equally many for all.
    """
    pairs = _pairs(path)
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise HarnessError(f"{path}: {len(twice)} ids occur twice: {listed(twice)}")
    broken = [
        name
        for name, texts in pairs
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts)
    ]
    if broken or not pairs:
        raise HarnessError(f"{path}: no list of reports for {listed(broken)}" if broken else f"{path}: empty")
    faults = {name: fault for name, texts in pairs for fault in map(fault_of, texts) if fault}
    for name, fault in faults.items():
        raise HarnessError(f"{path}: a report of {listed([name])} {fault}", "write the file again")
    counts = {name: len(texts) for name, texts in pairs}
    most = max(counts.values())
    fewer = [name for name, count in counts.items() if count < most]
    if most < 2 or fewer:
        raise HarnessError(
            f"{path}: {most} reports per study" + (f", fewer for {listed(fewer)}" if fewer else ""),
            "draw equally many, at least two, for every study",
        )
    return dict(pairs)


def _pairs(path: Path) -> list[tuple[str, Any]]:
    hint = "write {id: [report, report, ..]}, or lines with id and reports"
    try:
        content = read_user_file(path).decode("utf-8-sig")
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in content.splitlines() if line.strip()]
            return [(str(line["id"]), line["reports"]) for line in lines]
        pairs: list[tuple[str, Any]] = json.loads(content, object_pairs_hook=list)
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HarnessError(f"{path}: no drawn reports can be read", hint) from error
    if not isinstance(pairs, list) or not all(isinstance(each, tuple) for each in pairs):
        raise HarnessError(f"{path}: no drawn reports can be read", hint)
    return pairs


def label_consistency(drawn: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Per study, the mean over the 14 labels of the share of the larger side, one half to 1; (n,).

    A finding that a report is unsure of counts as stated.
    """
    texts = dict.fromkeys(text for reports in drawn for text in reports)
    stated = np.isin(labeler().classes(list(texts)), (POSITIVE, UNCERTAIN))
    of = dict(zip(texts, stated, strict=True))
    shares = np.array([np.mean([of[text] for text in reports], axis=0) for reports in drawn])
    result: NDArray[np.float64] = np.maximum(shares, 1 - shares).mean(axis=1)
    return result


def text_consistency(drawn: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Per study, the mean ROUGE-L F1 (rouge-score's) of its pairs of reports, (n,); equal texts have 1."""
    pairs = [both for reports in drawn for both in combinations(reports, 2)]
    metric = RougeScoreL()
    similar = metric.statistics(
        [Prediction(report=first) for first, _ in pairs], [Reference("", "", second) for _, second in pairs]
    )[:, 0]
    similar[[first == second for first, second in pairs]] = 1.0
    per_study = np.split(
        similar, np.cumsum([len(reports) * (len(reports) - 1) // 2 for reports in drawn])[:-1]
    )
    return np.array([each.mean() for each in per_study])
