"""Seeds to one number, numbers to rank ranges, both from bootstrap replicates that all methods share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.leaderboard.bounds import bounded
from harness.statistics.bootstrap import interval
from harness.statistics.ranks import RankRange, rank_ranges
from harness.statistics.seeds import over_seeds
from harness.store.results import Measurement

Samples = Mapping[str, NDArray[np.floating[Any]]]
"""Metric -> replicates (R, B), one line per missing rate."""

Cells = dict[tuple[str, float], NDArray[np.float64]]
"""(metric, missing rate) -> replicates (B,)."""


def mean_of_seeds(
    seeds: Sequence[Sequence[Measurement]], samples: Sequence[Samples]
) -> tuple[dict[str, dict[float, dict[str, Any]]], Cells]:
    """One number per metric and rate from the rows of a method's seeds, and its replicates.

    The interval of several seeds covers patients, masks and seeds (``statistics.seeds``); that of one seed is
    its own. If one seed failed, the mean has no value either: the mean over the seeds that worked would be
    another quantity. A seed of which a number was never asked, as a run with other metrics leaves it, is no
    failure: the mean is over the seeds that have the number, and names them.

    Args:
        seeds: the rows of each seed.
        samples: their replicates, in the same order; empty where there are none.

    Returns:
        Metric -> rate -> fields of a number, and the replicates of each that has any.
    """
    by_cell = [{(row.metric, row.rate): row for row in rows} for rows in seeds]
    lines = [replicates_of(rows, each) for rows, each in zip(seeds, samples, strict=True)]
    numbers: dict[str, dict[float, dict[str, Any]]] = {}
    shared: Cells = {}
    for cell in dict.fromkeys(cell for each in by_cell for cell in each):
        rows = [each[cell] for each in by_cell if cell in each]
        replicates = [each[cell] for each in lines if cell in each]
        paired = len(replicates) == len(rows) and len({line.shape for line in replicates}) == 1
        values = [row.value for row in rows if row.value is not None]
        if paired and len(values) == len(rows):
            shared[cell] = over_seeds(values, replicates)
        number = _number(rows, shared.get(cell))
        if len(rows) < len(seeds):
            number["seeds"] = tuple(row.seed for row in rows)
        numbers.setdefault(cell[0], {})[cell[1]] = number
    return numbers, shared


def _number(rows: Sequence[Measurement], replicates: NDArray[np.float64] | None) -> dict[str, Any]:
    lost = next((row for row in rows if row.value is None), None)
    row = lost or rows[0]
    if lost is not None or len(rows) == 1:
        names = ("value", "ci95", "status", "detail", "n")
        return {name: getattr(row, name) for name in names}
    values = np.array([each.value for each in rows], dtype=np.float64)
    return {
        "value": float(values.mean()),
        "ci95": None if replicates is None else bounded(row.metric, interval(replicates)),
        "detail": row.detail,
        "seed_sd": float(values.std(ddof=1)),
        "n": row.n,
    }


def replicates_of(rows: Sequence[Measurement], samples: Samples) -> Cells:
    """The replicates of each metric and rate of one result; those that do not fit its rates are left out."""
    rates: dict[str, list[float]] = {}
    for row in rows:
        rates.setdefault(row.metric, []).append(row.rate)
    return {
        (metric, rate): np.asarray(samples[metric][line], dtype=np.float64)
        for metric, of_metric in rates.items()
        if metric in samples and len(samples[metric]) == len(of_metric)
        for line, rate in enumerate(sorted(of_metric))
    }


def ranks(
    values: Mapping[str, float],
    samples: Mapping[str, NDArray[np.float64] | None],
    higher_is_better: bool,
) -> dict[str, RankRange]:
    """Rank ranges of methods by one metric at one rate; empty where one of them has no replicates.

    Args:
        values: method -> value.
        samples: method -> replicates (B,), made with the same resamples.
        higher_is_better: direction.
    """
    replicates = {name: line for name, line in samples.items() if line is not None}
    if len(replicates) < len(values) or len({line.shape for line in replicates.values()}) > 1:
        return {}
    return rank_ranges(values, replicates, higher_is_better=higher_is_better)
