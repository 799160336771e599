"""A run of several drop policies: what each state costs; every policy has the numbers that it has alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core import registry
from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.core.types import Prediction
from harness.evaluation import reproduce
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.completion import Completion
from harness.evaluation.predict import predict
from harness.evaluation.run import run_serially
from harness.evaluation.trial import Trial
from harness.metrics.images import distances
from harness.missingness.states import FULL, lost_by, missing_in, subsets
from harness.store.results import StoredResult
from harness.store.store import Store
from tests.evaluation import test_imputation
from tests.helpers.toys import FAST_METRICS, Quiet, ToyData

MODALITIES = ("frontal", "lateral", "context")
EVERY = ("context", "alternate", "any", "lateral", "frontal")


def config(folder: Path, **rest: Any) -> RunSettings:
    chosen = {"methods": ("echo",), "missing": (0.2, 0.6), "mask_seeds": 3, "metrics": FAST_METRICS, **rest}
    return RunSettings.of(**{"dataset": "toy", "drop": "every", "store": folder / "store", **chosen})


def results(folder: Path) -> dict[str, StoredResult]:
    return {each.rows[0].drop: each for each in Store(folder / "store").stored()}


def facts(result: StoredResult) -> dict[str, Any]:
    """The manifest without seconds and without the store's path."""
    values = result.manifest.to_json()
    config = {name: value for name, value in values["config"].items() if name != "store"}
    return values | {"unix_time": 0, "cost": None, "config": config}


def predicted(folder: Path) -> Counter[str]:
    lines = (folder / "work.log").read_text().splitlines()
    return Counter(line for line in lines if line.startswith("predict"))


def test_each_policy_has_the_result_that_it_has_alone(toy_world: Path) -> None:
    run_serially(config(toy_world), Quiet())
    together = results(toy_world)
    assert set(together) == set(EVERY)
    for policy, result in together.items():
        rates = tuple(sorted({row.rate for row in result.rows}))
        run_serially(config(toy_world / policy, drop=policy, missing=rates), Quiet())
        alone = results(toy_world / policy)[policy]
        assert alone.key == result.key
        assert alone.rows == result.rows
        assert facts(alone) == facts(result)
        for name, samples in alone.replicates().items():
            assert (samples == result.replicates()[name]).all()
        assert reproduce.reproduce(result, toy_world / policy / "again", Quiet(), tolerance=0.0).equal


def test_every_state_is_predicted_once_however_many_policies_there_are(toy_world: Path) -> None:
    run_serially(config(toy_world, states="all"), Quiet())
    offered = frozenset(MODALITIES)
    expected = {
        f"predict {study.id}": 1
        + len({lost for state in subsets(MODALITIES) if (lost := lost_by(study.modalities, state, offered))})
        for study in ToyData().studies("test")
    }
    assert predicted(toy_world) == expected
    assert max(expected.values()) == 7


def test_a_corner_is_everybody_in_one_state(toy_world: Path) -> None:
    settings = config(toy_world, states="all", missing=())
    rows = {(row.drop, row.rate, row.metric): row.value for row in run_serially(settings, Quiet())[0]}
    benchmark = open_benchmark(settings)
    answers = predict(Trial(benchmark, benchmark.entries[0], 0), Completion())
    studies = {study.id: study for study in benchmark.splits["test"]}

    def in_state(name: str, state: str) -> Prediction:
        left = studies[name].modalities - missing_in(state)
        return answers[state if left else FULL][name]

    for state in subsets(MODALITIES):
        mixed = [in_state(reference.id, state) for reference in benchmark.references]
        for metric in benchmark.metrics:
            values = metric.values(metric.statistics(mixed, benchmark.references), np.ones((1, len(mixed))))
            for output, value in values.items():
                assert rows[state, 1.0, output] == pytest.approx(float(value[0]), abs=1e-9)
    for state, result in results(toy_world).items():
        for output, costs in result.manifest.reliance.items():
            assert set(costs) == {state}
            assert costs[state].value == rows[state, 1.0, output]


def test_a_method_that_does_not_read_a_modality_is_not_asked_without_it(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_imputation.register(monkeypatch.setitem)
    registry._table.cache_clear()
    run_serially(config(toy_world, methods=("viewer",), states="all"), Quiet())
    files = {path.stem for path in (toy_world / "store" / "cells" / "toy" / "viewer").rglob("*.jsonl")}
    assert {"full", "frontal", "lateral", "frontal+lateral"} <= files
    assert not [name for name in files if "context" in name]
    counted = results(toy_world)["frontal+lateral"].manifest.without_input
    views = [study for study in ToyData().studies("test") if "context" in study.modalities]
    assert counted == {"full": 0, "frontal+lateral": len(views)}


def test_several_views_are_generated_from_what_remains(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_imputation.register(monkeypatch.setitem)
    registry._table.cache_clear()
    settings = config(toy_world, methods=("echo",), dataset="images", impute="gossip", drop="frontal+lateral")
    rows, succeeded = run_serially(settings, Quiet())
    assert succeeded
    value = {(row.method, row.rate): row.value for row in rows if row.metric == "bleu_4"}
    assert value["echo", 0.6] != value["echo+imputed-gossip", 0.6]
    (stored,) = (each for each in Store(toy_world / "store").stored() if "imputed" in each.rows[0].method)
    assert stored.manifest.imputed is not None
    assert stored.manifest.imputed.states["frontal+lateral"].conditions == ["context"]


def test_rows_with_an_imputer_are_those_of_policies_in_which_it_generates(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_imputation.register(monkeypatch.setitem)
    registry._table.cache_clear()
    rows, _ = run_serially(config(toy_world, dataset="images", impute="gossip"), Quiet())
    policies = {row.drop for row in rows if row.method == "echo+imputed-gossip"}
    assert policies == set(EVERY) - {"context"}
    assert {row.drop for row in rows if row.method == "echo"} == set(EVERY)


def test_distances_of_sets_of_images_have_no_value_on_mixtures(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_imputation.register(monkeypatch.setitem)
    registry._table.cache_clear()
    monkeypatch.setattr(
        distances, "features", lambda extractor, images: np.stack([np.resize(x, 16) / 255.0 for x in images])
    )
    monkeypatch.setattr(distances.Lite0, "width", 16)
    families = ("images_lite0", "images_completed")
    chosen = {"methods": ("gossip",), "dataset": "images", "metrics": families, "limit": 16}
    rows, succeeded = run_serially(config(toy_world, **chosen), Quiet())
    assert succeeded
    rates: dict[tuple[str, str], set[float]] = {}
    for row in rows:
        rates.setdefault((row.drop, row.metric), set()).add(row.rate)
    assert rates["any", "fid_lite0"] == rates["alternate", "fid_lite0"] == {0.0}
    assert rates["frontal", "fid_lite0"] == {0.0, 1.0}
    assert rates["any", "fid_lite0_completed"] == {0.0, 0.2, 0.6}


def test_what_training_studies_lose_is_the_same_in_every_result(toy_world: Path) -> None:
    run_serially(config(toy_world, train_missing=0.5), Quiet())
    trained = {result.manifest.cell for result in results(toy_world).values()}
    assert len(trained) == 1
    assert {each.manifest.config["train_drop"] for each in results(toy_world).values()} == {"any"}
    settings = config(toy_world, train_missing=0.5, drop="context", train_drop="any")
    run_serially(settings, Quiet())
    assert {result.manifest.cell for result in results(toy_world).values()} == trained


def test_manifests_are_json_without_what_was_not_measured(toy_world: Path) -> None:
    run_serially(config(toy_world), Quiet())
    for result in results(toy_world).values():
        manifest = json.loads(result.path.read_text())["manifest"]
        policy = result.rows[0].drop
        lost = {"any": MODALITIES, "alternate": MODALITIES[:2]}.get(policy, (policy,))
        assert set(manifest["without_input"]) == {FULL, *lost}


def test_states_go_with_every(toy_world: Path) -> None:
    with pytest.raises(HarnessError, match="--states all with --drop any"):
        open_benchmark(config(toy_world, drop="any", states="all"))
