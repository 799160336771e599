"""The protocol, one line per step: docs/protocol.md describes the same in words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from harness.core.errors import DiskError
from harness.core.failures import let_through
from harness.evaluation.completion import complete_states
from harness.evaluation.metric_failures import MetricFailures
from harness.evaluation.predict import predict
from harness.evaluation.record import Outcome, record, record_failure
from harness.evaluation.score import reduce, score
from harness.evaluation.trial import Trial
from harness.metrics.headline import CURVE_METRICS
from harness.store.results import Measurement

_CLOCK = 0.1
"""Seconds by which the clock of a file system may be behind."""


def evaluate(trial: Trial) -> list[Measurement]:
    """One row of the leaderboard: train, predict, score, reduce, record.

    Returns:
        The row's numbers over metrics and missing rates, which the store has, too. Where something goes wrong
        they say so, and other rows go on.

    Raises:
        DiskError: nothing more can be stored.
    """
    started = time.time()
    try:
        completion = complete_states(trial)  # --impute: generated views in place of lost ones
        with trial.cell.lock(trial.waiting):
            trial.require_trained()
            predictions = predict(trial, completion)  # every test study, once per modality state
            failures = MetricFailures(trial.cell.directory)  # of metrics: each one fails alone
            statistics = score(trial, predictions, completion, failures)  # metric -> state -> (n, k)
            reduction = reduce(trial, statistics, failures)  # rates x mask seeds x bootstrap, as products
            outcome = Outcome(completion, predictions, statistics, reduction, failures)
            measurements = record(trial, outcome)
    except DiskError:
        raise
    except BaseException as error:
        let_through(error)
        return record_failure(trial, error)
    headline = "; ".join(filter(None, (_headline(measurements), _printed(trial, started))))
    if failures.reasons:
        trial.failed("; ".join(filter(None, (failures.summary(), headline))))
    else:
        trial.done(headline)
    return measurements


def prepare(trial: Trial) -> None:
    """Train what a row needs and is not trained.

    What goes wrong is left to ``evaluate``, which meets it again and records it.
    """
    try:
        with trial.cell.lock(trial.waiting):
            trial.require_trained()
    except DiskError:
        raise
    except BaseException as error:
        let_through(error)


def predict_shard(trial: Trial) -> None:
    """Predict the trial's shard of the test studies, while other processes predict the other shards.

    As with ``prepare``, what goes wrong is left to ``evaluate``.
    """
    try:
        if not trial.cell.is_fitted():
            return
        predict(trial, complete_states(trial))
    except DiskError:
        raise
    except BaseException as error:
        let_through(error)
        trial.done("left to the last of its tasks")
    else:
        trial.done("predicted")


def _printed(trial: Trial, started: float) -> str:
    """Where it lies what the method printed since a time; empty where it printed nothing."""
    with suppress(OSError):
        if trial.cell.output.stat().st_mtime >= started - _CLOCK:
            return f"what it printed is in {trial.cell.output}"
    return ""


def _headline(measurements: Sequence[Measurement]) -> str:
    """The first numbers of a row, for one line of progress."""
    full = {each.metric: each.value for each in measurements if each.rate == 0.0 and each.value is not None}
    shown = [name for name in CURVE_METRICS if name in full] or list(full)
    return ", ".join(f"{name} {full[name]:.3f}" for name in shown[:3])
