"""``harness score``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from harness.core.config import split_list
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from harness.evaluation.label_scores import LabelScore
    from harness.evaluation.score_files import Scores
    from harness.evaluation.state_files import StateScores

REPORT, DIAGNOSE = "report", "diagnose"

_Predictions = Annotated[Path | None, typer.Option(help="Predicted reports, in any of these formats.")]
_Missing = Annotated[
    list[str] | None,
    typer.Option(
        help="Instead of --predictions: full=FILE, no-context=FILE, ..; what the system answered with these "
        "modalities missing. Prints each loss, and curves over missing rates."
    ),
]
_Task = Annotated[
    str, typer.Option(help="report; or diagnose: tables of labels and of probabilities instead of reports.")
]
_Exclusive = Annotated[
    bool, typer.Option("--exclusive", help="With --task diagnose: classes exclude each other.")
]
_Blank = Annotated[
    str | None, typer.Option(help="With --task diagnose: negative counts empty labels as not there.")
]
_Labels = Annotated[str | None, typer.Option(help="With --task diagnose: score these labels alone.")]
_PerLabel = Annotated[
    bool, typer.Option("--per-label", help="Precision, recall and F1 of every label alone instead.")
]
_PerStudy = Annotated[
    Path | None, typer.Option(help="CSV file to write with one row per study.", callback=writable_file)
]


def score(
    references: ReferenceReports,
    predictions: _Predictions = None,
    missing: _Missing = None,
    task: _Task = REPORT,
    metrics: MetricNames = None,
    tokenizer: Tokenizer = None,
    reference_words: ReferenceWords = None,
    uncertain: Uncertain = None,
    null_words: NullWords = None,
    exclusive: _Exclusive = False,
    blank: _Blank = None,
    labels: _Labels = None,
    per_label: _PerLabel = False,
    per_study: _PerStudy = None,
    format_: Annotated[Format, format_option(Format.table, Format.json, Format.csv)] = Format.table,
) -> None:
    """Score the output file of any system; no model is needed."""
    from harness.core.registry import MetricOptions
    from harness.evaluation import score_files
    from harness.evaluation.label_scores import probability_label_scores, report_label_scores
    from harness.evaluation.probability_files.scoring import score_probabilities
    from harness.evaluation.probability_files.tables import LabelReading
    from harness.evaluation.state_files import score_probability_states, score_report_states

    files = _files(predictions, missing)
    names, words = split_list(metrics, "--metrics"), null_words_of(null_words)
    options = MetricOptions(tokenizer, reference_words, uncertain)
    only = tuple(split_list(labels, "--labels") or ())
    reading = LabelReading(uncertain, blank, exclusive or None, only)
    _check(task, per_study, [references, *files.values()])
    if task == DIAGNOSE:
        _refuse(tokenizer=tokenizer, reference_words=reference_words, null_words=words, per_study=per_study)
    else:
        _refuse(exclusive=exclusive or None, blank=blank, labels=labels)
    if per_label:
        _refuse(per_study=per_study, missing=missing, metrics=metrics if task == DIAGNOSE else None)
        _print_labels(
            probability_label_scores(references, files[""], reading)
            if task == DIAGNOSE
            else report_label_scores(references, files[""], names, options, words),
            format_,
        )
        return
    if missing:
        _refuse(per_study=per_study, null_words=words)
        _print_states(
            score_probability_states(references, files, names, reading)
            if task == DIAGNOSE
            else score_report_states(references, files, names, options),
            format_,
        )
        return
    scores = (
        score_probabilities(references, files[""], names, reading)
        if task == DIAGNOSE
        else score_files.score(references, files[""], names, options, words)
    )
    _print(scores, format_, per_study, named=metrics is not None)


def _print(scores: Scores, format_: Format, per_study: Path | None, *, named: bool) -> None:
    """Print a system's numbers; ``named``: metrics were asked for, so that absent ones are said."""
    from harness.cli import score_tables
    from harness.evaluation import score_json

    if per_study is not None:
        write(per_study, score_tables.per_study_csv(scores))
    if format_ is Format.table:
        print_parts(lambda screen: score_tables.score_table(scores, screen))
    elif format_ is Format.json:
        typer.echo(score_json.score_json(scores), nl=False)
    else:
        typer.echo(score_tables.score_csv(scores), nl=False)
        score_tables.say_remarks(scores.remarks)
    if named:
        for name, reason in scores.unavailable.items():
            typer.echo(f"{name}: not computed: {reason}", err=True)
    report_failures(scores.failed)


def _print_labels(scores: list[LabelScore], format_: Format) -> None:
    from harness.cli import label_tables

    label_tables.print_labels(scores, format_)


def _print_states(states: StateScores, format_: Format) -> None:
    from harness.cli import state_tables

    state_tables.print_states(states, format_)
    report_failures(states.failed)


def _check(task: str, per_study: Path | None, files: list[Path]) -> None:
    """Raise where the task is none, or the file to write is one to read."""
    if task not in (REPORT, DIAGNOSE):
        raise HarnessError(f"--task {task}: no such task", f"{REPORT} or {DIAGNOSE}")
    for file in files:
        if per_study is not None and per_study.exists() and per_study.samefile(file):
            raise HarnessError(f"--per-study {per_study} is a file of reports", "choose another name")


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


def _refuse(**options: object) -> None:
    """Refuse options that are not for what is printed."""
    for name, value in options.items():
        if value is not None:
            raise HarnessError(
                f"--{name.replace('_', '-')} is not for this table", "see harness score --help"
            )
