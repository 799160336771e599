"""Probabilities for methods that only write: how often a finding stands in reports drawn for a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import UnavailableError
from harness.core.types import DatasetInfo, Prediction, Task
from harness.evaluation.entries import Entry
from harness.metrics.annotation_cache import annotated
from harness.metrics.base import Metric
from harness.metrics.clinical.chexpert_rules import ChexpertRulesF1, labeler, table_digest
from harness.metrics.clinical.labels import LABELS, POSITIVE, UNCERTAIN, Policy, known_policy


@dataclass(frozen=True, slots=True)
class ReportSamples:
    """How ``--report-samples`` turns drawn reports into probabilities.

    Attributes:
        draws: reports per study and modality state.
        policy: what an uncertain finding of one report counts as; ``ignored`` leaves that report out.
        label_names: labels of the dataset, each one of CheXpert's.
    """

    draws: int
    policy: Policy
    label_names: tuple[str, ...]

    @classmethod
    def of(cls, draws: int, uncertain: str | None, info: DatasetInfo) -> ReportSamples | None:
        """None where nothing is to be drawn, or the dataset's labels are no CheXpert findings.

        Raises:
            UnavailableError: the rule labeller's packages are absent.
        """
        if not draws or not info.label_names or not set(info.label_names) <= set(LABELS):
            return None
        reason = ChexpertRulesF1().unavailable()
        if reason:
            raise UnavailableError(f"--report-samples {draws}: {reason}")
        return cls(draws, known_policy(uncertain or "positive"), info.label_names)

    @property
    def signature(self) -> str:
        """Identity of the probabilities, part of the signature of every metric computed from them."""
        return (
            f"probabilities:report-samples-{self.draws}|labeler:chexpert_rules-{table_digest()}-v2"
            f"|uncertain:{self.policy}"
        )

    def serve(self, entry: Entry) -> bool:
        """Whether a method gets its probabilities this way: it writes, can draw, and has none of its own."""
        card = entry.method_class.card
        return card.samples and Task.REPORT in card.tasks and Task.DIAGNOSE not in card.tasks

    def frequencies(self, drawn: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.float64]]:
        """Study id -> reports to study id -> probabilities (n_labels,), in the dataset's order of labels."""
        texts = [text for reports in drawn.values() for text in reports]
        columns = [LABELS.index(name) for name in self.label_names]
        by_report = np.array(
            annotated(
                f"chexpert_rules|rules:{table_digest()}|v:2",
                texts,
                lambda some: labeler().classes(some).tolist(),
            )
        ).reshape(-1, len(LABELS))[:, columns]
        ends = np.cumsum([len(reports) for reports in drawn.values()])[:-1]
        return {
            study_id: self._share(classes)
            for study_id, classes in zip(drawn, np.split(by_report, ends), strict=True)
        }

    def _share(self, classes: NDArray[Any]) -> NDArray[np.float64]:
        """Classes (draws, L) to the share of positive ones (L,); one half where every draw is left out."""
        positive = (classes == POSITIVE) | ((classes == UNCERTAIN) & (self.policy == "positive"))
        counted = (classes != UNCERTAIN) | (self.policy != "ignored")
        count = counted.sum(0)
        share: NDArray[np.float64] = np.where(
            count > 0, (positive & counted).sum(0) / np.maximum(count, 1), 0.5
        )
        return share

    def add(
        self, predictions: Mapping[str, Prediction], drawn: Mapping[str, Sequence[str]]
    ) -> dict[str, Prediction]:
        """The predictions of a state with the label frequencies of the reports drawn in it."""
        frequencies = self.frequencies(drawn)
        return {
            study_id: replace(prediction, probabilities=frequencies[study_id])
            for study_id, prediction in predictions.items()
        }

    def metric(self, metric: Metric) -> Metric:
        """``metric`` under a signature that says where its probabilities come from."""
        family = type(metric)
        signature = f"{metric.signature}|{self.signature}"
        relabelled = copy(metric)
        relabelled.__class__ = type(family.__name__, (family,), {"signature": property(lambda _: signature)})
        return relabelled
