"""Every figure of a store, in the formats that papers and pages take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from harness.confidences import from_counts
from harness.decay import Decay, Line, main_metrics
from harness.export.decay_figures import curves_figure, reliance_figure, routing_figure
from harness.export.figures import Judged, Paths, confidence_density, reliability_by_state
from harness.metrics.calibration import Reliability, width_edges
from harness.missingness import FULL
from harness.results import ResultRow, StoredResult, slug

KINDS = ("png", "svg", "pdf")
Draw = Callable[[Paths], None]
"""Draws one figure into files."""
_DENSITIES = 6
"""Methods that one figure of densities holds."""


def write_figures(
    stored: Sequence[StoredResult],
    found: Decay,
    out: Path,
    kinds: Sequence[str] = KINDS,
    rows: Sequence[ResultRow] | None = None,
) -> list[Path]:
    """Draw curves, reliance, reliability, confidence densities and routing, as far as the results have them.

    Args:
        stored: results; a figure holds those of one dataset and protocol.
        found: their robustness.
        out: folder; one below it for each protocol.
        kinds: formats of each figure.
        rows: draw only what has the dataset and protocol of one of these.

    Returns:
        The files that were written.
    """
    written: list[Path] = []
    wanted = None if rows is None else {_protocol(row) for row in rows}

    def draw(folder: Path, name: str, figure: Draw) -> None:
        paths = [folder / f"{name}.{kind}" for kind in kinds]
        figure(paths)
        written.extend(paths)

    for lines in _by_metric(main_metrics(found.lines)):
        if wanted is not None and _protocol(lines[0]) not in wanted:
            continue
        folder = out / slug("-".join(_protocol(lines[0])))
        shown = [line for line in lines if "+" not in line.method]
        metric = slug(lines[0].metric)
        draw(folder, f"curves-{metric}", lambda path, lines=shown: curves_figure(lines, path))  # type: ignore[misc]
        if any(line.reliance for line in shown):
            draw(folder, f"reliance-{metric}", lambda path, lines=shown: reliance_figure(lines, path))  # type: ignore[misc]
    for protocol, results in _by_protocol(stored).items():
        if wanted is not None and protocol not in wanted:
            continue
        folder, dataset = out / slug("-".join(protocol)), protocol[0]
        _confidence(results, dataset, lambda name, figure, folder=folder: draw(folder, name, figure))  # type: ignore[misc]
        for label, result in results.items():
            routing = result.manifest.get("routing")
            if routing:
                shares = {_shown(state): np.array(each) for state, each in routing.items()}
                title = f"{label} on {dataset}: share of the words that each expert got"
                draw(
                    folder,
                    f"routing-{slug(label)}",
                    lambda path, shares=shares, title=title: routing_figure(shares, path, title=title),  # type: ignore[misc]
                )
    return written


def _confidence(results: Mapping[str, StoredResult], dataset: str, draw: Callable[[str, Draw], None]) -> None:
    """Reliability diagrams of each method, and the densities of all."""
    densities: dict[str, dict[str, Judged]] = {}
    for label, result in results.items():
        if "+" in label:
            continue
        bins = {_shown(state): _reliability(each) for state, each in result.reliability.items()}
        if bins:
            title = f"{label} on {dataset}"
            draw(
                f"reliability-{slug(label)}",
                lambda path, bins=bins, title=title: reliability_by_state(bins, path, title=title),  # type: ignore[misc]
            )
        counts = result.manifest.get("confidence", {})
        if counts:
            each = {_shown(state): from_counts(numbers) for state, numbers in counts.items()}
            densities[label] = {
                state: Judged(values, np.zeros(len(values))) for state, values in each.items()
            }
    labels = list(densities)
    for start in range(0, len(labels), _DENSITIES):
        some = {label: densities[label] for label in labels[start : start + _DENSITIES]}
        name = "confidence" if len(labels) <= _DENSITIES else f"confidence-{start // _DENSITIES + 1}"
        title = f"confidence on {dataset}"
        draw(name, lambda path, some=some, title=title: confidence_density(some, path, title=title))  # type: ignore[misc]


def _by_metric(lines: Sequence[Line]) -> list[list[Line]]:
    def key(line: Line) -> tuple[str, ...]:
        return tuple(map(str, (*line.protocol, line.metric)))

    return [list(group) for _, group in groupby(sorted(lines, key=key), key=key)]


def _by_protocol(
    stored: Sequence[StoredResult],
) -> dict[tuple[str, str, str, str], dict[str, StoredResult]]:
    found: dict[tuple[str, str, str, str], dict[str, StoredResult]] = {}
    for result in stored:
        if result.rows:
            row = result.rows[0]
            label = row.method if row.seed == 0 else f"{row.method} seed {row.seed}"
            found.setdefault(_protocol(row), {})[label] = result
    return found


def _protocol(row: ResultRow | Line) -> tuple[str, str, str, str]:
    return row.dataset, row.drop, row.mechanism, f"n{row.n}"


def _shown(state: str) -> str:
    return "nothing missing" if state == FULL else f"{state} missing"


def _reliability(bins: Mapping[str, Any]) -> Reliability:
    """The points of a diagram from stored sums per bin."""
    count, confidence, correct = (
        np.asarray(bins[name], dtype=np.float64) for name in ("count", "confidence", "correct")
    )
    empty = np.full(len(count), np.nan)
    mean = np.divide(confidence, count, out=empty.copy(), where=count > 0)
    share = np.divide(correct, count, out=empty, where=count > 0)
    return Reliability(width_edges(len(count)), count, mean, share, "width")
