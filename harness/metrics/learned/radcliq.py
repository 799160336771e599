"""RadCliQ-v1 (Yu et al. 2023): a linear model of four metrics, fitted to errors that radiologists counted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Reference, Task
from harness.metrics.base import Metric, MetricOutput, Statistics, mean_of
from harness.metrics.clinical import chexbert
from harness.metrics.clinical.radgraph import RELATIONS, Facts, RadGraphMetric, f1_of
from harness.metrics.learned.bertscore_idf import BertScoreIdf
from harness.metrics.learned.semb_score import SembScore
from harness.metrics.text.study_bleu import StudyBleu

MEANS = (0.53792312, 0.61757256, 0.76479421, 0.44738335)
SCALES = (0.30282584, 0.22430938, 0.25394391, 0.29892717)
COEFFICIENTS = (-3.77083683e-01, -3.70300100e-01, -2.52616218e-01, 4.31504841e-12)
INTERCEPT = 2.46655256e-10
"""Of RadGraph, BERTScore, SembScore and BLEU-2, as RadEval's public code (MIT) prints them."""


class RadGraphCombined(RadGraphMetric):
    """Mean over studies of half the F1 of entities plus half the F1 of relations.

    The facts are those of the first ``radgraph`` model, with words as written: so RadCliQ was fitted. A
    relation counts with the words and the labels of both its ends.

    Args:
        model: as ``RadGraphMetric``.
        case: as ``RadGraphMetric``.
    """

    name: ClassVar[str] = "radgraph_combined"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("radgraph_combined"),)
    on_request: ClassVar[bool] = True

    def __init__(self, model: str = "radgraph", case: str = "written") -> None:
        super().__init__(model, case)

    def compared(self, hypothesis: Facts, reference: Facts) -> Sequence[float]:
        """The one value of a pair."""
        entities, relations = (f1_of(hypothesis[each], reference[each]) for each in ("simple", RELATIONS))
        return [(entities + relations) / 2]


class RadCliq(Metric):
    """Mean over studies of RadCliQ-v1, which rises with the errors of a report: lower is better.

    ``radcliq_v1_inverse`` is 1 divided by that mean, which ReXrank prints. It says nothing where the mean is
    0 or less, which is better than any positive mean: then it is undefined. Statistics are ``[RadCliQ, 1]``.
    """

    name: ClassVar[str] = "radcliq_v1"
    task: ClassVar[Task] = Task.REPORT
    group = "report findings"
    outputs: tuple[MetricOutput, ...] = (
        MetricOutput("radcliq_v1", higher_is_better=False, bounds=(-float("inf"), float("inf"))),
        MetricOutput("radcliq_v1_inverse", bounds=(0.0, float("inf"))),
    )
    best_by: ClassVar[str] = "row"
    one_reference: ClassVar[bool] = True
    by_default: ClassVar[bool] = False
    on_request: ClassVar[bool] = True

    @property
    def signature(self) -> str:
        """Identity of the numbers: digests of the three models, and what the words of a reference weigh."""
        radgraph, bertscore, semb, _ = self._parts
        return (
            f"{self.name}|radgraph:{_field(radgraph, 'weights')}|bertscore:{_field(bertscore, 'weights')}"
            f"|chexbert:{_field(semb, 'weights')}|idf:references|{_field(semb, 'norm', name=True)}"
            "|impl:radeval|v:1"
        )

    def unavailable(self) -> str | None:
        """What the first part lacks that cannot run, or None."""
        for part in self._parts:
            if (reason := part.unavailable()) is not None:
                return reason.replace(f"({part.name})", f"({self.name})")
        return None

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """RadCliQ-v1 and 1 per study, float64 (n_studies, 2).

        Raises:
            UnavailableError: weights of a part are absent.
        """
        columns = [part.statistics(predictions, references)[:, 0] for part in self._parts]
        standardised = (np.column_stack(columns) - MEANS) / SCALES
        statistics = np.ones((len(references), 2))
        statistics[:, 0] = standardised @ np.array(COEFFICIENTS) + INTERCEPT
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean (...), and its inverse."""
        mean = mean_of(totals)
        inverse = np.divide(1.0, mean, out=np.full_like(mean, np.nan), where=mean > 0)
        return {self.name: mean, f"{self.name}_inverse": inverse}

    def cut(self, texts: Sequence[str]) -> tuple[int, list[bool]]:
        """Which texts a part's BERT reads in part."""
        limit, long = chexbert.longer(texts)
        _, also = self._parts[1].cut(texts)
        return limit, [one or other for one, other in zip(long, also, strict=True)] if long else also

    @cached_property
    def _parts(self) -> tuple[RadGraphCombined, BertScoreIdf, SembScore, StudyBleu]:
        return RadGraphCombined(), BertScoreIdf(), SembScore(), StudyBleu()


def _field(metric: Metric, key: str, *, name: bool = False) -> str:
    """A part of a signature, without its key unless ``name``."""
    fields = dict(part.split(":", 1) for part in metric.signature.split("|")[1:])
    return f"{key}:{fields[key]}" if name else fields[key]
