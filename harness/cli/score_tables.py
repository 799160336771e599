"""Scores and comparisons as terminal tables, JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.console import RenderableType

from harness.cli.output import as_csv
from harness.evaluation.score_files import Comparison, Score, Scores
from harness.evaluation.score_json import comparison_facts
from harness.leaderboard.render.blocks import (
    DIRECTIONS,
    Column,
    Screen,
    blocks,
    directed,
    not_computed,
    signature_lines,
)
from harness.leaderboard.render.short_names import short_names
from harness.leaderboard.render.text import FEW_STUDIES, between
from harness.metrics.text.hygiene import Remark, sentences

_LEVEL = 0.05
"""Below it a difference counts as shown."""


def score_table(scores: Scores, screen: Screen) -> list[RenderableType]:
    """Value and interval of every metric, by group; then the signatures and what was not computed."""
    total = len(scores.scores) + len(scores.unavailable)
    counts = f"{len(scores.scores)} of {total} values computed"
    parts: list[RenderableType] = [
        screen.text(f"n = {len(scores.ids)}, 95 % patient bootstrap, {counts}", "bold"),
        screen.text(DIRECTIONS, "dim"),
    ]
    by_group: dict[str, list[Score]] = {}
    for each in scores.scores:
        by_group.setdefault(each.group, []).append(each)
    short = short_names(each.metric for each in scores.scores)
    for group, members in by_group.items():
        names = [directed(short[each.metric], each.higher_is_better) for each in members]
        values = [f"{each.estimate.value:.4f}" for each in members]
        intervals = [between(each.estimate.ci95, each.estimate.n, digits=4) for each in members]
        columns = [Column("value", values), Column("95 % interval", intervals)]
        parts += blocks([Column(group, names, right=False)], columns, screen)
        parts.append("")
    parts += signature_lines({each.metric: each.signature for each in scores.scores}, screen)
    parts += not_computed(scores.unavailable, screen)
    notes = [screen.text(f"note: {name}: {line}", "yellow") for name, line in scores.notes.items()]
    return [*parts, *notes, *remark_lines(scores.remarks, screen)]


def remark_lines(remarks: Sequence[Remark], screen: Screen) -> list[RenderableType]:
    """Remarks below a table."""
    return [screen.text(f"note: {line}", "yellow") for line in sentences(remarks)]


def say_remarks(remarks: Sequence[Remark]) -> None:
    """Remarks on stderr, for formats that have no place for them."""
    for line in sentences(remarks):
        typer.echo(f"note: {line}", err=True)


def score_csv(scores: Scores) -> str:
    """One line per metric that could run."""
    columns = ("metric", "value", "ci95_lo", "ci95_hi", "n", "signature")
    lines = [
        (each.metric, each.estimate.value, *each.estimate.ci95, each.estimate.n, each.signature)
        for each in scores.scores
    ]
    return as_csv([dict(zip(columns, line, strict=True)) for line in lines], columns)


def per_study_csv(scores: Scores) -> str:
    """One line per study: every metric on that study alone."""
    columns = {"id": scores.ids, **{name: column.tolist() for name, column in scores.per_study.items()}}
    lines = zip(*columns.values(), strict=True)
    return as_csv([dict(zip(columns, line, strict=True)) for line in lines], tuple(columns))


def comparison_table(
    rows: Sequence[Comparison], screen: Screen, remarks: Sequence[Remark] = ()
) -> list[RenderableType]:
    """A table per pair of systems, one line per metric that says which of the two is better; then remarks."""
    trials, n = (rows[0].test.trials, rows[0].test.difference.n) if rows else (0, 0)
    few = f"; of fewer than {FEW_STUDIES} studies no system is called better" if n < FEW_STUDIES else ""
    parts: list[RenderableType] = [
        screen.text(f"paired approximate randomisation, n = {n}, {trials} trials", "bold"),
        screen.text(
            f"better: p < {_LEVEL:g}; *: also with p (Holm), over each metric's pairs{few}; {DIRECTIONS}",
            "dim",
        ),
    ]
    by_pair: dict[tuple[str, str], list[Comparison]] = {}
    for row in rows:
        by_pair.setdefault((row.a, row.b), []).append(row)
    for (a, b), members in by_pair.items():
        parts += ["", screen.text(f"a = {a}, b = {b}", "bold"), *_pair(members, screen)]
    signatures = signature_lines({row.metric: row.signature for row in rows}, screen)
    return [*parts, "", *signatures, *remark_lines(remarks, screen)]


def _pair(rows: Sequence[Comparison], screen: Screen) -> list[RenderableType]:
    short = short_names(row.metric for row in rows)
    names = [directed(short[row.metric], row.higher_is_better) for row in rows]
    tests = [row.test for row in rows]
    differences = [test.difference for test in tests]
    columns = [
        Column("result", [verdict(row) for row in rows], right=False),
        Column("a", [f"{test.value_a:.4f}" for test in tests]),
        Column("b", [f"{test.value_b:.4f}" for test in tests]),
        Column("a - b", [f"{each.value:+.4f}" for each in differences]),
        Column("95 % interval", [f"[{each.lo:+.4f}, {each.hi:+.4f}]" for each in differences]),
        Column("p", [f"{test.p_value:.4g}" for test in tests]),
        Column("p (Holm)", [f"{row.p_holm:.4g}" for row in rows]),
    ]
    return blocks([Column("metric", names, right=False)], columns, screen)


def verdict(row: Comparison) -> str:
    """``a better``, ``b better`` or ``no difference shown``; a star for what survives Holm's adjustment.

    ``differ`` where neither more nor less of the metric is better.

    Of fewer than ``FEW_STUDIES`` studies it is ``too few studies``, whatever the p-value.
    """
    if row.test.difference.n < FEW_STUDIES:
        return "too few studies"
    difference = row.test.difference.value
    if not row.test.p_value < _LEVEL or difference == 0:
        return "no difference shown"
    if row.higher_is_better is None:
        return "differ" + (" *" if row.p_holm < _LEVEL else "")
    better = "a" if (difference > 0) == row.higher_is_better else "b"
    return f"{better} better" + (" *" if row.p_holm < _LEVEL else "")


def comparison_csv(rows: Sequence[Comparison]) -> str:
    """The JSON's rows, the interval as two columns."""
    flat = []
    for row in rows:
        facts = comparison_facts(row)
        facts["ci95_lo"], facts["ci95_hi"] = facts.pop("ci95")
        flat.append(facts)
    return as_csv(flat)
