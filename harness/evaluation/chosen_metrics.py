"""Which metric families a run computes, and which of those that it asks for cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.core import registry
from harness.core.config import RunConfig
from harness.core.errors import PluginError, UnavailableError
from harness.core.metric_options import DEFAULTS, MetricOptions
from harness.core.types import DatasetInfo, LabelCounts, Study
from harness.metrics.base import Metric


def choose_metrics(config: RunConfig, info: DatasetInfo, test: Sequence[Study] = ()) -> list[Metric]:
    """Metric families that suit the dataset. A family that cannot be loaded is left out.

    Args:
        config: of the run.
        info: of the dataset.
        test: the test studies; their labels decide which ones are common.

    Raises:
        UnavailableError: none of the families that were asked for by name can run here, or one cannot run
            with the chosen tokenizer.
        PluginError: none of the families that were asked for by name can be loaded.
    """
    cuts = [words for words in (config.reference_words or info.reference_words, info.report_words) if words]
    options = MetricOptions(
        tokenizer=config.tokenizer or info.tokenizer,
        reference_words=min(cuts, default=None),
        rare_words=info.rare_words,
        uncertain=config.uncertain or info.uncertain,
        multilabel=info.multilabel,
        labels=label_counts(info, test),
    )
    chosen: list[Metric] = []
    errors: list[PluginError | UnavailableError] = []
    for name, metric in _families(config, options):
        if isinstance(metric, PluginError):
            errors.append(metric)
            continue
        if not config.metrics and not (metric.by_default and metric.made_for(info)):
            continue
        if reason := metric.unavailable():
            errors.append(UnavailableError(f"metric {name}: {reason}"))
            if config.tokenizer and metric.tokenized:
                raise errors[-1]
        if metric.task in info.tasks:
            chosen.append(metric)
    if config.metrics and errors and len(errors) == len(set(config.metrics)):
        raise errors[0]
    return chosen


def label_counts(info: DatasetInfo, studies: Sequence[Study]) -> LabelCounts | None:
    """How many of the studies have each of the dataset's labels; None where no study has labels."""
    labels = [study.labels for study in studies if study.labels is not None]
    if not labels:
        return None
    return LabelCounts(info.label_names, tuple(int(count) for count in np.sum(labels, axis=0)))


def broken_metrics(config: RunConfig) -> dict[str, str]:
    """Families of the run that cannot be loaded -> reason."""
    families = _families(config, DEFAULTS)
    return {name: str(metric) for name, metric in families if isinstance(metric, PluginError)}


def absent_metrics(config: RunConfig) -> dict[str, str]:
    """Families that were asked for by name and cannot run here -> what is absent and how to get it."""
    families = _families(config, DEFAULTS) if config.metrics else ()
    metrics = ((name, metric) for name, metric in families if isinstance(metric, Metric))
    return {name: reason for name, metric in metrics if (reason := metric.unavailable())}


def _families(config: RunConfig, options: MetricOptions) -> Iterator[tuple[str, Metric | PluginError]]:
    """Each family that ``--metrics`` names, by default every registered one."""
    for name in dict.fromkeys(config.metrics or registry.names("metrics")):
        try:
            yield name, registry.make_metric(name, options)
        except PluginError as error:
            yield name, error
