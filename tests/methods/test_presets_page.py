"""docs/results/presets.md names every setting of every preset ``tiny`` once, with its value in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.core import registry

PAGE = Path(__file__).resolve().parents[2] / "docs/results/presets.md"
SECTIONS = {
    "dia": "DiA",
    "micar_vlmoe": "MicarVLMoE",
    "vdgen": "VDGen",
    "kedr": "KEDR",
    "codi_xr": "CoDi XR",
    "shaspec": "ShaSpec",
    "missing_prompts": "Missing-aware prompts",
    "r2gen_base": "R2Gen's base model",
    "early_fusion": "Early and late fusion",
    "late_fusion": "Early and late fusion",
}


def section(title: str) -> str:
    parts = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", PAGE.read_text(encoding="utf-8"), flags=re.M))
    return parts[title]


def named(text: str) -> list[tuple[str, Any]]:
    """(setting, value) of each ``key=value`` in a text, in order."""
    return [(key, value_of(value)) for key, value in re.findall(r"`([a-z0-9_.]+)=([^`]+)`", text)]


def value_of(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """(setting, value) of nested settings, keys joined by dots."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def test_every_learned_method_has_a_section() -> None:
    learned = {name for name in registry.names("methods") if registry.card(name).learned}
    assert learned == set(SECTIONS)


@pytest.mark.parametrize("method", SECTIONS)
def test_the_page_has_each_setting_of_tiny_once_and_as_it_is(method: str) -> None:
    settings = named(section(SECTIONS[method]))
    assert len({key for key, _ in settings}) == len(settings)
    assert dict(settings) == dict(flat(registry.card(method).presets["tiny"]))
