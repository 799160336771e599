"""Manifests: read and written without a change; keys of another version; errors that name a place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.errors import CorruptFileError
from harness.core.files import read_checked_json, write_checked_json
from harness.leaderboard.facts import RowFacts
from harness.store.manifest import Cost, ImputedState, Manifest
from tests.helpers.leaderboards import RATES, add, manifest_values, small_store

COMMITTED = Path(__file__).parents[2] / "leaderboards" / "iu-phantom.json"


def test_what_is_read_is_written_again_to_the_byte() -> None:
    values = manifest_values("dia", 0, RATES, imputed={"by": "gossip", "cell": "cells/x", "states": {}})
    values["cost"] = {"device": "cpu", "parameters": None, "training_seconds": 125.0, "devices": 2}
    assert json.dumps(Manifest.model_validate(values).to_json()) == json.dumps(values)
    state = {"from": ["frontal"], "studies": 3, "left": 1}
    assert ImputedState.model_validate(state).to_json() == state


def test_the_committed_facts_keep_their_keys_order_and_digits() -> None:
    for facts in json.loads(COMMITTED.read_text(encoding="utf-8"))["results"].values():
        assert json.dumps(RowFacts.model_validate(facts).to_json()) == json.dumps(facts)


def test_keys_of_a_later_version_are_left_out() -> None:
    values = manifest_values("dia", 0, RATES, moonlight=0.3)
    assert "moonlight" not in Manifest.model_validate(values).to_json()
    assert Cost.model_validate({"device": "cpu", "joules": 1.0}).to_json() == {"device": "cpu"}


@pytest.mark.parametrize(
    ("change", "place"), [({"protocol": "first"}, "protocol"), ({"machine": {}}, "machine.device")]
)
def test_a_manifest_that_is_none_is_named_with_its_file(
    tmp_path: Path, change: dict[str, object], place: str
) -> None:
    store = small_store(tmp_path)
    key = add(store, "odd", {"cider": 0.1})
    path = store.root / "results" / f"{key}.json"
    content = read_checked_json(path)
    write_checked_json(path, content | {"manifest": content["manifest"] | change})
    with pytest.raises(CorruptFileError, match=rf"{key}\.json: not a result file: {place}: "):
        store.stored()
