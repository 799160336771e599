"""Rows of plugins stand as long as the files stay that the plugin used: recorded, compared, made anew."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.config import RunConfig
from harness.core.files import cache_root
from harness.core.registry import is_ours
from harness.method.contract import Method
from harness.method.used import runs_here, used_by, used_by_method
from harness.metrics.base import Metric
from harness.store.used import of_metric

if TYPE_CHECKING:
    from harness.evaluation.trial import Trial


def note_used(trial: Trial, method: Method[Any]) -> None:
    """Record what the method of another package has opened, before what came of it is complete."""
    if is_ours(trial.entry.method_class):
        return
    name = "method" if trial.shard is None else f"method.{trial.shard.number}-of-{trial.shard.count}"
    trial.cell.used.note(used_by_method(method, _left_out(trial.benchmark.config)), name)


def begin_anew_if_changed(trial: Trial) -> None:
    """Put aside what came of a plugin whose files have changed since, or of which nothing is recorded."""
    if is_ours(trial.entry.method_class):
        return
    if changes := trial.cell.used.changed(expected=trial.cell.has_checkpoint()):
        trial.cell.begin_anew(changes)


def note_used_by_metric(trial: Trial, metric: Metric) -> None:
    """The same of a metric."""
    if runs_here(type(metric)):
        files = used_by(type(metric), _left_out(trial.benchmark.config))
        trial.cell.used.note(files, of_metric(metric.name))


def forget_if_changed(trial: Trial, metric: Metric) -> None:
    """Remove stored statistics of a plugin that used other files than there are now."""
    if not runs_here(type(metric)):
        return
    stored = trial.cell.statistics_of(metric.name)
    if changes := trial.cell.used.changed(of_metric(metric.name), expected=bool(stored)):
        trial.cell.forget_statistics(metric.name, changes)


def _left_out(config: RunConfig) -> list[str | Path]:
    """Folders of data, stores and caches: what is opened there is not the plugin's own."""
    folders = [folder for folder in (config.store, cache_root(), config.root) if folder]
    return [*folders, *_places(config.set.get(config.dataset, {}))]


def _places(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _places(each)
    elif isinstance(value, str) and os.path.exists(value):
        yield value if os.path.isdir(value) else os.path.dirname(os.path.abspath(value))
