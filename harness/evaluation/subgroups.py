"""Metrics in groups of test studies: by sex, by age, by view position (``--by``)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.datasets.attributes import groups_of
from harness.evaluation.score import StateStatistics
from harness.evaluation.trial import Trial
from harness.metrics.base import Metric
from harness.metrics.headline import SUBGROUP_METRICS
from harness.missingness.states import FULL
from harness.statistics.bootstrap import FloatArray, corrected, gap_interval, interval, replicates
from harness.store.manifest import SubgroupNumbers, Subgroups, Triple

LEAST_PATIENTS = 10
"""A group with fewer patients is counted, and has no numbers."""


def subgroups(trial: Trial, statistics: StateStatistics) -> dict[str, Subgroups]:
    """Attribute of ``--by`` -> the row's metrics in its groups, from the resamples of all its numbers."""
    by_attribute = {}
    for attribute in trial.benchmark.config.by:
        groups = groups_of(attribute, trial.studies)
        patients = {
            name: len(
                {study.patient_id for study, inside in zip(trial.studies, members, strict=True) if inside}
            )
            for name, members in groups.items()
        }
        enough = {name: members for name, members in groups.items() if patients[name] >= LEAST_PATIENTS}
        metrics = {
            output: numbers
            for metric in trial.metrics
            if metric.name in statistics and enough
            for output, numbers in _numbers(trial, metric, statistics[metric.name][FULL], enough)
        }
        studies = {name: int(members.sum()) for name, members in groups.items()}
        by_attribute[attribute] = Subgroups(studies=studies, patients=patients, metrics=metrics)
    return by_attribute


def _numbers(
    trial: Trial, metric: Metric, rows: FloatArray, groups: dict[str, NDArray[np.bool_]]
) -> Iterator[tuple[str, SubgroupNumbers]]:
    """Every output of a metric that is shown by group, with its numbers."""
    shown = [output for output in metric.outputs if output.name in SUBGROUP_METRICS]
    if not shown:
        return
    weights = trial.benchmark.weights
    values = {name: metric.values(rows, members[None].astype(np.float64)) for name, members in groups.items()}
    samples = {name: replicates(metric, rows, weights, members) for name, members in groups.items()}
    for output in shown:
        value = {name: float(each[output.name][0]) for name, each in values.items()}
        moved = {
            name: corrected(
                metric,
                output,
                samples[name][output.name],
                value[name],
                float(np.mean(values[name].get(output.raised_by, 0.0))),
            )
            for name in groups
        }
        of_groups = {name: _triple(value[name], interval(moved[name])) for name in groups}
        yield output.name, SubgroupNumbers(groups=of_groups, gap=_gap(value, moved))


def _gap(values: dict[str, float], samples: dict[str, FloatArray]) -> Triple | None:
    """Largest less smallest value of the groups in which the metric is defined."""
    defined = [name for name, value in values.items() if math.isfinite(value)]
    if len(defined) < 2:
        return None
    of_groups = np.stack([samples[name] for name in defined])
    of_studies = np.array([values[name] for name in defined])
    return _triple(float(np.ptp(of_studies)), gap_interval(of_groups, of_studies))


def _triple(value: float, ends: tuple[float, float]) -> Triple:
    return tuple(number if math.isfinite(number) else None for number in (value, *ends))  # type: ignore[return-value]
