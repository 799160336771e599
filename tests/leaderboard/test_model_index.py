"""The head of a model card: what it holds of a leaderboard, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from harness.core.errors import HarnessError
from harness.leaderboard.render import model_index
from harness.store.results import Measurement

BASE = Measurement(
    dataset="toy",
    method="dia",
    preset="tiny",
    seed=0,
    drop="context",
    mechanism="mcar",
    rate=0.0,
    metric="cider",
    value=0.5,
    ci95=(0.4, 0.6),
    n=590,
    signature="cider|v:1",
    group="report text",
    test_set="a",
)


def index_of(*rows: Measurement) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = yaml.safe_load(model_index.render(rows))["model-index"]
    return result


def test_a_number_brings_n_interval_and_signature() -> None:
    (model,) = index_of(BASE)
    assert model["name"] == "dia (tiny, seed 0)"
    (result,) = model["results"]
    assert result["task"] == {"type": "image-to-text", "name": "report text"}
    assert result["dataset"] == {"name": "toy", "type": "toy", "split": "test"}
    (metric,) = result["metrics"]
    assert metric == {
        "type": "cider",
        "name": "cider",
        "value": 0.5,
        "args": {"n": 590, "signature": "cider|v:1", "ci95": [0.4, 0.6]},
    }


def test_controls_rates_and_failures_are_left_out() -> None:
    (model,) = index_of(
        BASE,
        replace(BASE, rate=0.2, value=0.3),
        replace(BASE, method="template", control=True),
        replace(BASE, method="broken", value=None, ci95=None, status="failed"),
    )
    assert [metric["value"] for metric in model["results"][0]["metrics"]] == [0.5]


def test_a_number_stands_once_whatever_the_drop_policies() -> None:
    (model,) = index_of(BASE, replace(BASE, drop="frontal"), replace(BASE, metric="bleu_4"))
    assert [metric["type"] for metric in model["results"][0]["metrics"]] == ["cider", "bleu_4"]


def test_tasks_and_datasets_have_results_of_their_own() -> None:
    rows = (BASE, replace(BASE, group="diagnosis", metric="kappa"), replace(BASE, dataset="other"))
    (model,) = index_of(*rows)
    assert [(each["dataset"]["name"], each["task"]["type"]) for each in model["results"]] == [
        ("toy", "image-to-text"),
        ("toy", "image-classification"),
        ("other", "image-to-text"),
    ]


def test_nothing_to_say_is_an_error() -> None:
    with pytest.raises(HarnessError, match="no method has a number"):
        model_index.render([replace(BASE, control=True)])
