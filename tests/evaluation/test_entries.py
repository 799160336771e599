"""Which rows a run has."""

from __future__ import annotations

import pytest

from harness.core import registry
from harness.core.config import RunSettings
from harness.evaluation.entries import entries


def labels(*methods: str) -> list[str]:
    return [entry.label for entry in entries(RunSettings.of(methods=methods).config) if not entry.shuffled]


def test_all_brings_the_opponents_of_its_methods() -> None:
    rows = labels("all")
    assert set(registry.names("methods")) <= set(rows)
    assert rows.index("dia:baseline") == rows.index("dia") + 1
    assert "early_fusion:dropout" in rows
    assert len(rows) == len(set(rows))


def test_a_method_that_is_named_comes_alone() -> None:
    assert labels("dia", "early_fusion") == ["dia", "early_fusion"]


def test_a_variant_that_is_named_beside_all_stands_once() -> None:
    assert labels("dia:baseline", "all").count("dia:baseline") == 1


def test_a_method_that_cannot_be_loaded_brings_no_opponents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.METHODS, "kedr", "no_such_module:Method")
    registry._table.cache_clear()
    try:
        broken: dict[str, str] = {}
        rows = entries(RunSettings.of(methods=("all",)).config, broken)
        assert set(broken) == {"kedr"}
        assert "dia:baseline" in [row.label for row in rows]
    finally:
        monkeypatch.undo()
        registry._table.cache_clear()
