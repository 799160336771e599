"""``harness score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import (
    MetricNames,
    NullWords,
    ReferenceReports,
    ReferenceWords,
    Tokenizer,
    Uncertain,
    null_words_of,
)
from harness.cli.output import Format, format_option, print_parts, report_failures, writable_file, write
from harness.core.errors import HarnessError


def score(
    references: ReferenceReports,
    predictions: Annotated[Path, typer.Option(help="Predicted reports, in any of these formats.")],
    metrics: MetricNames = None,
    tokenizer: Tokenizer = None,
    reference_words: ReferenceWords = None,
    uncertain: Uncertain = None,
    null_words: NullWords = None,
    per_study: Annotated[
        Path | None,
        typer.Option(help="CSV file to write with one row per study.", callback=writable_file),
    ] = None,
    format_: Annotated[Format, format_option(Format.table, Format.json, Format.csv)] = Format.table,
) -> None:
    """Score the output file of any system; no model is needed."""
    from harness.cli import score_tables
    from harness.core.config import split_list
    from harness.core.registry import MetricOptions
    from harness.evaluation import score_files, score_json

    options = MetricOptions(tokenizer, reference_words, uncertain)
    for file in (references, predictions):
        if per_study is not None and per_study.exists() and per_study.samefile(file):
            raise HarnessError(f"--per-study {per_study} is a file of reports", "choose another name")
    names, words = split_list(metrics, "--metrics"), null_words_of(null_words)
    scores = score_files.score(references, predictions, names, options, words)
    if per_study is not None:
        write(per_study, score_tables.per_study_csv(scores))
    if format_ is Format.table:
        print_parts(lambda screen: score_tables.score_table(scores, screen))
    elif format_ is Format.json:
        typer.echo(score_json.score_json(scores), nl=False)
    else:
        typer.echo(score_tables.score_csv(scores), nl=False)
        score_tables.say_remarks(scores.remarks)
    if metrics is not None:
        for name, reason in scores.unavailable.items():
            typer.echo(f"{name}: not computed: {reason}", err=True)
    report_failures(scores.failed)
