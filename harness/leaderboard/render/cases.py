"""Single studies as one HTML page for the user's own screen; it needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from harness.leaderboard.render import html


def render(cases: Mapping[str, Any]) -> str:
    """The page, UTF-8, self-contained. It holds reports and images.

    Args:
        cases: as ``evaluation.cases.collect`` gives them.
    """
    style, script = html.asset("page.css") + html.asset("cases.css"), html.asset("cases.js")
    return html.template("cases.html.j2").render(
        title=f"Studies of {cases['dataset']}",
        summary=(
            f"{len(cases['cases'])} test studies, {cases['order']}; {len(cases['methods'])} methods; "
            f"green words stand in the reference in the same order"
        ),
        style=Markup(style),
        script=Markup(script),
        style_hash=html.digest(style),
        script_hash=html.digest(script),
        data=Markup(html.embedded(cases)),
    )
