"""Figures of selective diagnosis: the risk of the studies that a method is most sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.core.errors import HarnessError
from harness.leaderboard.render.figures import Paths, empty_figure, save_figure
from harness.leaderboard.render.robustness_figures import COLOURS, GREY, STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class RiskCurve:
    """One method in one modality state.

    Attributes:
        risks: mean error of the most confident studies, at coverages 1/n, 2/n, .. 1.
        control: whether the method is a control.
        area: below the curve, where it is known exactly; None computes it from ``risks`` by trapezoids.
    """

    risks: Sequence[float]
    control: bool = False
    area: float | None = None

    @property
    def height(self) -> float:
        """The area below the curve."""
        if self.area is not None:
            return self.area
        ends = np.asarray(self.risks, dtype=np.float64)
        return float((ends + np.concatenate([ends[:1], ends[:-1]])).mean() / 2)


def risk_coverage_figure(
    states: Mapping[str, Mapping[str, RiskCurve]], paths: Paths, *, title: str = ""
) -> None:
    """Risk against coverage: a panel per modality state, in it a line per method, controls in grey.

    Below each panel stand its methods, each with the area under its curve.

    Args:
        states: what is missing -> method -> its curve, in drawing order.
        paths: PNG, SVG or PDF files to write.
        title: first line, e.g. the dataset.

    Raises:
        HarnessError: no states, or another file type.
    """
    if not states:
        raise HarnessError("no curves of risk to draw")
    methods = list(dict.fromkeys(name for curves in states.values() for name in curves))
    figure = empty_figure(0.7 + 2.9 * max(2, len(states)), 3.0 + 0.17 * len(methods))
    panels = figure.subplots(2, len(states), sharey="row", squeeze=False, height_ratios=(3, len(methods) / 6))
    for number, (name, curves) in enumerate(states.items()):
        axes, legend = panels[:, number]
        _panel(axes, curves, methods)
        axes.set_title(name, fontsize=9)
        legend.set_axis_off()
        legend.legend(
            *axes.get_legend_handles_labels(), loc="upper center", frameon=False, fontsize=7, borderaxespad=0
        )
    panels[0, 0].set_ylabel("risk: mean error", fontsize=8)
    panels[0, 0].set_ylim(bottom=0)
    figure.suptitle(f"{title}, area under each curve behind its name" if title else "", fontsize=9)
    save_figure(figure, paths)


def _panel(axes: Axes, curves: Mapping[str, RiskCurve], methods: Sequence[str]) -> None:
    """The lines of one state; a method has one colour and style in all panels."""
    for name, curve in curves.items():
        place = methods.index(name)
        coverages = np.arange(1, len(curve.risks) + 1) / len(curve.risks)
        axes.plot(
            coverages,
            curve.risks,
            color=GREY if curve.control else COLOURS[place % len(COLOURS)],
            ls=STYLES[place % len(STYLES)],
            lw=1.1 if curve.control else 1.6,
            label=f"{name}{' (control)' if curve.control else ''} {curve.height:.3f}",
        )
    axes.set_xlim(0, 1)
    axes.set_xlabel("coverage, most confident studies first", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", lw=0.7)
    axes.set_axisbelow(True)
