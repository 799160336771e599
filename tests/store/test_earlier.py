"""What stays of an earlier result when a rerun lacks some of its numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.store.earlier import Earlier
from harness.store.store import Store
from tests.helpers.leaderboards import add


def test_numbers_replicates_and_diagrams_stay_where_a_rerun_has_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = add(store, "first", {"cider": 0.5, "ece": 0.1}, detail="n 10")
    result = store.result(key)
    assert result is not None
    failed = {"value": None, "ci95": None, "status": "failed", "detail": "no memory"}
    rerun = [replace(row, value=0.4) for row in result.rows if row.metric == "cider"]
    rerun += [replace(row, **failed) for row in result.rows if row.metric == "ece" and not row.rate]
    earlier = Earlier(result, rerun)
    values = {(row.metric, row.rate): row.value for row in earlier.rows}
    assert values == {
        (row.metric, row.rate): 0.4 if row.metric == "cider" else row.value for row in result.rows
    }
    assert {row.detail for row in earlier.rows if row.metric == "ece"} == {
        "n 10; from an earlier run, because the newest has no value: no memory"
    }
    assert set(earlier.replicates()) == {"ece"}
    assert set(earlier.reliability({})) == {"full", "context"}
    assert earlier.reliability({"full": {}}) == {"full": {}}


def test_without_an_earlier_result_nothing_changes(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert store.result("toy/first/none") is None
    key = add(store, "first", {"cider": 0.5})
    result = store.result(key)
    assert result is not None
    for other in (None, result):
        earlier = Earlier(other, result.rows)
        assert earlier.rows == result.rows
        assert earlier.replicates() == {}
        assert earlier.manifest(result.manifest) is result.manifest
