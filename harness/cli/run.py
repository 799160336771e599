"""``harness run``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli import tables
from harness.cli.options import EVALUATE, Figures, values_of, with_settings
from harness.cli.output import output_error, report_written, stderr
from harness.core.config import RunSettings
from harness.core.errors import HarnessError

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file with the same keys; flags win.", rich_help_panel=EVALUATE),
]


Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="A first look in about a minute: two controls and late_fusion on 300 studies of each split.",
        rich_help_panel=EVALUATE,
    ),
]
QUICK: Mapping[str, Any] = {
    "methods": ("template", "retrieval", "late_fusion"),
    "missing": (0.4, 0.8),
    "limit": 300,
    "metrics": ("bleu", "rouge_l", "chexpert_rules_f1", "diagnosis", "auroc", "ece", "brier"),
}
"""Settings of ``--quick``."""


@with_settings
def run(*, figures: Figures = True, quick: Quick = False, config: ConfigFile = None, **flags: Any) -> None:
    """Train what is not trained, predict what is not predicted, score, print the leaderboard."""
    started = time.monotonic()
    values = values_of(flags)
    if quick:
        if config is not None:
            raise HarnessError("--quick and --config both say what is run", "leave one of them out")
        values |= {name: value for name, value in QUICK.items() if values.get(name) is None}
    settings = RunSettings.build(values, config)
    from harness.distributed import processes

    processes.begin(settings)
    from harness.cli.progress import ConsoleReporter
    from harness.evaluation import run as executors
    from harness.evaluation.timings import Timings

    console, store = stderr(), settings.config.store
    with ConsoleReporter(console) as reporter:
        timings = Timings(reporter, started)
        rows, succeeded = executors.run(settings, timings, tracks=False)
    if not rows:  # of several nodes, the first one has them
        return
    timings.begin("tables")
    tables.open_store(store).set_aside_damaged()
    paths = tables.write_leaderboard(tables.read_leaderboard(store), store / "tables", store)
    unprinted = output_error(lambda: tables.print_first_tables(store, rows, store / "tables"))
    timings.begin("figures")
    paths += tables.write_robustness(store, store / "tables", figures, rows, settings.execution.workers)
    timings.keep_again()
    report_written(paths, lambda line: console.print(line, highlight=False, soft_wrap=True))
    executors.track(settings, rows)  # a tracker that fails must not cost the tables
    if unprinted is not None:
        raise unprinted
    if not succeeded:
        raise typer.Exit(1)
