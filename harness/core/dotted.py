"""Settings with nested keys and with dotted ones: ``{"training": {"epochs": 3}}`` and ``training.epochs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with nested keys instead of dotted ones: ``{"a.b": 1}`` to ``{"a": {"b": 1}}``."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = str(key).split(".")
        branch = result
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = nested(value) if isinstance(value, Mapping) else value
    return result


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values with dotted keys instead of nested ones: ``{"a": {"b": 1}}`` to ``{"a.b": 1}``."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
        result |= inner
    return result


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``, mapping by mapping."""
    result = dict(base)
    for key, value in over.items():
        are_mappings = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if are_mappings else value
    return result
