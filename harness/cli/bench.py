"""``harness bench``: parsing and printing only."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence


class Benchmark(StrEnum):
    """What can be measured."""

    metrics = "metrics"
    methods = "methods"
    sampling = "sampling"
    robustness = "robustness"
    labeler = "labeler"
    data = "data"
    run = "run"


class BenchFormat(StrEnum):
    """Formats of a run of benchmarks."""

    table = "table"
    markdown = "markdown"
    json = "json"


def bench(
    what: Annotated[list[Benchmark] | None, typer.Argument(help="What to measure; default all.")] = None,
    methods: Annotated[str, typer.Option(help="For methods and sampling: which of them, or all.")] = "all",
    preset: Annotated[str, typer.Option(help="For methods and sampling: their size.")] = "tiny",
    peers: Annotated[
        Path | None, typer.Option(help="For methods: folder with clones of the official repositories.")
    ] = None,
    device: Annotated[str, typer.Option(help="For methods and sampling: auto, cpu, cuda or cuda:N.")] = "cpu",
    images: Annotated[int, typer.Option(help="For data: files of each format.")] = 128,
    size: Annotated[int, typer.Option(help="For data: their height and width in pixels.")] = 1024,
    store: Annotated[Path, typer.Option(help="For run and sampling: store of the run.")] = Path("runs"),
    history: Annotated[
        Path | None,
        typer.Option(help="File that gets a JSON line per call; shows this machine's last ratios."),
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="Markdown page whose tables between marks are replaced.")
    ] = None,
    format_: Annotated[BenchFormat, typer.Option("--format", help="Output format.")] = BenchFormat.table,
) -> None:
    """Speed as ratios against peers in the same run, agreement with human codes, and where a run's time went.

    Exit 1 if a benchmark failed; the others are measured all the same.
    """
    from harness.bench import suite
    from harness.bench.history import append, before
    from harness.bench.tables import check_page
    from harness.cli.progress import ConsoleReporter
    from harness.core.config import split_list
    from harness.evaluation.benchmark import resolve_device
    from harness.evaluation.provenance import measured_on

    device = resolve_device(device)
    suites = tuple(dict.fromkeys(each.value for each in what or ()))
    chosen = None if methods == "all" else split_list(methods, "--methods")
    if into is not None:
        check_page(into, suites or suite.SUITES)
    options = suite.Options(suites, chosen, preset, peers, device, images, size, store)
    facts = measured_on(device)
    ratios = before(history, facts) if history is not None else None
    with ConsoleReporter(_stderr()) as reporter:
        rows = suite.run(options, reporter)
    report = suite.report(rows, facts)
    if history is not None:
        append(history, report)
    _show(report, rows, ratios, format_, into)
    if any(row.state == "failed" for row in rows):
        raise typer.Exit(1)


def _show(
    report: dict[str, Any],
    rows: Sequence[Any],
    ratios: Any,
    format_: BenchFormat,
    into: Path | None,
) -> None:
    import json

    from harness.bench import tables

    if into is not None:
        tables.put_into(into, report["machine"], rows, ratios)
        typer.echo(f"wrote {into}")
    elif format_ is BenchFormat.json:
        typer.echo(json.dumps(report, indent=1, ensure_ascii=False))
    elif format_ is BenchFormat.markdown:
        typer.echo(tables.markdown(report["machine"], rows, ratios), nl=False)
    else:
        _print(tables.heading(report["machine"]), tables.cells(rows, ratios))


def _print(heading: str, rows: Sequence[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from harness.bench.tables import NUMERIC

    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(escape(heading), highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold", justify="right" if column in NUMERIC else "left")
    for row in rows:
        table.add_row(*map(escape, row.values()))
    console.print(table)


def _stderr() -> Any:
    from rich.console import Console

    return Console(stderr=True)
