"""What a manifest holds of a method's probabilities beside the printed numbers: by label, by confidence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.evaluation.predict import fitted_temperature, predict_validation
from harness.evaluation.score import StateStatistics
from harness.evaluation.trial import Trial
from harness.metrics.diagnosis.decisions import Auroc
from harness.metrics.diagnosis.per_label import LABEL_SCORES, per_label
from harness.metrics.diagnosis.selective import RiskCoverage, risk_at_coverages
from harness.metrics.diagnosis.tuned import TunedF1
from harness.missingness.states import FULL
from harness.statistics.bootstrap import FloatArray, blocks, interval
from harness.store.manifest import LabelFacts, Triple


def diagnosis_facts(trial: Trial, statistics: StateStatistics) -> dict[str, Any]:
    """Fields of a manifest, as far as their metrics have statistics."""
    facts: dict[str, Any] = {}
    if Auroc.name in statistics:
        facts["labels"] = _labels(trial, statistics[Auroc.name][FULL])
    if RiskCoverage.name in statistics:
        curves = {state: risk_at_coverages(rows) for state, rows in statistics[RiskCoverage.name].items()}
        facts["risk_coverage"] = curves
    if TunedF1.name in statistics:
        tuned = TunedF1().fitted(*predict_validation(trial))
        facts["thresholds"] = dict(zip(trial.info.label_names, tuned.thresholds, strict=True))
    if trial.entry.temperature:
        facts["temperature"] = fitted_temperature(trial)
    return facts


def _labels(trial: Trial, statistics: FloatArray) -> dict[str, LabelFacts]:
    """Label -> its scores, with intervals over the run's resamples."""
    info, weights = trial.info, trial.benchmark.weights
    values = per_label(statistics, np.ones((1, len(statistics))), info.multilabel)
    parts = [
        per_label(statistics, weights[block], info.multilabel)
        for block in blocks(len(weights), len(statistics))
    ]
    positives = statistics[:, len(info.label_names) :].sum(axis=0)
    return {
        label: LabelFacts(
            positives=int(positives[place]),
            **{
                name: _triple(values[place][name][0], np.concatenate([part[place][name] for part in parts]))
                for name in LABEL_SCORES
            },
        )
        for place, label in enumerate(info.label_names)
    }


def _triple(value: float, samples: FloatArray) -> Triple:
    lo, hi = (None if math.isnan(end) else end for end in interval(samples))
    return None if math.isnan(value) else float(value), lo, hi
