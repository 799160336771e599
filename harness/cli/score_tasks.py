"""What ``harness score`` does for each task and each kind of table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from harness.cli import label_tables, score_tables, state_tables
from harness.cli.output import Format, print_parts, report_failures, write
from harness.core.errors import HarnessError
from harness.core.registry import MetricOptions
from harness.core.types import Task
from harness.evaluation import score_files, score_json
from harness.evaluation.image_files.scoring import ImageFiles, score_images
from harness.evaluation.label_scores import LabelScore, probability_label_scores, report_label_scores
from harness.evaluation.probability_files.scoring import score_probabilities
from harness.evaluation.probability_files.tables import LabelReading
from harness.evaluation.score_files import Scores
from harness.evaluation.state_files import StateScores, score_probability_states, score_report_states

_OF_REPORTS = {"tokenizer", "reference-words", "uncertain"}
_OF_TABLES = {"uncertain", "exclusive", "blank", "findings"}
_TAKES: Mapping[tuple[str, str], Collection[str]] = {
    ("report", ""): {*_OF_REPORTS, "metrics", "preset", "null-words", "per-study"},
    ("report", "per-label"): {*_OF_REPORTS, "metrics", "preset", "null-words"},
    ("report", "missing"): {*_OF_REPORTS, "metrics", "preset", "missing"},
    ("diagnose", ""): {*_OF_TABLES, "metrics"},
    ("diagnose", "per-label"): _OF_TABLES,
    ("diagnose", "missing"): {*_OF_TABLES, "metrics", "missing"},
    ("synthesize", ""): {"metrics", "labels", "train-dir", "uncertain", "blank", "findings", "per-study"},
}
"""Task and kind of table -> options that are for it."""


@dataclass(frozen=True, slots=True)
class Files:
    """What is scored against what.

    Attributes:
        references: the truth.
        states: modality state -> what the system made; ``""`` where there are no states.
    """

    references: Path
    states: Mapping[str, Path]

    @classmethod
    def of(
        cls,
        files: Sequence[Path],
        references: Path | None,
        predictions: Path | None,
        states: Mapping[str, Path],
    ) -> Files:
        """From arguments and options.

        Raises:
            HarnessError: something is named twice, or not at all.
        """
        places = [
            name for name, value in (("references", references), ("predictions", predictions)) if not value
        ]
        if states:
            places = [name for name in places if name == "references"]
        if len(files) > len(places):
            raise HarnessError(
                f"{files[-1]}: one file too many", "harness score REFERENCES PREDICTIONS, or the two options"
            )
        named = dict(zip(places[len(places) - len(files) :], files, strict=True))
        references, predictions = named.get("references", references), named.get("predictions", predictions)
        if references is None:
            raise HarnessError("--references is needed", "harness score REFERENCES PREDICTIONS")
        if (predictions is None) == (not states):
            raise HarnessError(
                "one of --predictions and --missing is needed",
                "--missing full=a.json --missing no-context=b.json",
            )
        return cls(references, states if predictions is None else {"": predictions})

    @property
    def predictions(self) -> Path:
        """The only file of the system."""
        return self.states[""]


@dataclass(frozen=True, slots=True)
class Scoring:
    """Everything that ``harness score`` was asked.

    Attributes:
        given: names of the options that are not left out.
        labels: table of the findings of images.
        train: folder of the training images.

    The others are the options of their names.
    """

    task: str
    files: Files
    given: Collection[str]
    metrics: Sequence[str] | None
    options: MetricOptions
    null_words: Sequence[str] | None
    reading: LabelReading
    labels: Path | None
    train: Path | None
    per_label: bool
    per_study: Path | None


def run(scoring: Scoring, format_: Format) -> None:
    """Score and print.

    Raises:
        HarnessError: an option that is not for the task or the table; files that cannot be scored.
    """
    _check(scoring)
    if scoring.per_label:
        label_tables.print_labels(_labels(scoring), format_)
    elif "missing" in scoring.given:
        states = _states(scoring)
        state_tables.print_states(states, format_)
        report_failures(states.failed)
    else:
        _print(_scores(scoring), scoring, format_)


def _check(scoring: Scoring) -> None:
    """Raise where the task is none, an option is for another table, or the file to write is one to read."""
    tasks = [str(each) for each in Task]
    if scoring.task not in tasks:
        raise HarnessError(f"--task {scoring.task}: no such task", " or ".join(tasks))
    kind = "per-label" if scoring.per_label else "missing" if "missing" in scoring.given else ""
    if (scoring.task, kind) not in _TAKES:
        raise HarnessError(f"--{kind} is not for --task {scoring.task}", "see harness score --help")
    for name in sorted(scoring.given):
        if name not in _TAKES[scoring.task, kind]:
            raise HarnessError(f"--{name} is not for this table", "see harness score --help")
    out = scoring.per_study
    for file in (scoring.files.references, *scoring.files.states.values()):
        if out is not None and out.exists() and file.exists() and out.samefile(file):
            raise HarnessError(f"--per-study {out} is a file of reports", "choose another name")


def _labels(scoring: Scoring) -> list[LabelScore]:
    files = scoring.files
    if scoring.task == Task.DIAGNOSE:
        return probability_label_scores(files.references, files.predictions, scoring.reading)
    return report_label_scores(
        files.references, files.predictions, scoring.metrics, scoring.options, scoring.null_words
    )


def _states(scoring: Scoring) -> StateScores:
    files = scoring.files
    if scoring.task == Task.DIAGNOSE:
        return score_probability_states(files.references, files.states, scoring.metrics, scoring.reading)
    return score_report_states(files.references, files.states, scoring.metrics, scoring.options)


def _scores(scoring: Scoring) -> Scores:
    files = scoring.files
    if scoring.task == Task.DIAGNOSE:
        return score_probabilities(files.references, files.predictions, scoring.metrics, scoring.reading)
    if scoring.task == Task.SYNTHESIZE:
        folders = ImageFiles(
            files.references, files.predictions, scoring.train, scoring.labels, scoring.reading
        )
        return score_images(folders, scoring.metrics)
    return score_files.score(
        files.references, files.predictions, scoring.metrics, scoring.options, scoring.null_words
    )


def _print(scores: Scores, scoring: Scoring, format_: Format) -> None:
    """Print a system's numbers; where metrics were asked for, the absent ones, too."""
    if scoring.per_study is not None:
        write(scoring.per_study, score_tables.per_study_csv(scores))
    if format_ is Format.table:
        print_parts(lambda screen: score_tables.score_table(scores, screen))
    elif format_ is Format.json:
        typer.echo(score_json.score_json(scores), nl=False)
    else:
        typer.echo(score_tables.score_csv(scores), nl=False)
        score_tables.say_remarks(scores.remarks)
    if scoring.metrics is not None:
        for name, reason in scores.unavailable.items():
            typer.echo(f"{name}: not computed: {reason}", err=True)
    report_failures(scores.failed)
