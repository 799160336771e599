"""The commands of ``harness``, and the options before their names.

Each command has a module of its own, which parses and prints; heavy imports wait until a command runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from harness import __version__
from harness.cli.ablate import ablate
from harness.cli.audit import audit
from harness.cli.bench import bench
from harness.cli.bundle import bundle, check
from harness.cli.cases import cases
from harness.cli.compare import compare
from harness.cli.data import data
from harness.cli.describe import describe
from harness.cli.doctor import doctor
from harness.cli.downstream import downstream
from harness.cli.label import label
from harness.cli.latents import latents
from harness.cli.leaderboard import leaderboard
from harness.cli.list import list_
from harness.cli.new import new
from harness.cli.papers import papers
from harness.cli.reproduce import reproduce
from harness.cli.run import run
from harness.cli.score import score
from harness.cli.store import store

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
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error; it may quote data.")
    ] = False,
) -> None:
    """Train, predict, score and compare medical multimodal models as modalities go missing."""
    context.ensure_object(dict).update(debug=debug, command=context.invoked_subcommand)


EVALUATION, RESULTS, SETUP = "Evaluate", "Read results", "Set up"

for _command in (run, ablate, score, compare, label, audit, downstream, bench):
    app.command(rich_help_panel=EVALUATION)(_command)
for _command in (leaderboard, cases, latents, papers, reproduce):
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
