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
    predictions: Annotated[
        Path | None, typer.Option(help="Predicted reports, in any of these formats.")
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of --predictions: full=FILE, no-context=FILE, ..; what the system answered with "
            "these modalities missing. Prints each loss, and curves over missing rates."
        ),
    ] = None,
    task: Annotated[
        str,
        typer.Option(help="report; or diagnose: tables of labels and of probabilities instead of reports."),
    ] = "report",
    metrics: MetricNames = None,
    tokenizer: Tokenizer = None,
    reference_words: ReferenceWords = None,
    uncertain: Uncertain = None,
    null_words: NullWords = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="With --task diagnose: classes exclude each other.")
    ] = False,
    blank: Annotated[
        str | None, typer.Option(help="With --task diagnose: negative counts empty labels as not there.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="With --task diagnose: score these labels alone.")
    ] = None,
    per_study: Annotated[
        Path | None,
        typer.Option(help="CSV file to write with one row per study.", callback=writable_file),
    ] = None,
    format_: Annotated[Format, format_option(Format.table, Format.json, Format.csv)] = Format.table,
) -> None:
    """Score the output file of any system; no model is needed."""
    from harness.cli import score_tables, state_tables
    from harness.core.config import split_list
    from harness.core.registry import MetricOptions
    from harness.evaluation import score_files, score_json, state_files
    from harness.evaluation.probability_files.scoring import score_probabilities
    from harness.evaluation.probability_files.tables import LabelReading

    files = _files(predictions, missing)
    for file in (references, *files.values()):
        if per_study is not None and per_study.exists() and per_study.samefile(file):
            raise HarnessError(f"--per-study {per_study} is a file of reports", "choose another name")
    if task not in ("report", "diagnose"):
        raise HarnessError(f"--task {task}: no such task", "report or diagnose")
    names, words = split_list(metrics, "--metrics"), null_words_of(null_words)
    options = MetricOptions(tokenizer, reference_words, uncertain)
    only = tuple(split_list(labels, "--labels") or ())
    reading = LabelReading(uncertain, blank, exclusive or None, only)
    if task == "diagnose":
        _require_none(tokenizer=tokenizer, reference_words=reference_words)
        _require_none(null_words=words, per_study=per_study)
    else:
        _require_none(exclusive=exclusive or None, blank=blank, labels=labels)
    if missing:
        _require_none(per_study=per_study, null_words=words)
        states = (
            state_files.score_probability_states(references, files, names, reading)
            if task == "diagnose"
            else state_files.score_report_states(references, files, names, options)
        )
        state_tables.print_states(states, format_)
        report_failures(states.failed)
        return
    scores = (
        score_probabilities(references, files[""], names, reading)
        if task == "diagnose"
        else score_files.score(references, files[""], names, options, words)
    )
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


def _files(predictions: Path | None, missing: list[str] | None) -> dict[str, Path]:
    """State -> file; the one file of ``--predictions`` has the state ``""``."""
    if (predictions is None) == (not missing):
        raise HarnessError(
            "one of --predictions and --missing is needed",
            "--missing full=a.json --missing no-context=b.json",
        )
    if predictions is not None:
        return {"": predictions}
    files: dict[str, Path] = {}
    for each in missing or ():
        name, equals, file = each.partition("=")
        if not equals or not file:
            raise HarnessError(f"--missing {each}: no file", "for example --missing no-context=b.json")
        if name in files:
            raise HarnessError(f"--missing {name}= is given twice", "one file per state")
        files[name] = Path(file)
    return files


def _require_none(**options: object) -> None:
    """Refuse options of the other task."""
    for name, value in options.items():
        if value is not None:
            raise HarnessError(f"--{name.replace('_', '-')} is not for this task", "see harness score --help")
