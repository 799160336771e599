"""``harness list``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.output import Format, as_text, format_option, print_entries, print_rows
from harness.core import registry
from harness.core.failures import describe, let_through
from harness.core.metric_options import MetricOptions

if TYPE_CHECKING:
    from harness.metrics.base import MetricOutput
    from harness.missingness.corruptions import Corruption

Row = dict[str, Any]


class Listing(StrEnum):
    """What ``harness list`` can list."""

    methods = "methods"
    datasets = "datasets"
    profiles = "profiles"
    metrics = "metrics"
    corruptions = "corruptions"


def list_(
    what: Annotated[Listing, typer.Argument(help="What to list.")],
    format_: Annotated[Format, format_option(Format.table, Format.json, Format.csv)] = Format.table,
) -> None:
    """List what is registered. Exit 1 if some of it cannot be loaded."""
    rows = listing(what.value)
    broken = any("error" in row for row in rows)
    if format_ is Format.table and what.value in _ENTRIES:
        print_entries([_entry(what, row) for row in rows])
    else:
        if format_ is not Format.json:
            rows = [line for row in rows for line in _lines(what, row)]
        print_rows(rows, format_)
    if broken:
        raise typer.Exit(1)


def listing(what: str) -> list[Row]:
    """Facts of each registered method, dataset or metric, of each profile or corruption, as JSON values.

    What cannot be loaded has ``name`` and ``error`` only.
    """
    if what == "corruptions":
        from harness.missingness import CORRUPTIONS

        return [_corruption(each) for each in CORRUPTIONS.values()]
    kind = "datasets" if what == "profiles" else what
    return [row for name in registry.names(kind) for row in _facts(what, kind, name)]


def _facts(what: str, kind: str, name: str) -> list[Row]:
    """The rows of one registered name; any plugin may fail here, and the others are listed all the same."""
    try:
        return _FACTS[what](name)
    except BaseException as error:
        let_through(error)
        text = describe(error).removeprefix(f"{kind[:-1]} {name} ")
        prefix = "" if text.startswith("cannot be loaded") else "cannot be loaded: "
        return [{"name": name, "error": prefix + text}]


def _method(name: str) -> list[Row]:
    card = registry.card(name)
    facts = {
        "name": name,
        "title": card.title,
        "paper": card.paper,
        "licence": card.licence,
        "tasks": sorted(card.tasks),
        "reads": sorted(card.reads),
        "learned": card.learned,
        "presets": list(card.presets) if card.learned else [],
        "variants": {variant: text for variant, (text, _) in card.variants.items()},
    }
    return [facts]


def _dataset(name: str) -> list[Row]:
    dataset = registry.load("datasets", name)
    about = (dataset.__doc__ or "").strip().partition("\n")[0]
    licence, profiles = getattr(dataset, "licence", None), list(getattr(dataset, "profiles", {}))
    return [{"name": name, "about": about, "licence": licence, "profiles": profiles}]


def _profiles(name: str) -> list[Row]:
    """Conventions about texts that a dataset of reports offers; none for other datasets."""
    return [
        {
            "dataset": name,
            "profile": profile.name,
            "reference_words": profile.reference_words or profile.report_words,
            "tokenizer": profile.tokenizer,
            "about": profile.about,
        }
        for profile in getattr(registry.load("datasets", name), "profiles", {}).values()
    ]


def _metric(name: str) -> list[Row]:
    metric = registry.make_metric(name)
    reason = metric.unavailable()
    facts = {
        "name": name,
        "task": metric.task.value,
        "outputs": [
            {
                "name": output.name,
                "higher_is_better": output.higher_is_better,
                "bounds": [end if isfinite(end) else None for end in output.bounds],
                "unit": output.unit,
            }
            for output in _outputs(name)
        ],
        "signature": metric.signature,
        "available": reason is None,
        "reason": reason,
    }
    return [facts]


def _outputs(name: str) -> list[MetricOutput]:
    """The numbers of a family, for findings and for exclusive classes."""
    settings = [MetricOptions(multilabel=each) for each in (True, False)]
    outputs = [output for each in settings for output in registry.make_metric(name, each).outputs]
    return list({output.name: output for output in outputs}.values())


def _corruption(corruption: Corruption) -> Row:
    return {
        "name": corruption.name,
        "of": corruption.of,
        "levels": list(corruption.amounts),
        "unit": corruption.unit,
        "about": corruption.about,
        "source": corruption.source,
    }


_FACTS: Mapping[str, Callable[[str], list[Row]]] = {
    "methods": _method,
    "datasets": _dataset,
    "profiles": _profiles,
    "metrics": _metric,
}


def _lines(what: Listing, row: Row) -> list[Row]:
    """The lines of a table for one entry; of what cannot be loaded, one line with the reason."""
    if "error" in row:
        first, last = _ENDS[what.value]
        return [{first: row["name"], last: row["error"]}]
    return _LINES[what.value](row)


def _method_lines(row: Row) -> list[Row]:
    return [
        {
            "method": row["name"],
            "tasks": row["tasks"],
            "reads": row["reads"],
            "presets": row["presets"] or "-",
            "variants": list(row["variants"]) or "-",
            "title": row["title"],
        }
    ]


def _dataset_lines(row: Row) -> list[Row]:
    return [{"dataset": row["name"], "what": row["about"], "licence": row["licence"]}]


def _profile_lines(row: Row) -> list[Row]:
    words = row["reference_words"]
    return [
        {
            "dataset": row["dataset"],
            "profile": row["profile"],
            "references": f"{words} tokens" if words else "whole",
            "tokenizer": row["tokenizer"],
            "what": row["about"],
        }
    ]


_BETTER: Mapping[bool | None, str] = {True: "higher", False: "lower", None: "neither"}


def _metric_lines(row: Row) -> list[Row]:
    """One line per number that the family prints."""
    return [
        {
            "metric": output["name"],
            "family": row["name"],
            "task": row["task"],
            "better": _BETTER[output["higher_is_better"]],
            "range": _range(*output["bounds"]),
            "signature": row["signature"],
            "state": row["reason"] or "available",
        }
        for output in row["outputs"]
    ]


def _corruption_lines(row: Row) -> list[Row]:
    levels = ", ".join(f"{amount:g}" for amount in row["levels"])
    return [{"corruption": row["name"], "of": row["of"], "levels 1 to 5": levels, "unit": row["unit"]}]


def _range(low: float | None, high: float | None) -> str:
    return f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"


_LINES: Mapping[str, Callable[[Row], list[Row]]] = {
    "methods": _method_lines,
    "datasets": _dataset_lines,
    "profiles": _profile_lines,
    "metrics": _metric_lines,
    "corruptions": _corruption_lines,
}
"""What is listed -> the lines of a table for one entry."""

_ENDS = {
    "methods": ("method", "title"),
    "datasets": ("dataset", "what"),
    "profiles": ("dataset", "what"),
    "metrics": ("family", "state"),
}
"""What is listed -> the column of the name, and the one that says why something cannot be loaded."""


def _entry(what: Listing, row: Row) -> tuple[str, Mapping[str, str]]:
    """What a terminal shows of one entry: its name and labelled facts; those that are empty are left out."""
    facts = {"error": row["error"]} if "error" in row else _ENTRIES[what.value](row)
    return row["name"], {label: as_text(fact) for label, fact in facts.items() if fact}


def _method_entry(row: Row) -> Row:
    shown = ("title", "tasks", "reads", "presets", "variants")
    return {label: list(row[label]) if label == "variants" else row[label] for label in shown}


def _corruption_entry(row: Row) -> Row:
    levels = ", ".join(f"{amount:g}" for amount in row["levels"])
    return {
        "what": row["about"],
        "of": row["of"],
        "levels 1 to 5": levels,
        "unit": row["unit"],
        "source": row["source"],
    }


def _metric_entry(row: Row) -> Row:
    """A family with the numbers that it prints, those of one direction and range together."""
    alike: dict[str, list[str]] = {}
    for output in row["outputs"]:
        better = _BETTER[output["higher_is_better"]]
        alike.setdefault(f"{better} is better, {_range(*output['bounds'])}", []).append(output["name"])
    values = "; ".join(f"{', '.join(names)} ({text})" for text, names in alike.items())
    state = row["reason"] or "available"
    return {"values": values, "task": row["task"], "signature": row["signature"], "state": state}


_ENTRIES: Mapping[str, Callable[[Row], Row]] = {
    "methods": _method_entry,
    "metrics": _metric_entry,
    "corruptions": _corruption_entry,
}
"""What is listed by entries, because a table of it is wider than a terminal."""
