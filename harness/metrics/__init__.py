"""Metrics, each usable alone: ``Bleu()(predictions, references)["bleu_4"]``.

The names of ``__all__`` are imported when they are used: ``import harness.metrics`` imports no library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.core.registry import METRICS

if TYPE_CHECKING:
    from harness.metrics.clinical.chexbert import ChexbertF1, ChexbertPrecisionRecall
    from harness.metrics.clinical.chexpert_rules import (
        ChexpertRulesF1,
        ChexpertRulesPrecisionRecall,
        MeshRulesF1,
    )
    from harness.metrics.clinical.radgraph import RadGraphF1
    from harness.metrics.clinical.ratescore import RateScore
    from harness.metrics.clinical.ratescore_lite import RateScoreLite
    from harness.metrics.diagnosis.calibration import ClasswiseEce, Ece, EqualMassEce
    from harness.metrics.diagnosis.decisions import Auroc, Diagnosis
    from harness.metrics.diagnosis.operating_points import OperatingPoints
    from harness.metrics.diagnosis.proper_scores import Brier, NegativeLogLikelihood
    from harness.metrics.diagnosis.selective import RiskCoverage
    from harness.metrics.diagnosis.tuned import TunedF1
    from harness.metrics.direct import MetricResult
    from harness.metrics.images.agreement import ReportAgreement, ViewAgreement
    from harness.metrics.images.alignment import (
        Alignment,
        CoarseAlignment,
        CoarseJointDistance,
        JointDistance,
    )
    from harness.metrics.images.distances import (
        CompletedDistance,
        CompletedLateralDistance,
        InceptionDistance,
        Lite0Distance,
        Lite0LateralDistance,
        RadDinoDistance,
        XrayDistance,
    )
    from harness.metrics.images.ms_ssim import MsSsim, MsSsimLateral
    from harness.metrics.judges.crimson import Crimson
    from harness.metrics.judges.green import Green
    from harness.metrics.learned.bertscore_folder import RadevalBertScore
    from harness.metrics.learned.bertscore_idf import BertScoreIdf
    from harness.metrics.learned.cxrfescore import CxrfeScore
    from harness.metrics.learned.label_sets import RadbertCtF1
    from harness.metrics.learned.radcliq import RadCliq, RadGraphCombined
    from harness.metrics.learned.semb_score import SembScore
    from harness.metrics.learned.srr_bert import SrrBertLeaves, SrrBertStatuses, SrrBertUpper
    from harness.metrics.learned.temporal import TemporalF1
    from harness.metrics.text.bertscore import BertScore, BertScoreMiniLM
    from harness.metrics.text.bleu import Bleu
    from harness.metrics.text.cider import Cider, CiderPlain
    from harness.metrics.text.meteor import Meteor, MeteorNltk
    from harness.metrics.text.rouge import RougeL, RougeScoreL
    from harness.metrics.text.study_bleu import StudyBleu
    from harness.metrics.text.wording import Wording

__all__ = [
    "Alignment",
    "Auroc",
    "BertScore",
    "BertScoreIdf",
    "BertScoreMiniLM",
    "Bleu",
    "Brier",
    "ChexbertF1",
    "ChexbertPrecisionRecall",
    "ChexpertRulesF1",
    "ChexpertRulesPrecisionRecall",
    "Cider",
    "CiderPlain",
    "ClasswiseEce",
    "CoarseAlignment",
    "CoarseJointDistance",
    "CompletedDistance",
    "CompletedLateralDistance",
    "Crimson",
    "CxrfeScore",
    "Diagnosis",
    "Ece",
    "EqualMassEce",
    "Green",
    "InceptionDistance",
    "JointDistance",
    "Lite0Distance",
    "Lite0LateralDistance",
    "MeshRulesF1",
    "Meteor",
    "MeteorNltk",
    "MetricResult",
    "MsSsim",
    "MsSsimLateral",
    "NegativeLogLikelihood",
    "OperatingPoints",
    "RadCliq",
    "RadDinoDistance",
    "RadGraphCombined",
    "RadGraphF1",
    "RadbertCtF1",
    "RadevalBertScore",
    "RateScore",
    "RateScoreLite",
    "ReportAgreement",
    "RiskCoverage",
    "RougeL",
    "RougeScoreL",
    "SembScore",
    "SrrBertLeaves",
    "SrrBertStatuses",
    "SrrBertUpper",
    "StudyBleu",
    "TemporalF1",
    "TunedF1",
    "ViewAgreement",
    "Wording",
    "XrayDistance",
]

_HOMES = {target.partition(":")[2]: target.partition(":")[0] for target in METRICS.values()}
_HOMES["MetricResult"] = "harness.metrics.direct"


def __getattr__(name: str) -> Any:
    """A class of a metric, imported now."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """All names, whether they were used or not."""
    return sorted({*globals(), *__all__})
