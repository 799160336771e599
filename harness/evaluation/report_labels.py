"""CheXpert's 14 labels of reports, as the rule labeller reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError, UnavailableError
from harness.core.types import CHEXPERT_LABELS
from harness.evaluation.report_files.fields import NULL_WORDS, listed
from harness.evaluation.report_files.in_memory import Texts, reports_of


@dataclass(frozen=True, slots=True)
class ReportLabels:
    """Labels of n reports.

    Attributes:
        ids: of the reports.
        names: of the 14 labels, in CheXpert's order.
        codes: (n, 14): 1 positive, 0 negative, -1 uncertain, NaN not mentioned.
        version: digest of the rules, as signatures have it.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    codes: NDArray[np.float64]
    version: str


def label_reports(reports: Texts, null_words: Sequence[str] | None = None) -> ReportLabels:
    """The labels of reports in files or in memory.

    Raises:
        HarnessError: reports that cannot be read, or are too long.
        UnavailableError: spaCy or negspacy is not installed.
    """
    from harness.metrics.clinical.chexpert_rules import ChexpertRulesF1, labeler
    from harness.metrics.clinical.labels import LABELS
    from harness.metrics.clinical.rule_labeler import LONGEST

    metric = ChexpertRulesF1()
    if (reason := metric.unavailable()) is not None:
        raise UnavailableError(f"label: {reason}")
    texts = reports_of(reports, "predictions", NULL_WORDS if null_words is None else null_words).texts
    if longer := [name for name, text in texts.items() if len(text) > LONGEST]:
        message = f"label: {listed(longer)}: a report of more than {LONGEST:,} characters"
        raise HarnessError(message, "is a whole file in one field?")
    classes = labeler().classes(texts.values())
    codes = np.array([np.nan, 1.0, 0.0, -1.0])[classes].reshape(len(texts), len(LABELS))
    order = [list(LABELS).index(name) for name in CHEXPERT_LABELS]
    return ReportLabels(tuple(texts), tuple(CHEXPERT_LABELS), codes[:, order], metric.signature)
