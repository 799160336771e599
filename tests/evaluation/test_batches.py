"""Which studies share a batch follows from the question alone: the last digits of an answer depend on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.files import write_checked_json
from harness.core.types import Inputs, Prediction
from harness.evaluation import ask
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.evaluate import predict_shard
from harness.evaluation.requests import Predict
from harness.evaluation.run import run_serially
from harness.evaluation.trial import Trial
from harness.store.predictions import Shard
from tests.evaluation.test_evaluate import toy_config
from tests.helpers.store_hash import contents
from tests.helpers.toys import Echo, Quiet

Batches = list[tuple[str, ...]]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Batches:
    """The studies of every call of the method, in the order of the calls; seven at a time."""
    asked: Batches = []
    predict = Echo.predict

    def listening(self: Echo, inputs: Inputs) -> list[Prediction]:
        asked.append(tuple(inputs.ids))
        return predict(self, inputs)

    monkeypatch.setattr(Echo, "predict", listening)
    monkeypatch.setattr(ask, "BATCH_SIZE", 7)
    return asked


@pytest.mark.parametrize("lines", [0, 1, 6, 7, 8, 20, 39])
def test_a_run_that_was_killed_anywhere_asks_in_the_same_batches(
    toy_world: Path, batches: Batches, lines: int
) -> None:
    settings = toy_config(toy_world, metrics=("bleu",))
    run_serially(settings, Quiet())
    undisturbed, before = set(batches), contents(settings.config.store)
    (path,) = settings.config.store.glob("cells/toy/echo/*/predictions/full.jsonl")
    (path.parent / f"{path.name}.sha256.json").unlink()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]) + b'{"id": "half a li')
    batches.clear()
    run_serially(settings, Quiet())
    assert len(batches) == 6 - lines // 7, "a batch with one study left is asked as a whole"
    assert set(batches) <= undisturbed
    assert contents(settings.config.store) == before


@pytest.mark.parametrize("count", [2, 4])
def test_shards_ask_in_the_same_batches(toy_world: Path, batches: Batches, count: int) -> None:
    whole = toy_config(toy_world / "whole", metrics=("bleu",))
    run_serially(whole, Quiet())
    undisturbed = sorted(batches)
    batches.clear()
    settings = toy_config(toy_world, metrics=("bleu",))
    benchmark = open_benchmark(settings)
    trial = Trial(benchmark, benchmark.entries[0], 0)
    trial.require_trained()
    for number in range(count):
        predict_shard(replace(trial, shard=Shard(number, count)))
    assert sorted(batches) == undisturbed
    run_serially(settings, Quiet())
    assert sorted(batches) == undisturbed, "nothing is asked twice"
    assert contents(settings.config.store) == contents(whole.config.store)


@pytest.mark.parametrize("lines", [10, 16, 17, 20, 39])
def test_a_file_that_grows_asks_no_study_again(toy_world: Path, batches: Batches, lines: int) -> None:
    """Complete for ten studies, and then about to be complete for all, wherever that is killed."""
    settings = toy_config(toy_world, metrics=("bleu",))
    benchmark = open_benchmark(settings)
    trial = Trial(benchmark, benchmark.entries[0], 0)
    trial.require_trained()
    question = ask.Question("some", trial.studies[:10], "ask")
    ask.ask(trial, Predict(), question)
    first = list(batches)
    batches.clear()
    ask.ask(trial, Predict(), replace(question, studies=trial.studies))
    grown = list(batches)
    assert sorted(name for batch in first + grown for name in batch) == sorted(s.id for s in trial.studies)
    path = trial.cell.predictions("some")
    whole = path.read_bytes()
    assert not list(path.parent.glob("*.grown.json"))
    (path.parent / f"{path.name}.sha256.json").unlink()
    write_checked_json(path.with_name("some.grown.json"), {"studies": 10}, names=4)
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]))
    batches.clear()
    ask.ask(trial, Predict(), replace(question, studies=trial.studies))
    assert set(batches) <= set(grown)
    assert path.read_bytes() == whole
    assert not list(path.parent.glob("*.grown.json"))
