"""A system in several modality states, from files: as a terminal table, JSON and CSV."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import RenderableType

from harness.cli.output import Format, as_csv, print_parts
from harness.cli.score_tables import remark_lines, say_remarks
from harness.evaluation.score_json import finite
from harness.evaluation.state_files import StateScore, StateScores
from harness.leaderboard.render.blocks import DIRECTIONS, Column, Screen, blocks, directed, signature_lines
from harness.leaderboard.render.short_names import short_names
from harness.leaderboard.render.text import between
from harness.metrics.text.hygiene import sentences
from harness.missingness.states import FULL


def print_states(states: StateScores, format_: Format) -> None:
    """Print them in a format."""
    if format_ is Format.json:
        typer.echo(to_json(states), nl=False)
    elif format_ is Format.csv:
        typer.echo(as_csv(facts(states)), nl=False)
        say_remarks(states.remarks)
    else:
        print_parts(lambda screen: table(states, screen))


def table(states: StateScores, screen: Screen) -> list[RenderableType]:
    """Value, paired difference to the full state, and curve, one line per metric and state."""
    scores = states.scores
    short = short_names(dict.fromkeys(each.metric for each in scores))
    rates = sorted({rate for each in scores for rate in each.curve})
    names = [f"{directed(short[each.metric], each.higher_is_better)} {_missing(each)}" for each in scores]
    columns = [
        Column("value", [f"{each.value.value:.4f}" for each in scores]),
        Column("95 % interval", [between(each.value.ci95, each.value.n, digits=4) for each in scores]),
        Column("minus full", [_difference(each) for each in scores]),
        *(Column(f"@ {rate:g}", [_at(each, rate) for each in scores]) for rate in rates),
    ]
    return [
        screen.text(f"n = {len(states.ids)}, 95 % patient bootstrap; differences are paired", "bold"),
        screen.text(DIRECTIONS, "dim"),
        *blocks([Column("metric", names, right=False)], columns, screen),
        screen.text("@ r: a share r of the studies is in the state, mean over 20 masks", "dim"),
        *signature_lines({each.metric: each.signature for each in scores}, screen),
        *remark_lines(states.remarks, screen),
    ]


def _missing(score: StateScore) -> str:
    return "full" if score.state == FULL else f"without {score.state.replace('+', ', ')}"


def _difference(score: StateScore) -> str:
    if score.minus_full is None:
        return ""
    return f"{score.minus_full.value:+.4f} {between(score.minus_full.ci95, score.minus_full.n, digits=4)}"


def _at(score: StateScore, rate: float) -> str:
    return f"{score.curve[rate].value:.4f}" if rate in score.curve else ""


def facts(states: StateScores) -> list[dict[str, Any]]:
    """One row per metric, state and missing rate; at rate 1 all studies are in the state."""
    rows = []
    for score in states.scores:
        points = {0.0: score.value} if score.state == FULL else {**score.curve, 1.0: score.value}
        for rate, estimate in points.items():
            difference = score.minus_full if rate == 1.0 else None
            rows.append(
                {
                    "metric": score.metric,
                    "state": score.state,
                    "rate": rate,
                    "value": estimate.value,
                    "ci95_lo": estimate.lo,
                    "ci95_hi": estimate.hi,
                    "minus_full": difference.value if difference else None,
                    "minus_full_lo": difference.lo if difference else None,
                    "minus_full_hi": difference.hi if difference else None,
                    "n": estimate.n,
                    "signature": score.signature,
                }
            )
    return rows


def to_json(states: StateScores) -> str:
    """``{"n", "states", "rows": [..], "remarks": [..]}``; what is not finite is null."""
    rows = [
        {key: finite(value) if isinstance(value, float) else value for key, value in row.items()}
        for row in facts(states)
    ]
    remarks = list(sentences(states.remarks))
    content = {"n": len(states.ids), "states": list(states.states), "rows": rows, "remarks": remarks}
    return json.dumps(content, indent=1) + "\n"
