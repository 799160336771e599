"""Rows of a system's files in a store: scored as a method's answers are, and marked in every table.

References, metrics, masks and resamples are those of the store's runs, so that numbers stand in the same
columns. There is no trained cell and no verdict of an audit: how the files came about is unknown.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness import __version__
from harness.core import registry
from harness.core.errors import HarnessError
from harness.core.slugs import slug
from harness.evaluation.benchmark import N_RESAMPLES, corner_of
from harness.evaluation.entries import PROTOCOL
from harness.evaluation.extra_scores import ImportedScore
from harness.evaluation.file_rows.answers import FileAnswers
from harness.evaluation.file_rows.target import Target
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.provenance import environment
from harness.metrics.base import Metric, checked_statistics
from harness.metrics.headline import CURVE_METRICS
from harness.missingness import masks
from harness.missingness.plan import MaskPlan
from harness.missingness.states import FULL, names_in
from harness.statistics.bootstrap import bootstrap_weights
from harness.statistics.curves import Curve, Mixtures
from harness.statistics.reliance import AbsenceCost, reliance
from harness.store.manifest import BootstrapFacts, Machine, Manifest
from harness.store.results import Measurement
from harness.store.row_labels import from_files

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row that was written.

    Attributes:
        keys: its results, one per drop policy.
        measurements: its numbers.
        failed: metric family -> why it has none.
        left_out: modality states whose masks no run of the store has.
    """

    keys: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    failed: Mapping[str, str]
    left_out: tuple[str, ...]


def add_row(target: Target, name: str, answers: FileAnswers) -> FileRow:
    """Score a system's answers and write them into the target's store.

    Args:
        target: of the store.
        name: of the system; tables print ``NAME (from files)``.
        answers: what it answered.

    Raises:
        HarnessError: a name that is none or a method's.
    """
    scored = _Scored.of(target, _label(name), answers)
    keys: list[str] = []
    rows: list[Measurement] = []
    states = set(answers.states) - {FULL}
    for plan in target.plans:
        own = plan if set(plan.used_states()) <= set(answers.states) else _nothing_dropped(plan)
        states -= set(own.used_states())
        key, measurements = scored.write(own)
        keys.append(key)
        rows += measurements
    return FileRow(tuple(keys), tuple(rows), scored.failures.reasons, tuple(sorted(states)))


def _label(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise HarnessError(f"--as {name!r}: no name of a row", "letters, digits, blanks, . _ -; at most 40")
    if name.partition(":")[0].casefold() in registry.names("methods"):
        raise HarnessError(f"--as {name}: a method has this name", "call the system something else")
    return from_files(name)


def _nothing_dropped(plan: MaskPlan) -> MaskPlan:
    """The plan at rate 0 alone."""
    column = plan.rates.index(0.0)
    return replace(plan, rates=(0.0,), assignment=plan.assignment[:, column : column + 1])


@dataclass(frozen=True, slots=True)
class _Scored:
    """A system's statistics: of each metric, in every modality state."""

    target: Target
    label: str
    answers: FileAnswers
    mixtures: Sequence[Mixtures]
    failures: MetricFailures

    @classmethod
    def of(cls, target: Target, label: str, answers: FileAnswers) -> _Scored:
        failures = MetricFailures()
        weights = bootstrap_weights([each.patient_id for each in target.references], N_RESAMPLES)
        mixtures: list[Mixtures] = []
        for metric in _metrics(target, answers):
            if metric.unavailable() is None:
                with failures.of(metric):
                    statistics = {
                        state: checked_statistics(metric, own, target.references)
                        for state, own in answers.states.items()
                        if state == FULL or not isinstance(metric, ImportedScore)
                    }
                    mixtures.append(Mixtures(metric, statistics, weights))
        return cls(target, label, answers, tuple(mixtures), failures)

    @property
    def digest(self) -> str:
        """Of the files and of the metrics that read them."""
        signatures = [each.signature for each in _metrics(self.target, self.answers)]
        parts = [*self.answers.digests.values(), *signatures, self.target.test_set]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def write(self, plan: MaskPlan) -> tuple[str, list[Measurement]]:
        """One result: numbers under a plan, their replicates, their manifest."""
        curves, costs = self._curves(plan)
        title = self.target.info.title
        key = "/".join([slug(title), slug(self.label), slug(f"files-{self.digest}-{plan.policy}")])
        rows = list(self._measurements(plan, curves, key))
        samples = {name: curve.replicates.astype(np.float32) for name, curve in curves.items()}
        store = self.target.store
        store.write_result(key, rows, self._manifest(plan, costs), samples)
        return key, rows

    def _curves(self, plan: MaskPlan) -> tuple[dict[str, Curve], dict[str, Any]]:
        curves: dict[str, Curve] = {}
        costs: dict[str, dict[str, AbsenceCost]] = {}
        studies, modalities = self.target.studies, self.target.info.modalities
        corners = {state: corner_of(studies, state, modalities) for state in plan.used_states()}
        for mixtures in self.mixtures:
            with self.failures.of(mixtures.metric):
                if isinstance(mixtures.metric, ImportedScore):  # of answers with nothing missing
                    curves |= mixtures.curves(_nothing_dropped(plan))
                    continue
                own = mixtures.curves(plan)
                costs |= reliance(mixtures, corners)
                curves |= own
        return curves, {
            name: {state: cost.to_json() for state, cost in by_state.items()}
            for name, by_state in costs.items()
            if by_state
        }

    def _measurements(self, plan: MaskPlan, curves: Mapping[str, Curve], key: str) -> Iterator[Measurement]:
        headline = next((name for name in CURVE_METRICS if name in curves), "")
        files = ", ".join(each[:-52] for each in self.answers.digests.values())  # 12 hex digits are enough
        remark = "; ".join([f"{self.label}: not audited; {files}", *self.answers.oddities])
        for metric in _metrics(self.target, self.answers):
            for output in metric.outputs:
                shared = Measurement(
                    dataset=self.target.info.title,
                    method=self.label,
                    preset="-",
                    seed=0,
                    drop=plan.policy,
                    mechanism=plan.mechanism,
                    rate=0.0,
                    metric=output.name,
                    value=None,
                    ci95=None,
                    n=len(self.target.studies),
                    signature=metric.signature,
                    group=metric.group,
                    higher_is_better=output.higher_is_better,
                    key=key,
                    test_set=self.target.test_set,
                )
                if metric.name in self.failures:
                    yield replace(shared, status="failed", detail=self.failures.reasons[metric.name])
                elif output.name not in curves:
                    yield replace(shared, status="unavailable", detail=metric.unavailable() or "")
                else:
                    for point in curves[output.name].points:
                        value, ci95 = point.estimate.value, point.estimate.ci95
                        detail = remark if output.name == headline else ""
                        yield replace(shared, rate=point.rate, value=value, ci95=ci95, detail=detail)

    def _manifest(self, plan: MaskPlan, costs: Mapping[str, Any]) -> Manifest:
        target, info = self.target, self.target.info
        taken = masks.missing_shares(plan, target.studies, info)
        shares = dict(zip(map(str, plan.rates), taken, strict=True))
        missing = {state: f"--missing {state}=FILE" for state in self.answers.states}
        files = " ".join(missing.values()) if len(missing) > 1 else "--predictions FILE"
        return Manifest(
            harness=__version__,
            protocol=PROTOCOL,
            seed=0,
            method=self.label,
            card={"reads": sorted({name for state in plan.used_states() for name in names_in(state)})},
            code="",
            cell=f"files/{self.digest}",
            identity=self.digest,
            test_set=target.test_set,
            masks=plan.digest,
            natural=masks.natural(target.studies, info),
            mask_seeds=len(plan.seeds),
            achieved={rate: each.studies for rate, each in shares.items()},
            achieved_instances={rate: each.instances for rate, each in shares.items()},
            lost={rate: each.modalities for rate, each in shares.items()},
            bootstrap=BootstrapFacts(
                resamples=N_RESAMPLES, seed=0, unit="patient", interval_of="one masked test set"
            ),
            machine=Machine(device="cpu", cpus=os.cpu_count()),
            environment=environment(),
            unix_time=int(time.time()),
            command=f"harness score --task {self.answers.task} {files} --store DIR --as NAME",
            answers=dict(self.answers.digests),
            reliance=dict(costs),
        )


def _metrics(target: Target, answers: FileAnswers) -> list[Metric]:
    metrics = [each for each in target.metrics if each.task is answers.task]
    return [*metrics, *(ImportedScore(column, of_file=False) for column in answers.extra)]
