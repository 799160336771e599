"""``harness audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import Dataset, Device, Methods, Overrides, Preset, Root
from harness.cli.output import Format, format_option, print_rows, stderr


def audit(
    methods: Methods = "all",
    dataset: Dataset = None,
    root: Root = None,
    preset: Preset = None,
    limit: Annotated[int, typer.Option(help="Studies of each split that the audit uses.")] = 64,
    device: Device = None,
    workers: Annotated[int | None, typer.Option(help="Methods that are audited at a time.")] = None,
    store: Annotated[Path | None, typer.Option(help="Results store that keeps the verdicts.")] = None,
    set_: Overrides = None,
    format_: Annotated[Format, format_option(Format.table, Format.json)] = Format.table,
) -> None:
    """Check that methods use no targets, no batch neighbours, no masked inputs and no test split.

    Exit 1 if one does.
    """
    from harness.core.config import RunSettings, parse_overrides, split_list

    flags: dict[str, Any] = {
        "methods": split_list(methods, "--methods"),
        "dataset": dataset,
        "root": root,
        "preset": preset,
        "limit": limit,
        "device": device,
        "workers": workers,
        "store": store,
        "set": parse_overrides(set_) if set_ else None,
    }
    settings = RunSettings.build(flags)
    from harness.audits import audit as audits
    from harness.cli.progress import ConsoleReporter

    with ConsoleReporter(stderr()) as reporter:
        verdicts = audits.audit(settings, reporter)
    print_rows(audits.to_rows(verdicts), format_)
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(1)
