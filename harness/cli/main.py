"""The command line: parsing and printing only. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.bench import bench
from harness.cli.data import data
from harness.cli.downstream import downstream
from harness.core.errors import HarnessError
from harness.core.signals import Stopped, leaving_when_asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.leaderboard.leaderboard import Leaderboard
    from harness.store.results import Measurement
    from harness.store.store import Store

app = typer.Typer(
    name="harness",
    help="Train, predict, score and compare medical multimodal models as modalities go missing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


new = typer.Typer(help="Write the files of something new.", no_args_is_help=True)
app.add_typer(new, name="new")
app.add_typer(data, name="data")
app.command()(bench)
app.command()(downstream)


class Listing(StrEnum):
    """What ``harness list`` can list."""

    methods = "methods"
    datasets = "datasets"
    profiles = "profiles"
    metrics = "metrics"


class TableFormat(StrEnum):
    """Formats of leaderboards."""

    markdown = "markdown"
    latex = "latex"
    json = "json"
    csv = "csv"
    parquet = "parquet"
    html = "html"


class ReportFormat(StrEnum):
    """Formats of papers' reports."""

    markdown = "markdown"
    latex = "latex"
    html = "html"
    csv = "csv"
    json = "json"


class ScoreFormat(StrEnum):
    """Formats of scores and comparisons."""

    table = "table"
    json = "json"
    csv = "csv"


class FactFormat(StrEnum):
    """Formats of facts about one thing."""

    table = "table"
    json = "json"


ReferenceWords = Annotated[
    int | None, typer.Option(help="Cut references after so many tokens; default: the dataset's profile.")
]
UncertainPolicy = Annotated[
    str | None, typer.Option(help="Uncertain findings count as positive (default), negative or ignored.")
]


Figures = Annotated[
    bool, typer.Option(help="Draw curves, reliance, reliability and densities into a folder figures/.")
]


@app.command()
def run(
    methods: Annotated[str, typer.Option(help="Comma-separated names, name:variant, or all.")] = "all",
    dataset: Annotated[str | None, typer.Option(help="Dataset name.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of a dataset that ships with no package.")] = None,
    missing: Annotated[str | None, typer.Option(help="Missing rates, e.g. 0.2,0.4.")] = None,
    drop: Annotated[
        str | None,
        typer.Option(
            help="context, an image modality, alternate or any; default context, or alternate without one."
        ),
    ] = None,
    mechanism: Annotated[
        str | None, typer.Option(help="mcar, mar:ATTRIBUTE, mnar, mnar:LABEL or prefix.")
    ] = None,
    mask_seeds: Annotated[int | None, typer.Option(help="Masks that a curve averages over.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Masks of another run: a file below masks/.")] = None,
    train_missing: Annotated[
        float | None, typer.Option(help="Share of training studies that lose a modality, too.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="tiny, base or paper.")] = None,
    seeds: Annotated[str | None, typer.Option(help="One trained model per seed, e.g. 0,1,2.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N studies of each split.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    devices: Annotated[int | None, typer.Option(help="GPUs of a node that train a cell together.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Nodes that do; the same command on each.")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="ddp, or fsdp for a network that does not fit one GPU.")
    ] = None,
    executor: Annotated[str | None, typer.Option(help="local, or ray (extra ray).")] = None,
    shards: Annotated[int | None, typer.Option(help="Ray tasks that predict a cell's test studies.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: HOST:PORT or auto; default one for this run alone.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Cells at a time; default what suits.")] = None,
    store: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints, predictions and results.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(help="Metric families; default all that suit.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Tokenisation profile of text metrics.")] = None,
    reference_words: ReferenceWords = None,
    uncertain: UncertainPolicy = None,
    report_samples: Annotated[
        int | None, typer.Option(help="Reports drawn per study for probabilities of methods that only write.")
    ] = None,
    impute: Annotated[
        str | None, typer.Option(help="Method that generates the views that studies lose: a row more each.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="method.key=value, repeatable.")] = None,
    track: Annotated[
        str | None, typer.Option(help="Keep the rows in mlflow or wandb, too (extras of these names).")
    ] = None,
    figures: Figures = True,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML with the same keys.")] = None,
) -> None:
    """Train what is not trained, predict what is not predicted, score, print the leaderboard."""
    import time

    started = time.monotonic()
    from harness.core.config import RunSettings, parse_overrides, split_list

    given: dict[str, Any] = {
        "methods": split_list(methods, "--methods") if methods != "all" or config is None else None,
        "dataset": dataset,
        "root": root,
        "missing": split_list(missing, "--missing", float),
        "drop": drop,
        "mechanism": mechanism,
        "mask_seeds": mask_seeds,
        "masks": masks,
        "train_missing": train_missing,
        "preset": preset,
        "seeds": split_list(seeds, "--seeds", int),
        "limit": limit,
        "device": device,
        "devices": devices,
        "nodes": nodes,
        "strategy": strategy,
        "executor": executor,
        "shards": shards,
        "address": address,
        "workers": workers,
        "store": store,
        "metrics": split_list(metrics, "--metrics"),
        "tokenizer": tokenizer,
        "reference_words": reference_words,
        "uncertain": uncertain,
        "report_samples": report_samples,
        "impute": impute,
        "set": parse_overrides(set_) if set_ else None,
        "track": track,
    }
    settings = RunSettings.build(given, config)
    from harness.distributed import processes

    processes.begin(settings)
    from harness.cli.progress import ConsoleReporter
    from harness.evaluation import run as executors
    from harness.evaluation.timings import Timings

    console = _stderr()
    with ConsoleReporter(console) as reporter:
        timings = Timings(reporter, started)
        rows, succeeded = executors.run(settings, timings, tracks=False)
    if not rows:  # of several nodes, the first one has them
        return
    timings.begin("tables")
    _print_tables(settings.config.store, rows)
    folder = settings.config.store
    written = _write_tables(_board(folder), folder / "tables", folder)
    timings.begin("figures")
    written += _write_robustness(folder, folder / "tables", figures, rows, settings.execution.workers)
    timings.keep_again()
    for path in written:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    executors.track(settings, rows)  # what it may find wrong must not cost the tables
    if not succeeded:
        raise typer.Exit(1)


@app.command()
def score(
    references: Annotated[Path, typer.Option(help="Reference reports: JSON, JSONL, CSV or text.")],
    predictions: Annotated[Path, typer.Option(help="Predicted reports, in any of these formats.")],
    metrics: Annotated[
        str | None, typer.Option(help="Metrics or families; default all that can run.")
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Tokenisation profile; default r2gen-iu.")] = None,
    reference_words: ReferenceWords = None,
    uncertain: UncertainPolicy = None,
    per_study: Annotated[Path | None, typer.Option(help="CSV with one row a study.")] = None,
    format_: Annotated[ScoreFormat, typer.Option("--format", help="Output format.")] = ScoreFormat.table,
) -> None:
    """Score any system's output file; no model is needed."""
    from harness.cli import score_tables as export
    from harness.core.config import split_list
    from harness.core.files import write_atomic
    from harness.core.registry import MetricOptions
    from harness.evaluation import score_files

    options = MetricOptions(tokenizer, reference_words, uncertain)
    found = score_files.score(references, predictions, split_list(metrics, "--metrics"), options)
    if per_study is not None:
        text = export.per_study_csv(found)
        write_atomic(per_study, lambda stream: stream.write(text.encode()))
    if format_ is ScoreFormat.table:
        _console().print(export.score_table(found))
    else:
        typer.echo(
            export.score_json(found) if format_ is ScoreFormat.json else export.score_csv(found), nl=False
        )


@app.command()
def compare(
    references: Annotated[Path, typer.Option(help="Reference reports: JSON, JSONL, CSV or text.")],
    system: Annotated[list[str], typer.Option(help="NAME=FILE, at least twice.")],
    metrics: Annotated[
        str | None, typer.Option(help="Metrics or families; default all that can run.")
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Tokenisation profile; default r2gen-iu.")] = None,
    reference_words: ReferenceWords = None,
    uncertain: UncertainPolicy = None,
    trials: Annotated[int, typer.Option(help="Random swaps of the paired test.")] = 10_000,
    format_: Annotated[ScoreFormat, typer.Option("--format", help="Output format.")] = ScoreFormat.table,
) -> None:
    """Paired tests between systems on the same studies."""
    from harness.cli import score_tables as export
    from harness.core.config import split_list
    from harness.core.registry import MetricOptions
    from harness.evaluation import score_files

    systems: dict[str, Path] = {}
    for given in system:
        name, equals, file = given.partition("=")
        if not (name and equals and file) or name in systems:
            raise HarnessError(f"--system {given}: expected NAME=FILE, each name once")
        systems[name] = Path(file)
    options = MetricOptions(tokenizer, reference_words, uncertain)
    rows = score_files.compare(references, systems, split_list(metrics, "--metrics"), options, trials)
    if format_ is ScoreFormat.table:
        _console().print(export.comparison_table(rows))
    else:
        text = export.comparison_json(rows) if format_ is ScoreFormat.json else export.comparison_csv(rows)
        typer.echo(text, nl=False)


@app.command()
def leaderboard(
    store: Annotated[Path, typer.Option(help="Results store to read.")] = Path("runs"),
    results: Annotated[
        Path | None, typer.Option(help="A leaderboard's JSON to read instead of a store.")
    ] = None,
    spec: Annotated[
        list[Path] | None, typer.Option(help="YAML with columns, rates and order; repeatable.")
    ] = None,
    format_: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.markdown,
    out: Annotated[Path | None, typer.Option(help="Folder to write to instead of printing.")] = None,
    figures: Figures = False,
    share: Annotated[
        Path | None, typer.Option(help="Write the aggregates that may leave the house to this file.")
    ] = None,
) -> None:
    """Rebuild the tables from the store."""
    from harness.leaderboard.render import formats

    leaderboard = _board(store, results, spec or [])
    if share is not None:
        _share(leaderboard, share, None if results else store)
    elif out is not None:
        written = _write_tables(leaderboard, out, None if results else store, [format_])
        if results is None:
            written += _write_robustness(store, out, figures)
        for path in written:
            typer.echo(f"wrote {path}")
    elif format_ is TableFormat.parquet:
        raise HarnessError("--format parquet cannot be printed", "name a folder with --out")
    else:
        text = formats.render(leaderboard, format_.value, None if results else store)
        typer.echo(text.decode(), nl=False)


@app.command()
def report(
    paper: Annotated[str, typer.Argument(help="A paper, all, or a YAML file of published numbers.")],
    store: Annotated[Path | None, typer.Option(help="Results store; default runs, where it exists.")] = None,
    results: Annotated[
        Path | None, typer.Option(help="A leaderboard's JSON to read instead of a store.")
    ] = None,
    format_: Annotated[ReportFormat, typer.Option("--format", help="Output format.")] = ReportFormat.markdown,
    out: Annotated[Path | None, typer.Option(help="Folder to write to instead of printing.")] = None,
    check: Annotated[bool, typer.Option(help="Only check whether the published numbers agree.")] = False,
) -> None:
    """A paper's tables with ours beside, what differs, and which command fills a gap."""
    from harness.papers import checks, library
    from harness.papers.compare import Results, compare
    from harness.papers.render import formats as export

    papers = [library.load(name) for name in (library.names() if paper == "all" else [paper])]
    if check:
        findings = [finding for each in papers for finding in checks.examine(each)]
        typer.echo(export.checks(findings), nl=False)
        raise typer.Exit(1 if any(each.state in ("new", "mended") for each in findings) else 0)
    measured = Results()
    if results is not None or store is not None or Path("runs/store.json").exists():
        leaderboard = _board(store or Path("runs"), results)
        measured = Results.of(leaderboard.rows, leaderboard.results)
    reports = [compare(each, measured) for each in papers]
    if out is None:
        typer.echo(export.text(reports, format_.value), nl=False)
        return
    for name, content in (item for each in reports for item in export.files(each, format_.value).items()):
        _write(out / name, content)
        typer.echo(f"wrote {out / name}")


@app.command("share")
def check_share(
    bundle: Annotated[Path, typer.Argument(help="File that harness leaderboard --share wrote.")],
) -> None:
    """Check that a file holds aggregates, hashes and versions and nothing else; exit 2 if not."""
    from harness.leaderboard import bundle as share

    found = share.read(bundle)
    typer.echo(f"{bundle}: {len(found.rows)} numbers of {len(found.runs)} results, and nothing else")


@app.command()
def reproduce(
    row: Annotated[str, typer.Argument(help="DATASET/METHOD/RUN as tables and manifests name it.")],
    store: Annotated[Path, typer.Option(help="Results store that has the row.")] = Path("runs"),
    into: Annotated[
        Path | None, typer.Option(help="Folder of the fresh store, kept; default a temporary one.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the dataset, where it moved.")] = None,
    device: Annotated[str | None, typer.Option(help="Another device than the row's.")] = None,
    format_: Annotated[FactFormat, typer.Option("--format", help="Output format.")] = FactFormat.table,
) -> None:
    """Make a row again from its manifest in a fresh store and compare to the digit; exit 1 if it differs."""
    import json
    from contextlib import nullcontext
    from dataclasses import asdict
    from tempfile import TemporaryDirectory

    opened = _opened(store)
    from harness.cli.progress import ConsoleReporter
    from harness.evaluation import reproduce as again

    stored = again.find(opened, row)
    with (
        nullcontext(into) if into else TemporaryDirectory() as folder,
        ConsoleReporter(_stderr()) as reporter,
    ):
        found = again.reproduce(stored, Path(folder), reporter, root=root, device=device)
    if format_ is FactFormat.json:
        typer.echo(json.dumps(asdict(found) | {"exact": found.exact}, indent=1))
    else:
        typer.echo(again.render(found), nl=False)
    if not found.exact:
        raise typer.Exit(1)


@app.command("list")
def list_(what: Annotated[Listing, typer.Argument(help="What to list.")]) -> None:
    """List what is registered."""
    from harness.cli.list import listing

    _print_facts(listing(what.value))


@app.command()
def describe(
    method: Annotated[str, typer.Argument(help="Method, or method:variant.")],
    preset: Annotated[str, typer.Option(help="tiny, base or paper.")] = "paper",
    format_: Annotated[FactFormat, typer.Option("--format", help="Output format.")] = FactFormat.table,
) -> None:
    """Parameters, FLOPs, memory and deviations of a method beside its paper's figures."""
    import json

    from harness.method.size import describe as facts_of
    from harness.method.size import render

    facts = facts_of(method, preset)
    typer.echo(json.dumps(facts, indent=1) if format_ is FactFormat.json else render(facts))


@app.command()
def audit(
    methods: Annotated[str, typer.Option(help="Comma-separated names, name:variant, or all.")] = "all",
    dataset: Annotated[str | None, typer.Option(help="Dataset name.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of a dataset that ships with no package.")] = None,
    preset: Annotated[str | None, typer.Option(help="tiny, base or paper.")] = None,
    limit: Annotated[int, typer.Option(help="Studies of each split that are used.")] = 64,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    workers: Annotated[int | None, typer.Option(help="Methods at a time.")] = None,
    store: Annotated[Path | None, typer.Option(help="Store that keeps the verdicts.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="method.key=value, repeatable.")] = None,
    format_: Annotated[FactFormat, typer.Option("--format", help="Output format.")] = FactFormat.table,
) -> None:
    """Does a method look at targets, at its batch, behind masks, at the test split? Exit 1 if one does."""
    from harness.core.config import RunSettings, parse_overrides, split_list

    given: dict[str, Any] = {
        "methods": split_list(methods, "--methods"),
        "dataset": dataset,
        "root": root,
        "preset": preset,
        "limit": limit,
        "device": device,
        "workers": workers,
        "store": store,
        "set": parse_overrides(set_) if set_ else None,
    }
    settings = RunSettings.build(given)
    import json

    from harness.audit import audit as audits
    from harness.cli.progress import ConsoleReporter

    with ConsoleReporter(_stderr()) as reporter:
        found = audits.audit(settings, reporter)
    rows = audits.to_rows(found)
    if format_ is FactFormat.json:
        typer.echo(json.dumps({"rows": rows}, indent=1))
    else:
        _print_facts([{**row, "passed": "yes" if row["passed"] else "NO"} for row in rows])
    if not all(verdict.passed for verdict in found):
        raise typer.Exit(1)


@new.command("method")
def new_method(
    name: Annotated[str, typer.Argument(help="Name of the method, e.g. my-method.")],
    task: Annotated[str, typer.Option(help="report or diagnose.")] = "report",
    out: Annotated[Path, typer.Option(help="Where its folder is made.")] = Path(),
) -> None:
    """A runnable method in one file, with its test and the metadata that registers it."""
    from harness.cli.new import new_method as write

    paths = write(name, out, task)
    for path in paths:
        typer.echo(f"wrote {path}")
    folder = paths[0].parent
    typer.echo(f"next: pip install --editable {folder}, then harness audit --methods {name}")


@app.command()
def doctor() -> None:
    """Check what this machine has: packages, device, Java, data, weights, free space."""
    from harness.cli.doctor import examine

    findings = examine()
    _print_facts([{"check": f.name, "state": f.state, "detail": f.detail} for f in findings])
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


def _stderr() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _console() -> Any:
    """Standard output; wide where it is no terminal, so that a log keeps whole lines."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=200)


def _print_facts(rows: list[dict[str, str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(row.get(column, "")) for column in columns))
    _console().print(table)


def _board(store: Path, results: Path | None = None, specs: list[Path] | None = None) -> Leaderboard:
    """The leaderboard of a JSON file, else of a store."""
    from harness.leaderboard.leaderboard import Leaderboard
    from harness.leaderboard.spec import load_all

    if results is not None:
        return Leaderboard.from_json(results, load_all(specs or ()))
    return Leaderboard.of(_opened(store), load_all(specs or ()))


def _opened(store: Path) -> Store:
    """A store that exists; reading never makes one."""
    from harness.store.store import Store

    if not (store / "store.json").exists():
        raise HarnessError(f"--store {store}: no results store there", "harness run makes one")
    return Store(store)


def _share(leaderboard: Leaderboard, path: Path, store: Path | None) -> None:
    from harness.leaderboard import bundle as share

    share.write(leaderboard, path, _opened(store) if store else None)
    typer.echo(f"wrote {path}: {len(leaderboard.rows)} numbers, no text, no image, no row of a study")


def _print_tables(store: Path, rows: list[Measurement]) -> None:
    """The tables of one run's rows."""
    from harness.leaderboard.leaderboard import Leaderboard
    from harness.leaderboard.render import terminal
    from harness.leaderboard.spec import load_all

    tables = Leaderboard.of(_opened(store), load_all(), only={row.key for row in rows}).tables
    console = _console()
    for table in tables:
        for part in terminal.render(table):
            console.print(part)
    if tables:
        console.print(terminal.render_costs(tables))
    from harness.leaderboard.render import robustness
    from harness.leaderboard.robustness import RobustnessReport

    keys = {row.key for row in rows}
    for grid in robustness.rich(
        RobustnessReport.of([each for each in _opened(store).stored() if each.key in keys])
    ):
        console.print(grid)


def _write_robustness(
    store: Path, out: Path, figures: bool, rows: Sequence[Measurement] | None = None, workers: int | None = 1
) -> list[Path]:
    """``robustness.md`` and ``.json``, and the figures; one line for those, there are many.

    Args:
        rows: draw only protocols of these, as PNG and SVG; by default everything, as PDF too.
        workers: processes that draw; None is what suits the machine.
    """
    from harness.leaderboard.render import robustness
    from harness.leaderboard.robustness import RobustnessReport

    stored = _opened(store).stored()
    robustness_report = RobustnessReport.of(stored)
    paths = [out / "robustness.md", out / "robustness.json"]
    for path, content in zip(
        paths, (robustness.markdown(robustness_report), robustness_report.to_json()), strict=True
    ):
        _write(path, content)
    if figures:
        from harness.distributed import processes
        from harness.leaderboard.render.gallery import KINDS, write_figures

        kinds = KINDS if rows is None else ("png", "svg")
        with processes.several(workers) as over:
            drawn = write_figures(stored, robustness_report, out / "figures", kinds, rows, over)
        paths += sorted({path.parent for path in drawn})
    return paths


def _write(path: Path, content: str) -> None:
    from harness.core.files import write_atomic

    write_atomic(path, lambda stream: stream.write(content.encode()))


def _write_tables(
    leaderboard: Leaderboard, out: Path, store: Path | None, formats: list[TableFormat] | None = None
) -> list[Path]:
    from harness.core.files import write_atomic
    from harness.leaderboard.render.formats import SUFFIXES, render

    paths = []
    for each in formats or [TableFormat.markdown, TableFormat.json, TableFormat.html]:
        path = out / f"leaderboard.{SUFFIXES[each.value]}"
        content = render(leaderboard, each.value, store)
        write_atomic(path, lambda stream, content=content: stream.write(content))  # type: ignore[misc]
        paths.append(path)
        if each is TableFormat.latex:
            from harness.leaderboard.render.leaderboard_latex import standalone

            paths.append(out / "leaderboard-document.tex")
            _write(paths[-1], standalone(path.stem))
    return paths


def main() -> None:
    """Entry point: a user's mistake is one line on stderr and a non-zero exit, never a traceback."""
    # Spinning OpenMP threads starve each other when anything else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        with leaving_when_asked():
            app()
    except HarnessError as error:
        text = " ".join(str(error).split())
        typer.echo(f"error: {''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)}", err=True)
        sys.exit(error.exit_code)
    except Stopped as stopped:
        typer.echo(
            f"stopped by {stopped.name}: what is finished is kept, training up to its last finished epoch; "
            "the same command continues from here",
            err=True,
        )
        sys.exit(stopped.exit_code)
