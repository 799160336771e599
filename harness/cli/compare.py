"""``harness compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import (
    Address,
    Executor,
    MetricNames,
    NullWords,
    ReferenceReports,
    ReferenceWords,
    Tokenizer,
    Uncertain,
    execution_of,
    null_words_of,
)
from harness.cli.output import Format, format_option, print_parts, report_failures
from harness.core.arguments import MOST_TRIALS
from harness.core.errors import HarnessError


def compare(
    references: ReferenceReports,
    system: Annotated[list[str], typer.Option(help="A system as NAME=FILE; give the option at least twice.")],
    metrics: MetricNames = None,
    tokenizer: Tokenizer = None,
    reference_words: ReferenceWords = None,
    uncertain: Uncertain = None,
    null_words: NullWords = None,
    several: Annotated[
        str | None, typer.Option(help="How several texts of one study count: max or mean.")
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(help="Scores that another program gave, as NAME=TABLE, for every system."),
    ] = None,
    executor: Executor = None,
    address: Address = None,
    trials: Annotated[int, typer.Option(max=MOST_TRIALS, help="Random swaps of the paired test.")] = 10_000,
    format_: Annotated[Format, format_option(Format.table, Format.json, Format.csv)] = Format.table,
) -> None:
    """Test the differences between systems on the same studies, paired."""
    from harness.cli import score_tables
    from harness.core.config import split_list
    from harness.core.metric_options import MetricOptions
    from harness.evaluation import score_files, score_json, shards
    from harness.evaluation.extra_scores import compare_with_extra
    from harness.evaluation.report_files.pairing import ReportReading

    systems, tables = _assigned(system, "--system"), _assigned(extra or (), "--extra")
    if tables and set(tables) != set(systems):
        raise HarnessError(
            "--extra: a table for every system", "--extra ours=ours.csv --extra theirs=theirs.csv"
        )
    options = MetricOptions(tokenizer, reference_words, uncertain)
    names = split_list(metrics, "--metrics", empty=False)
    reading = ReportReading(null_words_of(null_words), several=several)
    with shards.computed_on(execution_of(executor, address)):
        comparisons = score_files.compare(references, systems, names, options, trials, reading)
    if tables:
        comparisons = compare_with_extra(comparisons, references, tables, trials)
    rows, remarks = comparisons.rows, comparisons.remarks
    if format_ is Format.table:
        print_parts(lambda screen: score_tables.comparison_table(rows, screen, remarks))
    elif format_ is Format.json:
        typer.echo(score_json.comparison_json(comparisons), nl=False)
    else:
        typer.echo(score_tables.comparison_csv(rows), nl=False)
        score_tables.say_remarks(remarks)
    report_failures(comparisons.failed)


def _assigned(assignments: Sequence[str], option: str) -> dict[str, Path]:
    """Name of a system -> file."""
    files: dict[str, Path] = {}
    for assignment in assignments:
        name, equals, file = assignment.partition("=")
        if not (name and equals and file) or name in files:
            raise HarnessError(f"{option} {assignment}: expected NAME=FILE, each name once")
        files[name] = Path(file)
    return files
