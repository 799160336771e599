"""A board in every format that files can have. What a format needs is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from harness.board import Board, to_json

SUFFIXES = {
    "markdown": "md",
    "latex": "tex",
    "json": "json",
    "csv": "csv",
    "parquet": "parquet",
    "html": "html",
}
"""Format -> how its files end."""


def render(board: Board, kind: str) -> bytes:
    """The board as the content of a file; ``kind`` is a key of ``SUFFIXES``."""
    text: dict[str, Callable[[Board], str]] = {
        "markdown": _markdown,
        "latex": _latex,
        "json": to_json,
        "csv": _csv,
        "html": _html,
    }
    return _parquet(board) if kind == "parquet" else text[kind](board).encode()


def _markdown(board: Board) -> str:
    from harness.export import markdown

    return markdown.render(board.tables)


def _latex(board: Board) -> str:
    from harness.export import board_latex

    return board_latex.fragment(board.tables)


def _csv(board: Board) -> str:
    from harness.export import data

    return data.to_csv(board.rows)


def _parquet(board: Board) -> bytes:
    from harness.export import data

    return data.to_parquet(board.rows)


def _html(board: Board) -> str:
    from harness.export import html

    return html.render(board)
