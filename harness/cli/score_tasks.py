"""What ``harness score`` does for each task and each kind of table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from harness.cli import label_tables, score_tables, state_tables
from harness.cli.output import Format, other_than, print_parts, print_rows, report_failures, write
from harness.core.config import ExecutionConfig
from harness.core.errors import HarnessError
from harness.core.metric_options import MetricOptions
from harness.core.types import Task
from harness.core.user_files import read_user_file
from harness.evaluation import score_files, score_json, shards
from harness.evaluation.consistency import with_consistency
from harness.evaluation.extra_scores import with_extra
from harness.evaluation.image_files.scoring import ImageFiles, score_images
from harness.evaluation.label_references import labelled_pairs, score_against_labels
from harness.evaluation.label_scores import (
    LabelScore,
    label_reference_scores,
    probability_label_scores,
    report_label_scores,
)
from harness.evaluation.probability_files.scoring import score_probabilities
from harness.evaluation.probability_files.tables import LabelReading
from harness.evaluation.report_files.in_memory import Texts
from harness.evaluation.report_files.pairing import ReportReading
from harness.evaluation.report_files.rexrank import rexrank_json
from harness.evaluation.score_files import Scores
from harness.evaluation.state_files import StateScores, score_probability_states, score_report_states

_OF_REPORTS = {"tokenizer", "reference-words", "uncertain"}
_OF_TABLES = {"uncertain", "exclusive", "blank", "findings"}
_OF_STORES = {"store", "as", "dataset", "root", "missing"}
_TAKES: Mapping[tuple[str, str], Collection[str]] = {
    ("report", ""): {
        *_OF_REPORTS,
        "metrics",
        "preset",
        "null-words",
        "per-study",
        "subset",
        "extra",
        "drawn",
        "rexrank",
        "several",
        "executor",
        "address",
    },
    ("report", "per-label"): {*_OF_REPORTS, "metrics", "preset", "null-words", "subset"},
    ("report", "missing"): {*_OF_REPORTS, "metrics", "preset", "missing", "null-words", "subset"},
    ("diagnose", ""): {*_OF_TABLES, "metrics", "subset"},
    ("diagnose", "per-label"): {*_OF_TABLES, "subset"},
    ("diagnose", "missing"): {*_OF_TABLES, "metrics", "missing", "subset"},
    ("report", "labels"): {"labels", "metrics", "uncertain", "null-words", "subset"},
    ("report", "labels-per-label"): {"labels", "metrics", "uncertain", "null-words", "subset"},
    ("report", "store"): {*_OF_STORES, "null-words", "extra"},
    ("diagnose", "store"): _OF_STORES,
    ("synthesize", ""): {"metrics", "labels", "train-dir", "uncertain", "blank", "findings", "per-study"},
}
"""Task and kind of table -> options that are for it."""


@dataclass(frozen=True, slots=True)
class Files:
    """What is scored against what.

    Attributes:
        references: the truth; None where a store has it.
        states: modality state -> what the system made; ``""`` where there are no states.
        more: further files of references, and of predictions, that each hold one more text of every study.
    """

    references: Path | None
    states: Mapping[str, Path]
    more: tuple[tuple[Path, ...], tuple[Path, ...]] = ((), ())

    @classmethod
    def of(cls, files: Sequence[Path], named: Files, elsewhere: Path | None) -> Files:
        """From arguments and options.

        Args:
            files: arguments, in the order references, predictions.
            named: by options.
            elsewhere: a store or a table of labels that is there instead of references, or None.

        Raises:
            HarnessError: something is named twice, or not at all.
        """
        if elsewhere is not None and named.references is not None:
            raise HarnessError(f"--references and {elsewhere}: references twice", "leave one of them out")
        places = [] if named.references or elsewhere else ["references"]
        places += [] if named.states else ["predictions"]
        if len(files) > len(places):
            raise HarnessError(
                f"{files[-1]}: one file too many", "harness score REFERENCES PREDICTIONS, or the two options"
            )
        taken = dict(zip(places[len(places) - len(files) :], files, strict=True))
        if elsewhere is None and not (named.references or "references" in taken):
            alone = f"{files[0]} alone: references are needed" if files else "--references is needed"
            raise HarnessError(alone, "harness score REFERENCES PREDICTIONS")
        states = {"": taken["predictions"]} if "predictions" in taken else named.states
        if not states or ("" in states and len(states) > 1):
            raise HarnessError(
                "one of --predictions and --missing is needed",
                "--missing full=a.json --missing no-context=b.json",
            )
        return cls(taken.get("references", named.references), states, named.more)

    @property
    def truth(self) -> Path:
        """The references, of what is scored without a store."""
        assert self.references is not None
        return self.references

    @property
    def predictions(self) -> Path:
        """The only file of the system."""
        return self.states[""]

    @property
    def texts(self) -> tuple[Texts, Texts]:
        """References and predictions, of one file each or of several."""
        sides = ((self.truth, self.more[0]), (self.predictions, self.more[1]))
        true, ours = ((first, *others) if others else first for first, others in sides)
        return true, ours


@dataclass(frozen=True, slots=True)
class RowPlace:
    """A row of a leaderboard: its store, its name, and the store's dataset where it has several."""

    store: Path
    name: str
    dataset: str | None
    root: Path | None


@dataclass(frozen=True, slots=True)
class Scoring:
    """Everything that ``harness score`` was asked.

    Attributes:
        given: names of the options that are not left out.
        labels: table of the findings of images.
        train: folder of the training images.
        reports: which texts mean "no report", which studies count, and how several texts of one study do.
        row: where the numbers become a row of a leaderboard, or None.
        extra: tables of scores that another program gave.
        drawn: several reports per study.
        read: all files that the command line names to be read.
        execution: where statistics are computed.

    The others are the options of their names.
    """

    task: str
    files: Files
    given: Collection[str]
    metrics: Sequence[str] | None
    options: MetricOptions
    reports: ReportReading
    reading: LabelReading
    labels: Path | None
    train: Path | None
    row: RowPlace | None
    extra: Sequence[Path]
    drawn: Path | None
    read: Sequence[Path]
    per_label: bool
    per_study: Path | None
    rexrank: Path | None
    execution: ExecutionConfig


def run(scoring: Scoring, format_: Format) -> None:
    """Score and print.

    Raises:
        HarnessError: an option that is not for the task or the table; files that cannot be scored.
    """
    _check(scoring)
    if format_ is Format.html and not scoring.per_label:
        raise HarnessError("--format html is for --per-label alone", "table, json or csv")
    if scoring.row is not None:
        _add_row(scoring, scoring.row)
    elif scoring.per_label:
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
    if scoring.task == Task.REPORT and "labels" in scoring.given:
        kind = "labels-per-label" if scoring.per_label else "labels"
    kind = "store" if "store" in scoring.given and not scoring.per_label else kind
    if (scoring.task, kind) not in _TAKES:
        raise HarnessError(f"--{kind} is not for --task {scoring.task}", "see harness score --help")
    if any(scoring.files.more) and "several" not in scoring.given:
        raise HarnessError(
            "several files of references or of predictions: how do their texts count?",
            "--several max or mean; of modality states: --missing full=a.json --missing no-context=b.json",
        )
    for name in sorted(scoring.given):
        if name not in _TAKES[scoring.task, kind]:
            raise HarnessError(f"--{name} is not for this table", "see harness score --help")
    for option, out in (("per-study", scoring.per_study), ("rexrank", scoring.rexrank)):
        for file in (*scoring.read, *scoring.files.states.values()):
            if file is not None:
                other_than(out, file, f"--{option}")
    if scoring.rexrank and scoring.per_study and scoring.rexrank.resolve() == scoring.per_study.resolve():
        raise HarnessError("--rexrank and --per-study name one file", "choose another name for one of them")


def _add_row(scoring: Scoring, place: RowPlace) -> None:
    """Write the numbers into a store, and say where they stand."""
    from harness.evaluation.file_rows.answers import FileAnswers
    from harness.evaluation.file_rows.rows import add_row
    from harness.evaluation.file_rows.target import Target

    target = Target.of(place.store, place.dataset, place.root)
    answers = FileAnswers.read(
        target, Task(scoring.task), scoring.files.states, scoring.reports.null_words, scoring.extra
    )
    row = add_row(target, place.name, answers)
    full = {each.metric: each for each in row.measurements if not each.rate and each.value is not None}
    print_rows(
        [{"metric": each.metric, "value": f"{each.value:.4f}", "n": each.n} for each in full.values()],
        Format.table,
    )
    for line in answers.oddities:
        typer.echo(f"note: {line}")
    for state in row.left_out:
        typer.echo(f"note: without {state}: no run in the store has these masks", err=True)
    typer.echo(f"wrote {len(row.keys)} results into {place.store}, for example {row.keys[0]}")
    typer.echo(f"harness leaderboard --store {place.store} shows {target.info.title} with the row")
    report_failures(row.failed)


def _labels(scoring: Scoring) -> list[LabelScore]:
    files = scoring.files
    if scoring.task == Task.REPORT and scoring.labels is not None:
        return label_reference_scores(labelled_pairs(scoring.labels, *_against_labels(scoring)))
    if scoring.task == Task.DIAGNOSE:
        return probability_label_scores(files.truth, files.predictions, scoring.reading)
    return report_label_scores(
        files.truth, files.predictions, scoring.metrics, scoring.options, scoring.reports
    )


def _states(scoring: Scoring) -> StateScores:
    files = scoring.files
    if scoring.task == Task.DIAGNOSE:
        return score_probability_states(files.truth, files.states, scoring.metrics, scoring.reading)
    return score_report_states(
        files.truth, files.states, scoring.metrics, scoring.options, reading=scoring.reports
    )


def _scores(scoring: Scoring) -> Scores:
    files = scoring.files
    if scoring.task == Task.DIAGNOSE:
        return score_probabilities(files.truth, files.predictions, scoring.metrics, scoring.reading)
    if scoring.task == Task.SYNTHESIZE:
        folders = ImageFiles(files.truth, files.predictions, scoring.train, scoring.labels, scoring.reading)
        return score_images(folders, scoring.metrics)
    if scoring.labels is not None:
        return score_against_labels(scoring.labels, *_against_labels(scoring))
    true, ours = files.texts
    with shards.computed_on(scoring.execution):
        scores = score_files.score(true, ours, scoring.metrics, scoring.options, scoring.reports)
    if scoring.drawn is not None:
        scores = with_consistency(scores, true, scoring.drawn)
    return with_extra(scores, true, scoring.extra) if scoring.extra else scores


def _against_labels(
    scoring: Scoring,
) -> tuple[Path, Sequence[str] | None, MetricOptions, ReportReading]:
    return scoring.files.predictions, scoring.metrics, scoring.options, scoring.reports


def ids_of(path: Path) -> list[str]:
    """One id per line, of a text file."""
    try:
        lines = read_user_file(path).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: not UTF-8 text at byte {error.start}", "one id per line") from error
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _print(scores: Scores, scoring: Scoring, format_: Format) -> None:
    """Print a system's numbers; where metrics were asked for, the absent ones, too."""
    if scoring.per_study is not None:
        write(scoring.per_study, score_tables.per_study_csv(scores))
    if scoring.rexrank is not None:
        write(scoring.rexrank, rexrank_json(scoring.files.truth, scoring.files.predictions))
    if format_ is Format.table:
        print_parts(lambda screen: score_tables.score_table(scores, screen))
    elif format_ is Format.json:
        typer.echo(score_json.score_json(scores), nl=False)
    else:
        typer.echo(score_tables.score_csv(scores), nl=False)
        for name, line in scores.notes.items():
            typer.echo(f"note: {name}: {line}", err=True)
        score_tables.say_remarks(scores.remarks)
    if scoring.metrics is not None:
        for name, reason in scores.unavailable.items():
            typer.echo(f"{name}: not computed: {reason}", err=True)
    report_failures(scores.failed)
