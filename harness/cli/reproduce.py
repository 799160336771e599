"""``harness reproduce``."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from harness.cli.output import Format, format_option, print_json, stderr
from harness.cli.tables import open_store
from harness.store.tolerance import TOLERANCE


def reproduce(
    row: Annotated[str, typer.Argument(help="DATASET/METHOD/RUN as tables and manifests name it.")],
    store: Annotated[Path, typer.Option(help="Results store that has the row.")] = Path("runs"),
    into: Annotated[
        Path | None, typer.Option(help="Folder of the new store, which stays; default a temporary one.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the dataset, where it moved.")] = None,
    device: Annotated[str | None, typer.Option(help="Device; default that of the row.")] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help=f"Compare to the last digit; else numbers within {TOLERANCE:g} are equal."
        ),
    ] = False,
    format_: Annotated[Format, format_option(Format.table, Format.json)] = Format.table,
) -> None:
    """Make a row again from its manifest in a new store and compare the numbers; exit 1 if they differ."""
    opened = open_store(store)
    from harness.cli.progress import ConsoleReporter
    from harness.evaluation import reproduce as again

    stored = again.find(opened, row)
    with (
        nullcontext(into) if into else TemporaryDirectory() as folder,
        ConsoleReporter(stderr()) as reporter,
    ):
        tolerance = 0.0 if exact else TOLERANCE
        reproduction = again.reproduce(
            stored, Path(folder), reporter, root=root, device=device, tolerance=tolerance
        )
    if format_ is Format.json:
        print_json(asdict(reproduction) | {"equal": reproduction.equal})
    else:
        typer.echo(again.render(reproduction), nl=False)
    if not reproduction.equal:
        raise typer.Exit(1)
