"""Figures as PNG, SVG or PDF files. Matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.user_files import write_user_file
from harness.metrics.diagnosis.calibration import BINS, Reliability, reliability
from harness.metrics.diagnosis.probabilities import checked_judgements

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _RED, _GREY = "#3b6ea5", "#c8553d", "#8a8a8a"
_FORMATS = ("png", "svg", "pdf")
Paths = Path | Sequence[Path]
"""Files that a figure is written to, each in the format that its name ends with."""
_STYLES = (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", "-."), ("#cc79a7", ":"), ("#56b4e9", "-"))
"""Colours of Okabe and Ito (2008), which the colour-blind tell apart, each with a line style of its own."""


@dataclass(frozen=True, slots=True)
class Judgements:
    """One method's confidences on the test studies in one modality state, and which of them came true.

    Attributes:
        confidence: (n,) in [0, 1], e.g. the probability of the chosen class.
        correct: (n,) 1 where it came true, else 0.

    Raises:
        InvalidValuesError: logits, percent, NaN, outcomes other than 0 and 1, other shapes, or nothing.
    """

    confidence: NDArray[np.floating[Any]]
    correct: NDArray[Any]

    def __post_init__(self) -> None:
        checked_judgements(self.confidence, self.correct)


def reliability_diagram(
    curve: Reliability,
    paths: Paths,
    *,
    title: str = "",
    interval: tuple[float, float] | None = None,
) -> None:
    """Draw accuracy against confidence per bin, the distance to the diagonal, and a count histogram below.

    Args:
        curve: points from ``metrics.calibration.reliability``.
        paths: PNG, SVG or PDF files to write.
        title: first line, e.g. the method and the dataset.
        interval: 95 % interval of the calibration error, printed beside it.
    """
    figure = empty_figure(4.8, 6.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    _reliability(curve, top, bottom)
    top.legend(loc="upper left", frameon=False, fontsize=8)
    top.set_ylabel("share that came true")
    bottom.set_ylabel("judgements")
    figure.suptitle(_caption(curve, title, interval), fontsize=10)
    save_figure(figure, paths)


def reliability_by_state(
    states: Mapping[str, Judgements | Reliability], paths: Paths, *, title: str = "", bins: int = BINS
) -> None:
    """One reliability diagram per modality state, side by side, on the same axes.

    Args:
        states: what is shown -> judgements or their bins, in drawing order, e.g. ``{"nothing missing": ...,
            "clinical missing": ...}``.
        paths: PNG, SVG or PDF files to write.
        title: first line, e.g. the method and the dataset.
        bins: of equal width, for judgements.

    Raises:
        HarnessError: no states, or another file type.
    """
    _needs_states(states)
    figure = empty_figure(1.0 + 3.1 * len(states), 4.8)
    grid = figure.subplots(2, len(states), sharex=True, sharey="row", height_ratios=(3.4, 1), squeeze=False)
    for column, (name, judgements) in enumerate(states.items()):
        curve = judgements if isinstance(judgements, Reliability) else _binned(judgements, bins)
        top, bottom = grid[:, column]
        _reliability(curve, top, bottom)
        top.set_title(f"{name}\nECE {curve.ece:.3f}, n = {curve.count.sum():,.0f}", fontsize=9)
    grid[0, 0].legend(loc="upper left", frameon=False, fontsize=8)
    grid[0, 0].set_ylabel("share that came true")
    grid[1, 0].set_ylabel("judgements")
    if title:
        figure.suptitle(title, fontsize=10)
    save_figure(figure, paths)


def confidence_density(
    methods: Mapping[str, Mapping[str, Judgements]], paths: Paths, *, title: str = ""
) -> None:
    """Densities of the confidence, a row per method and a curve per modality state; medians as ticks.

    A density is a Gaussian kernel estimate that is reflected at 0 and 1, so no mass is drawn where no
    confidence can be and the area below each curve is 1.

    Args:
        methods: method -> what is shown -> judgements. States have one colour and line style in all rows.
        paths: PNG, SVG or PDF files to write.
        title: first line, e.g. the dataset and the drop policy.

    Raises:
        HarnessError: no methods or states, more states than there are styles, or another file type.
    """
    names = list(dict.fromkeys(name for states in methods.values() for name in states))
    _needs_states(names)
    if len(names) > len(_STYLES):
        raise HarnessError(f"{len(names)} modality states, at most {len(_STYLES)} can be told apart")
    figure = empty_figure(5.6, 0.9 + 1.7 * len(methods))
    rows = figure.subplots(len(methods), 1, sharex=True, squeeze=False)[:, 0]
    at = np.linspace(0, 1, 501)
    for axes, (method, states) in zip(rows, methods.items(), strict=True):
        for name, judgements in states.items():
            colour, line = _STYLES[names.index(name)]
            density = reflected_density(judgements.confidence, at)
            axes.fill_between(at, density, color=colour, alpha=0.12, lw=0)
            axes.plot(at, density, color=colour, ls=line, lw=1.6, label=name)
            median = float(np.median(judgements.confidence))
            axes.plot([median], [0], marker="|", color=colour, ms=12, mew=2, clip_on=False)
        axes.set(xlim=(0, 1), ylabel="density")
        axes.set_ylim(bottom=0)
        axes.set_title(method, fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    rows[-1].set_xlabel("confidence (tick: median)")
    handles = {line.get_label(): line for axes in rows for line in axes.get_legend_handles_labels()[0]}
    figure.legend(
        [handles[name] for name in names],
        names,
        loc="outside lower center",
        ncols=min(3, len(names)),
        frameon=False,
        fontsize=8,
    )
    if title:
        figure.suptitle(title, fontsize=10)
    save_figure(figure, paths)


def reflected_density(
    values: NDArray[np.floating[Any]], at: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Gaussian kernel density on [0, 1], reflected at both ends; Silverman's bandwidth, .01 at least.

    Args:
        values: (n,) in [0, 1].
        at: (m,) points.

    Returns:
        (m,); its integral over [0, 1] is 1.
    """
    low, high = np.quantile(values, (0.25, 0.75))
    spread = min(float(np.std(values)), float(high - low) / 1.349) or float(np.std(values))
    width = max(0.01, 0.9 * spread * len(values) ** -0.2)
    distinct, counts = np.unique(values, return_counts=True)  # binned values repeat
    mirrored = np.concatenate([distinct, -distinct, 2 - distinct])
    kernel = np.exp(-0.5 * ((at[:, None] - mirrored) / width) ** 2)
    density = kernel @ np.tile(counts, 3) / (len(values) * width * np.sqrt(2 * np.pi))
    return np.asarray(density, dtype=np.float64)


def _needs_states(states: Any) -> None:
    if not states:
        raise HarnessError("no modality states to draw")


def empty_figure(width: float, height: float) -> Figure:
    """An empty figure, inches, that no window system is needed for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def checked_kind(path: Path) -> str:
    """``png``, ``svg`` or ``pdf``: how a figure's file ends.

    Raises:
        HarnessError: another type.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in _FORMATS:
        raise HarnessError(f"{path}: unknown type of figure", f"end the name with .{', .'.join(_FORMATS)}")
    return kind


def save_figure(figure: Figure, paths: Paths) -> None:
    """Write the figure in the format that each file's name ends with, the same bytes every time."""
    from matplotlib import rc_context

    metadata: dict[str, dict[str, Any]] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None},
        "png": {"Software": None},
    }
    # The layout is made once for all formats: with an engine set, every format would be drawn twice.
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    for path in [paths] if isinstance(paths, Path) else paths:
        kind = checked_kind(path)
        stream = BytesIO()
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": "harness"}):
            figure.savefig(stream, format=kind, dpi=160, metadata=metadata.get(kind))
        write_user_file(path, stream.getvalue())


def _binned(judgements: Judgements, bins: int) -> Reliability:
    confidence, correct = (
        np.asarray(each, dtype=np.float64) for each in (judgements.confidence, judgements.correct)
    )
    return reliability(confidence, correct, bins)


def _reliability(curve: Reliability, top: Axes, bottom: Axes) -> None:
    """Bars, diagonal and gaps into ``top``, counts into ``bottom``."""
    left, width = curve.edges[:-1], np.diff(curve.edges)
    filled = curve.count > 0
    confidence, accuracy = curve.confidence[filled], curve.accuracy[filled]
    top.bar(left[filled], accuracy, width[filled], align="edge", color=_BLUE, alpha=0.3, lw=0)
    top.plot([0, 1], [0, 1], color=_GREY, lw=1, ls="--", label="perfectly calibrated")
    top.vlines(confidence, accuracy, confidence, color=_RED, lw=2, label="gap")
    top.plot(confidence, accuracy, "o", color=_BLUE, ms=4.5, label="observed in bin", clip_on=False)
    top.set(xlim=(0, 1), ylim=(0, 1.02))
    bottom.bar(left, curve.count, width, align="edge", color=_BLUE, edgecolor="white", lw=0.5)
    bottom.set(xlabel="confidence")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)


def _caption(curve: Reliability, title: str, interval: tuple[float, float] | None) -> str:
    between = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    facts = f"{len(curve.count)} bins of equal {curve.binning}, {curve.count.sum():,.0f} judgements"
    lines = [title, f"ECE {curve.ece:.3f}{between}", facts]
    return "\n".join(line for line in lines if line)
