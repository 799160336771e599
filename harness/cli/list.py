"""``harness list``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from math import isfinite
from typing import Annotated, Any

import typer

from harness.cli.output import Format, format_option, print_rows
from harness.core import registry

Row = dict[str, Any]


class Listing(StrEnum):
    """What ``harness list`` can list."""

    methods = "methods"
    datasets = "datasets"
    profiles = "profiles"
    metrics = "metrics"


def list_(
    what: Annotated[Listing, typer.Argument(help="What to list.")],
    format_: Annotated[Format, format_option(Format.table, Format.json, Format.csv)] = Format.table,
) -> None:
    """List what is registered."""
    rows = listing(what.value)
    if format_ is not Format.json:
        rows = [line for row in rows for line in _LINES[what.value](row)]
    print_rows(rows, format_)


def listing(what: str) -> list[Row]:
    """Facts of each registered method, dataset or metric, or of each profile, as JSON values."""
    if what == "methods":
        return [_method(name) for name in registry.names("methods")]
    if what == "datasets":
        return [_dataset(name) for name in registry.names("datasets")]
    if what == "profiles":
        return [row for name in registry.names("datasets") for row in _profiles(name)]
    return [_metric(name) for name in registry.names("metrics")]


def _method(name: str) -> Row:
    card = registry.load("methods", name).card
    return {
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


def _dataset(name: str) -> Row:
    dataset = registry.load("datasets", name)
    return {
        "name": name,
        "about": (dataset.__doc__ or "").strip().splitlines()[0],
        "licence": getattr(dataset, "licence", None),
        "profiles": list(getattr(dataset, "profiles", {})),
    }


def _profiles(name: str) -> list[Row]:
    """Conventions about texts that a dataset of reports offers; none for other datasets."""
    return [
        {
            "dataset": name,
            "profile": profile.name,
            "reference_words": profile.reference_words,
            "tokenizer": profile.tokenizer,
            "about": profile.about,
        }
        for profile in getattr(registry.load("datasets", name), "profiles", {}).values()
    ]


def _metric(name: str) -> Row:
    metric = registry.load("metrics", name)()
    reason = metric.unavailable()
    return {
        "name": name,
        "task": metric.task.value,
        "outputs": [
            {
                "name": output.name,
                "higher_is_better": output.higher_is_better,
                "bounds": [end if isfinite(end) else None for end in output.bounds],
            }
            for output in metric.outputs
        ],
        "signature": metric.signature,
        "available": reason is None,
        "reason": reason,
    }


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
            "references": f"cut at {words} tokens" if words else "whole",
            "tokenizer": row["tokenizer"],
            "what": row["about"],
        }
    ]


def _metric_lines(row: Row) -> list[Row]:
    """One line per number that the family prints."""
    return [
        {
            "metric": output["name"],
            "family": row["name"],
            "task": row["task"],
            "better": "higher" if output["higher_is_better"] else "lower",
            "range": _range(*output["bounds"]),
            "signature": row["signature"],
            "state": row["reason"] or "available",
        }
        for output in row["outputs"]
    ]


def _range(low: float | None, high: float | None) -> str:
    return f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"


_LINES: Mapping[str, Callable[[Row], list[Row]]] = {
    "methods": _method_lines,
    "datasets": _dataset_lines,
    "profiles": _profile_lines,
    "metrics": _metric_lines,
}
"""What is listed -> the lines of a table for one entry."""
