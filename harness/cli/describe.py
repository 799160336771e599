"""``harness describe``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.output import Format, format_option, print_json


def describe(
    method: Annotated[str, typer.Argument(help="Method, or method:variant.")],
    preset: Annotated[
        str | None, typer.Option(help="Size of the method; default paper, or the largest that it has.")
    ] = None,
    format_: Annotated[Format, format_option(Format.table, Format.json)] = Format.table,
) -> None:
    """Print parameters, FLOPs and deviations of a method beside the figures of its paper."""
    from harness.method.size import describe as facts_of
    from harness.method.size import render

    facts = facts_of(method, preset)
    if format_ is Format.json:
        print_json(facts)
    else:
        typer.echo(render(facts))
