"""A damaged file of one method never keeps the other methods of a run from their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.evaluation.run import run_serially
from tests.evaluation.test_evaluate import toy_config
from tests.helpers.toys import Quiet


@pytest.mark.parametrize("content", ["{", "[]", ""])
@pytest.mark.parametrize(("name", "heals"), [("done.json", False), ("full.seconds.json", True)])
def test_a_damaged_file_fails_its_own_method_at_most(
    toy_world: Path, name: str, heals: bool, content: str
) -> None:
    settings = toy_config(toy_world, ("learner", "echo"), metrics=("bleu",))
    run_serially(settings, Quiet())
    (damaged,) = settings.config.store.glob(f"cells/toy/learner/*/*/{name}")
    damaged.write_text(content)
    for result in settings.config.store.glob("results/**/*.json"):
        result.unlink()
    rows, succeeded = run_serially(settings, Quiet())
    assert succeeded == heals
    assert {row.status for row in rows if row.method == "echo"} == {"ok"}
    assert {row.status for row in rows if row.method == "learner"} == {"ok" if heals else "failed"}
