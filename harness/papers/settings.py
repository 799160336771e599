"""Whether a measured row ran with the settings that a paper states for its dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.core.content import WITHHELD
from harness.core.dotted import flat, nested
from harness.leaderboard.facts import RowFacts
from harness.store.results import Measurement
from harness.store.row_labels import training_rate


def unlike(
    row: Measurement, facts: RowFacts | None, stated: Mapping[str, Any], weights: Iterable[str] = ()
) -> list[str]:
    """What differs between a row and the ``paper`` preset with the settings stated, one line each.

    Where the preset already is another one, the settings of ``paper`` say nothing, and only those that
    ``--set`` changed are listed. A setting that names pretrained weights is no difference: where they lie
    depends on the machine.

    Args:
        row: a number of the result.
        facts: how the result came about; None where only its label is known.
        stated: setting -> the paper's value.
        weights: settings that name pretrained weights, besides those on the card.
    """
    lines = [] if row.preset == "paper" else [f"preset {row.preset}"]
    if facts is None:
        settings = training_rate(row.method)[0].partition("[")[2].removesuffix("]")
        return lines + ([f"set {settings}"] if settings else [])
    if row.preset == "paper":
        lines += _not_as_stated(facts, stated)
    free = {*stated, *weights, *(each["setting"].partition(".")[2] for each in facts.card.get("weights", ()))}
    lines += [
        f"{key} is {_shown(own)}, not {_shown(preset)}"
        for key, (preset, own) in facts.changed.items()
        if key not in free and not str(own).startswith(WITHHELD)
    ]
    return lines


def _not_as_stated(facts: RowFacts, stated: Mapping[str, Any]) -> Iterator[str]:
    own = flat(facts.card.get("settings", {}))
    for key, value in flat(nested(stated)).items():
        if key not in own:
            yield f"{key} is not on record, the paper's is {_shown(value)}"
        elif _plain(own[key]) != _plain(value):
            yield f"{key} is {_shown(own[key])}, the paper's is {_shown(value)}"


def other_profile(facts: RowFacts | None, reader: str, profile: str) -> str:
    """How a row's reading of the dataset differs from the paper's; empty where it does not, or is not known.

    Args:
        facts: how the result came about.
        reader: registered name of the dataset.
        profile: the paper's; empty for the dataset's default.
    """
    if facts is None:
        return ""
    own = facts.config.get("set", {}).get(reader, {}).get("profile", "")
    names = [name or "default" for name in (own, profile)]
    return "" if names[0] == names[1] else f"profile {names[0]}, the paper's is {names[1]}"


def assignments(owner: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The settings as ``--set`` takes them: ``owner.key=value``."""
    return tuple(f"{owner}.{key}={_shown(value)}" for key, value in flat(nested(settings)).items())


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, separators=(",", ":"))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
