"""``harness ablate``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import EVALUATE, OUTPUT, values_of, with_settings
from harness.cli.output import (
    Format,
    format_option,
    print_parts,
    report_written,
    stderr,
    writable_file,
    write,
)
from harness.core.config import RunConfig, RunSettings
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from harness.leaderboard.ablation import Ablation
    from harness.store.results import Measurement

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file with the same keys; flags win.", rich_help_panel=EVALUATE),
]
Written = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="File to write to instead of printing.",
        rich_help_panel=OUTPUT,
        callback=writable_file,
    ),
]
Swept = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        help="Compare values of a setting instead of variants, lambda_orth=0.1,0.3; repeat it for a grid.",
        rich_help_panel=EVALUATE,
    ),
]
Figure = Annotated[
    Path | None,
    typer.Option(
        help="PNG, SVG or PDF file: each metric over the values of --sweep.",
        rich_help_panel=OUTPUT,
        callback=writable_file,
    ),
]
_FORMATS = (Format.table, Format.markdown, Format.json)


@partial(with_settings, without=("methods", "impute", "shuffled", "temperature", "track"))
def ablate(
    *,
    method: Annotated[
        str, typer.Argument(help="Method whose variants are compared with it.", rich_help_panel=EVALUATE)
    ],
    config: ConfigFile = None,
    sweep: Swept = None,
    figure: Figure = None,
    out: Written = None,
    format_: Annotated[Format, format_option(*_FORMATS, panel=OUTPUT)] = Format.table,
    **flags: Any,
) -> None:
    """Train a method and all of its variants, or with --sweep values of its settings; print differences.

    Differences are paired. Intervals cover patients and, with several --seeds, training seeds. What the store
    holds is not trained again. A variant that fails is named; the others stand. Exit 1 if one failed.
    """
    if figure is not None:
        _check_figure(figure, sweep)
    started = time.monotonic()
    settings = RunSettings.build({**values_of(flags), "methods": (method,), "shuffled": False}, config)
    from harness.distributed import processes

    processes.begin(settings)
    from harness.cli.progress import ConsoleReporter
    from harness.evaluation import sweep as sweeps

    if sweep:
        _plain(method)
        points = sweeps.runs(settings, method, sweeps.parsed(sweep, method))
    else:
        points = [settings.replaced(methods=_variants(method))]
    with ConsoleReporter(stderr()) as reporter:
        rows, succeeded = sweeps.run(points, reporter, started)
    if not rows:  # of several nodes, the first one has them
        return
    ablation = _ablation(settings.config, rows, swept=bool(sweep))
    _show(ablation, format_, out)
    if figure is not None:
        from harness.leaderboard.render.sweep_figure import sweep_figure

        sweep_figure(ablation, figure)
        report_written([figure], lambda line: typer.echo(line, err=True))
    if not succeeded:
        raise typer.Exit(1)


def _check_figure(figure: Path, sweep: list[str] | None) -> None:
    """Refuse before the training what could not be drawn after it."""
    from harness.core.packages import require_packages
    from harness.leaderboard.render.figures import checked_kind

    if not sweep:
        raise HarnessError(f"--figure {figure}: it draws the values of a sweep", "add --sweep")
    require_packages("--figure", "figures", "matplotlib")
    checked_kind(figure)


def _variants(method: str) -> tuple[str, ...]:
    """The method and ``METHOD:VARIANT`` for all variants of its card.

    Raises:
        UnknownNameError: no such method.
        HarnessError: it is a variant itself, or has none.
    """
    from harness.core import registry

    name = _plain(method)
    variants: Mapping[str, object] = registry.load("methods", name).card.variants
    if not variants:
        raise HarnessError(f"{name}: its card has no variants", "there is nothing to leave out")
    return (name, *(f"{name}:{each}" for each in variants))


def _plain(method: str) -> str:
    """The method, if it is no variant."""
    from harness.core import registry

    name, variant = registry.split_variant(method)
    if variant is not None:
        raise HarnessError(f"{method}: a variant has no variants of its own", f"harness ablate {name}")
    return name


def _ablation(config: RunConfig, rows: Sequence[Measurement], swept: bool) -> Ablation:
    from harness.cli.tables import open_store
    from harness.leaderboard.ablation import Ablation

    stored = {each.key: each for each in open_store(config.store).stored()}
    keys = dict.fromkeys(row.key for row in rows)  # in the order of the card
    first = rows[0].method if swept else ""  # the method as it is comes first
    return Ablation.of([stored[key] for key in keys if key in stored], bool(config.metrics), first)


def _show(ablation: Ablation, format_: Format, out: Path | None) -> None:
    """Print an ablation, or write it.

    Raises:
        HarnessError: a table for a terminal was to be written.
    """
    from harness.leaderboard.render import ablation as render

    if format_ is Format.table:
        if out is not None:
            raise HarnessError("--format table is printed, not written", "add --format markdown")
        print_parts(lambda screen: render.rich(ablation, screen))
        return
    text = ablation.to_json() if format_ is Format.json else render.rendered(ablation)
    if out is not None:
        report_written([write(out, text)])
    else:
        typer.echo(text, nl=False)
