"""CheXpert labels by rules: the stand-in for CheXbert that needs no weights.

Which words mention a label follows the definitions of the CheXpert labeler (Irvin et al. 2019, and the public
``stanfordmlgroup/chexpert-labeler``); the phrases, in ``chexpert_rules.yaml``, are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.core.packages import lacking
from harness.metrics.base import MetricOutput
from harness.metrics.clinical.labels import (
    Classes,
    LabelF1,
    LabelPrecisionRecall,
    label_outputs,
    precision_recall_outputs,
)
from harness.metrics.clinical.rule_labeler import RuleLabeler, rule_labeler, rules_digest
from harness.metrics.common_labels import signature_part
from harness.metrics.text.characters import NORM

TABLE = Path(__file__).with_name("chexpert_rules.yaml")


class RulesF1(LabelF1):
    """Base of the F1 metrics of rule labels; a subclass names its ``table``.

    Args:
        uncertain: what an uncertain label counts as: ``positive``, ``negative`` or ``ignored``.
    """

    apart: ClassVar[bool] = True
    language: ClassVar[str | None] = "en"
    region: ClassVar[str | None] = "chest"
    table: ClassVar[Path]
    version: ClassVar[int]

    @property
    def signature(self) -> str:
        """Identity of the numbers; it changes with the phrase table."""
        rules = f"{signature_part(None)}|{NORM}|rules:{rules_digest(self.table)}"
        return f"{self.name}|uncertain:{self.policy}|{rules}|impl:harness|v:{self.version}"

    def unavailable(self) -> str | None:
        """One line if spaCy or negspacy is absent."""
        return lacking("labels", "spacy", "negspacy")

    def classes(self, texts: Sequence[str]) -> Classes:
        """Classes int8 (n, 14) of the texts."""
        return rule_labeler(self.table).classes(texts)


class ChexpertRulesF1(RulesF1):
    """F1 of the 14 CheXpert observations as the rule labeller finds them in both texts."""

    name: ClassVar[str] = "chexpert_rules_f1"
    outputs: tuple[MetricOutput, ...] = label_outputs("chexpert_rules_f1")
    table = TABLE
    version = 2


class ChexpertRulesPrecisionRecall(LabelPrecisionRecall, ChexpertRulesF1):
    """Precision and recall of the labels of ``chexpert_rules_f1``."""

    name: ClassVar[str] = "chexpert_rules_pr"
    outputs: tuple[MetricOutput, ...] = precision_recall_outputs("chexpert_rules_pr")


class MeshRulesF1(RulesF1):
    """F1 of the 14 observations as human coders of the IU collection understand them.

    Granulomas are lesions, clips and sternal wires are devices, and what CheXpert has no label for does not
    prevent No Finding: what version 1 of ``chexpert_rules_f1`` measured.
    """

    name: ClassVar[str] = "mesh_rules_f1"
    by_default: ClassVar[bool] = False  # the same question a second time
    on_request: ClassVar[bool] = True
    outputs: tuple[MetricOutput, ...] = label_outputs("mesh_rules_f1")
    table = Path(__file__).with_name("mesh_rules.yaml")
    version = 1


def labeler() -> RuleLabeler:
    """The labeller of CheXpert's definitions."""
    return rule_labeler(TABLE)


def table_digest() -> str:
    """Eight hex digits that change with the phrases of CheXpert's definitions."""
    return rules_digest(TABLE)
