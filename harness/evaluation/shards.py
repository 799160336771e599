"""Statistics of many studies, some thousand at a time: in processes of this machine, or on a Ray cluster.

A metric whose statistics of a study depend on that study alone (``Metric.apart``) is computed where the shard
is: only rows of numbers come back. All other metrics are computed here. Those over tokens, such as CIDEr,
whose words weigh by all references, wait for the shards, which send the tokens of their texts along. What the
rows come to is computed from all of them: no digit depends on the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from harness.core.config import ExecutionConfig
from harness.core.errors import HarnessError
from harness.core.failures import describe, let_through
from harness.core.types import Prediction, Reference
from harness.distributed import ray_tasks
from harness.distributed.processes import several
from harness.evaluation.metric_failures import kept_apart
from harness.evaluation.report_files.pairing import PairedReports
from harness.metrics.base import Metric, Statistics, checked_statistics
from harness.metrics.text.base import TextMetric, numbered_once
from harness.metrics.text.numbered import NumberedTexts
from harness.metrics.text.tokenization import tokenizer

_LEAST = 20_000
"""Fewer studies are not worth other processes of this machine."""
_AT_ONCE = 5_000
"""Studies of a shard."""

Rows = dict[tuple[str, str], "Statistics | HarnessError"]
"""Metric and system -> statistics, or why there are none."""

_execution: ContextVar[ExecutionConfig | None] = ContextVar("where statistics are computed", default=None)


@dataclass(frozen=True, slots=True)
class Shard:
    """Some studies with all systems' predictions, and the metrics that score them.

    Attributes:
        profiles: tokenisation profiles whose tokens of all texts are wanted, too.
    """

    metrics: tuple[Metric, ...]
    profiles: tuple[str, ...]
    systems: Mapping[str, Sequence[Prediction]]
    targets: Sequence[Reference]

    @property
    def texts(self) -> list[str]:
        """Different texts of the shard."""
        texts = dict.fromkeys(target.report or "" for target in self.targets)
        for predictions in self.systems.values():
            texts |= dict.fromkeys(prediction.report or "" for prediction in predictions)
        return list(texts)


@dataclass(frozen=True, slots=True)
class Part:
    """What comes back from a shard: rows, and the tokens of its texts by profile."""

    rows: Rows
    tokens: Mapping[str, NumberedTexts]


@contextmanager
def computed_on(execution: ExecutionConfig) -> Iterator[None]:
    """Inside, statistics of files of reports are computed where ``execution`` says.

    Raises:
        HarnessError: Ray is wanted and cannot be used.
    """
    if execution.executor == "ray":
        ray_tasks.check(execution)
    token = _execution.set(execution)
    try:
        yield
    finally:
        _execution.reset(token)


@contextmanager
def statistics_of(
    reports: PairedReports, metrics: Sequence[Metric]
) -> Iterator[Callable[[Metric, str], Statistics]]:
    """A function of a metric and a system: its statistics, one row per study.

    Ask for the metrics that are not ``apart`` first: the others are computed elsewhere from now on.
    """
    execution, apart = _execution.get(), tuple(metric for metric in metrics if metric.apart)
    few = execution is not None and execution.executor == "local" and len(reports.targets) < _LEAST
    if execution is None or few or not apart or reports.several:
        yield reports.statistics
        return
    pool = ray_tasks.mapped(execution) if execution.executor == "ray" else several(execution.workers)
    profiles = {_profile(metric) for metric in metrics if not metric.apart} - {None}
    with pool as run:
        waiting = list(_shards(reports, apart, tuple(filter(None, profiles))))
        coming, rows = run(part_of, waiting), Rows()

        def statistics(metric: Metric, system: str) -> Statistics:
            if not metric.apart and _profile(metric) is None:
                return reports.statistics(metric, system)
            rows.update({} if rows else _joined(waiting, coming))
            if not metric.apart:
                return reports.statistics(metric, system)
            own = rows[metric.name, system]
            if isinstance(own, HarnessError):
                raise own
            return own

        yield statistics


def _profile(metric: Metric) -> str | None:
    """The tokenisation profile of a metric over tokens."""
    return metric.profile if isinstance(metric, TextMetric) else None


def part_of(shard: Shard) -> Part:
    """The statistics of a shard, and its tokens."""
    rows, texts = rows_of(shard), shard.texts
    tokens: dict[str, NumberedTexts] = {}
    for profile in shard.profiles:
        with suppress(Exception):  # the metric that needs the tokens meets the error, where it is reported
            tokens[profile] = NumberedTexts.of(tokenizer(profile), texts)
    return Part(rows, tokens)


def rows_of(shard: Shard) -> Rows:
    """The statistics of a shard."""
    rows: Rows = {}
    with numbered_once():
        for system, predictions in shard.systems.items():
            for metric in shard.metrics:
                try:
                    with kept_apart(metric):
                        rows[metric.name, system] = checked_statistics(metric, predictions, shard.targets)
                except HarnessError as error:
                    rows[metric.name, system] = error
                except BaseException as error:
                    let_through(error)
                    rows[metric.name, system] = HarnessError(describe(error, type(metric).__module__))
    return rows


def _shards(
    reports: PairedReports, metrics: tuple[Metric, ...], profiles: tuple[str, ...]
) -> Iterator[Shard]:
    for start in range(0, len(reports.targets), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        systems = {name: predictions[some] for name, predictions in reports.systems.items()}
        yield Shard(metrics, profiles, systems, reports.targets[some])


def _joined(shards: Sequence[Shard], parts: Iterable[Part]) -> Rows:
    """The rows of all shards, or the first error; the tokenizers keep the tokens."""
    of_shards = []
    for shard, part in zip(shards, parts, strict=True):
        of_shards.append(part.rows)
        for profile, texts in part.tokens.items():
            tokenizer(profile).remember(shard.texts, texts.lines(), texts.words)
    joined: Rows = {}
    for key in of_shards[0]:
        whole: list[Statistics] = []
        for rows in of_shards:
            own = rows[key]
            if isinstance(own, HarnessError):
                joined.setdefault(key, own)
            else:
                whole.append(own)
        if key not in joined:
            joined[key] = np.concatenate(whole)
    return joined
