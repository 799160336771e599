"""``harness cases``: single studies with every method's answers, on a page for one's own screen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import tables
from harness.cli.options import Device, Store
from harness.cli.output import stderr, writable_file
from harness.core.errors import HarnessError


def cases(
    file: Annotated[Path, typer.Argument(help="HTML file to write.", callback=writable_file)],
    store: Store = Path("runs"),
    dataset: Annotated[str, typer.Option(help="Dataset, where the store has several.")] = "",
    methods: Annotated[str, typer.Option(help="Rows to show; default all with stored predictions.")] = "",
    ids: Annotated[str, typer.Option(help="Studies to show, instead of --limit of them.")] = "",
    without: Annotated[
        str, typer.Option(help="Show the studies that lose most without this modality; full: the worst ones.")
    ] = "full",
    sort_by: Annotated[str, typer.Option(help="Row whose loss or score sorts.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="Number of studies.")] = 24,
    attention: Annotated[
        bool, typer.Option("--attention", help="Draw where the words of each report look in the images.")
    ] = False,
    device: Device = None,
    with_cases: Annotated[
        bool, typer.Option("--with-cases", help="Write images and reports that this program did not draw.")
    ] = False,
) -> None:
    """Write single studies with every method's answers as a page for this machine."""
    from harness.core.user_files import write_user_file
    from harness.evaluation.cases import CaseOptions, collect, may_be_shown
    from harness.leaderboard.render.cases import render
    from harness.leaderboard.selection import current

    opened = tables.open_store(store)
    stored = current(opened.stored())
    if not stored:
        raise HarnessError(f"--store {store}: no results", "run methods first")
    if not with_cases and not may_be_shown(stored, dataset):
        raise HarnessError(
            "the page would hold images and reports of patients", "--with-cases writes it for this machine"
        )
    options = CaseOptions(dataset, _names(methods), _names(ids), without, sort_by, limit, attention, device)
    content = collect(opened, stored, options)
    page = render(content).encode()
    write_user_file(file, page, mode=0o600)
    typer.echo(f"wrote {file}: {len(content['cases'])} studies, readable by you alone; it holds reports")
    for label, reason in content["left_out"].items():
        stderr().print(f"left out: {label}: {reason}", markup=False, highlight=False)
    if content["left_out"]:
        raise typer.Exit(1)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
