"""Which rows a run has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.core import registry
from harness.core.config import RunSettings
from harness.evaluation.entries import entries
from harness.store.row_labels import label_of, method_of, training_rate


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


def label(**settings: Any) -> str:
    config = RunSettings.of(methods=("dia",), shuffled=False, set={"dia": settings}).config
    return entries(config)[0].label


def test_no_path_stands_in_a_label_and_the_same_file_is_the_same_row(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.pth").write_bytes(b"the same weights")
    (tmp_path / "two" / "other.pth").write_bytes(b"other weights")
    one, two, other = (
        label(backbone_weights=str(tmp_path / path))
        for path in ("one/net.pth", "two/net.pth", "two/other.pth")
    )
    assert str(tmp_path) not in one
    assert one == two != other
    assert one.startswith("dia[backbone_weights=sha256:")
    assert method_of(one) == "dia"


def test_a_folder_counts_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/a.bin").write_bytes(b"1")
    before = label(backbone_weights=str(tmp_path / "model"))
    (tmp_path / "model/b.bin").write_bytes(b"2")
    assert label(backbone_weights=str(tmp_path / "model")) != before


def test_settings_stand_in_a_label_as_long_as_they_are_readable() -> None:
    assert label(min_count=3, layers=2) == "dia[layers=2,min_count=3]"
    many = {f"setting_{number}": number for number in range(9)}
    long = label_of("dia:baseline", many, 0.3)
    assert len(long) < 60
    assert long != label_of("dia:baseline", many | {"setting_3": 4}, 0.3)
    assert method_of(long + "+shuffled-image") == "dia:baseline"
    assert training_rate(long) == (label_of("dia:baseline", many), 0.3)


def test_a_model_of_the_hub_is_named() -> None:
    assert label_of("vdgen", {"llm": "owner/model"}) == "vdgen[llm=owner/model]"
