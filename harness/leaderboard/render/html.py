"""A leaderboard as one HTML page that needs no network.

The page carries its data as JSON, its style and its script, and a content security policy that allows these
two alone, by their hashes: nothing is fetched, and foreign text that got through the escaping would not run.
The drawings are SVG made by the script, so that their points can be reached with a keyboard, read aloud,
follow the theme and print sharply; a chart library would weigh megabytes a page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from harness import __version__
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import training_grids
from harness.leaderboard.render.samples import Sheet
from harness.leaderboard.render.states import grids, notes

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""What could end a script element early, as JSON writes it otherwise."""


def render(leaderboard: Leaderboard, title: str = "Leaderboard", sheets: Sequence[Sheet] = ()) -> str:
    """The page, UTF-8, self-contained, with sample sheets of generated images where there are any."""
    datasets = sorted({table.dataset for table in leaderboard.tables})
    methods = {row.method for table in leaderboard.tables for row in table.rows if not row.control}
    summary = (
        f"{', '.join(datasets) or 'no results'}; methods: {len(methods)}; "
        f"numbers: {len(leaderboard.rows):,}; harness {__version__}"
    )
    style, script = asset("page.css"), asset("page.js") + asset("panels.js")
    return template("page.html.j2").render(
        title=title,
        summary=summary,
        style=Markup(style),
        script=Markup(script),
        style_hash=digest(style),
        script_hash=digest(script),
        data=Markup(embedded(_payload(leaderboard))),
        sheets=sheets,
        states=[
            (table, [grid for grid in grids(table) if grid.rows], notes(table))
            for table in leaderboard.states
        ],
        training=training_grids.grids(leaderboard.tables),
        training_note=training_grids.NOTE,
    )


def _payload(leaderboard: Leaderboard) -> dict[str, Any]:
    """The leaderboard's JSON values; each table with its missing rates in words."""
    values = leaderboard.payload()
    for content, table in zip(values["tables"], leaderboard.tables, strict=True):
        content["rate_headings"] = {f"{rate:g}": table.rate_heading(rate) for rate in table.rates}
        content["taken"] = [*table.shares.sentences(table.rates)]
        content["axis"] = table.shares.axis(table.rates)
    return values


def embedded(value: Any) -> str:
    """JSON that no HTML parser takes for markup."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def digest(text: str) -> str:
    """What a content security policy calls a script or a style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def asset(name: str) -> str:
    """A file of this folder."""
    return files("harness.leaderboard.render").joinpath(name).read_text(encoding="utf-8")


@cache
def template(name: str) -> Any:
    """A template of this folder; what is filled in is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(asset(name))
