"""``harness downstream``: parsing and printing only."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from harness.leaderboard.leaderboard import Leaderboard


class DownstreamFormat(StrEnum):
    """Formats of the table."""

    markdown = "markdown"
    latex = "latex"
    html = "html"
    csv = "csv"
    json = "json"


def downstream(
    generator: Annotated[str, typer.Option(help="Methods that generate frontal views, comma-separated.")],
    dataset: Annotated[str, typer.Option(help="Dataset name.")] = "iu-phantom",
    root: Annotated[Path | None, typer.Option(help="Folder of a dataset that ships with no package.")] = None,
    preset: Annotated[str, typer.Option(help="Size of the generators: tiny, base or paper.")] = "tiny",
    seeds: Annotated[str, typer.Option(help="One trained generator per seed, e.g. 0,1,2.")] = "0",
    limit: Annotated[
        int | None, typer.Option(min=2, help="The classifier learns from the first N training studies.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    store: Annotated[Path, typer.Option(help="Folder of checkpoints, images and results.")] = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="method.key=value, repeatable.")] = None,
    format_: Annotated[
        DownstreamFormat, typer.Option("--format", help="Output format.")
    ] = DownstreamFormat.markdown,
    out: Annotated[Path | None, typer.Option(help="Folder to write to instead of printing.")] = None,
) -> None:
    """Train a fixed classifier on real, on generated, and on both kinds of images; test it on real ones."""
    from harness.core.config import RunSettings, parse_overrides, split_list

    given: dict[str, Any] = {
        "methods": split_list(generator, "--generator"),
        "dataset": dataset,
        "root": root,
        "preset": preset,
        "seeds": split_list(seeds, "--seeds", int),
        "device": device,
        "store": store,
        "set": parse_overrides(set_) if set_ else None,
    }
    settings = RunSettings.build(given)
    from rich.console import Console

    from harness.cli.progress import ConsoleReporter
    from harness.core.files import write_atomic
    from harness.evaluation.downstream import measure
    from harness.leaderboard.leaderboard import Leaderboard
    from harness.leaderboard.render.formats import SUFFIXES
    from harness.store.store import Store

    with ConsoleReporter(Console(stderr=True)) as reporter:
        rows = measure(settings, limit, reporter)
    content = _rendered(Leaderboard.of(Store(store), only={row.key for row in rows}), format_)
    if out is None:
        typer.echo(content.decode(), nl=False)
        return
    path = out / f"downstream.{SUFFIXES[format_.value]}"
    write_atomic(path, lambda stream: stream.write(content))
    typer.echo(f"wrote {path}")


def _rendered(leaderboard: Leaderboard, format_: DownstreamFormat) -> bytes:
    """The generators' table, each finding's scores, and what a paper says of its own."""
    from harness.leaderboard.render.formats import render
    from harness.papers.render import downstream as export

    content = render(leaderboard, format_.value)
    if format_ is DownstreamFormat.markdown:
        content += export.markdown(leaderboard).encode()
    elif format_ is DownstreamFormat.latex:
        content += export.latex(leaderboard).encode()
    return content
