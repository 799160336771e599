"""``harness leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import tables
from harness.cli.bundle import write_bundle
from harness.cli.options import Figures, Out, Results, Store, one_source
from harness.cli.output import (
    Format,
    as_csv,
    format_option,
    other_than,
    print_json,
    print_parts,
    print_rows,
    report_written,
    stderr,
    writable_file,
    write,
)
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.leaderboard.leaderboard import Leaderboard
    from harness.leaderboard.render.blocks import Screen

_FORMATS = (
    Format.markdown,
    Format.table,
    Format.latex,
    Format.json,
    Format.csv,
    Format.parquet,
    Format.html,
    Format.model_index,
)


_PerLabel = Annotated[bool, typer.Option("--per-label", help="Scores of every label alone instead.")]


def leaderboard(
    context: typer.Context,
    store: Store = Path("runs"),
    results: Results = None,
    spec: Annotated[
        list[Path] | None, typer.Option(help="YAML file with columns, rates and order; repeatable.")
    ] = None,
    format_: Annotated[Format, format_option(*_FORMATS)] = Format.markdown,
    out: Out = None,
    figures: Figures = False,
    share: Annotated[
        Path | None,
        typer.Option(help="Write what harness bundle write writes to this file.", callback=writable_file),
    ] = None,
    permutations: Annotated[
        int | None,
        typer.Option(
            help="Print p-values of 'looks at the image' from so many derangements of stored predictions "
            "instead, e.g. 200."
        ),
    ] = None,
    per_label: _PerLabel = False,
    by: Annotated[
        str | None,
        typer.Option(
            help="Numbers in the groups of an attribute instead, as harness run --by measured them."
        ),
    ] = None,
    risk_coverage: Annotated[
        bool, typer.Option("--risk-coverage", help="Risk of the most confident studies instead.")
    ] = False,
) -> None:
    """Rebuild the tables from the store."""
    one_source(context, results)
    if permutations is not None:
        if results is not None:
            raise HarnessError("--permutations needs the predictions of a store", "leave out --results")
        _permutation_tests(store, permutations, format_, out)
        return
    _keep(results, share, out and out / f"leaderboard.{format_.value}")
    source, board = None if results else store, _read(store, results, spec)
    if per_label or by or risk_coverage:
        _print_breakdowns(board, format_, (per_label, by, risk_coverage))
    elif share is not None:
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


def _keep(results: Path | None, share: Path | None, table: Path | None) -> None:
    """Refuse outputs that would replace the results that they are made of."""
    if results is not None:
        other_than(share, results, "--share", "the file that it is made of")
        other_than(table, results, "--out", "the file that it is made of")


def _read(store: Path, results: Path | None, spec: list[Path] | None) -> Leaderboard:
    """The leaderboard; a line on standard error says where there is nothing in it."""
    board = tables.read_leaderboard(store, results, spec)
    if not board.rows:
        stderr().print(f"{results or store} holds no results: harness run makes some", markup=False)
    return board


def _permutation_tests(store: Path, permutations: int, format_: Format, out: Path | None) -> None:
    """One line per row that reads an image and per metric; with ``--out`` a CSV file."""
    from dataclasses import asdict

    from harness.cli.progress import ConsoleReporter
    from harness.evaluation.permutation import FAMILIES, permutation_tests, require_number
    from harness.leaderboard.selection import current

    require_number(permutations)
    opened = tables.open_store(store)
    with ConsoleReporter(stderr()) as reporter:
        tests, complete = permutation_tests(opened, current(opened.stored()), permutations, reporter)
    if not tests:
        raise HarnessError(
            f"--store {store}: no row that reads an image has stored predictions and a metric for this test",
            f"the metrics are {', '.join(FAMILIES)}",
        )
    if out is not None:
        report_written([write(out / "permutations.csv", as_csv([asdict(test) for test in tests]))])
    elif format_ in (Format.json, Format.csv):
        print_rows([asdict(test) for test in tests], format_)
    else:
        shown = [
            {
                "method": f"{test.method} seed {test.seed}" if test.seed else test.method,
                "metric": test.metric,
                "own": f"{test.value:.3f}",
                "other patients'": f"{test.permuted:.3f}",
                "p": f"{test.p_value:.3f}",
                "p is of": f"looks at its {test.looks_at}",
            }
            for test in tests
        ]
        print_rows(shown, Format.table)
    if not complete:
        raise typer.Exit(1)


def _print_breakdowns(board: Leaderboard, format_: Format, asked: tuple[bool, str | None, bool]) -> None:
    """Print tables by label, by group of studies or by coverage, as far as they are asked for."""
    from harness.leaderboard import breakdown
    from harness.leaderboard.render import breakdown as rendering

    per_label, by, risk_coverage = asked
    results = list(board.results.values())
    parts = breakdown.per_label(results) if per_label else []
    for attribute in filter(None, (by or "").split(",")):
        parts += breakdown.by_attribute(results, attribute.strip())
    parts += breakdown.risk_coverage(results) if risk_coverage else []

    def on(screen: Screen) -> list[RenderableType]:
        return rendering.terminal(parts, screen)

    if format_ is Format.table:
        print_parts(on)
    elif format_ is Format.json:
        print_json(breakdown.to_json(parts))
    elif format_ is Format.markdown:
        typer.echo(rendering.markdown(parts))
    else:
        raise HarnessError(f"--format {format_.value}: not for these tables", "table, markdown or json")
