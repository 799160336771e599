"""``harness downstream``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Device, Out, Overrides, Root
from harness.cli.output import Format, format_option, report_written, stderr, write

if TYPE_CHECKING:
    from harness.leaderboard.leaderboard import Leaderboard

_FORMATS = (Format.markdown, Format.latex, Format.html, Format.csv, Format.json)


def downstream(
    generator: Annotated[str, typer.Option(help="Methods that generate frontal views, comma-separated.")],
    dataset: Annotated[str, typer.Option(help="Registered name of the dataset.")] = "iu-phantom",
    root: Root = None,
    preset: Annotated[str, typer.Option(help="Size of the generators: tiny, base or paper.")] = "tiny",
    seeds: Annotated[str, typer.Option(help="Training seeds of the generators, e.g. 0,1,2.")] = "0",
    limit: Annotated[
        int | None, typer.Option(min=2, help="Train the classifier on N training studies only.")
    ] = None,
    device: Device = None,
    store: Annotated[Path, typer.Option(help="Folder of checkpoints, images and results.")] = Path("runs"),
    set_: Overrides = None,
    format_: Annotated[Format, format_option(*_FORMATS)] = Format.markdown,
    out: Out = None,
) -> None:
    """Train a fixed classifier on real, on generated, and on both kinds of images; test it on real ones."""
    from harness.core.config import RunSettings, parse_overrides, split_list

    flags: dict[str, Any] = {
        "methods": split_list(generator, "--generator"),
        "dataset": dataset,
        "root": root,
        "preset": preset,
        "seeds": split_list(seeds, "--seeds", int),
        "device": device,
        "store": store,
        "set": parse_overrides(set_) if set_ else None,
    }
    settings = RunSettings.build(flags)
    from harness.cli.progress import ConsoleReporter
    from harness.evaluation.downstream import measure
    from harness.leaderboard.leaderboard import Leaderboard
    from harness.leaderboard.render.formats import SUFFIXES
    from harness.store.store import Store

    with ConsoleReporter(stderr()) as reporter:
        rows = measure(settings, limit, reporter)
    content = _rendered(Leaderboard.of(Store(store), only={row.key for row in rows}), format_)
    if out is None:
        typer.echo(content.decode(), nl=False)
    else:
        report_written([write(out / f"downstream.{SUFFIXES[format_.value]}", content)])


def _rendered(leaderboard: Leaderboard, format_: Format) -> bytes:
    """The table of the generators, the scores of each finding, and the numbers that a paper prints."""
    from harness.leaderboard.render.formats import render
    from harness.papers.render import downstream as export

    content = render(leaderboard, format_.value)
    if format_ is Format.markdown:
        content += export.markdown(leaderboard).encode()
    elif format_ is Format.latex:
        content += export.latex(leaderboard).encode()
    return content
