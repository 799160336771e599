"""The command line as a whole: its commands, and what becomes of errors and signals.

Each command has a module of its own, which parses and prints; heavy imports wait until a command runs.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from harness import __version__
from harness.cli.ablate import ablate
from harness.cli.audit import audit
from harness.cli.bench import bench
from harness.cli.bundle import bundle, check
from harness.cli.compare import compare
from harness.cli.data import data
from harness.cli.describe import describe
from harness.cli.doctor import doctor
from harness.cli.downstream import downstream
from harness.cli.leaderboard import leaderboard
from harness.cli.list import list_
from harness.cli.new import new
from harness.cli.papers import papers
from harness.cli.reproduce import reproduce
from harness.cli.run import run
from harness.cli.score import score
from harness.cli.store import store
from harness.core.errors import HarnessError
from harness.core.signals import Stopped, stopped_by_signals

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, predict, score and compare medical multimodal models as modalities go missing."""


EVALUATION, RESULTS, SETUP = "Evaluate", "Read results", "Set up"

for _command in (run, ablate, score, compare, audit, downstream, bench):
    app.command(rich_help_panel=EVALUATION)(_command)
for _command in (leaderboard, papers, reproduce):
    app.command(rich_help_panel=RESULTS)(_command)
app.add_typer(bundle, name="bundle", rich_help_panel=RESULTS)
app.add_typer(store, name="store", rich_help_panel=RESULTS)
app.command("list", rich_help_panel=SETUP)(list_)
for _command in (describe, doctor):
    app.command(rich_help_panel=SETUP)(_command)
app.add_typer(data, name="data", rich_help_panel=SETUP)
app.add_typer(new, name="new", rich_help_panel=SETUP)

# Scripts use these two names; the help shows the others.
app.command("report", hidden=True, help="The same as harness papers.")(papers)
app.command("share", hidden=True, help="The same as harness bundle check.")(check)


def main() -> None:
    """Entry point: a user's mistake is one line on stderr and a non-zero exit, never a traceback."""
    # Spinning OpenMP threads starve each other when anything else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        with stopped_by_signals():
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
