"""What only a box sees is caught with its cause; honest methods of unusual kinds pass in it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.audits import audit as audits
from harness.audits import subject as subjects
from harness.core import registry
from harness.core.config import RunSettings
from harness.method.box.box import confinement
from harness.store.verdicts import Verdict
from tests.helpers import doubles_box, file_data, sinners
from tests.helpers.doubles_box import CAUGHT, HONEST
from tests.helpers.toys import Quiet

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not confinement(), reason="this kernel confines nothing")]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    doubles_box.register(monkeypatch.setitem)
    sinners.register(monkeypatch.setitem)
    registry._table.cache_clear()
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "scale.json").write_text("[0.5]")
    monkeypatch.setenv(doubles_box.WEIGHTS, str(weights))
    yield tmp_path
    monkeypatch.undo()
    registry._table.cache_clear()


def audited(name: str, root: Path, **settings: object) -> Verdict:
    data = root / "data"
    data.mkdir(exist_ok=True)
    file_data.write(data)
    values = {"dataset": "file-data", "root": data, "limit": 30, "store": root / "store", **settings}
    (verdict,) = audits.audit(RunSettings.of(methods=(name,), **values), Quiet())
    return verdict


def breaches(verdict: Verdict) -> dict[str, str]:
    return {
        one.check: one.detail for one in verdict.checks if not one.passed and "not tried" not in one.detail
    }


@pytest.mark.parametrize("name", CAUGHT)
def test_what_only_a_box_sees_is_caught_with_its_cause(name: str, world: Path) -> None:
    family, check, reason = CAUGHT[name]
    takes_place = "place" in family.Config.model_fields
    chosen = {"set": {name: {"place": str(world / "data")}}} if takes_place else {}
    details = breaches(audited(name, world, **chosen))
    assert next(iter(details)) == check, details
    assert re.search(reason, details[check]), details


def test_answers_that_are_read_at_import_are_out_of_reach_in_a_box(world: Path) -> None:
    sys.modules.pop("tests.helpers.at_import", None)
    details = breaches(audited("at-import", world, dataset="sin-data"))
    assert "tests.helpers.at_import" not in sys.modules  # card and fingerprint came without it
    assert list(details) == ["split-honest"]
    assert re.fullmatch(
        r"opened .*/sin_data\.py, which holds .*, at import or in training", details["split-honest"]
    )


def test_where_a_process_cannot_be_copied_each_question_has_a_new_one(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert subjects.copyable("cpu")
    assert not subjects.copyable("cuda:1")
    monkeypatch.setattr(subjects, "copyable", lambda device: False)
    (stolen,) = [name for name, (family, _, _) in CAUGHT.items() if family is doubles_box.InTo]
    details = breaches(audited(stolen, world, set={stolen: {"place": str(world / "data")}}))
    assert "which holds the data" in next(iter(details.values()))
    verdict = audited("temporary-files", world)
    assert verdict.passed, breaches(verdict)


@pytest.mark.parametrize("name", HONEST)
def test_the_honest_and_unusual_pass(name: str, world: Path) -> None:
    verdict = audited(name, world)
    assert verdict.passed, breaches(verdict)
    assert "in a box (Landlock" in verdict.checks[0].detail
