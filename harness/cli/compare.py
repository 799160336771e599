"""``harness compare``."""

from __future__ import annotations

from collections.abc import Sequence
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
from harness.cli.output import Format, format_option, print_parts, report_failures
from harness.core.errors import HarnessError


def compare(
    references: ReferenceReports,
    system: Annotated[list[str], typer.Option(help="A system as NAME=FILE; give the option at least twice.")],
    metrics: MetricNames = None,
    tokenizer: Tokenizer = None,
    reference_words: ReferenceWords = None,
    uncertain: Uncertain = None,
    null_words: NullWords = None,
    trials: Annotated[int, typer.Option(help="Random swaps of the paired test.")] = 10_000,
    format_: Annotated[Format, format_option(Format.table, Format.json, Format.csv)] = Format.table,
) -> None:
    """Test the differences between systems on the same studies, paired."""
    from harness.cli import score_tables
    from harness.core.config import split_list
    from harness.core.registry import MetricOptions
    from harness.evaluation import score_files, score_json

    systems = _systems(system)
    options = MetricOptions(tokenizer, reference_words, uncertain)
    names = split_list(metrics, "--metrics")
    words = null_words_of(null_words)
    comparisons = score_files.compare(references, systems, names, options, trials, words)
    rows, remarks = comparisons.rows, comparisons.remarks
    if format_ is Format.table:
        print_parts(lambda screen: score_tables.comparison_table(rows, screen, remarks))
    elif format_ is Format.json:
        typer.echo(score_json.comparison_json(comparisons), nl=False)
    else:
        typer.echo(score_tables.comparison_csv(rows), nl=False)
        score_tables.say_remarks(remarks)
    report_failures(comparisons.failed)


def _systems(assignments: Sequence[str]) -> dict[str, Path]:
    """Name -> file of predicted reports."""
    systems: dict[str, Path] = {}
    for assignment in assignments:
        name, equals, file = assignment.partition("=")
        if not (name and equals and file) or name in systems:
            raise HarnessError(f"--system {assignment}: expected NAME=FILE, each name once")
        systems[name] = Path(file)
    return systems
