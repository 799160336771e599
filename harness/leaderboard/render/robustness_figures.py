"""Figures of robustness: curves with bands, what each modality's absence costs, where experts work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.leaderboard.render.figures import Paths, empty_figure, save_figure
from harness.leaderboard.robustness import Line
from harness.statistics.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito (2008), which the colour-blind tell apart; their yellow is too pale for a line."""
STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^vPX"
GREY = "#8a8a8a"
_TOGETHER = 3
"""Overlapping bands that can be told apart in one panel."""
_PANELS = 3
"""Panels side by side."""
_NEAR = 0.5
"""A control has its place on the axis up to so many heights of all methods' bands away from them."""


def curves_figure(lines: Sequence[Line], paths: Paths) -> None:
    """One metric over missing rates: a line and a 95 % band per method, controls in grey.

    Where bands of more than ``_TOGETHER`` methods overlap, each method has a panel of its own. Controls far
    from all methods are named with their values below the panels.

    Args:
        lines: of one metric under one protocol.
        paths: PNG, SVG or PDF files to write.

    Raises:
        HarnessError: no lines, lines of several metrics or protocols, or another file type.
    """
    first = _one_metric(lines)
    methods = [line for line in lines if not line.control]
    controls, outside = near([line for line in lines if line.control], methods)
    panels = [[line] for line in methods] if crowded(methods) else [methods]
    alone = len(panels) == 1
    columns = min(len(panels), 2 if len(panels) == 4 else _PANELS)
    rows = -(-len(panels) // columns)
    figure = empty_figure(*((6.4, 4.2) if alone else (2.9 * columns + 0.5, 2.3 * rows + 0.9)))
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes, members in zip(grid, panels, strict=False):
        for number, line in enumerate(methods):
            if line in members:
                look = COLOURS[number % 7], STYLES[number // 7 % 4], MARKERS[number % 7]
                draw_curve(axes, line, look, 0.16)
        for number, line in enumerate(controls):
            draw_curve(axes, line, (GREY, STYLES[(number + 1) % 4], ""), 0.08 if alone else 0.0)
        axes.set_title("" if alone else _label(members[0]), fontsize=9)
    _frame(grid, first, columns, len(panels))
    figure.suptitle(_caption(first), fontsize=9)
    shares = first.shares.axis([point.rate for point in first.points]).replace("; ", "\n")
    note = "\n".join(filter(None, (shares, outside_note(outside))))
    figure_legend(figure, grid[0], [_label(line) for line in (lines if alone else controls)], note)
    save_figure(figure, paths)


def _frame(grid: Sequence[Axes], line: Line, columns: int, panels: int) -> None:
    """Label the lowest panel of each column and the first of each row; leave places without a panel empty."""
    for place, axes in enumerate(grid):
        if place >= panels:
            axes.set_axis_off()
            continue
        axes.set_xticks([point.rate for point in line.points])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e6e6e6", lw=0.7)
        axes.set_axisbelow(True)
        if place + columns >= panels:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(
                f"share of studies that lose {_what(line.drop)}", fontsize=10 if panels == 1 else 8
            )
        if place % columns == 0:
            axes.set_ylabel(_axis(line), fontsize=10 if panels == 1 else 8)


def figure_legend(figure: Figure, axes: Axes, names: Sequence[str], note: str = "") -> None:
    """Those of these lines that a panel has, below the panels; above them a note on the axis."""
    handles = {handle.get_label(): handle for handle in axes.get_legend_handles_labels()[0]}
    present = [name for name in names if name in handles]
    if present:
        figure.legend(
            [handles[name] for name in present],
            present,
            loc="outside lower center",
            ncols=3,
            frameon=False,
            fontsize=8,
            title=note or None,
            title_fontsize=7,
        )
    elif note:
        figure.supxlabel(note, fontsize=7)


def crowded(lines: Sequence[Line]) -> bool:
    """Whether more than ``_TOGETHER`` intervals have a value in common at any missing rate."""
    by_rate: dict[float, list[Estimate]] = {}
    for line in lines:
        for point in line.points:
            by_rate.setdefault(point.rate, []).append(point.estimate)
    return any(
        sum(other.lo <= each.lo <= other.hi for other in estimates) > _TOGETHER
        for estimates in by_rate.values()
        for each in estimates
    )


def near(controls: Sequence[Line], methods: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Controls that an axis for the methods can hold, and those that would press the methods together."""
    ends = [
        end for line in methods for point in line.points for end in (point.estimate.lo, point.estimate.hi)
    ]
    room = _NEAR * (max(ends) - min(ends)) if ends else 0.0
    if not room:
        return list(controls), []

    def fits(line: Line) -> bool:
        values = [point.estimate.value for point in line.points]
        return min(ends) - room <= min(values) and max(values) <= max(ends) + room

    return [line for line in controls if fits(line)], [line for line in controls if not fits(line)]


def outside_note(lines: Sequence[Line]) -> str:
    """``outside the axis: template (control) 0.500``; a range where a value changes; empty without lines."""
    values: dict[str, list[float]] = {}
    for line in lines:
        values.setdefault(_label(line), []).extend(point.estimate.value for point in line.points)
    parts = []
    for name, each in values.items():
        least, most = f"{min(each):.3f}", f"{max(each):.3f}"
        parts.append(f"{name} {least if least == most else f'{least} to {most}'}")
    return f"outside the axis: {', '.join(parts)}" if parts else ""


def draw_curve(
    axes: Axes, line: Line, looks: tuple[str, str, str], alpha: float, name: str | None = None
) -> None:
    """A line in its colour, style and marker, and its band; ``name`` is what a legend calls it."""
    colour, style, marker = looks
    rates = [point.rate for point in line.points]
    estimates = [point.estimate for point in line.points]
    lo, hi = [each.lo for each in estimates], [each.hi for each in estimates]
    axes.fill_between(rates, lo, hi, color=colour, alpha=alpha, lw=0)
    axes.plot(
        rates, [each.value for each in estimates], color=colour, ls=style, marker=marker, ms=4, lw=1.6,
        label=_label(line) if name is None else name,
    )  # fmt: skip


def reliance_figure(lines: Sequence[Line], paths: Paths) -> None:
    """What the absence of each modality costs each method: bars with 95 % intervals.

    Args:
        lines: of one metric under one protocol; those without a known cost are left out.
        paths: PNG, SVG or PDF files to write.

    Raises:
        HarnessError: no line has a cost, lines of several metrics, or another file type.
    """
    with_costs = [line for line in lines if line.reliance]
    first = _one_metric(with_costs)
    modalities = list(dict.fromkeys(name for line in with_costs for name in line.reliance))
    figure = empty_figure(6.4, 1.3 + 0.24 * len(with_costs) * (len(modalities) + 1))
    axes = figure.subplots()
    height = 0.8 / len(modalities)
    for number, name in enumerate(modalities):
        bars = [(row, line.reliance[name]) for row, line in enumerate(with_costs) if name in line.reliance]
        cost = np.array([each.value for _, each in bars])
        ends = np.array([[each.value - each.lo, each.hi - each.value] for _, each in bars]).T
        axes.barh(
            [row + (number - (len(modalities) - 1) / 2) * height for row, _ in bars],
            cost,
            height * 0.9,
            xerr=np.maximum(ends, 0.0),
            color=COLOURS[number % 7],
            hatch=("", "///", "...", "xx")[number % 4],
            edgecolor="white",
            error_kw={"ecolor": "#333333", "lw": 1, "capsize": 2},
            label=f"without {name}",
        )
    axes.axvline(0, color="#333333", lw=0.8)
    axes.set_yticks(range(len(with_costs)), [_label(line) for line in with_costs])
    axes.invert_yaxis()
    axes.set_xlabel(f"loss of {first.metric} (right is worse)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{first.dataset}, {first.n} test studies", fontsize=9, loc="left")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    save_figure(figure, paths)


def routing_figure(states: Mapping[str, NDArray[np.float64]], paths: Paths, *, title: str = "") -> None:
    """How much of a mixture's work each expert got, per decoder block, one panel per modality state.

    Args:
        states: what is missing -> shares (blocks, experts); a row sums to 1.
        paths: PNG, SVG or PDF files to write.
        title: e.g. the method and the dataset.

    Raises:
        HarnessError: no states, or states of different shapes.
    """
    if not states or len({np.shape(shares) for shares in states.values()}) != 1:
        raise HarnessError("routing needs states of one shape (blocks, experts)")
    blocks, experts = np.shape(next(iter(states.values())))
    figure = empty_figure(0.9 + 2.9 * len(states), 1.6 + 0.45 * blocks)
    panels = figure.subplots(1, len(states), sharey=True, squeeze=False)[0]
    highest = max(float(np.max(shares)) for shares in states.values())
    for axes, (name, shares) in zip(panels, states.items(), strict=True):
        image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=highest, aspect="auto")
        for block, expert in np.ndindex(blocks, experts):
            share = float(shares[block][expert])
            axes.text(
                expert, block, f"{share:.0%}".rstrip("%"), ha="center", va="center", fontsize=7,
                color="white" if share < 0.6 * highest else "black",
            )  # fmt: skip
        axes.set_title(name, fontsize=9)
        axes.set_xticks(range(experts), [str(number + 1) for number in range(experts)])
        axes.set_yticks(range(blocks), [str(number + 1) for number in range(blocks)])
        axes.set_xlabel("expert")
    panels[0].set_ylabel("decoder block")
    figure.colorbar(image, ax=list(panels), label="share (cells: %)", shrink=0.9)
    if title:
        figure.suptitle(title, fontsize=10)
    save_figure(figure, paths)


def _one_metric(lines: Sequence[Line]) -> Line:
    if not lines:
        raise HarnessError("no curves to draw")
    if len({line.column for line in lines}) != 1:
        raise HarnessError("curves of one metric under one protocol share a figure")
    return lines[0]


def _label(line: Line) -> str:
    return f"{line.label} (control)" if line.control else line.label


def _axis(line: Line) -> str:
    return f"{line.metric} (lower is better)" if line.higher_is_better is False else line.metric


def _what(drop: str) -> str:
    return {"any": "one of their modalities", "alternate": "one of their views"}.get(drop, drop)


def _caption(line: Line) -> str:
    apart = f", {line.apart}" if line.apart else ""
    return f"{line.dataset}, {line.n} test studies, masks {line.mechanism}, bands 95 %{apart}"
