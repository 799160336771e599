"""``harness data``: commands about data before a run reads them. Parsing and printing only."""

from __future__ import annotations

import sys
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from harness.datasets.check import Examination

data = typer.Typer(help="Look at data before a run does.", no_args_is_help=True)

_SHOWN = 20
"""Problems of one kind that the table shows; JSON has all."""


class CheckFormat(StrEnum):
    """Formats of what was found."""

    table = "table"
    json = "json"


@data.command()
def check(
    dataset: Annotated[str, typer.Argument(help="Dataset name.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the data; for csv the file.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Decode only N images, spread evenly; default all.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="DATASET.key=value, repeatable.")] = None,
    format_: Annotated[CheckFormat, typer.Option("--format", help="Output format.")] = CheckFormat.table,
) -> None:
    """Counts beside the published ones, and everything that is wrong; exit 1 if something is fatal."""
    import json

    from rich.console import Console

    from harness.core.config import parse_overrides
    from harness.core.errors import HarnessError
    from harness.datasets.check import examine, to_json

    overrides = parse_overrides(set_ or [])
    for owner in overrides:
        if owner != dataset:
            raise HarnessError(
                f"--set {owner}.…: the dataset is {dataset}", f"write --set {dataset}.key=value"
            )
    with _Bar(Console(stderr=True)) as update:
        found = examine(dataset, root, overrides.get(dataset, {}), update, sample=sample)
    if format_ is CheckFormat.json:
        typer.echo(json.dumps(to_json(found), indent=1, ensure_ascii=False))
    else:
        _print(found, Console() if sys.stdout.isatty() else Console(width=200))
    if found.fatal:
        raise typer.Exit(1)


class _Bar:
    """A progress bar over the images to decode, on a terminal alone."""

    def __init__(self, console: Console) -> None:
        from rich.progress import Progress

        self.progress = Progress(console=console, transient=True, disable=not console.is_terminal)

    def __enter__(self) -> _Bar:
        self.progress.start()
        self.task = self.progress.add_task("decoding images", total=None)
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total)


def _print(found: Examination, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from harness.datasets.check import written

    counts = Table(box=None, pad_edge=False)
    counts.add_column(found.dataset, overflow="fold")
    counts.add_column("found", justify="right")
    counts.add_column("published", justify="right")
    for key, value in found.counts.items():
        expected = found.published.get(key)
        counts.add_row(escape(key), written(value), "" if expected is None else written(expected))
    console.print(counts)
    if found.problems:
        problems = Table(box=None, pad_edge=False)
        for column in ("", "problem", "where", "what", "hint"):
            problems.add_column(column, overflow="fold")
        for (fatal, kind), group in groupby(
            sorted(found.problems, key=lambda each: (not each.fatal, each.kind)),
            key=lambda each: (each.fatal, each.kind),
        ):
            own = list(group)
            for each in own[:_SHOWN]:
                cells = (kind, each.where, each.message, each.hint)
                problems.add_row("FATAL" if fatal else "note", *map(escape, cells))
            if len(own) > _SHOWN:
                problems.add_row("", kind, "", f"... and {len(own) - _SHOWN} more: --format json has all", "")
        console.print(problems)
    console.print(f"{found.fatal} fatal, {len(found.problems) - found.fatal} to know of")
