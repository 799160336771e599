"""Robustness beside the leaderboard: as markdown and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from rich.console import RenderableType

from harness.leaderboard.curve_summaries import BASELINE
from harness.leaderboard.policies import preference
from harness.leaderboard.protocol import Protocol
from harness.leaderboard.render.blocks import Column, Lines, Screen, blocks
from harness.leaderboard.render.text import between
from harness.leaderboard.robustness import Line, RobustnessReport, main_metrics
from harness.statistics.estimate import Estimate


def markdown(report: RobustnessReport) -> str:
    """A table per protocol and main metric: area, retention, the fall to the control, reliance."""
    parts = []
    for lines in _tables(report):
        header, rows = _header(lines), [_cells(line, lines) for line in lines]
        parts.append(f"### {_title(lines[0])}\n")
        parts.append("| " + " | ".join(header) + " |")
        parts.append("|" + "|".join([":--"] + ["--:"] * (len(header) - 1)) + "|")
        parts += ["| " + " | ".join(row) + " |" for row in rows]
        parts += ["", *_taken(lines[0])]
    if not parts:
        return "No result has a missing rate above 0.\n"
    return "\n".join([*parts, *_NOTES]) + "\n"


def rich(report: RobustnessReport, screen: Screen) -> list[RenderableType]:
    """The same tables for a terminal."""
    parts: list[RenderableType] = []
    for lines in _tables(report):
        cells = [_cells(line, lines) for line in lines]
        columns = [Column(name, column) for name, *column in zip(_header(lines), *cells, strict=True)]
        labels = [replace(columns[0], right=False)]
        styles = ["dim" if line.control else "" for line in lines]
        parts.append(screen.text(_title(lines[0]), "bold"))
        parts += blocks(labels, columns[1:], screen, Lines(styles))
        parts += [*(screen.text(sentence, "dim") for sentence in _taken(lines[0])), ""]
    return [*parts, screen.text(" ".join(_NOTES), "dim")] if parts else []


def _taken(line: Line) -> list[str]:
    """What the masks took, as one paragraph."""
    sentences = " ".join(line.shares.sentences([point.rate for point in line.points]))
    return [sentences, ""] if sentences else []


_NOTES = (
    "Area: mean height of the curve over its missing rates. Retained: share of the value with nothing",
    "missing that is left at the highest rate up to 0.8. Skill retained: the same of the lead over the same",
    "method on another patient's images; no clear lead: with nothing missing, the interval of that lead is",
    f"not above 0. Effective robustness: mean height above the curve of {BASELINE}, both moved to one",
    "starting point; above 0 it holds up better (MultiBench). Meets control, told apart until: rates at",
    "which the curve meets that of the same method on another patient's images, and up to which the paired",
    "interval of their difference excludes 0. Loss without X: how much worse the metric is when X is absent",
    "from every study; below 0 it is better then. Brackets: 95 % intervals over patients, masks and, where",
    "several were trained, training seeds.",
)


def _tables(report: RobustnessReport) -> list[list[Line]]:
    main = sorted(main_metrics(report.lines), key=lambda line: (preference(line.drop), *_flat(line.column)))
    tables = [list(lines) for _, lines in groupby(main, key=lambda line: line.column)]
    for lines in tables:
        sign = 1.0 if lines[0].higher_is_better is False else -1.0
        lines.sort(key=lambda line: (line.control, sign * line.area.value, line.method))
    return tables


def _flat(column: tuple[Protocol, str, str, str]) -> tuple[str, ...]:
    protocol, *rest = column
    return (*map(str, protocol), *rest)


_EFFECTIVE = "effective robustness"


def _title(line: Line) -> str:
    return f"Robustness of {line.metric}: {line.heading}"


def _modalities(lines: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(name for line in lines for name in line.reliance))


def _header(lines: Sequence[Line]) -> list[str]:
    rate = max(line.retention_rate for line in lines)
    without = [f"loss without {name}" for name in _modalities(lines)]
    first = ["method", "area", f"retained at {rate:g}", f"skill retained at {rate:g}"]
    effective = [_EFFECTIVE] if any(line.effective for line in lines) else []
    return [*first, *effective, "meets control", "told apart until", *without]


def _cells(line: Line, lines: Sequence[Line]) -> list[str]:
    losses = [line.reliance.get(name) for name in _modalities(lines)]
    return [
        line.label,
        _number(line.area),
        _number(line.retained),
        _skill(line),
        *([_signed(line.effective)] if any(other.effective for other in lines) else []),
        *_fall(line),
        *("-" if loss is None else _number(loss) for loss in losses),
    ]


def _fall(line: Line) -> tuple[str, str]:
    if line.fall is None:
        return "-", "-"
    last = f"> {line.points[-1].rate:g}"
    meets, apart = (
        last if rate is None else f"{rate:.2f}" for rate in (line.fall.meets, line.fall.indistinct)
    )
    return meets, "never" if line.fall.indistinct == 0 else apart


def _skill(line: Line) -> str:
    if line.skill is None:
        return "-"
    return _number(line.skill) if line.skill.is_defined else "no clear lead"


def _signed(each: Estimate | None) -> str:
    return "-" if each is None else f"{each.value:+.3f} {between(each.ci95, each.n)}"


def _number(each: Estimate) -> str:
    if each.value != each.value:  # NaN: nothing to retain
        return "-"
    return f"{each.value:.3f} {between(each.ci95, each.n)}"
