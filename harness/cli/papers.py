"""``harness papers``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import tables
from harness.cli.options import Out, Results, one_source
from harness.cli.output import Format, format_option, report_written, write
from harness.cli.printed_commands import checker

_FORMATS = (Format.markdown, Format.latex, Format.html, Format.csv, Format.json)


def papers(
    context: typer.Context,
    paper: Annotated[str, typer.Argument(help="A paper, all, or a YAML file of published numbers.")],
    store: Annotated[Path | None, typer.Option(help="Results store; default runs, where it exists.")] = None,
    results: Results = None,
    format_: Annotated[Format, format_option(*_FORMATS)] = Format.markdown,
    out: Out = None,
    check: Annotated[bool, typer.Option(help="Only check whether the published numbers agree.")] = False,
    check_commands: Annotated[
        bool,
        typer.Option(
            "--check-commands",
            help="Only check that each cell has a number, a command that parses, or a reason.",
        ),
    ] = False,
) -> None:
    """Print the tables of a paper beside our numbers, with the command that fills each gap."""
    one_source(context, results)
    from harness.papers import checks, coverage, library
    from harness.papers.compare import Results as Measured
    from harness.papers.compare import compare
    from harness.papers.render import formats

    published = [library.load(name) for name in (library.names() if paper == "all" else [paper])]
    if check:
        findings = [finding for each in published for finding in checks.examine(each)]
        typer.echo(formats.checks(findings), nl=False)
        raise typer.Exit(1 if any(each.state in ("new", "mended") for each in findings) else 0)
    measured = Measured()
    if results is not None or store is not None or Path("runs/store.json").exists():
        leaderboard = tables.read_leaderboard(store or Path("runs"), results)
        measured = Measured.of(leaderboard.rows, leaderboard.results)
    reports = [compare(each, measured) for each in published]
    if check_commands:
        runs = checker(context)
        coverages = [coverage.examine(each, runs) for each in reports]
        typer.echo(coverage.text(coverages), nl=False)
        raise typer.Exit(0 if all(each.sound for each in coverages) else 1)
    if out is None:
        typer.echo(formats.text(reports, format_.value), nl=False)
        return
    for each in reports:
        files = formats.files(each, format_.value)
        report_written([write(out / name, content) for name, content in files.items()])
