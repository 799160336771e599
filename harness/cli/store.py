"""``harness store``: what a results store holds, and how to remove some of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import tables
from harness.cli.output import Format, format_option, print_json

if TYPE_CHECKING:
    from harness.store.results import StoredResult

store = typer.Typer(help="List or remove the results of a store.", no_args_is_help=True)


@store.command("ls")
def ls(
    store_: Annotated[Path, typer.Option("--store", help="Results store.")] = Path("runs"),
    format_: Annotated[Format, format_option(Format.table, Format.json)] = Format.table,
) -> None:
    """List every result: whether tables show it, when it was made, and which metrics it has."""
    from harness.leaderboard.selection import current

    stored = tables.open_store(store_).stored()
    visible = {each.key: len(each.rows) for each in current(stored)}
    rows = [_row(each, visible.get(each.key, 0)) for each in stored]
    if format_ is Format.json:
        print_json({"rows": rows})
        return
    for row in rows:  # the key stands last and is never cut: it is what rm takes
        typer.echo(f"{row['date']}  {row['state']:<10}  {len(row['metrics']):>2} metrics  {row['key']}")


@store.command("rm")
def rm(
    keys: Annotated[list[str], typer.Argument(help="Keys as harness store ls prints them.")],
    store_: Annotated[Path, typer.Option("--store", help="Results store.")] = Path("runs"),
) -> None:
    """Remove results; trained methods and their predictions stay, so that a run makes them again soon."""
    tables.open_store(store_).remove_results(keys)
    for key in dict.fromkeys(keys):
        typer.echo(f"removed {key}")


def _row(result: StoredResult, visible: int) -> dict[str, Any]:
    """One result in a line; ``visible`` of its numbers stand in tables."""
    first = result.rows[0] if result.rows else None
    failed = bool(result.rows) and all(row.status == "failed" for row in result.rows)
    metrics = dict.fromkeys(row.signature.partition("|")[0] for row in result.rows if row.value is not None)
    state = "shown" if visible == len(result.rows) else "partly shown" if visible else "superseded"
    return {
        "key": result.key,
        "dataset": first.dataset if first else "",
        "method": result.manifest.method,
        "preset": first.preset if first else "",
        "seed": result.manifest.seed,
        "identity": result.manifest.identity,
        "date": datetime.fromtimestamp(result.manifest.unix_time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "metrics": list(metrics),
        "state": f"{state}, failed" if failed else state,
    }
