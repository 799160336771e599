"""Maps of latent vectors: one panel per modality state, coloured by kind of latent and by a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.leaderboard.render.figures import Paths, empty_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")
"""Colours of Okabe and Ito (2008), which the colour-blind tell apart."""
_ABSENT, _PRESENT = "#b8b8b8", "#c8102e"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True, slots=True)
class LatentPanel:
    """The points of one modality state.

    Attributes:
        title: what is missing.
        coordinates: on the map, (m, 2).
        kinds: number of each point's kind (m,).
        codes: number of each point's class (m,), or None.
        notes: below the title of the panel by kind, and of the panel by class.
    """

    title: str
    coordinates: NDArray[np.float64]
    kinds: NDArray[np.intp]
    codes: NDArray[np.intp] | None
    notes: tuple[str, str] = ("", "")


def latent_figure(
    panels: Sequence[LatentPanel],
    paths: Paths,
    *,
    kinds: Sequence[str],
    classes: Sequence[str] = (),
    title: str = "",
) -> None:
    """Draw the map once coloured by kind of latent and, where there are classes, once coloured by class.

    Args:
        panels: one per modality state, all on one map.
        paths: PNG, SVG or PDF files to write.
        kinds: names of the kinds of latent; each has a marker in both rows.
        classes: names of the classes; of two, the first is grey.
        title: first line.

    Raises:
        HarnessError: nothing to draw, more kinds or classes than there are colours, or another file type.
    """
    if not panels:
        raise HarnessError("no modality states to draw")
    if max(len(kinds), len(classes)) > len(_COLOURS):
        raise HarnessError(
            f"{max(len(kinds), len(classes))} groups, at most {len(_COLOURS)} can be told apart",
            "choose one finding with --finding",
        )
    rows = 2 if classes else 1
    width = max(3.0 * len(panels), 5.0)
    figure = empty_figure(width, 0.9 + 3.1 * rows)
    grid = figure.subplots(rows, len(panels), sharex=True, sharey=True, squeeze=False)
    colours = (_ABSENT, _PRESENT) if len(classes) == 2 else _COLOURS
    for column, panel in enumerate(panels):
        _scatter(grid[0, column], panel, panel.kinds, _COLOURS)
        grid[0, column].set_title("\n".join(filter(None, (panel.title, panel.notes[0]))), fontsize=8)
        if classes and panel.codes is not None:
            _scatter(grid[1, column], panel, panel.codes, colours)
            grid[1, column].set_title(panel.notes[1], fontsize=8)
    _legend(grid[0, 0], kinds, _COLOURS, _MARKERS)
    if classes:
        _legend(grid[1, 0], classes, colours, ["o"] * len(classes))
    if title:
        figure.suptitle(title, fontsize=10)
    save_figure(figure, paths)


def _scatter(axes: Axes, panel: LatentPanel, codes: NDArray[np.intp], colours: Sequence[str]) -> None:
    """Points by colour and, for their kind, by marker."""
    for code in np.unique(codes):
        for kind in np.unique(panel.kinds):
            own = (codes == code) & (panel.kinds == kind)
            if own.any():
                x, y = panel.coordinates[own].T
                look = {"color": colours[code], "marker": _MARKERS[kind]}
                axes.scatter(x, y, s=9, lw=0, alpha=0.75, **look)
    axes.set(xticks=[], yticks=[])


def _legend(axes: Axes, names: Sequence[str], colours: Sequence[str], markers: Sequence[str]) -> None:
    for name, colour, marker in zip(names, colours, markers, strict=False):
        axes.scatter([], [], s=16, color=colour, marker=marker, lw=0, label=name)
    axes.legend(loc="best", fontsize=7, framealpha=0.8, handletextpad=0.2)
