"""A metric over the value of a setting: what a sweep shows, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.core.errors import HarnessError
from harness.leaderboard.ablation import Ablation, Member, Place
from harness.leaderboard.render.ablation import lost
from harness.leaderboard.render.figures import Paths, empty_figure, save_figure
from harness.leaderboard.render.robustness_figures import COLOURS, STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_APART = 0.08
"""Distance of two lines at the same value, of the distance between two values."""


def sweep_figure(ablation: Ablation, paths: Paths) -> None:
    """Draw a row of panels per loss and a panel per metric; values of the first setting from left to right.

    Bars are 95 % intervals of the values themselves; the table has the paired differences. A ring marks the
    method as it is. The other settings of a grid have a line per combination of their values.

    Args:
        ablation: of a sweep.
        paths: PNG, SVG or PDF files to write.

    Raises:
        HarnessError: nothing was swept, or another file type.
    """
    defaults = {key: base for member in ablation.members for key, (base, _) in member.settings.items()}
    if not defaults:
        raise HarnessError("no setting was changed, so there is no sweep to draw")
    first = next(iter(defaults))
    values: dict[str, Any] = {}
    lines: dict[str, list[tuple[str, Member]]] = {}
    for member in ablation.members:
        own = {**defaults, **{key: value for key, (_, value) in member.settings.items()}}
        values[str(own[first])] = own[first]
        rest = ", ".join(f"{key} {value}" for key, value in own.items() if key != first)
        lines.setdefault(rest, []).append((str(own[first]), member))
    names = sorted(values, key=lambda name: _order(values[name]))
    columns, rows = len(ablation.metrics), len(ablation.losses)
    figure = empty_figure(max(4.0, 2.9 * columns), 0.8 + 2.5 * rows)
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for row, loss in enumerate(ablation.losses):
        for column, metric in enumerate(ablation.metrics):
            axes = grid[row, column]
            _panel(axes, lines, names, (metric, loss))
            axes.set_title(f"{metric}, {lost(loss)}" if loss.rate else metric, fontsize=8)
            axes.set_xlabel(first, fontsize=8)
    if len(lines) > 1:
        grid[0, 0].legend(fontsize=6, framealpha=0.8)
    title = f"{ablation.full.label} ({ablation.preset}), {ablation.dataset}, {ablation.n} studies"
    figure.suptitle(f"{title}; ring: the method as it is", fontsize=9)
    save_figure(figure, paths)


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, before all else by name."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return not is_number, float(value) if is_number else 0.0, str(value)


def _panel(
    axes: Axes, lines: Mapping[str, Sequence[tuple[str, Member]]], names: Sequence[str], place: Place
) -> None:
    """The lines of one metric where one thing was lost."""
    for number, (rest, members) in enumerate(lines.items()):
        shift = (number - (len(lines) - 1) / 2) * _APART
        there = [(names.index(name), each) for name, each in members if place in each.cells]
        there.sort(key=lambda pair: pair[0])
        if not there:
            continue
        at = np.array([position for position, _ in there]) + shift
        estimates = [member.cells[place].estimate for _, member in there]
        values = np.array([each.value for each in estimates])
        ends = np.array([each.ci95 for each in estimates])
        colour, style = COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]
        bars = np.nan_to_num(np.abs(ends.T - values))
        axes.errorbar(
            at, values, bars, color=colour, ls=style, lw=1.3, marker="o", ms=4, capsize=2, label=rest
        )
        for position, value, (_, member) in zip(at, values, there, strict=True):
            if not member.settings:
                axes.plot(position, value, marker="o", ms=10, mfc="none", mec=colour)
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(x=0.12)
