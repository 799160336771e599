"""Options that several commands share, and those of ``harness run``, made from the fields of its settings."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from harness.cli.output import writable_folder
from harness.core.config import FIELDS, ExecutionConfig, parse_overrides, parse_rates, split_list
from harness.core.errors import HarnessError

EVALUATE, MISSINGNESS, METRICS = "What to evaluate", "Missingness", "Metrics"
WHERE, OUTPUT = "Where to run", "Output"

_PANELS: Mapping[str, tuple[str, ...]] = {
    EVALUATE: ("methods", "dataset", "root", "preset", "seeds", "limit", "set", "shuffled"),
    MISSINGNESS: (
        *("missing", "drop", "states", "mechanism", "mask_seeds", "masks", "corrupt"),
        *("train_missing", "train_drop", "impute"),
    ),
    METRICS: ("metrics", "tokenizer", "reference_words", "uncertain", "temperature", "by", "report_samples"),
    WHERE: tuple(name for name in ExecutionConfig.model_fields if name != "track"),
    OUTPUT: ("store", "track"),
}
"""Panel of ``harness run --help`` -> fields. A field without a panel is shown with what to evaluate."""


def _help(name: str) -> str:
    return FIELDS[name].description or ""


Dataset = Annotated[str | None, typer.Option(help=_help("dataset"))]
Root = Annotated[Path | None, typer.Option(help=_help("root"))]
Methods = Annotated[str, typer.Option(help=_help("methods"))]
Preset = Annotated[str | None, typer.Option(help=_help("preset"))]
Device = Annotated[str | None, typer.Option(help=_help("device"))]
Overrides = Annotated[list[str] | None, typer.Option("--set", help=_help("set"))]
Store = Annotated[Path, typer.Option(help="Results store to read.")]
Results = Annotated[Path | None, typer.Option(help="JSON file of a leaderboard to read instead of a store.")]
Out = Annotated[
    Path | None, typer.Option(help="Folder to write to instead of printing.", callback=writable_folder)
]
ReferenceReports = Annotated[
    Path, typer.Option(help="Reference reports: JSON, JSONL, CSV, TSV, Parquet, a dataset's folder or text.")
]
NullWords = Annotated[
    str | None,
    typer.Option(
        help="Texts that mean no report, separated by commas; default nan, None, null, N/A and so on; "
        "'' for none.",
    ),
]
MetricNames = Annotated[str | None, typer.Option(help="Metrics or families; default all that can run.")]
Tokenizer = Annotated[
    str | None, typer.Option(help="Tokenisation profile of the text metrics; default r2gen-iu.")
]
ReferenceWords = Annotated[
    int | None, typer.Option(help="Cut references after this number of tokens; default never.")
]
Uncertain = Annotated[str | None, typer.Option(help=_help("uncertain"))]
Figures = Annotated[
    bool,
    typer.Option(
        help="Draw curves, reliance, reliability and densities into a folder figures/.",
        rich_help_panel=OUTPUT,
    ),
]


def null_words_of(text: str | None) -> list[str] | None:
    """The words of ``--null-words``; None where the option is absent."""
    return None if text is None else [word for word in text.split(",") if word.strip()]


def with_settings(command: Callable[..., None], without: Sequence[str] = ()) -> Callable[..., None]:
    """Give a command one option per field of a run's settings, beside its own options, panel by panel.

    Args:
        command: takes the options of the fields as ``**flags``; an option that is absent is None.
        without: fields that have no option.

    Returns:
        The same function, with a signature that typer reads.
    """
    plain = signature(command, eval_str=True)
    own = [each for each in plain.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    names = [name for name in FIELDS if name not in without]
    options = sorted([*map(_parameter, names), *own], key=_place)
    command.__signature__ = plain.replace(parameters=options)  # type: ignore[attr-defined]
    return command


def values_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``with_settings`` as values of the settings; None where an option is absent.

    Raises:
        HarnessError: a list with an item of the wrong kind, or an override that is none.
    """
    values: dict[str, Any] = {}
    for name, text in flags.items():
        kind = FIELDS[name].annotation
        if name == "missing" and text is not None:
            values[name] = parse_rates(text, _flag(name))
        elif text is None or _is_mapping(kind):
            values[name] = parse_overrides(text) if text else None
        elif item := _item(kind):
            values[name] = split_list(text, _flag(name), item)
        else:
            values[name] = text
    return values


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _panel(name: str) -> str:
    return next((panel for panel, names in _PANELS.items() if name in names), EVALUATE)


def _place(parameter: Parameter) -> int:
    """Number of an option's panel."""
    (option,) = (each for each in parameter.annotation.__metadata__ if hasattr(each, "rich_help_panel"))
    return list(_PANELS).index(option.rich_help_panel)


def _parameter(name: str) -> Parameter:
    """A field as a keyword parameter, None by default: so that a value in a YAML file is not overridden."""
    field = FIELDS[name]
    default = field.get_default(call_default_factory=True)
    text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    flag = _flag(name)
    option = typer.Option(
        f"{flag}/--no{flag[1:]}" if field.annotation is bool else flag,
        help=field.description,
        rich_help_panel=_panel(name),
        metavar=_metavar(field.annotation),
        show_default=False if default in (None, (), {}) else text,
    )
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[_typed(field.annotation), option]
    )


def _typed(kind: Any) -> Any:
    """What the option parses: lists and choices stay text, which the models check."""
    if _is_mapping(kind):
        return list[str] | None
    plain = _plain(kind)
    return (plain if plain in (bool, int, float, Path) else str) | None


def _metavar(kind: Any) -> str | None:
    plain = _plain(kind)
    if get_origin(plain) is Literal:
        return f"[{'|'.join(get_args(plain))}]"
    item = _item(kind)
    return f"<{item.__name__}>,.." if item else None


def _plain(kind: Any) -> Any:
    """``X`` of ``X | None``."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(each for each in get_args(kind) if each is not type(None))
    return kind


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is dict


def _item(kind: Any) -> type | None:
    """Type of a list's items; None for what is no list."""
    plain = _plain(kind)
    item: type | None = get_args(plain)[0] if get_origin(plain) is tuple else None
    return item


Executor = Annotated[
    Literal["local", "ray"] | None,
    typer.Option(
        help="Of reports: where statistics of many studies are computed: local, the default, or ray (extra "
        "ray). The numbers are the same."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="With --executor ray: address of the cluster, HOST:PORT or auto; default one of its own."
    ),
]


def execution_of(executor: Literal["local", "ray"] | None, address: str | None) -> ExecutionConfig:
    """Where statistics are computed.

    Raises:
        HarnessError: an address without Ray.
    """
    if address is not None and executor != "ray":
        raise HarnessError("--address is for --executor ray", "leave it out")
    return ExecutionConfig(executor=executor or "local", address=address)


def one_source(context: typer.Context, results: object) -> None:
    """Refuse a store beside files of results, which would be ignored.

    Raises:
        HarnessError: both are on the command line.
    """
    source = context.get_parameter_source("store")
    if results and source is not None and source.name == "COMMANDLINE":
        raise HarnessError("--results and --store: numbers are read from one", "leave one out")
