"""Figures as PNG files. Matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from harness.files import write_atomic
from harness.metrics.calibration import Reliability

_BLUE, _RED, _GREY = "#3b6ea5", "#c8553d", "#8a8a8a"


def reliability_diagram(
    curve: Reliability,
    path: Path,
    *,
    title: str = "",
    interval: tuple[float, float] | None = None,
) -> None:
    """Draw accuracy against confidence per bin, the distance to the diagonal, and a count histogram below.

    Args:
        curve: points from ``metrics.calibration.reliability``.
        path: PNG file to write.
        title: first line, e.g. the method and the dataset.
        interval: 95 % interval of the calibration error, printed beside it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    left, width = curve.edges[:-1], np.diff(curve.edges)
    filled = curve.count > 0
    confidence, accuracy = curve.confidence[filled], curve.accuracy[filled]
    top.bar(left[filled], accuracy, width[filled], align="edge", color=_BLUE, alpha=0.3, lw=0)
    top.plot([0, 1], [0, 1], color=_GREY, lw=1, ls="--", label="perfectly calibrated")
    top.vlines(confidence, accuracy, confidence, color=_RED, lw=2, label="gap")
    top.plot(confidence, accuracy, "o", color=_BLUE, ms=4.5, label="observed in bin")
    top.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that came true")
    top.legend(loc="upper left", frameon=False, fontsize=8)
    bottom.bar(left, curve.count, width, align="edge", color=_BLUE, edgecolor="white", lw=0.5)
    bottom.set(xlabel="confidence", ylabel="judgements")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_caption(curve, title, interval), fontsize=10)
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=160)
    write_atomic(path, lambda target: target.write(stream.getvalue()))


def _caption(curve: Reliability, title: str, interval: tuple[float, float] | None) -> str:
    between = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    facts = f"{len(curve.count)} bins of equal {curve.binning}, {curve.count.sum():,.0f} judgements"
    lines = [title, f"ECE {curve.ece:.3f}{between}", facts]
    return "\n".join(line for line in lines if line)
