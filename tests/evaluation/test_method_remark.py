"""What a method says of itself, and what is odd about its reports, stands beside its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.config import RunSettings
from harness.evaluation.run import run_serially
from harness.store.store import Store
from tests.helpers.toys import Echo, Quiet


def test_a_methods_remark_is_the_detail_of_its_rows(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Echo, "remark", "echo: it repeats")
    settings = RunSettings.of(
        methods=("echo", "template"), dataset="toy", metrics=("bleu",), store=toy_world / "store"
    )
    assert run_serially(settings, Quiet())[1]
    rows = [row for result in Store(toy_world / "store").stored() for row in result.rows]
    details = {row.method: row.detail for row in rows if row.metric == "bleu_4"}
    assert details == {
        "echo": "echo: it repeats; 5 of 40 predictions are the same text",
        "template": "40 of 40 predictions are the same text",
    }
