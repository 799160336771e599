"""Scores of every label alone, from files: as a terminal table, JSON, CSV and HTML."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import typer
from markupsafe import Markup
from rich.console import RenderableType

from harness import __version__
from harness.cli.output import Format, as_csv, print_parts
from harness.evaluation.label_scores import LabelScore
from harness.evaluation.score_json import finite
from harness.leaderboard.render.blocks import Column, Screen, blocks, signature_lines
from harness.leaderboard.render.html import asset, digest, template
from harness.leaderboard.render.text import between
from harness.statistics.estimate import Estimate

_COUNTS = {"positives": "positive", "uncertain": "uncertain", "blank": "blank", "called": "predicted"}
"""Attribute of a label's score -> its column."""


def print_labels(scores: Sequence[LabelScore], format_: Format) -> None:
    """Print them in a format."""
    if format_ is Format.json:
        typer.echo(json.dumps({"rows": facts(scores)}, indent=1))
    elif format_ is Format.csv:
        typer.echo(as_csv(facts(scores)), nl=False)
    elif format_ is Format.html:
        typer.echo(html(scores), nl=False)
    else:
        print_parts(lambda screen: table(scores, screen))


def table(scores: Sequence[LabelScore], screen: Screen) -> list[RenderableType]:
    """One line per label, a table per family."""
    parts: list[RenderableType] = [screen.text("95 % patient bootstrap; higher is better", "bold")]
    for family, members in _by_family(scores).items():
        names = Column(family, [each.label for each in members], right=False)
        columns = []
        for name, heading in _COUNTS.items():
            counts = [getattr(each, name) for each in members]
            columns += [] if None in counts else [Column(heading, list(map(str, counts)))]
        columns += [
            Column(name, [_number(each.scores[name]) for each in members]) for name in members[0].scores
        ]
        parts += blocks([names], columns, screen)
        parts += signature_lines({family: members[0].signature}, screen)
        parts.append("")
    return parts


def html(scores: Sequence[LabelScore]) -> str:
    """A page with one table per family; nothing is fetched."""
    style = asset("page.css")
    return str(
        template("labels.html.j2").render(
            tables=[_html_table(family, members) for family, members in _by_family(scores).items()],
            style=Markup(style),
            style_hash=digest(style),
            version=__version__,
        )
    )


def _html_table(family: str, members: Sequence[LabelScore]) -> dict[str, Any]:
    counted = [name for name in _COUNTS if getattr(members[0], name) is not None]
    rows = [
        {
            "label": each.label,
            "counts": [getattr(each, name) for name in counted],
            "scores": [
                {"value": "undefined", "interval": ""}
                if math.isnan(one.value)
                else {"value": f"{one.value:.3f}", "interval": between(one.ci95, one.n, digits=3)}
                for one in each.scores.values()
            ],
        }
        for each in members
    ]
    columns = [*(_COUNTS[name] for name in counted), *members[0].scores]
    return {"family": family, "columns": columns, "rows": rows, "signature": members[0].signature}


def _by_family(scores: Sequence[LabelScore]) -> dict[str, list[LabelScore]]:
    families: dict[str, list[LabelScore]] = {}
    for each in scores:
        families.setdefault(each.family, []).append(each)
    return families


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
