"""``harness describe``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.output import Format, format_option, print_json, print_parts


def describe(
    method: Annotated[
        str, typer.Argument(help="Method, or method:variant; with --probes a row, as tables name it.")
    ],
    preset: Annotated[
        str | None, typer.Option(help="Size of the method; default paper, or the largest that it has.")
    ] = None,
    probes: Annotated[
        bool, typer.Option("--probes", help="Show which named parts of a trained row act.")
    ] = False,
    store: Annotated[Path, typer.Option(help="Results store that has the row.")] = Path("runs"),
    format_: Annotated[Format, format_option(Format.table, Format.json)] = Format.table,
) -> None:
    """Print parameters, FLOPs and deviations of a method beside the figures of its paper."""
    if probes:
        _describe_probes(method, store, format_)
        return
    from harness.method.size import describe as facts_of
    from harness.method.size import render

    facts = facts_of(method, preset)
    if format_ is Format.json:
        print_json(facts)
    else:
        typer.echo(render(facts))


def _describe_probes(row: str, store: Path, format_: Format) -> None:
    from harness.cli.tables import open_store
    from harness.core.errors import HarnessError
    from harness.evaluation.reproduce import find
    from harness.leaderboard.render.vital_signs import render

    opened = open_store(store)
    named = [each for each in opened.stored() if each.manifest.method == row]
    one_network = len({each.manifest.cell for each in named}) == 1  # its results differ in the drop policy
    stored = named[0] if one_network else find(opened, row)
    signs = stored.manifest.signs
    if signs is None:
        raise HarnessError(
            f"{stored.key}: its training recorded no probes", "only methods with losses have some"
        )
    if format_ is Format.json:
        print_json({"result": stored.key, **signs.model_dump()})
    else:
        print_parts(lambda screen: render(stored.key, signs, screen))
