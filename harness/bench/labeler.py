"""How well the rule labeller agrees with the human MeSH codes of the IU X-Ray reports, and how fast it is."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.bench.rows import Row, measured
from harness.core.types import CHEXPERT_LABELS
from harness.datasets.iu.mesh import labels_of
from harness.datasets.iu.reports import IUReport, find_data_folder, read_reports
from harness.metrics.clinical.chexpert_rules import labeler
from harness.metrics.clinical.labels import LABELS, POSITIVE, UNCERTAIN, f1


def agreement(chosen: Callable[[IUReport], bool] = lambda report: True) -> list[dict[str, str | float]]:
    """Precision, recall and F1 of the rule labels against labels made of the MeSH codes.

    The text is the findings and the impression: the coders read both. Uncertain mentions are positive.

    Args:
        chosen: which reports to take; all 3,955 by default.

    Returns:
        One row per label, then ``micro`` and ``macro`` over all 14, each with ``label``, ``positives`` (by
        MeSH), ``found``, ``precision``, ``recall``, ``f1``, ``reports`` and ``reports_per_second``
        (building the labeller not counted).

    Raises:
        UnavailableError: the package that ships the reports is not installed.
    """
    reports = [report for report in read_reports(find_data_folder()).values() if chosen(report)]
    order = [CHEXPERT_LABELS.index(name) for name in LABELS]
    true = np.array([labels_of(report.mesh)[order] > 0 for report in reports])
    texts = [text_of(report) for report in reports]
    label = labeler().classes
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
    """F1 over all labels, with ``every`` that of each label, and the speed; the coders are no peer."""
    scores = agreement()
    count = scores[0]["reports"]
    printed = [row for row in scores if every or row["label"] in ("micro", "macro")]
    rows = [
        measured(
            "labeler",
            f"rule labels against the MeSH codes of {count:,} reports: {row['label']} F1",
            float(row["f1"]),
            unit="F1",
            note=f"precision {row['precision']:.3f}, recall {row['recall']:.3f}, "
            f"{row['found']:,.0f} found, {row['positives']:,.0f} coded",
        )
        for row in printed
    ]
    speed = float(scores[0]["reports_per_second"])
    return [*rows, measured("labeler", "labelling findings and impressions", speed, unit="reports/s")]


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
