"""``harness score``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import (
    Address,
    Dataset,
    Executor,
    MetricNames,
    NullWords,
    ReferenceWords,
    Root,
    Tokenizer,
    Uncertain,
    execution_of,
    null_words_of,
)
from harness.cli.output import Format, format_option, writable_file
from harness.core.config import split_list
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from harness.cli.score_tasks import Scoring

_Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[REFERENCES] [PREDICTIONS]",
        help="The same as --references and --predictions.",
        show_default=False,
    ),
]
_References = Annotated[
    list[Path] | None,
    typer.Option(
        help="Reference reports: JSON, JSONL, CSV, TSV, Parquet, a dataset's folder or text. Diagnose: a "
        "table of labels. Synthesize: a folder of real images. With --several it may be repeated."
    ),
]
_Predictions = Annotated[
    list[Path] | None,
    typer.Option(help="What the system made, in any of these formats. With --several it may be repeated."),
]
_Several = Annotated[
    str | None,
    typer.Option(
        help="Of reports: how several texts of one study count: max, the best pair, or mean. BLEU, ROUGE-L, "
        "CIDEr and METEOR take several references in their own way."
    ),
]
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
    str | None,
    typer.Option(
        help="Of reports, instead of --metrics: rexrank, RadCliQ-v1 and its parts; rexrank-all, all of its "
        "columns."
    ),
]
_Store = Annotated[
    Path | None,
    typer.Option(help="Results store: write the numbers into it, against the test studies of its runs."),
]
_As = Annotated[str | None, typer.Option("--as", help="With --store: name of the system in tables.")]
_Subset = Annotated[
    Path | None, typer.Option(help="File with one id per line; only these studies are scored.")
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
_Rexrank = Annotated[
    Path | None,
    typer.Option(
        help="Of reports: JSON file to write, a submission to ReXrank. It holds reports.",
        callback=writable_file,
    ),
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
    several: _Several = None,
    extra: _Extra = None,
    drawn: _Drawn = None,
    per_label: _PerLabel = False,
    per_study: _PerStudy = None,
    rexrank: _Rexrank = None,
    executor: Executor = None,
    address: Address = None,
    format_: Annotated[
        Format, format_option(Format.table, Format.json, Format.csv, Format.html)
    ] = Format.table,
) -> None:
    """Score the output file of any system; no model is needed."""
    values = dict(locals())
    from harness.cli.score_tasks import run

    run(_scoring(values), format_)


def _scoring(values: Mapping[str, Any]) -> Scoring:
    """What the options of ``score`` ask, by their names."""
    from harness.cli.score_tasks import Files, RowPlace, Scoring, ids_of
    from harness.core.metric_options import MetricOptions
    from harness.evaluation.probability_files.tables import LabelReading
    from harness.evaluation.report_files.pairing import ReportReading

    task, store, labels, uncertain = (values[name] for name in ("task", "store", "labels", "uncertain"))
    only = tuple(split_list(values["findings"], "--findings") or ())
    (references, *true), (predictions, *ours) = (
        values[name] or [None] for name in ("references", "predictions")
    )
    named = Files(references, _states(predictions, values["missing"] or []), (tuple(true), tuple(ours)))
    subset = None if values["subset"] is None else ids_of(values["subset"])
    row = None if store is None else RowPlace(store, values["name"] or "", values["dataset"], values["root"])
    return Scoring(
        task=task,
        files=Files.of(values["files"] or [], named, store or (labels if task == "report" else None)),
        given=_given(values),
        metrics=names_of(values["metrics"], values["preset"]),
        options=MetricOptions(values["tokenizer"], values["reference_words"], uncertain),
        reports=ReportReading(null_words_of(values["null_words"]), subset, values["several"]),
        reading=LabelReading(
            uncertain,
            values["blank"],
            values["exclusive"] or None,
            only,
            None if subset is None else tuple(subset),
        ),
        labels=labels,
        train=values["train_dir"],
        row=row,
        extra=tuple(values["extra"] or ()),
        drawn=values["drawn"],
        read=_read(values),
        per_label=values["per_label"],
        per_study=values["per_study"],
        rexrank=values["rexrank"],
        execution=execution_of(values["executor"], values["address"]),
    )


def _read(values: Mapping[str, Any]) -> list[Path]:
    """Every path on the command line but those of what is written, and of the store."""
    named = [value for name, value in values.items() if name not in ("per_study", "rexrank", "store")]
    lists = [value if isinstance(value, list | tuple) else [value] for value in named]
    return [path for each in lists for path in each if isinstance(path, Path)]


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
    return metrics_of(preset) if preset is not None else split_list(metrics, "--metrics", empty=False)


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
