"""Seeds to one number, numbers to rank groups, both from bootstrap replicates that all methods share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.statistics.bootstrap import interval
from harness.statistics.ranks import rank_groups
from harness.store.results import Measurement

Samples = Mapping[str, NDArray[np.floating[Any]]]
"""Metric -> replicates (R, B), a line per missing rate."""

Cells = dict[tuple[str, float], NDArray[np.float64]]
"""(metric, missing rate) -> replicates (B,)."""


def mean_of_seeds(
    seeds: Sequence[Sequence[Measurement]], samples: Sequence[Samples]
) -> tuple[dict[str, dict[float, dict[str, Any]]], Cells]:
    """One number per metric and rate from the rows of a method's seeds, and its replicates.

    A mean has the interval of the mean over seeds under each resample of patients and masks: it says nothing
    on other seeds, whose spread is ``seed_sd``. A seed without a value leaves none: a mean over the seeds
    that happened to work is the mean of something else.

    Args:
        seeds: the rows of each seed.
        samples: their replicates, in the same order; empty where there are none.

    Returns:
        Metric -> rate -> fields of a number, and the replicates of each that has any.
    """
    own = [{(row.metric, row.rate): row for row in rows} for rows in seeds]
    lines = [_cells(rows, each) for rows, each in zip(seeds, samples, strict=True)]
    numbers: dict[str, dict[float, dict[str, Any]]] = {}
    shared: Cells = {}
    for cell in dict.fromkeys(cell for each in own for cell in each):
        rows = [each[cell] for each in own if cell in each]
        drawn = [each[cell] for each in lines if cell in each]
        paired = len(drawn) == len(seeds) and len({line.shape for line in drawn}) == 1
        if paired:
            shared[cell] = np.mean(drawn, axis=0)
        numbers.setdefault(cell[0], {})[cell[1]] = _number(rows, len(seeds), shared.get(cell))
    return numbers, shared


def _number(rows: Sequence[Measurement], n_seeds: int, drawn: NDArray[np.float64] | None) -> dict[str, Any]:
    lost = next((row for row in rows if row.value is None), None)
    if lost is not None or len(rows) < n_seeds:
        shown = lost or rows[0]
        status = shown.status if shown.status != "ok" else "failed"
        return {"status": status, "detail": shown.detail}
    row = rows[0]
    if n_seeds == 1:
        return {"value": row.value, "ci95": row.ci95, "status": row.status, "detail": row.detail}
    values = np.array([each.value for each in rows], dtype=np.float64)
    return {
        "value": float(values.mean()),
        "ci95": None if drawn is None else interval(drawn),
        "detail": row.detail,
        "seed_sd": float(values.std(ddof=1)),
    }


def _cells(rows: Sequence[Measurement], samples: Samples) -> Cells:
    rates: dict[str, list[float]] = {}
    for row in rows:
        rates.setdefault(row.metric, []).append(row.rate)
    return {
        (metric, rate): np.asarray(samples[metric][line], dtype=np.float64)
        for metric, own in rates.items()
        if metric in samples and len(samples[metric]) == len(own)
        for line, rate in enumerate(sorted(own))
    }


def ranks(
    values: Mapping[str, float],
    samples: Mapping[str, NDArray[np.float64] | None],
    higher_is_better: bool,
) -> dict[str, int]:
    """Rank groups of methods by one metric at one rate; empty where one of them has no replicates.

    Args:
        values: method -> value.
        samples: method -> replicates (B,), made with the same resamples.
        higher_is_better: direction.
    """
    drawn = {name: line for name, line in samples.items() if line is not None}
    if len(drawn) < len(values) or len({line.shape for line in drawn.values()}) > 1:
        return {}
    return rank_groups(values, drawn, higher_is_better=higher_is_better)
