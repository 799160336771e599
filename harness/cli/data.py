"""``harness data``: checks of data before a run reads them."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Overrides
from harness.cli.output import Format, format_option, print_json, stderr, stdout

if TYPE_CHECKING:
    from rich.console import Console

    from harness.datasets.check import Examination

data = typer.Typer(help="Check data before a run reads them.", no_args_is_help=True)

_SHOWN = 20
"""Problems of one kind that the table shows; JSON has all."""


@data.command()
def check(
    dataset: Annotated[str, typer.Argument(help="Dataset name.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the data, or the file of csv.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Decode only N images, evenly spread; default all.")
    ] = None,
    set_: Overrides = None,
    format_: Annotated[Format, format_option(Format.table, Format.json)] = Format.table,
) -> None:
    """Print counts beside the published ones and all problems; exit 1 if one is fatal."""
    from harness.core.config import parse_overrides
    from harness.core.errors import HarnessError
    from harness.datasets.check import examine, to_json

    overrides = parse_overrides(set_ or [])
    for owner in overrides:
        if owner != dataset:
            raise HarnessError(
                f"--set {owner}.…: the dataset is {dataset}", f"write --set {dataset}.key=value"
            )
    with _Bar(stderr()) as update:
        examination = examine(dataset, root, overrides.get(dataset, {}), update, sample=sample)
    if format_ is Format.json:
        print_json(to_json(examination))
    else:
        _print(examination, stdout())
    if examination.fatal:
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


def _print(examination: Examination, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from harness.datasets.check import written

    counts = Table(box=None, pad_edge=False)
    counts.add_column(examination.dataset, overflow="fold")
    counts.add_column("found", justify="right")
    counts.add_column("published", justify="right")
    for key, value in examination.counts.items():
        expected = examination.published.get(key)
        counts.add_row(escape(key), written(value), "" if expected is None else written(expected))
    console.print(counts)
    if examination.problems:
        _print_problems(examination, console)
    console.print(f"{examination.fatal} fatal, {len(examination.problems) - examination.fatal} to know of")


def _print_problems(examination: Examination, console: Console) -> None:
    """Fatal ones first, by kind, a limited number of each kind."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "problem", "where", "what", "hint"):
        table.add_column(column, overflow="fold")
    ordered = sorted(examination.problems, key=lambda each: (not each.fatal, each.kind))
    for (fatal, kind), group in groupby(ordered, key=lambda each: (each.fatal, each.kind)):
        own = list(group)
        for each in own[:_SHOWN]:
            cells = (kind, each.where, each.message, each.hint)
            table.add_row("FATAL" if fatal else "note", *map(escape, cells))
        if len(own) > _SHOWN:
            table.add_row("", kind, "", f"... and {len(own) - _SHOWN} more: --format json has all", "")
    console.print(table)
