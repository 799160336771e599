"""Single studies as a reader looks at them: images, reference, and what every method answered in each state.

All of it comes from stored predictions; nothing is predicted anew. With ``attention``, checkpoints are asked
where the words of these reports look. What is collected holds reports and images: it is for the user's own
screen, never for a bundle.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.core import registry
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.names import did_you_mean
from harness.core.types import DatasetInfo, Reference, Study, Task
from harness.evaluation.benchmark import Benchmark, open_benchmark
from harness.evaluation.case_attention import attention_of
from harness.evaluation.case_rows import CaseRow, case_rows
from harness.evaluation.reproduce import settings_of
from harness.metrics.base import checked_statistics
from harness.metrics.clinical.chexpert_rules import labeler
from harness.metrics.clinical.labels import LABELS
from harness.missingness.states import FULL, lost_by, subsets
from harness.store.results import StoredResult
from harness.store.store import Store

REPORT_METRIC = "rouge_l"
_LABEL_METRIC = "chexpert_rules_f1"
_POSITIVE = 1
"""Class of a present finding, as the rule labeller numbers them."""

_WORD = re.compile(r"\w+|[^\w\s]")
_PRESENT = 0.5
"""A finding is called present from this probability on."""


@dataclass(frozen=True, slots=True)
class CaseOptions:
    """Which studies are collected.

    Attributes:
        dataset: name of the results' dataset, as tables call it; empty where the store has one only.
        methods: rows by their label; empty: all with stored predictions, reruns on other images left out.
        ids: these studies; empty: ``limit`` of them, largest loss first.
        without: the modality state whose loss sorts the studies; ``full``: lowest score first.
        sort_by: the row whose scores sort; empty: the first one that reads something the state lacks.
        limit: number of studies.
        attention: add where the words of each report look, of methods that can tell.
        device: of the networks that are asked for it.
    """

    dataset: str = ""
    methods: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    without: str = FULL
    sort_by: str = ""
    limit: int = 24
    attention: bool = False
    device: str | None = None


def collect(store: Store, stored: Sequence[StoredResult], options: CaseOptions) -> dict[str, Any]:
    """Studies with every method's answers, as JSON values for a page.

    Args:
        store: results store with the predictions.
        stored: results, as ``leaderboard.selection.current`` leaves them.
        options: which studies and rows.

    Returns:
        The content of the page, and as ``left_out`` why rows have no answers, by label.

    Raises:
        HarnessError: no predictions, an unknown study, row, dataset or state.
    """
    results = _of_one_dataset(stored, options.dataset)
    benchmark = open_benchmark(settings_of(results[0], store.root))
    info = benchmark.dataset.info
    left_out: dict[str, str] = {}
    rows = list(case_rows(store, results, benchmark, left_out))
    labels = [row.label for row in rows]
    for name in options.methods:
        if name not in labels:
            hint = left_out.get(name) or did_you_mean(name, labels)
            raise UnknownNameError(f"no stored predictions of {name}", hint)
    rows = [row for row in rows if not options.methods or row.label in options.methods]
    if not rows:
        raise HarnessError("the store has no predictions of this test set", "run the methods again")
    states = [state for state in (FULL, *subsets(info.modalities)) if any(state in row.asked for row in rows)]
    rows = [replace(row, answers={s: row.answers[s] for s in states if s in row.answers}) for row in rows]
    for row in rows:
        _score(row, benchmark.references)
    chosen = _chosen(benchmark, rows, states, options)
    cases = _with_findings([_case(benchmark, rows, states, index) for index in chosen], info)
    if options.attention:
        _add_attention(cases, rows, store, [benchmark.splits["test"][index] for index in chosen], options)
    return {
        "dataset": info.title,
        "views": list(info.image_modalities),
        "states": states,
        "without": options.without if options.without in states else FULL,
        "methods": [
            {
                "name": row.label,
                "tasks": sorted(task.value for task in row.tasks),
                "unasked": row.unasked(states),
            }
            for row in rows
        ],
        "order": _order_in_words(rows, options),
        "score": {"report": REPORT_METRIC, "diagnose": "1 - Brier"},
        "cases": cases,
        "left_out": left_out,
    }


def may_be_shown(stored: Sequence[StoredResult], dataset: str) -> bool:
    """Whether this program drew the images of the results' dataset."""
    return all(result.manifest.may_show_images for result in _of_one_dataset(stored, dataset))


def _of_one_dataset(stored: Sequence[StoredResult], dataset: str) -> list[StoredResult]:
    names = list(dict.fromkeys(result.rows[0].dataset for result in stored if result.rows))
    if dataset and dataset not in names:
        raise UnknownNameError(f"the store has no results on {dataset}", did_you_mean(dataset, names))
    if not dataset and len(names) != 1:
        raise HarnessError(
            f"the store has results on {len(names)} datasets",
            f"--dataset: one of {', '.join(names) or 'none'}",
        )
    wanted = dataset or names[0]
    return [result for result in stored if result.rows and result.rows[0].dataset == wanted]


def _score(row: CaseRow, references: Sequence[Reference]) -> None:
    """Fill in each study's own score in each state."""
    metric = registry.make_metric(REPORT_METRIC)
    for state in row.answers:
        predictions = [row.answers[state][reference.id] for reference in references]
        scores: dict[Task, NDArray[np.float64]] = {}
        if Task.REPORT in row.tasks and all(reference.report is not None for reference in references):
            statistics = checked_statistics(metric, predictions, references)
            scores[Task.REPORT] = metric.values(statistics, np.eye(len(references)))[REPORT_METRIC]
        if Task.DIAGNOSE in row.tasks and all(reference.labels is not None for reference in references):
            probabilities = np.array([each.probabilities for each in predictions], dtype=np.float64)
            labels = np.array([reference.labels for reference in references], dtype=np.float64)
            scores[Task.DIAGNOSE] = 1.0 - ((probabilities - labels) ** 2).mean(axis=1)
        row.scores[state] = scores


def _sorting_row(rows: Sequence[CaseRow], options: CaseOptions) -> CaseRow:
    if options.sort_by:
        for row in rows:
            if row.label == options.sort_by:
                return row
        raise UnknownNameError(
            f"no row {options.sort_by} to sort by", did_you_mean(options.sort_by, [row.label for row in rows])
        )
    noticing = [row for row in rows if options.without in row.answers and len(row.answers) > 1]
    return (noticing or list(rows))[0]


def _chosen(
    benchmark: Benchmark, rows: Sequence[CaseRow], states: Sequence[str], options: CaseOptions
) -> list[int]:
    """Indices of test studies in the order in which they are shown."""
    ids = [reference.id for reference in benchmark.references]
    if options.ids:
        for name in options.ids:
            if name not in ids:
                raise UnknownNameError(f"no test study {name}", did_you_mean(name, ids))
        return [ids.index(name) for name in options.ids]
    if options.without not in states:
        raise UnknownNameError(
            f"no predictions without {options.without}", did_you_mean(options.without, states)
        )
    row = _sorting_row(rows, options)
    task = Task.REPORT if Task.REPORT in row.scores[FULL] else Task.DIAGNOSE
    if task not in row.scores[FULL]:
        raise HarnessError(f"{row.label} has no score of single studies here", "choose studies with --ids")
    full = row.scores[FULL][task]
    key = full
    if row.unasked([options.without]):
        raise HarnessError(
            f"{row.label} was never asked without {options.without}", "choose another row with --sort-by"
        )
    if options.without != FULL:
        offered = frozenset(benchmark.dataset.info.modalities)
        lost = [bool(lost_by(each.modalities, options.without, offered)) for each in benchmark.splits["test"]]
        key = np.where(lost, row.scores.get(options.without, row.scores[FULL])[task] - full, np.inf)
    order = np.argsort(key, kind="stable")
    return [int(index) for index in order[: options.limit] if np.isfinite(key[index])]


def _order_in_words(rows: Sequence[CaseRow], options: CaseOptions) -> str:
    if options.ids:
        return "as asked for"
    row = _sorting_row(rows, options)
    if options.without == FULL:
        return f"lowest score of {row.label} first"
    return f"largest loss of {row.label} without {options.without.replace('+', ' and ')} first"


def _case(benchmark: Benchmark, rows: Sequence[CaseRow], states: Sequence[str], index: int) -> dict[str, Any]:
    study, info = benchmark.splits["test"][index], benchmark.dataset.info
    offered = frozenset(info.modalities)
    words = _WORD.findall(study.report or "")
    return {
        "id": study.id,
        "images": {view: _png(study.images[view]) for view in info.image_modalities if view in study.images},
        "context": study.context,
        "report": study.report,
        "labels": _true_labels(study, info),
        "lost": {state: sorted(lost_by(study.modalities, state, offered)) for state in states},
        "answers": {
            row.label: {
                state: _answer(row, state, index, study, words, info)
                for state in states
                if state in row.answers
            }
            for row in rows
        },
    }


def _answer(
    row: CaseRow, state: str, index: int, study: Study, words: Sequence[str], info: DatasetInfo
) -> dict[str, Any]:
    prediction = row.answers[state][study.id]
    answer: dict[str, Any] = {
        "scores": {task.value: round(float(each[index]), 4) for task, each in row.scores[state].items()}
    }
    if prediction.report is not None:
        answer["text"] = prediction.report
        answer["report"] = marked(prediction.report, words)
    if prediction.probabilities is not None and info.label_names:
        answer["findings"] = _findings(prediction.probabilities, study, info)
    return answer


def _findings(
    probabilities: NDArray[np.floating[Any]], study: Study, info: DatasetInfo
) -> list[tuple[str, float, str]]:
    """(name, probability, ``hit``, ``false`` or ``missed``) of what is called present or is present."""
    truth = study.labels if study.labels is not None else np.zeros(len(info.label_names))
    bar = _PRESENT if info.multilabel else float(np.max(probabilities))
    findings = []
    for name, probability, label in zip(info.label_names, probabilities, truth, strict=True):
        called = float(probability) >= bar
        if called or label > 0:
            kind = "hit" if called and label > 0 else "false" if called else "missed"
            findings.append((name, round(float(probability), 3), kind))
    return findings


def _with_findings(cases: list[dict[str, Any]], info: DatasetInfo) -> list[dict[str, Any]]:
    """The same cases; each answered report with the findings that rule labels see in it and in the truth."""
    metric = registry.make_metric(_LABEL_METRIC)
    reports = [case["report"] for case in cases if case["report"]]
    answers = [each for case in cases for row in case["answers"].values() for each in row.values()]
    reports += [answer["text"] for answer in answers if "text" in answer]
    if not reports or metric.unavailable() is not None or not metric.made_for(info):
        return cases
    texts = list(dict.fromkeys(reports))
    classes = labeler().classes(texts)
    positive = {
        text: [name for name, code in zip(LABELS, line, strict=True) if code == _POSITIVE]
        for text, line in zip(texts, classes, strict=True)
    }
    for case in cases:
        truth = positive.get(case["report"] or "", [])
        for row in case["answers"].values():
            for answer in row.values():
                called = positive.get(answer.get("text", ""))
                if called is not None:
                    answer["findings"] = [
                        *((name, None, "hit" if name in truth else "false") for name in called),
                        *((name, None, "missed") for name in truth if name not in called),
                        *answer.get("findings", []),
                    ]
    return cases


def _add_attention(
    cases: Sequence[dict[str, Any]],
    rows: Sequence[CaseRow],
    store: Store,
    studies: Sequence[Study],
    options: CaseOptions,
) -> None:
    """Fill in ``attention`` of each answer whose method can tell where its words look."""
    for row in rows:
        for state, of_state in attention_of(store, row.stored, row.answers, studies, options.device).items():
            for case in cases:
                if case["id"] in of_state:
                    case["answers"][row.label][state]["attention"] = of_state[case["id"]]


def _true_labels(study: Study, info: DatasetInfo) -> list[str]:
    if study.labels is None:
        return []
    return [name for name, label in zip(info.label_names, study.labels, strict=True) if label > 0]


def marked(report: str, reference: Sequence[str]) -> list[tuple[str, bool]]:
    """Stretches of a report and whether the reference has the same words in the same order.

    The longest matching stretches count first (``difflib``), without regard to case.
    """
    words = _WORD.findall(report)
    matcher = SequenceMatcher(
        None, [word.lower() for word in words], [word.lower() for word in reference], autojunk=False
    )
    same = [False] * len(words)
    for block in matcher.get_matching_blocks():
        same[block.a : block.a + block.size] = [True] * block.size
    stretches: list[tuple[str, bool]] = []
    for word, flag in zip(words, same, strict=True):
        if stretches and stretches[-1][1] == flag:
            stretches[-1] = (f"{stretches[-1][0]} {word}", flag)
        else:
            stretches.append((word, flag))
    return stretches


def _png(pixels: NDArray[np.uint8]) -> str:
    """A data URI."""
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
