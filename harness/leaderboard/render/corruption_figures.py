"""Figures of corruptions: a metric over the levels at which a part of one modality is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core.errors import HarnessError
from harness.leaderboard.render.figures import Paths, empty_figure, save_figure
from harness.leaderboard.render.robustness_figures import COLOURS, GREY, MARKERS, STYLES, figure_legend
from harness.leaderboard.states import StateRow, StateTable
from harness.missingness.corrupted import corrupted_state
from harness.missingness.states import FULL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = 3
"""Panels side by side."""


def corruptions_figure(tables: Sequence[StateTable], paths: Paths) -> None:
    """A panel per method that reads the modality; in it a line with its 95 % band per corruption.

    Controls have panels only where no method reads it. Level 0 is the whole study. A dashed line is the
    level without the modality.

    Args:
        tables: of one metric on one test set, one per corruption of one modality.
        paths: PNG, SVG or PDF files to write.

    Raises:
        HarnessError: no tables, tables of several modalities, metrics or test sets, or no method reads it.
    """
    modalities = {table.corruption.partition(":")[0] for table in tables}
    if len({(*table.task, table.metric, table.signature) for table in tables}) != 1 or len(modalities) != 1:
        raise HarnessError("corruptions of one modality by one metric on one test set share a figure")
    first, (modality,) = tables[0], modalities
    labels = reading(first)
    if not labels:
        raise HarnessError(f"no method reads {modality}")
    columns = min(len(labels), _PANELS)
    rows = -(-len(labels) // columns)
    figure = empty_figure(2.9 * columns + 0.5, 2.1 * rows + 0.9)
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    names = [table.corruption.partition(":")[2] for table in tables]
    for axes, label in zip(grid, labels, strict=False):
        for place, (table, name) in enumerate(zip(tables, names, strict=True)):
            row = next((row for row in table.rows if row.method == label), None)
            if row is not None:
                _draw(axes, row, name, place)
                _draw_missing(axes, row, modality)
        control = any(row.control for row in first.rows if row.method == label)
        axes.set_title(f"{label} (control)" if control else label, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e6e6e6", lw=0.7)
        axes.set_axisbelow(True)
    for place, axes in enumerate(grid):
        if place >= len(labels):
            axes.set_axis_off()
        elif place + columns >= len(labels):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(f"level of corruption of {modality}", fontsize=8)
        if place % columns == 0:
            axes.set_ylabel(first.metric, fontsize=8)
    apart = f", {first.apart}" if first.apart else ""
    figure.suptitle(f"{first.dataset}, {first.n} test studies, bands 95 %{apart}", fontsize=9)
    figure_legend(figure, grid[0], [*names, f"without {modality}"])
    save_figure(figure, paths)


def reading(table: StateTable) -> list[str]:
    """The methods that read the modality; where there are none, the controls that read it."""
    rows = [row for row in table.rows if not _is_flat(row)]
    methods = [row.method for row in rows if not row.control]
    return methods or [row.method for row in rows]


def _is_flat(row: StateRow) -> bool:
    return all(number.unchanged for state, number in row.numbers.items() if state != FULL)


def _draw(axes: Axes, row: StateRow, name: str, place: int) -> None:
    points = [(0.0, row.numbers[FULL].estimate)]
    for state, number in row.numbers.items():
        if corrupted := corrupted_state(state):
            points.append((corrupted.severity, number.estimate))
    levels, estimates = zip(*points, strict=True)
    colour = COLOURS[place % len(COLOURS)]
    lo, hi = [each.lo for each in estimates], [each.hi for each in estimates]
    axes.fill_between(levels, lo, hi, color=colour, alpha=0.14, lw=0)
    axes.plot(
        levels, [each.value for each in estimates], color=colour, ls=STYLES[2 * place % len(STYLES)],
        marker=MARKERS[place % len(MARKERS)], ms=4, lw=1.6, label=name,
    )  # fmt: skip


def _draw_missing(axes: Axes, row: StateRow, modality: str) -> None:
    """Once per panel."""
    label = f"without {modality}"
    if modality in row.numbers and label not in axes.get_legend_handles_labels()[1]:
        axes.axhline(row.numbers[modality].estimate.value, color=GREY, ls="--", lw=1.2, label=label)
