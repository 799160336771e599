"""``harness leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import tables
from harness.cli.bundle import write_bundle
from harness.cli.options import Figures, Out, Results, Store
from harness.cli.output import Format, format_option, report_written
from harness.core.errors import HarnessError

_FORMATS = (
    Format.markdown,
    Format.table,
    Format.latex,
    Format.json,
    Format.csv,
    Format.parquet,
    Format.html,
)


def leaderboard(
    store: Store = Path("runs"),
    results: Results = None,
    spec: Annotated[
        list[Path] | None, typer.Option(help="YAML file with columns, rates and order; repeatable.")
    ] = None,
    format_: Annotated[Format, format_option(*_FORMATS)] = Format.markdown,
    out: Out = None,
    figures: Figures = False,
    share: Annotated[
        Path | None, typer.Option(help="Write what harness bundle write writes to this file.")
    ] = None,
) -> None:
    """Rebuild the tables from the store."""
    source = None if results else store
    board = tables.read_leaderboard(store, results, spec)
    if share is not None:
        write_bundle(board, share, source)
    elif format_ is Format.table:
        if out is not None:
            raise HarnessError("--format table is printed, not written", "leave out --out")
        tables.print_leaderboard(board, source)
    elif out is not None:
        paths = tables.write_leaderboard(board, out, source, [format_])
        if results is None:
            paths += tables.write_robustness(store, out, figures)
        report_written(paths)
    elif format_ is Format.parquet:
        raise HarnessError("--format parquet cannot be printed", "name a folder with --out")
    else:
        from harness.leaderboard.render import formats

        typer.echo(formats.render(board, format_.value, source).decode(), nl=False)
