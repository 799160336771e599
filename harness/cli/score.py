"""``harness score``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import (
    Dataset,
    MetricNames,
    NullWords,
    ReferenceWords,
    Root,
    Tokenizer,
    Uncertain,
    null_words_of,
)
from harness.cli.output import Format, format_option, writable_file
from harness.core.config import split_list
from harness.core.errors import HarnessError

_Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[REFERENCES] [PREDICTIONS]",
        help="The same as --references and --predictions.",
        show_default=False,
    ),
]
_References = Annotated[
    Path | None,
    typer.Option(
        help="Reference reports: JSON, JSONL, CSV, TSV, Parquet, a dataset's folder or text. Diagnose: a "
        "table of labels. Synthesize: a folder of real images."
    ),
]
_Predictions = Annotated[Path | None, typer.Option(help="What the system made, in any of these formats.")]
_Missing = Annotated[
    list[str] | None,
    typer.Option(
        help="Instead of --predictions: full=FILE, no-context=FILE, ..; what the system answered with these "
        "modalities missing. Prints each loss, and curves over missing rates."
    ),
]
_Task = Annotated[
    str,
    typer.Option(
        help="report; diagnose: tables of labels and of probabilities; synthesize: folders of images."
    ),
]
_Exclusive = Annotated[
    bool, typer.Option("--exclusive", help="With --task diagnose: classes exclude each other.")
]
_Blank = Annotated[
    str | None, typer.Option(help="Of tables of labels: negative counts empty labels as not there.")
]
_Findings = Annotated[str | None, typer.Option(help="Of tables of labels: score these columns alone.")]
_Labels = Annotated[
    Path | None,
    typer.Option(
        help="A table of ids and CheXpert's 14 labels, instead of reference reports. With --task synthesize: "
        "of ids and findings, for the FID of each finding alone."
    ),
]
_TrainDir = Annotated[
    Path | None,
    typer.Option(help="With --task synthesize: folder of the training images; measures memorisation."),
]
_Preset = Annotated[
    str | None, typer.Option(help="Of reports, instead of --metrics: rexrank, RadCliQ-v1 and its parts.")
]
_Store = Annotated[
    Path | None,
    typer.Option(help="Results store: write the numbers into it, against the test studies of its runs."),
]
_As = Annotated[str | None, typer.Option("--as", help="With --store: name of the system in tables.")]
_Subset = Annotated[
    Path | None, typer.Option(help="Of reports: file with one id per line; only these studies are scored.")
]
_PerLabel = Annotated[
    bool, typer.Option("--per-label", help="Precision, recall and F1 of every label alone instead.")
]
_Extra = Annotated[
    list[Path] | None,
    typer.Option(help="Of reports: table of ids and scores that another program gave; may be repeated."),
]
_Drawn = Annotated[
    Path | None,
    typer.Option(help="Of reports: several drawn reports per study; is the system good where they agree?"),
]
_PerStudy = Annotated[
    Path | None, typer.Option(help="CSV file to write with one row per study.", callback=writable_file)
]


def score(
    files: _Files = None,
    references: _References = None,
    predictions: _Predictions = None,
    missing: _Missing = None,
    task: _Task = "report",
    metrics: MetricNames = None,
    preset: _Preset = None,
    tokenizer: Tokenizer = None,
    reference_words: ReferenceWords = None,
    uncertain: Uncertain = None,
    null_words: NullWords = None,
    exclusive: _Exclusive = False,
    blank: _Blank = None,
    findings: _Findings = None,
    labels: _Labels = None,
    train_dir: _TrainDir = None,
    store: _Store = None,
    name: _As = None,
    dataset: Dataset = None,
    root: Root = None,
    subset: _Subset = None,
    extra: _Extra = None,
    drawn: _Drawn = None,
    per_label: _PerLabel = False,
    per_study: _PerStudy = None,
    format_: Annotated[Format, format_option(Format.table, Format.json, Format.csv)] = Format.table,
) -> None:
    """Score the output file of any system; no model is needed."""
    given = _given(locals())
    from harness.cli.score_tasks import Files, RowPlace, Scoring, run
    from harness.core.registry import MetricOptions
    from harness.evaluation.probability_files.tables import LabelReading

    only = tuple(split_list(findings, "--findings") or ())
    run(
        Scoring(
            task=task,
            files=Files.of(
                files or [],
                Files(references, _states(predictions, missing or [])),
                store or (labels if task == "report" else None),
            ),
            given=given,
            metrics=names_of(metrics, preset),
            options=MetricOptions(tokenizer, reference_words, uncertain),
            null_words=null_words_of(null_words),
            reading=LabelReading(uncertain, blank, exclusive or None, only),
            labels=labels,
            train=train_dir,
            row=None if store is None else RowPlace(store, name or "", dataset, root),
            subset=subset,
            extra=tuple(extra or ()),
            drawn=drawn,
            per_label=per_label,
            per_study=per_study,
        ),
        format_,
    )


def _given(values: Mapping[str, object]) -> set[str]:
    """Names of the options that only some tasks and tables have, of those that are on the command line."""
    names = {name for name, value in values.items() if value is not None and value is not False}
    names -= {"files", "references", "predictions", "task", "per_label", "format_"}
    return {"as" if name == "name" else name.replace("_", "-") for name in names}


def names_of(metrics: str | None, preset: str | None) -> Sequence[str] | None:
    """Names of the metrics that were asked for, one by one or as a set."""
    from harness.metrics.presets import metrics_of

    if metrics is not None and preset is not None:
        raise HarnessError("--metrics and --preset exclude each other", "leave one of them out")
    return metrics_of(preset) if preset is not None else split_list(metrics, "--metrics")


def _states(predictions: Path | None, missing: list[str]) -> dict[str, Path]:
    """State -> file; the one file of ``--predictions`` has the state ``""``."""
    files = {} if predictions is None else {"": predictions}
    for each in missing:
        name, equals, file = each.partition("=")
        if not equals or not name or not file:
            raise HarnessError(f"--missing {each}: no file", "for example --missing no-context=b.json")
        if name in files:
            raise HarnessError(f"--missing {name}= is given twice", "one file per state")
        files[name] = Path(file)
    return files
