"""A leaderboard in every file format. What a format needs is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.leaderboard.leaderboard import Leaderboard

SUFFIXES = {
    "markdown": "md",
    "latex": "tex",
    "json": "json",
    "csv": "csv",
    "parquet": "parquet",
    "html": "html",
    "model-index": "model-index.yaml",
}
"""Format -> how its files end."""


def render(leaderboard: Leaderboard, kind: str, store: Path | None = None) -> bytes:
    """The leaderboard as the content of a file.

    Args:
        leaderboard: what is written.
        kind: a key of ``SUFFIXES``.
        store: folder with the sample sheets that a page shows; None shows none.
    """
    if kind == "html":
        return _html(leaderboard, store).encode()
    text: dict[str, Callable[[Leaderboard], str]] = {
        "markdown": _markdown,
        "latex": _latex,
        "json": Leaderboard.to_json,
        "csv": _csv,
        "model-index": _model_index,
    }
    return _parquet(leaderboard) if kind == "parquet" else text[kind](leaderboard).encode()


def _markdown(leaderboard: Leaderboard) -> str:
    from harness.leaderboard.render import markdown, states, training_grids

    grids = training_grids.markdown(leaderboard.tables)
    return states.markdown(leaderboard.states) + grids + markdown.render(leaderboard.tables)


def _latex(leaderboard: Leaderboard) -> str:
    from harness.leaderboard.render import leaderboard_latex

    return leaderboard_latex.fragment(leaderboard.tables, leaderboard.states)


def _csv(leaderboard: Leaderboard) -> str:
    from harness.leaderboard.render import csv_parquet

    return csv_parquet.to_csv(leaderboard.rows)


def _model_index(leaderboard: Leaderboard) -> str:
    from harness.leaderboard.render import model_index

    return model_index.render(leaderboard.rows)


def _parquet(leaderboard: Leaderboard) -> bytes:
    from harness.leaderboard.render import csv_parquet

    return csv_parquet.to_parquet(leaderboard.rows)


def _html(leaderboard: Leaderboard, store: Path | None) -> str:
    from harness.leaderboard.render import html, samples

    return html.render(leaderboard, sheets=samples.sheets_of(store, leaderboard) if store else ())
