"""``harness bench``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.output import Format, format_option, print_json, print_table, stderr, stdout

if TYPE_CHECKING:
    from collections.abc import Sequence


class Suite(StrEnum):
    """What can be measured."""

    metrics = "metrics"
    methods = "methods"
    sampling = "sampling"
    robustness = "robustness"
    labeler = "labeler"
    data = "data"
    run = "run"
    scaling = "scaling"
    judgement = "judgement"
    gpu = "gpu"


Methods = Annotated[str, typer.Option(help="Methods (methods, sampling, gpu), or all.")]
Peers = Annotated[
    Path | None, typer.Option(help="Folder with clones of the official repositories (methods, gpu).")
]
Device = Annotated[str, typer.Option(help="Device (methods, sampling, gpu): auto, cpu, cuda or cuda:N.")]
Judgements = Annotated[
    list[str] | None,
    typer.Option(help="Human judgements (judgement): rexval=FOLDER, radpref=FOLDER, radeval=FILE."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Studies per split of the run of all methods (gpu).")]
Minutes = Annotated[float, typer.Option(min=0.1, help="Time limit of gpu; what does not fit is said.")]
History = Annotated[
    Path | None,
    typer.Option(help="File that gets one JSON line per call, to compare with the last ratios."),
]
Into = Annotated[Path | None, typer.Option(help="Markdown page whose tables between marks are replaced.")]


def bench(
    what: Annotated[
        list[Suite] | None, typer.Argument(help="What to measure; default all but the last three.")
    ] = None,
    methods: Methods = "all",
    preset: Annotated[str, typer.Option(help="Size of the methods (methods, sampling).")] = "tiny",
    peers: Peers = None,
    device: Device = "cpu",
    images: Annotated[int, typer.Option(help="Number of files of each format (data).")] = 128,
    size: Annotated[int, typer.Option(help="Height and width of the files in pixels (data).")] = 1024,
    sizes: Annotated[
        str | None, typer.Option(help="Numbers of studies (scaling); default 1000 to 200000.")
    ] = None,
    store: Annotated[Path, typer.Option(help="Store of the run (run, sampling, gpu).")] = Path("runs"),
    judgements: Judgements = None,
    limit: Limit = None,
    minutes: Minutes = 25.0,
    history: History = None,
    into: Into = None,
    format_: Annotated[Format, format_option(Format.table, Format.markdown, Format.json)] = Format.table,
) -> None:
    """Measure speed beside peers, agreement with people, and where the time of a run went.

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
    options = suite.Options(
        *(suites, chosen, preset, peers, device, images, size),
        sizes=split_list(sizes, "--sizes", int) or (),
        store=store,
        judgements=tuple(judgements or ()),
        limit=limit,
        minutes=minutes,
    )
    facts = measured_on(device)
    ratios = before(history, facts) if history is not None else None
    with ConsoleReporter(stderr()) as reporter:
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
    format_: Format,
    into: Path | None,
) -> None:
    from harness.bench import tables

    if into is not None:
        tables.put_into(into, report["machine"], rows, ratios)
        typer.echo(f"wrote {into}")
    elif format_ is Format.json:
        print_json(report)
    elif format_ is Format.markdown:
        typer.echo(tables.markdown(report["machine"], rows, ratios), nl=False)
    else:
        stdout().print(tables.heading(report["machine"]), highlight=False, markup=False)
        print_table(tables.cells(rows, ratios), right=tables.NUMERIC)
