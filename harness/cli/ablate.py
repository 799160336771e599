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
from harness.core.config import RunSettings
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
_FORMATS = (Format.table, Format.markdown, Format.json)


@partial(with_settings, without=("methods", "impute", "shuffled", "temperature", "track"))
def ablate(
    *,
    method: Annotated[
        str, typer.Argument(help="Method whose variants are compared with it.", rich_help_panel=EVALUATE)
    ],
    config: ConfigFile = None,
    out: Written = None,
    format_: Annotated[Format, format_option(*_FORMATS, panel=OUTPUT)] = Format.table,
    **flags: Any,
) -> None:
    """Train a method and all of its variants, and print what each part is worth, paired.

    Intervals cover patients and, with several --seeds, training seeds. What the store holds is not trained
    again. A variant that fails is named; the others stand. Exit 1 if one failed.
    """
    started = time.monotonic()
    settings = RunSettings.build({**values_of(flags), "methods": (method,), "shuffled": False}, config)
    from harness.distributed import processes

    processes.begin(settings)
    from harness.cli.progress import ConsoleReporter
    from harness.evaluation import run as executors
    from harness.evaluation.timings import Timings

    settings = settings.replaced(methods=_variants(method))
    with ConsoleReporter(stderr()) as reporter:
        rows, succeeded = executors.run(settings, Timings(reporter, started), tracks=False)
    if not rows:  # of several nodes, the first one has them
        return
    _show(_ablation(settings.config.store, rows, bool(settings.config.metrics)), format_, out)
    if not succeeded:
        raise typer.Exit(1)


def _variants(method: str) -> tuple[str, ...]:
    """The method and ``METHOD:VARIANT`` for all variants of its card.

    Raises:
        UnknownNameError: no such method.
        HarnessError: it is a variant itself, or has none.
    """
    from harness.core import registry

    name, variant = registry.split_variant(method)
    if variant is not None:
        raise HarnessError(f"{method}: a variant has no variants of its own", f"harness ablate {name}")
    variants: Mapping[str, object] = registry.load("methods", name).card.variants
    if not variants:
        raise HarnessError(f"{name}: its card has no variants", "there is nothing to leave out")
    return (name, *(f"{name}:{each}" for each in variants))


def _ablation(store: Path, rows: Sequence[Measurement], every_metric: bool) -> Ablation:
    from harness.cli.tables import open_store
    from harness.leaderboard.ablation import Ablation

    stored = {each.key: each for each in open_store(store).stored()}
    keys = dict.fromkeys(row.key for row in rows)  # in the order of the card
    return Ablation.of([stored[key] for key in keys if key in stored], every_metric)


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
