"""``harness run --confine``: a plugin's code runs in boxes, its rows are the same, and its cheats are not."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from harness.core import registry
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.evaluation import confinement as confinements
from harness.evaluation import run as executors
from harness.method.box.box import confinement
from harness.method.box.hidden import modules_of, shared_by
from harness.store.results import Measurement
from harness.store.store import Store
from tests.helpers import doubles_box, file_data, sinners
from tests.helpers.toys import Quiet

confined = pytest.mark.skipif(not confinement(), reason="this kernel confines nothing")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    doubles_box.register(monkeypatch.setitem)
    sinners.register(monkeypatch.setitem)
    monkeypatch.setitem(registry.METHODS, "bold", "tests.helpers.bold:Bold")
    monkeypatch.setitem(registry.METHODS, "odd", "tests.helpers.odd:Odd")
    monkeypatch.setitem(registry.METHODS, "unbuilt", "tests.helpers.unbuilt:Unbuilt")
    registry._table.cache_clear()
    (tmp_path / "data").mkdir()
    file_data.write(tmp_path / "data")
    yield tmp_path
    monkeypatch.undo()
    registry._table.cache_clear()


def run(world: Path, *methods: str, confine: str = "on", **settings: Any) -> list[Measurement]:
    values = {"dataset": "file-data", "root": world / "data", "metrics": ("bleu",), "workers": 1, **settings}
    store = world / f"store-{confine}"
    return executors.run(RunSettings.of(methods=methods, store=store, confine=confine, **values), Quiet())[0]


def bleu(rows: list[Measurement], method: str) -> Measurement:
    chosen = (row for row in rows if row.metric == "bleu_4" and row.rate == 0)
    return next(row for row in chosen if row.method.partition("[")[0] == method)


def remarks_of(world: Path, confine: str, method: str) -> str:
    """What stands below the tables of a run of a method."""
    run(world, method, confine=confine, dataset="sin-data", root=None)
    stored = Store(world / f"store-{confine}").stored()
    return "; ".join(row.detail for each in stored for row in each.rows if row.method == method)


def predictions(store: Path) -> dict[str, bytes]:
    files = store.glob("cells/*/*/*/predictions/*.jsonl")
    mark = rb', "of": "\w{16}"'  # of the cell, which is another one in a box
    return {f"{file.parts[-4]}/{file.name}": re.sub(mark, b"", file.read_bytes()) for file in files}


@confined
@pytest.mark.parametrize("way", ["constructor", "predict", "child"])
def test_a_cheat_scores_one_and_fails_in_a_box_while_the_run_goes_on(way: str, world: Path) -> None:
    chosen = {"bold": {"place": str(world / "data"), "way": way}}
    assert bleu(run(world, "bold", confine="off", set=chosen), "bold").value == pytest.approx(1)
    rows = run(world, "bold", "painter", set=chosen)
    (failed,) = {row.detail for row in rows if row.status == "failed"}
    assert "in a box, which holds no data" in failed or "CalledProcessError at tests.helpers.bold" in failed
    assert bleu(rows, "painter").value is not None


@confined
def test_a_cheat_that_keeps_silent_gets_nothing_in_a_box(world: Path) -> None:
    free = bleu(run(world, "at-import", confine="off", dataset="sin-data", root=None), "at-import")
    assert free.value == pytest.approx(1)
    value = bleu(run(world, "at-import", dataset="sin-data", root=None), "at-import").value
    assert value is not None
    assert value < 0.9


@confined
def test_confined_rows_are_equal_to_the_last_bit_and_say_what_confined_them(world: Path) -> None:
    off = run(world, "painter", "template", confine="off")
    on = run(world, "painter", "template")
    assert [(row.metric, row.rate, row.value, row.ci95) for row in on] == [
        (row.metric, row.rate, row.value, row.ci95) for row in off
    ]
    stored = predictions(world / "store-on")
    assert stored == predictions(world / "store-off")
    assert any("synthesis" in name for name in stored)
    said = {each.manifest.confinement for each in Store(world / "store-on").stored()}
    assert said == {f"in a box ({confinement()})"}
    assert {each.manifest.confinement for each in Store(world / "store-off").stored()} == {
        "unconfined: --confine off"
    }


@confined
def test_methods_of_other_packages_are_confined_unless_told_otherwise(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(registry.METHODS, "at-import")
    point = EntryPoint("at-import", "tests.helpers.at_import:AtImport", "harness.methods")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "harness.methods" else [])
    registry._table.cache_clear()
    assert "its code was not confined" in remarks_of(world, "off", "at-import")
    del sys.modules["tests.helpers.at_import"]
    rows = run(world, "at-import", "template", confine="auto", dataset="sin-data", root=None)
    value = bleu(rows, "at-import").value
    assert value is not None
    assert value < 0.9
    assert "tests.helpers.at_import" not in sys.modules
    said = {each.manifest.method: each.manifest.confinement for each in Store(world / "store-auto").stored()}
    assert said == {"at-import": f"in a box ({confinement()})", "template": confinements.OWN}
    assert "confined" not in remarks_of(world, "auto", "at-import")


def test_code_of_a_data_set_is_readable_only_where_the_import_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {
        "apart/__init__.py": "",
        "apart/data.py": "class Data: ...\n",
        "apart/model.py": "from apart.data import Data\n",
        "around/__init__.py": "from .everything import Data\n",
        "around/everything.py": "from around.data import Data\n",
        "around/data.py": "class Data: ...\n",
        "around/model.py": "",
        "alone.py": "class Data: ...\n",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    for dataset, method, shared in (
        ("apart.data", "apart.model", set()),
        ("around.data", "around.model", {"around.data"}),
        ("alone", "alone", {"alone"}),
        ("alone", "apart.model", set()),
    ):
        made_by = importlib.import_module(dataset)
        assert shared_by(made_by.Data, method) == shared
        assert modules_of(made_by.Data, method) == ([] if shared else [made_by.__file__])


@pytest.mark.parametrize("confine", ["off", pytest.param("on", marks=confined)])
def test_a_constructor_that_fails_is_one_failed_row(world: Path, confine: str) -> None:
    rows = run(world, "unbuilt", "template", confine=confine)
    assert "RuntimeError at tests.helpers.unbuilt" in bleu(rows, "unbuilt").detail
    assert bleu(rows, "template").value is not None


@confined
def test_a_constructor_that_ends_its_process_is_one_failed_row(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.METHODS, "unbuilt", "tests.helpers.unbuilt:Ended")
    registry._table.cache_clear()
    rows = run(world, "unbuilt", "template", confine="on")
    assert bleu(rows, "unbuilt").detail.startswith("its process was ended by SIGKILL")
    assert bleu(rows, "template").value is not None


@pytest.mark.parametrize("confine", ["off", pytest.param("on", marks=confined)])
def test_wrong_answers_are_one_sentence_in_a_box_as_outside(world: Path, confine: str) -> None:
    rows = run(world, "odd", confine=confine, set={"odd": {"gives": "None"}})
    sentence = r"predict returned None; it must return a list of \d+ Predictions, one per study of the batch"
    assert re.match(sentence, bleu(rows, "odd").detail)
    rows = run(world, "odd", confine=confine, set={"odd": {"gives": "exit"}})
    assert bleu(rows, "odd").detail.startswith("GeneratorExit at tests.helpers.odd:")


KILLED = """
import os, signal, sys
from pathlib import Path
from harness.core import registry
from harness.store.predictions import AnswerFile
from tests.evaluation.test_confined_runs import run
from tests.helpers import doubles_box, sinners

doubles_box.register(dict.__setitem__)
sinners.register(dict.__setitem__)
registry._table.cache_clear()
seal = AnswerFile.seal

def die(file):
    seal(file)
    os.kill(os.getpid(), signal.SIGKILL)

AnswerFile.seal = die
run(Path(sys.argv[1]), "painter", "template")
"""


@confined
@pytest.mark.slow
def test_a_confined_run_that_is_killed_ends_as_an_undisturbed_one(world: Path) -> None:
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(world)],
        cwd=world,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(root), *sys.path]))},
        timeout=300,
    )
    assert killed.returncode == -signal.SIGKILL
    store = world / "store-on"
    (first,) = store.glob("cells/*/*/*/predictions/*.jsonl")
    before = first.read_bytes()
    assert not list(store.glob("results/*/*/*.json"))
    on, off = run(world, "painter", "template"), run(world, "painter", "template", confine="off")
    assert first.read_bytes() == before
    assert predictions(store) == predictions(world / "store-off")
    assert [(row.method, row.metric, row.rate, row.value, row.ci95) for row in on] == [
        (row.method, row.metric, row.rate, row.value, row.ci95) for row in off
    ]


def test_what_cannot_be_confined_is_refused_or_said(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match="several processes that train together"):
        run(world, "template", devices=2, device="cpu")
    monkeypatch.setattr(confinements, "confinement", lambda: "")
    with pytest.raises(HarnessError, match="this system confines no process"):
        run(world, "template")
    run(world, "template", confine="auto")
    said = {each.manifest.confinement for each in Store(world / "store-auto").stored()}
    assert said == {confinements.OWN}
