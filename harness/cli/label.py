"""``harness label``: CheXpert's 14 labels of reports, as CSV."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import NullWords, null_words_of
from harness.cli.output import as_csv, other_than, writable_file, write


def label(
    reports: Annotated[Path, typer.Argument(help="Reports, in any format that harness score reads.")],
    out: Annotated[
        Path | None,
        typer.Option(help="CSV file to write instead of printing.", callback=writable_file),
    ] = None,
    null_words: NullWords = None,
) -> None:
    """Write the findings of reports in CheXpert's columns: 1, 0, -1 uncertain, blank not mentioned."""
    from harness.evaluation.report_labels import label_reports

    other_than(out, reports, "--out")
    labels = label_reports(reports, null_words_of(null_words))
    rows = [
        {"id": name, **dict(zip(labels.names, map(_code, line), strict=True))}
        for name, line in zip(labels.ids, labels.codes.tolist(), strict=True)
    ]
    table = as_csv(rows, ("id", *labels.names))
    if out is None:
        typer.echo(table, nl=False)
    else:
        write(out, table)
        typer.echo(f"wrote {out}: {len(rows)} reports, {labels.version}")


def _code(value: float) -> int | str:
    """As CheXpert's tables have it: a finding that is not mentioned is blank."""
    return "" if math.isnan(value) else int(value)
