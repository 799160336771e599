"""Scores of every label alone, from files: as a terminal table, JSON and CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import RenderableType

from harness.cli.output import Format, as_csv, print_parts
from harness.evaluation.label_scores import LabelScore
from harness.evaluation.score_json import finite
from harness.leaderboard.render.blocks import Column, Screen, blocks, signature_lines
from harness.leaderboard.render.text import between
from harness.statistics.estimate import Estimate


def print_labels(scores: Sequence[LabelScore], format_: Format) -> None:
    """Print them in a format."""
    if format_ is Format.json:
        typer.echo(json.dumps({"rows": facts(scores)}, indent=1))
    elif format_ is Format.csv:
        typer.echo(as_csv(facts(scores)), nl=False)
    else:
        print_parts(lambda screen: table(scores, screen))


def table(scores: Sequence[LabelScore], screen: Screen) -> list[RenderableType]:
    """One line per label, a table per family."""
    parts: list[RenderableType] = [screen.text("95 % patient bootstrap; higher is better", "bold")]
    for family in dict.fromkeys(each.family for each in scores):
        members = [each for each in scores if each.family == family]
        names = Column(family, [each.label for each in members], right=False)
        columns = [Column("positive", [str(each.positives) for each in members])]
        for name in ("uncertain", "blank"):
            counts = [getattr(each, name) for each in members]
            columns += [] if None in counts else [Column(name, list(map(str, counts)))]
        if members[0].called is not None:
            columns.append(Column("predicted", [str(each.called) for each in members]))
        columns += [
            Column(name, [_number(each.scores[name]) for each in members]) for name in members[0].scores
        ]
        parts += blocks([names], columns, screen)
        parts += signature_lines({family: members[0].signature}, screen)
        parts.append("")
    return parts


def _number(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "undefined"
    return f"{estimate.value:.3f} {between(estimate.ci95, estimate.n, digits=3)}"


def facts(scores: Sequence[LabelScore]) -> list[dict[str, Any]]:
    """One row per family, label and score; what is undefined is null."""
    return [
        {
            "family": each.family,
            "label": each.label,
            "positives": each.positives,
            "uncertain": each.uncertain,
            "blank": each.blank,
            "predicted": each.called,
            "score": name,
            "value": finite(estimate.value),
            "ci95_lo": finite(estimate.lo),
            "ci95_hi": finite(estimate.hi),
            "n": estimate.n,
            "signature": each.signature,
        }
        for each in scores
        for name, estimate in each.scores.items()
    ]
