"""``harness bundle``: the aggregates that may leave a site, and their check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import tables
from harness.cli.options import Results, Store, one_source
from harness.cli.output import other_than, writable_file

if TYPE_CHECKING:
    from harness.leaderboard.leaderboard import Leaderboard

bundle = typer.Typer(help="Write or check a file of aggregates that may leave a site.", no_args_is_help=True)


@bundle.command("write")
def write(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write.", callback=writable_file)],
    store: Store = Path("runs"),
    results: Results = None,
) -> None:
    """Write the numbers of a leaderboard without text, images or rows of studies."""
    one_source(context, results)
    if results is not None:
        other_than(file, results, "FILE", "the file that it is made of")
    write_bundle(tables.read_leaderboard(store, results), file, None if results else store)


@bundle.command("check")
def check(file: Annotated[Path, typer.Argument(help="File that harness bundle write wrote.")]) -> None:
    """Check that a file holds aggregates, hashes and versions and nothing else; exit 2 if not."""
    from harness.leaderboard import bundle as bundles

    content = bundles.read(file)
    typer.echo(f"{file}: {len(content.rows)} numbers of {len(content.runs)} results, and nothing else")


def write_bundle(leaderboard: Leaderboard, file: Path, store: Path | None) -> None:
    """Write a leaderboard's bundle; the ids of the store's studies must not be in it."""
    from harness.leaderboard import bundle as bundles

    bundles.write(leaderboard, file, tables.open_store(store) if store else None)
    typer.echo(f"wrote {file}: {len(leaderboard.rows)} numbers, no text, no image, no row of a study")
