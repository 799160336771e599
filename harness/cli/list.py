"""What ``harness list`` prints."""

from __future__ import annotations

from harness.core import registry


def listing(what: str) -> list[dict[str, str]]:
    """One mapping of column to text per registered name."""
    if what == "methods":
        return [_method(name) for name in registry.names("methods")]
    if what == "datasets":
        return [_dataset(name) for name in registry.names("datasets")]
    if what == "profiles":
        return [row for name in registry.names("datasets") for row in _profiles(name)]
    return [row for name in registry.names("metrics") for row in _metric(name)]


def _method(name: str) -> dict[str, str]:
    card = registry.load("methods", name).card
    return {
        "method": name,
        "tasks": ", ".join(sorted(card.tasks)),
        "reads": ", ".join(sorted(card.reads)),
        "presets": ", ".join(card.presets) if card.learned else "-",
        "variants": ", ".join(card.variants) or "-",
        "title": card.title,
    }


def _dataset(name: str) -> dict[str, str]:
    dataset = registry.load("datasets", name)
    return {"dataset": name, "what": (dataset.__doc__ or "").strip().splitlines()[0]}


def _profiles(name: str) -> list[dict[str, str]]:
    """Conventions about texts that a dataset of reports offers; none for other datasets."""
    return [
        {
            "dataset": name,
            "profile": profile.name,
            "references": f"cut at {profile.reference_words} tokens" if profile.reference_words else "whole",
            "tokenizer": profile.tokenizer,
            "what": profile.about,
        }
        for profile in getattr(registry.load("datasets", name), "profiles", {}).values()
    ]


def _metric(name: str) -> list[dict[str, str]]:
    metric_class = registry.load("metrics", name)
    metric = metric_class()
    state = metric.unavailable() or "available"
    return [
        {
            "metric": output.name,
            "family": name,
            "task": metric.task.value,
            "better": "higher" if output.higher_is_better else "lower",
            "range": f"{output.bounds[0]:g} to {output.bounds[1]:g}",
            "signature": metric.signature,
            "state": state,
        }
        for output in metric.outputs
    ]
