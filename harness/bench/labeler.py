"""How well the rule labellers do: minimal pairs, the real CheXbert's counts, human MeSH codes, and speed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from harness.bench.rows import Row, measured
from harness.core.types import CHEXPERT_LABELS
from harness.datasets.iu.mesh import labels_of
from harness.datasets.iu.reports import IUReport, find_data_folder, read_reports
from harness.metrics.clinical.chexpert_rules import ChexpertRulesF1, MeshRulesF1, labeler
from harness.metrics.clinical.labels import LABELS, POSITIVE, UNCERTAIN, Classes, f1
from harness.metrics.clinical.rule_labeler import rule_labeler

PAIRS = Path(__file__).with_name("labeler_pairs.yaml")
CHEXBERT = Path(__file__).with_name("chexbert_counts.json")
_SIGNS = ".+-?"
"""Blank, positive, negative, uncertain, in the order of the classes."""


class Pair(NamedTuple):
    """Two texts that differ in few words, and what a labeller should find in them.

    Attributes:
        kind: what they test, e.g. ``negation``.
        label: the label in question.
        classes: its class in each text, as ``+`` (positive), ``-``, ``?`` (uncertain) or ``.`` (blank).
        first, second: the texts.
    """

    kind: str
    label: str
    classes: str
    first: str
    second: str


class LabelCounts(NamedTuple):
    """How many of 382 IU reports have a label, uncertain mentions left out.

    Attributes:
        chexbert: by the real CheXbert, as published.
        rules: by ``chexpert_rules_f1``.
        mesh_rules: by ``mesh_rules_f1``.
        mesh: by the human codes.
    """

    chexbert: int
    rules: int
    mesh_rules: int
    mesh: int


def read_pairs() -> list[Pair]:
    """All minimal pairs of ``labeler_pairs.yaml``."""
    listed = yaml.safe_load(PAIRS.read_text(encoding="utf-8"))
    return [Pair(kind, *pair) for kind, pairs in listed.items() for pair in pairs]


def failed_pairs(label: Callable[[list[str]], Classes] | None = None) -> list[tuple[Pair, str]]:
    """Pairs of which a labeller gets a text wrong, each with the two classes that it gives.

    Args:
        label: from texts to classes int8 (n, 14); by default our rules of CheXpert's definitions.
    """
    pairs = read_pairs()
    classes = (label or labeler().classes)([text for pair in pairs for text in (pair.first, pair.second)])
    wrong = []
    for index, pair in enumerate(pairs):
        column = LABELS.index(pair.label)
        answer = "".join(_SIGNS[c] for c in classes[2 * index : 2 * index + 2, column])
        if answer != pair.classes:
            wrong.append((pair, answer))
    return wrong


def beside_chexbert() -> dict[str, LabelCounts]:
    """Label -> positives by our rules, the real CheXbert and the human codes, on the same 382 IU reports.

    Raises:
        UnavailableError: the package that ships the reports is not installed.
    """
    published = json.loads(CHEXBERT.read_text(encoding="utf-8"))
    every = read_reports(find_data_folder())
    reports = [every[name] for name in published["ids"]]
    texts = [text_of(report) for report in reports]
    rules, mesh_rules = (
        (each.classes(texts) == POSITIVE).sum(axis=0) for each in (labeler(), rule_labeler(MeshRulesF1.table))
    )
    mesh = coded(reports).sum(axis=0)
    return {
        name: LabelCounts(published["positives"][name], *(int(each[i]) for each in (rules, mesh_rules, mesh)))
        for i, name in enumerate(LABELS)
    }


def coded(reports: Sequence[IUReport]) -> NDArray[np.bool_]:
    """Whether the human codes of each report name each label, (n, 14), in the order of ``LABELS``."""
    order = [CHEXPERT_LABELS.index(name) for name in LABELS]
    return np.array([labels_of(report.mesh)[order] > 0 for report in reports])


def agreement(
    chosen: Callable[[IUReport], bool] = lambda report: True, table: Path = MeshRulesF1.table
) -> list[dict[str, str | float]]:
    """Precision, recall and F1 of a labeller's labels against labels made of the MeSH codes.

    The text is the findings and the impression: the coders read both. Uncertain mentions are positive.

    Args:
        chosen: which reports to take; all 3,955 by default.
        table: phrases of the labeller; by default those of ``mesh_rules_f1``.

    Returns:
        One row per label, then ``micro`` and ``macro`` over all 14, each with ``label``, ``positives`` (by
        MeSH), ``found``, ``precision``, ``recall``, ``f1``, ``reports`` and ``reports_per_second``
        (building the labeller not counted).

    Raises:
        UnavailableError: the package that ships the reports is not installed.
    """
    reports = [report for report in read_reports(find_data_folder()).values() if chosen(report)]
    true = coded(reports)
    texts = [text_of(report) for report in reports]
    label = rule_labeler.__wrapped__(table).classes  # one that has read none of them
    started = time.perf_counter()
    predicted = np.isin(label(texts), (POSITIVE, UNCERTAIN))
    speed = len(texts) / (time.perf_counter() - started)
    counts = np.stack([predicted & true, predicted & ~true, ~predicted & true]).sum(axis=1).astype(np.float64)
    rows = [_row(name, counts[:, index]) for index, name in enumerate(LABELS)]
    each = np.array([[row["precision"], row["recall"], row["f1"]] for row in rows], dtype=np.float64)
    micro = _row("micro", counts.sum(axis=1))
    macro = dict(micro, label="macro") | dict(
        zip(("precision", "recall", "f1"), each.mean(axis=0), strict=True)
    )
    return [row | {"reports": len(texts), "reports_per_second": speed} for row in [*rows, micro, macro]]


def labeler_benchmark(every: bool = False) -> list[Row]:
    """Pairs that are right, positives beside CheXbert's, F1 against the coders, and the speed.

    Args:
        every: a row per kind of pair and per label instead of the sums alone.
    """
    tables = {"mesh_rules": MeshRulesF1.table}
    if every:
        tables = {"chexpert_rules": ChexpertRulesF1.table} | tables
    scores = {name: agreement(table=table) for name, table in tables.items()}
    speed = float(scores["mesh_rules"][0]["reports_per_second"])
    return [
        *_pair_rows(every),
        *(_chexbert_rows() if every else []),
        *(
            row
            for name, of in scores.items()
            for row in _mesh_rows(name, [one for one in of if every or one["label"] in ("micro", "macro")])
        ),
        measured("labeler", "labelling findings and impressions", speed, unit="reports/s"),
    ]


def _pair_rows(every: bool) -> list[Row]:
    wrong = [pair.kind for pair, _ in failed_pairs()]
    kinds = [pair.kind for pair in read_pairs()]
    groups = {"all": len(kinds)} | (
        {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)} if every else {}
    )
    rows = []
    for kind, count in groups.items():
        right = count - (len(wrong) if kind == "all" else wrong.count(kind))
        name = f"minimal pairs, {kind}: share with both classes right"
        rows.append(measured("labeler", name, right / count, unit="of 1", note=f"{right} of {count} pairs"))
    return rows


def _chexbert_rows() -> list[Row]:
    return [
        measured(
            "labeler",
            f"positives in 382 IU reports: {label}",
            float(counts.rules),
            peer=float(counts.chexbert),
            unit="reports",
            of="the real CheXbert, as published",
            note=f"mesh_rules finds {counts.mesh_rules}, the MeSH codes name {counts.mesh}",
        )
        for label, counts in beside_chexbert().items()
    ]


def _mesh_rows(name: str, scores: list[dict[str, str | float]]) -> list[Row]:
    return [
        measured(
            "labeler",
            f"{name} against the MeSH codes of {row['reports']:,} reports: {row['label']} F1",
            float(row["f1"]),
            unit="F1",
            note=f"precision {row['precision']:.3f}, recall {row['recall']:.3f}, "
            f"{row['found']:,.0f} found, {row['positives']:,.0f} coded",
        )
        for row in scores
    ]


def text_of(report: IUReport) -> str:
    """Findings and impression as two paragraphs of one text."""
    return "\n\n".join(part for part in (report.findings, report.impression) if part)


def _row(label: str, counts: NDArray[np.float64]) -> dict[str, str | float]:
    tp, fp, fn = counts
    return {
        "label": label,
        "positives": tp + fn,
        "found": tp + fp,
        "precision": tp / max(tp + fp, 1.0),
        "recall": tp / max(tp + fn, 1.0),
        "f1": float(f1(*counts)),
    }
