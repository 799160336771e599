"""Reports against labels instead of reports: those of a radiologist or of another labeller, as a table.

The table has CheXpert's layout: a column of ids and one per observation: 1 present, 0 denied, -1 uncertain,
blank not mentioned. What is scored may be reports, which a labeller reads, or a table of the same layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError, UnavailableError
from harness.core.metric_options import DEFAULTS, MetricOptions
from harness.core.types import CHEXPERT_LABELS
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.probability_files.cells import Values
from harness.evaluation.probability_files.tables import LabelTable, codes_of, label_table, rows_of
from harness.evaluation.report_files.fields import NULL_WORDS
from harness.evaluation.report_files.in_memory import Texts, reports_of
from harness.evaluation.report_files.joining import joined_ids
from harness.evaluation.report_files.pairing import DEFAULT_READING, ReportReading, within
from harness.evaluation.report_files.reader import ReportFile
from harness.evaluation.score_files import N_RESAMPLES, Score, Scores, choose
from harness.metrics.clinical.labels import (
    BLANK,
    LABELS,
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    Classes,
    LabelF1,
    LabelPrecisionRecall,
    averaged_f1,
    known_policy,
    label_statistics,
)
from harness.metrics.text.characters import plain_characters
from harness.metrics.text.hygiene import Remark, remarks_on
from harness.statistics.bootstrap import BootstrapWeights, bootstrap_weights, interval, resampled_sums
from harness.statistics.estimate import Estimate

TABLE = "labels_f1"
"""Family of a table of labels against a table of labels."""


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """One labeller's classes beside the reference's.

    Attributes:
        family: what labelled the predictions.
        predicted, expected: classes (n, 14), in the order of ``LABELS``.
        statistics: (n, 59).
        weights: bootstrap weights (B, n).
        signature: of the family.
    """

    family: str
    predicted: Classes
    expected: Classes
    statistics: NDArray[np.float64]
    weights: BootstrapWeights
    signature: str


@dataclass(frozen=True, slots=True)
class LabelledPairs:
    """All labellers' classes, and what stands beside them."""

    pairs: tuple[LabelledPair, ...]
    ids: tuple[str, ...]
    unavailable: dict[str, str]
    remarks: tuple[Remark, ...]


def score_against_labels(
    labels: Values,
    predictions: Texts,
    metrics: Sequence[str] | None = None,
    options: MetricOptions = DEFAULTS,
    reading: ReportReading = DEFAULT_READING,
) -> Scores:
    """F1 of reports, or of a table of labels, against a table of labels.

    Args:
        labels: table with ids and the 14 columns.
        predictions: reports as ``score_files.score`` takes them, or the path of a table like ``labels``.
        metrics: families that label reports; default those that can run.
        options: ``uncertain``: what an uncertain label counts as on either side.
        reading: which texts mean "no report", and which studies count.

    Raises:
        HarnessError: files that cannot be read or joined, columns that are not the 14, or a metric that is
            not for them.
        UnavailableError: no labeller can run here.
    """
    labelled = labelled_pairs(labels, predictions, metrics, options, reading)
    scores = [
        Score(f"{pair.family}_{name}", estimate, pair.signature, "report findings", True)
        for pair in labelled.pairs
        for name, estimate in _estimates(pair)
    ]
    return Scores(tuple(scores), labelled.unavailable, labelled.ids, {}, {}, labelled.remarks)


def labelled_pairs(
    labels: Values,
    predictions: Texts,
    metrics: Sequence[str] | None = None,
    options: MetricOptions = DEFAULTS,
    reading: ReportReading = DEFAULT_READING,
) -> LabelledPairs:
    """Classes of both sides, joined by id; arguments as ``score_against_labels`` takes them."""
    truth = label_table(labels, "labels")
    policy = known_policy(options.uncertain or "positive")
    ids = ReportFile(truth.path, "a table", dict.fromkeys(truth.ids, "."), "ids", {})
    remarks: tuple[Remark, ...] = ()
    if reading.subset is not None:
        names, left_out = within(truth.ids, reading.subset, ids)
        truth, remarks = rows_of(truth, set(names)), (left_out,)
    weights = bootstrap_weights(truth.patients or truth.ids, N_RESAMPLES)
    expected = _classes(truth)
    by_family: dict[str, tuple[Classes, str]] = {}
    unavailable: dict[str, str] = {}
    if (table := _table_of_labels(predictions)) is not None:
        if not all(name.startswith(TABLE) for name in metrics or ()):
            raise HarnessError(
                f"--metrics {','.join(metrics or ())}: a table of labels against another has {TABLE} alone",
                "leave --metrics out",
            )
        joined_ids(ids, ReportFile(table.path, "a table", dict.fromkeys(table.ids, "."), "ids", {}))
        place = {name: row for row, name in enumerate(table.ids)}
        predicted = _classes(table)[[place[name] for name in truth.ids]]
        by_family[TABLE] = predicted, f"uncertain:{policy}|preds:label-table|v:1"
    else:
        file = reports_of(
            predictions, "predictions", NULL_WORDS if reading.null_words is None else reading.null_words
        )
        joined_ids(ids, file)
        texts = [file.texts[name] for name in truth.ids]
        remarks += tuple(remarks_on(dict(zip(truth.ids, texts, strict=True)), "predictions"))
        families, unavailable = _families(metrics, options)
        for metric in families:
            plain = [plain_characters(text) for text in texts]
            distinct = list(dict.fromkeys(plain))
            classes = dict(zip(distinct, metric.classes(distinct), strict=True))
            predicted = np.stack([classes[text] for text in plain])
            by_family[metric.name] = predicted, metric.signature.partition("|")[2]
    pairs = tuple(
        LabelledPair(
            family,
            predicted,
            expected,
            label_statistics(predicted, expected, policy),
            weights,
            f"{family}|refs:label-table|{rest}",
        )
        for family, (predicted, rest) in by_family.items()
    )
    return LabelledPairs(pairs, truth.ids, unavailable, remarks)


def _families(metrics: Sequence[str] | None, options: MetricOptions) -> tuple[list[LabelF1], dict[str, str]]:
    """Families that label reports and can run here."""
    chosen, unavailable = choose(metrics, options, MetricFailures())
    families = [
        each.metric
        for each in chosen
        if isinstance(each.metric, LabelF1) and not isinstance(each.metric, LabelPrecisionRecall)
    ]
    if not families:
        raise UnavailableError("--labels: no metric that labels reports", "--metrics chexpert_rules_f1")
    others = [each.metric.name for each in chosen if each.metric not in families]
    if metrics is not None and others:
        raise HarnessError(
            f"--metrics {others[0]}: it compares no reports with a table of labels",
            "--metrics chexpert_rules_f1",
        )
    labellers = ("chexpert_rules_f1", "chexbert_f1", "mesh_rules_f1")
    return families, {name: why for name, why in unavailable.items() if name.startswith(labellers)}


def _table_of_labels(predictions: Texts) -> LabelTable | None:
    """The predictions as a table with the 14 columns; None where they are anything else."""
    if not isinstance(predictions, str | Path) or Path(predictions).suffix.casefold() not in (".csv", ".tsv"):
        return None
    try:
        table = label_table(predictions, "predictions")
    except HarnessError:
        return None
    return table if set(CHEXPERT_LABELS) <= set(table.columns) else None


def _classes(table: LabelTable) -> Classes:
    """Classes (n, 14) of a table, in the order of ``LABELS``."""
    if absent := [name for name in CHEXPERT_LABELS if name not in table.columns]:
        raise table.error(
            f"no column {absent[0]!r}", "harness label writes a table in CheXpert's layout, with 14 columns"
        )
    codes = np.stack([codes_of(table, name) for name in LABELS], axis=1)
    classes = np.full(codes.shape, BLANK, dtype=np.int8)
    for code, kind in ((1, POSITIVE), (0, NEGATIVE), (-1, UNCERTAIN)):
        classes[codes == code] = kind
    return classes


def _estimates(pair: LabelledPair) -> Iterator[tuple[str, Estimate]]:
    """Every average of F1 with its interval."""
    values = averaged_f1(pair.statistics.sum(axis=0)[None])
    samples = averaged_f1(resampled_sums(pair.statistics, pair.weights))
    for name, value in values.items():
        yield name, Estimate(float(value[0]), *interval(samples[name]), n=len(pair.statistics))
