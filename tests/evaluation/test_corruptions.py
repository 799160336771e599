"""``--corrupt``: every study once per corruption and level, exactly; and nothing else changes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.core import registry
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.feature_store import store_of
from harness.core.types import CONTEXT, Inputs, Prediction, Reference, Study
from harness.evaluation import ask, reproduce
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.run import run_serially
from harness.leaderboard.costs import NO_COST
from harness.leaderboard.leaderboard import Leaderboard
from harness.method.batching import collate
from harness.metrics.text.bleu import Bleu
from harness.missingness import corrupt
from harness.store.results import StoredResult
from harness.store.store import Store
from tests.helpers import prepared
from tests.helpers.toys import WORDS, Echo, Quiet, ToyData, log

CORRUPT = ("frontal:crop:1", "frontal:noise:1,3", "lateral:blur:5", "context:words:4")
STATES = ("frontal:crop:1", "frontal:noise:1", "frontal:noise:3", "lateral:blur:5", "context:words:4")


class Attentive(Echo):
    """Its report depends on every pixel of both views and on every word of the context."""

    card = replace(Echo.card, name="attentive")

    def predict(self, inputs: Inputs) -> list[Prediction]:
        predictions = []
        for row, study_id in enumerate(inputs.ids):
            log("predict", study_id)
            spreads = [self.spread(inputs.images[view][row].numpy()) for view in ("frontal", "lateral")]
            code = int(sum(spreads)) + len((inputs.context[row] or "").split())
            report = " ".join(WORDS[code // divisor % len(WORDS)] for divisor in (1, 2, 3, 5, 7, 11, 13))
            predictions.append(Prediction(report=f"{report}."))
        return predictions

    def spread(self, image: np.ndarray) -> float:
        return float(image.std() * 100)


class Caching(Attentive):
    """Keeps what it computed of an image on disk, as the methods keep features of the frozen network."""

    card = replace(Echo.card, name="caching")

    def spread(self, image: np.ndarray) -> float:
        store, key = store_of("test-corruptions"), blake2b(image.tobytes()).digest()
        assert store is not None
        (record,) = store.read([key])
        if record is None:
            store.write({key: str(super().spread(image)).encode()})
            (record,) = store.read([key])
        assert record is not None
        return float(record)


class FrontalOnly(Attentive):
    """Reads one view."""

    card = replace(Echo.card, name="frontal_only", reads=frozenset({"frontal"}))


def register(setitem: Any) -> None:
    for name in ("Attentive", "Caching", "FrontalOnly"):
        key = "frontal_only" if name == "FrontalOnly" else name.lower()
        setitem(registry.METHODS, key, f"tests.evaluation.test_corruptions:{name}")
    registry._table.cache_clear()


@pytest.fixture
def world(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    register(monkeypatch.setitem)
    return toy_world


def config(folder: Path, method: str = "attentive", **rest: Any) -> RunSettings:
    chosen = {"methods": (method,), "missing": (0.4,), "mask_seeds": 3, "metrics": ("bleu",), **rest}
    return RunSettings.of(**{"dataset": "toy", "store": folder / "store", **chosen})


def results(folder: Path, method: str = "attentive") -> dict[str, StoredResult]:
    stored = Store(folder / "store").stored()
    return {each.rows[0].drop: each for each in stored if each.rows[0].method == method}


def value(result: StoredResult, rate: float, metric: str = "bleu_2") -> float:
    (row,) = (row for row in result.rows if row.rate == rate and row.metric == metric)
    assert row.value is not None
    return row.value


def predicted(folder: Path) -> Counter[str]:
    lines = (folder / "work.log").read_text().splitlines()
    return Counter(line for line in lines if line.startswith("predict"))


def without_cost(board: Leaderboard) -> list[Any]:
    return [
        replace(table, rows=tuple(replace(row, cost=NO_COST) for row in table.rows)) for table in board.tables
    ]


def by_hand(study: Study, state: str) -> Study:
    """The corrupted study, made with the public function alone."""
    modality, name, level = state.split(":")
    where = {"study_id": study.id, "modality": modality}
    if modality not in study.modalities:
        return study
    if modality == CONTEXT:
        return replace(study, context=corrupt(study.context, name, int(level), **where))
    images = {
        view: corrupt(image, name, int(level), **where) if view == modality else image
        for view, image in study.images.items()
    }
    return replace(study, images=images)


def naive(method: type[Attentive], studies: Sequence[Study]) -> float:
    """BLEU-2 of studies that are predicted one by one."""
    info = ToyData().info
    fitted = method.create(info)
    predictions = [fitted.predict(collate([study], info))[0] for study in studies]
    references = [Reference(study.id, study.patient_id, study.report) for study in studies]
    metric = Bleu()
    total = metric.statistics(predictions, references).sum(axis=0)
    return float(metric.reduce(total[None])["bleu_2"][0])


@pytest.mark.parametrize("method", ["attentive", "caching"])
def test_values_are_those_of_studies_that_are_corrupted_and_predicted_one_by_one(
    world: Path, method: str
) -> None:
    run_serially(config(world, method, corrupt=CORRUPT), Quiet())
    stored, studies = results(world, method), ToyData().studies("test")
    full = naive(Attentive, studies)
    differing = 0
    for state in STATES:
        expected = naive(Attentive, [by_hand(study, state) for study in studies])
        assert value(stored[state], 1.0) == pytest.approx(expected, abs=1e-9)
        assert value(stored[state], 0.0) == pytest.approx(full, abs=1e-9)
        differing += expected != full
    assert differing >= 4  # the method does react


def test_every_study_is_asked_about_once_per_state_that_it_can_be_in(world: Path) -> None:
    run_serially(config(world), Quiet())
    before = predicted(world)
    run_serially(config(world, corrupt=CORRUPT), Quiet())
    added = predicted(world) - before
    assert added == {
        f"predict {study.id}": sum(state.partition(":")[0] in study.modalities for state in STATES)
        for study in ToyData().studies("test")
    }
    run_serially(config(world, corrupt=CORRUPT), Quiet())
    assert predicted(world) == before + added
    run_serially(config(world, corrupt=("frontal:crop:1,2",)), Quiet())
    assert (predicted(world) - before - added).total() == 40


def test_nothing_changes_beside_the_corrupted_states(world: Path) -> None:
    run_serially(config(world / "plain"), Quiet())
    run_serially(config(world / "corrupted", corrupt=CORRUPT), Quiet())
    plain, both = results(world / "plain"), results(world / "corrupted")
    assert set(both) - set(plain) == set(STATES)
    for drop, result in plain.items():
        other = both[drop]
        assert (result.key, result.rows) == (other.key, other.rows)
        own, facts = (
            each.manifest.to_json() | {"unix_time": 0, "cost": None, "config": None}
            for each in (result, other)
        )
        assert own == facts
        for name, samples in result.replicates().items():
            assert np.array_equal(samples, other.replicates()[name])
    boards = [Leaderboard.of(Store(world / name / "store")) for name in ("plain", "corrupted")]
    assert without_cost(boards[0]) == without_cost(boards[1])
    assert boards[0].states == tuple(each for each in boards[1].states if not each.corruption)
    files = [
        {
            path.relative_to(world / name): path.read_bytes()
            for path in (world / name).rglob("predictions/*.jsonl")
            if "corrupted" not in path.name
        }
        for name in ("plain", "corrupted")
    ]
    assert files[0] == files[1]


def test_answers_do_not_depend_on_batches(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_serially(config(world / "a", corrupt=CORRUPT), Quiet())
    monkeypatch.setattr(ask, "BATCH_SIZE", 3)
    run_serially(config(world / "b", corrupt=tuple(reversed(STATES))), Quiet())
    for state, result in results(world / "a").items():
        assert result.rows == results(world / "b")[state].rows


def test_what_is_not_read_is_not_predicted_again(world: Path) -> None:
    run_serially(config(world, "frontal_only", corrupt=CORRUPT), Quiet())
    stored = results(world, "frontal_only")
    assert value(stored["lateral:blur:5"], 1.0) == value(stored["lateral:blur:5"], 0.0)
    (cell,) = (world / "store" / "cells" / "toy" / "frontal_only").iterdir()
    names = {path.name for path in (cell / "predictions").glob("corrupted-*.jsonl")}
    assert names == {f"corrupted-1-{state.replace(':', '@')}.jsonl" for state in STATES[:3]}


def test_training_and_its_control_know_nothing_of_it(world: Path) -> None:
    """The trained cell stays; reruns on other studies' images have no corrupted states."""
    run_serially(config(world, "learner", drop="any"), Quiet())
    steps = (world / "work.log").read_text().count("step")
    run_serially(config(world, "learner", drop="any", corrupt=CORRUPT), Quiet())
    assert (world / "work.log").read_text().count("step") == steps
    assert "frontal" in results(world, "learner")  # all of the modality is lost beside a part of it
    assert set(results(world, "learner+shuffled-image")) == {"any"}
    trained = config(world, "learner", drop="any", train_missing=(0.3,), corrupt=CORRUPT)
    assert open_benchmark(trained).train_policy == "any"


def test_a_row_of_a_corrupted_state_is_made_again(world: Path) -> None:
    run_serially(config(world, corrupt=CORRUPT), Quiet())
    stored = results(world)["frontal:noise:3"]
    assert stored.manifest.config["corrupt"] == ["frontal:noise:3"]
    assert results(world)["context"].manifest.config["corrupt"] == []
    again = reproduce.reproduce(stored, world / "again", Quiet(), tolerance=0.0)
    assert again.equal
    assert again.compared == sum(row.value is not None for row in stored.rows)


def test_a_killed_run_goes_on_where_it_was(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "BATCH_SIZE", 32)
    run_serially(config(world / "whole", corrupt=CORRUPT), Quiet())
    run_serially(config(world / "killed"), Quiet())
    script = (
        "from pathlib import Path; import sys; from tests.evaluation import test_corruptions as t\n"
        "from tests.helpers import toys; toys.register(dict.__setitem__); t.register(dict.__setitem__)\n"
        "seen = t.Attentive.predict\n"
        "def predict(self, inputs):\n"
        "    if len(inputs.ids) < 32: toys.die_once('predict')\n"
        "    return seen(self, inputs)\n"
        "t.Attentive.predict = predict\n"
        "t.ask.BATCH_SIZE = 32\n"
        "t.run_serially(t.config(Path(sys.argv[1]), corrupt=t.CORRUPT), t.Quiet())\n"
    )
    environment = {**os.environ, "TOY_KILL": "predict", "TOY_LOG": str(world / "killed.log")}
    done = prepared.run(["-c", script, str(world / "killed")], env=environment)
    assert done.returncode == -9
    assert set(results(world / "killed")).isdisjoint(STATES)
    before = predicted(world)
    run_serially(config(world / "killed", corrupt=CORRUPT), Quiet())
    again = (predicted(world) - before).total()
    whole = sum(
        state.partition(":")[0] in study.modalities for state in STATES for study in ToyData().studies("test")
    )
    assert again == whole - 32  # the one batch that was answered is not asked again
    expected = results(world / "whole")
    for state, result in results(world / "killed").items():
        assert result.rows == expected[state].rows


def test_the_version_of_the_corruptions_is_part_of_what_answers_are_stored_under(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_serially(config(world, corrupt=("frontal:crop:1",)), Quiet())
    first, before = results(world), predicted(world)
    for module in ("harness.missingness.corrupted", "harness.evaluation.trial"):
        monkeypatch.setattr(f"{module}.VERSION", 2)
    run_serially(config(world, corrupt=("frontal:crop:1",)), Quiet())
    assert (predicted(world) - before).total() == 40
    keys = {each.key for each in Store(world / "store").stored()}
    assert len(keys) == len(first) + 1


def test_strange_requests_are_refused_before_any_work(world: Path) -> None:
    with pytest.raises(HarnessError, match="--corrupt lateral:bler"):
        open_benchmark(config(world, corrupt=("lateral:bler",)))
    assert not (world / "work.log").exists()


def test_a_notebook_names_the_states(world: Path) -> None:
    asked = {"dataset": "toy", "metrics": ["bleu"], "store": world / "store", "progress": False}
    frame = harness.evaluate("attentive", corrupt=["frontal:crop:1", "context:words=0.4"], **asked).to_frame()
    assert {"full", "frontal:crop:1", "context:words=0.4", "frontal"} <= set(frame.state)
