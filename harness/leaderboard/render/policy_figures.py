"""Figures of several drop policies over one test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.core.errors import HarnessError
from harness.leaderboard.policies import preference
from harness.leaderboard.render.figures import Paths, empty_figure, save_figure
from harness.leaderboard.render.robustness_figures import (
    COLOURS,
    GREY,
    MARKERS,
    STYLES,
    draw_curve,
    figure_legend,
    near,
    outside_note,
)
from harness.leaderboard.robustness import Line
from harness.store.manifest import ReliabilityBins
from harness.store.results import StoredResult

_PANELS = 3
"""Panels side by side."""


def policies_figure(lines: Sequence[Line], paths: Paths) -> None:
    """A panel per method, in it a line with its 95 % band per drop policy; methods first, then controls.

    A control far from all methods has no panel, but its values stand below the others.

    Args:
        lines: of one metric on one test set, under several policies.
        paths: PNG, SVG or PDF files to write.

    Raises:
        HarnessError: no lines, or lines of several metrics or test sets.
    """
    if len({(line.dataset, line.test_set, line.metric, line.signature) for line in lines}) != 1:
        raise HarnessError("lines of one metric on one test set share a figure")
    policies = list(dict.fromkeys(line.drop for line in lines))
    methods = [line for line in lines if not line.control]
    controls, outside = near([line for line in lines if line.control], methods)
    panels: dict[str, list[Line]] = {}
    for line in (*methods, *controls):
        panels.setdefault(line.label, []).append(line)
    columns = min(len(panels), _PANELS)
    rows = -(-len(panels) // columns)
    figure = empty_figure(2.9 * columns + 0.5, 2.1 * rows + 0.9)
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes, (label, members) in zip(grid, panels.items(), strict=False):
        for line in members:
            place = policies.index(line.drop)
            colour = GREY if line.control else COLOURS[place % len(COLOURS)]
            look = colour, STYLES[place % len(STYLES)], MARKERS[place % len(MARKERS)]
            draw_curve(axes, line, look, 0.14, name=line.drop)
        axes.set_title(f"{label} (control)" if members[0].control else label, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e6e6e6", lw=0.7)
        axes.set_axisbelow(True)
    for place, axes in enumerate(grid):
        if place >= len(panels):
            axes.set_axis_off()
        elif place + columns >= len(panels):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("share of studies that lose it", fontsize=8)
        if place % columns == 0:
            axes.set_ylabel(lines[0].metric, fontsize=8)
    figure.suptitle(
        f"{lines[0].dataset}, {lines[0].n} test studies, masks {lines[0].mechanism}, bands 95 %", fontsize=9
    )
    shares = {line.drop: line.shares.axis([point.rate for point in line.points]) for line in lines}
    parts = [f"{drop}: {part}" for drop, text in shares.items() if text for part in text.split("; ")]
    figure_legend(figure, grid[0], policies, "\n".join(filter(None, (*parts, outside_note(outside)))))
    save_figure(figure, paths)


def joined_policies(stored: Sequence[StoredResult]) -> list[StoredResult]:
    """One result per trained method and test set: of the first policy, with the states of all of them.

    What was counted per modality state (confidence, routing, reliability) does not depend on the policy, so
    figures of it are drawn once.
    """
    groups: dict[tuple[object, ...], list[StoredResult]] = {}
    for result in stored:
        if result.rows:
            row = result.rows[0]
            key = row.dataset, row.n, row.test_set, row.mechanism, row.method, row.preset, row.seed
            groups.setdefault((*key, result.manifest.cell), []).append(result)
    return [
        _joined(sorted(group, key=lambda each: preference(each.rows[0].drop))) for group in groups.values()
    ]


def _joined(group: Sequence[StoredResult]) -> StoredResult:
    first = group[0]
    if len({result.rows[0].drop for result in group}) < 2:
        return max(group, key=lambda each: len(each.rows))
    states: dict[str, dict[str, object]] = {
        name: {} for name in ("confidence", "branch_confidence", "routing", "risk_coverage")
    }
    reliability: dict[str, ReliabilityBins] = {}
    for result in reversed(group):
        for name, of_states in states.items():
            of_states |= getattr(result.manifest, name)
        reliability = {**reliability, **result.reliability}
    return replace(first, manifest=first.manifest.model_copy(update=states), reliability=reliability)
