"""A board in every format that files can have. What a format needs is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.leaderboard.board import Board, to_json

SUFFIXES = {
    "markdown": "md",
    "latex": "tex",
    "json": "json",
    "csv": "csv",
    "parquet": "parquet",
    "html": "html",
}
"""Format -> how its files end."""


def render(board: Board, kind: str, store: Path | None = None) -> bytes:
    """The board as the content of a file.

    Args:
        board: what is written.
        kind: a key of ``SUFFIXES``.
        store: where sample sheets lie that a page shows; None shows none.
    """
    if kind == "html":
        return _html(board, store).encode()
    text: dict[str, Callable[[Board], str]] = {
        "markdown": _markdown,
        "latex": _latex,
        "json": to_json,
        "csv": _csv,
    }
    return _parquet(board) if kind == "parquet" else text[kind](board).encode()


def _markdown(board: Board) -> str:
    from harness.leaderboard.render import markdown

    return markdown.render(board.tables)


def _latex(board: Board) -> str:
    from harness.leaderboard.render import board_latex

    return board_latex.fragment(board.tables)


def _csv(board: Board) -> str:
    from harness.leaderboard.render import csv_parquet

    return csv_parquet.to_csv(board.rows)


def _parquet(board: Board) -> bytes:
    from harness.leaderboard.render import csv_parquet

    return csv_parquet.to_parquet(board.rows)


def _html(board: Board, store: Path | None) -> str:
    from harness.leaderboard.render import html, samples

    return html.render(board, sheets=samples.sheets_of(store, board) if store else ())
