"""``harness store``: what a results store holds, and how to remove some of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import tables
from harness.cli.output import Format, format_option, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.leaderboard.selection import Selection
    from harness.store.results import StoredResult

store = typer.Typer(help="List or remove the results of a store.", no_args_is_help=True)


@store.command("ls")
def ls(
    store_: Annotated[Path, typer.Option("--store", help="Results store.")] = Path("runs"),
    format_: Annotated[Format, format_option(Format.table, Format.json)] = Format.table,
) -> None:
    """List every result: whether tables show it, when it was made, its metrics, masks and data."""
    from harness.leaderboard.selection import select

    stored = tables.open_store(store_).stored()
    selection = select(stored)
    rows = [_row(each, _state(each, selection)) for each in stored]
    if format_ is Format.json:
        print_json({"rows": rows})
        return
    if not rows:
        typer.echo(f"{store_} holds no results: harness run makes some", err=True)
    for row in rows:  # the key has a line of its own and is never cut: it is what rm takes
        typer.echo(row["key"])
        counts = (_count(len(row["metrics"]), "metric"), _count(row["mask_seeds"], "mask seed"))
        typer.echo("  " + ", ".join((row["state"], *counts, f"data {row['data'][:8]}", row["date"])))
    for line in _data_lines(rows):
        typer.echo(line)


@store.command("rm")
def rm(
    keys: Annotated[list[str], typer.Argument(help="Keys as harness store ls prints them.")],
    store_: Annotated[Path, typer.Option("--store", help="Results store.")] = Path("runs"),
) -> None:
    """Remove results; trained methods and their predictions stay, so that a run makes them again soon."""
    tables.open_store(store_).remove_results(keys)
    for key in dict.fromkeys(keys):
        typer.echo(f"removed {key}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _state(result: StoredResult, selection: Selection) -> str:
    """Whether tables show a result's numbers, and why not; of a result without any, its reasons."""
    has_values = any(row.value is not None for row in result.rows)

    def numbers(part: Sequence[StoredResult]) -> int:
        rows = (row for each in part if each.key == result.key for row in each.rows)
        return sum(row.value is not None or not has_values for row in rows)

    shown, other_masks = numbers(selection.shown), numbers(selection.other_masks)
    if shown:
        state = "partly shown" if other_masks or numbers(selection.older) else "shown"
    else:
        state = "other masks" if other_masks else "superseded"
    failed = bool(result.rows) and all(row.status == "failed" for row in result.rows)
    return f"{state}, failed" if failed else state


def _row(result: StoredResult, state: str) -> dict[str, Any]:
    """One result as JSON values."""
    first, manifest = result.rows[0] if result.rows else None, result.manifest
    metrics = dict.fromkeys(row.signature.partition("|")[0] for row in result.rows if row.value is not None)
    return {
        "key": result.key,
        "dataset": first.dataset if first else "",
        "root": manifest.config.get("root"),
        "data": manifest.test_set,
        "method": manifest.method,
        "preset": first.preset if first else "",
        "seed": manifest.seed,
        "identity": manifest.identity,
        "date": datetime.fromtimestamp(manifest.unix_time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "metrics": list(metrics),
        "rates": sorted({row.rate for row in result.rows}),
        "mask_seeds": manifest.mask_seeds,
        "state": state,
    }


def _data_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Where several test sets have one name: which file or folder each was read from."""
    places: dict[str, dict[str, str]] = {}
    for row in rows:
        places.setdefault(row["dataset"], {})[row["data"]] = row["root"] or ""
    for dataset, roots in places.items():
        if len(roots) > 1 and any(roots.values()):
            yield from (f"{dataset}, data {data[:8]}: {root or 'no --root'}" for data, root in roots.items())
