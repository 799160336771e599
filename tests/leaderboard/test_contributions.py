"""Shapley values of modalities in tables of states: exact, paired, and only where all subsets are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.leaderboard.contributions import contributions
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import states
from harness.leaderboard.states import StateTable
from harness.missingness.states import FULL, missing_in, state_of
from harness.statistics.bootstrap import interval
from harness.store.manifest import Manifest
from harness.store.results import Measurement
from harness.store.store import Store
from tests.helpers.leaderboards import manifest_values

MODALITIES = ("frontal", "lateral", "context")
WORTH = {"frontal": 0.3, "lateral": 0.2, "context": 0.1}
TEMPLATE = 0.1
SINGLE = MODALITIES
ALL = (*SINGLE, "frontal+lateral", "frontal+context", "lateral+context")


def numbers(state: str, reads: tuple[str, ...], sign: float) -> tuple[float, np.ndarray]:
    """The value is a sum over what is left; all states share what a resample does."""
    left = [name for name in reads if name not in missing_in(state)]
    value = TEMPLATE + sum(WORTH[name] for name in left)
    shared = np.random.default_rng(0).normal(0, 0.05, 200)
    own = np.random.default_rng([1, *state_of(left, MODALITIES).encode()]).normal(0, 0.01, 200)
    return sign * value, sign * (value + shared + own)


def add(store: Store, method: str, reads: tuple[str, ...], lost: tuple[str, ...], sign: float = 1.0) -> None:
    control = method == "template"
    for drop in lost:
        key = f"toy/{method}/tiny-s0-{drop}"
        places = [(0.0, FULL), (1.0, drop)]
        values = [numbers(state, reads, sign) for _, state in places]
        rows = [
            Measurement(
                dataset="toy",
                method=method,
                preset="-" if control else "tiny",
                seed=0,
                drop=drop,
                mechanism="mcar",
                rate=rate,
                metric="cider",
                value=value,
                ci95=interval(samples),
                n=590,
                signature="cider|v:1",
                group="report text",
                control=control,
                higher_is_better=sign > 0,
            )
            for (rate, _), (value, samples) in zip(places, values, strict=True)
        ]
        facts: dict[str, Any] = {"natural": dict.fromkeys(MODALITIES, 0.0)}
        card = manifest_values(method, 0, (0.0, 1.0))["card"] | {"reads": sorted(reads)}
        manifest = Manifest.model_validate(manifest_values(method, 0, (0.0, 1.0), **facts, card=card))
        samples = np.stack([each for _, each in values]).astype(np.float32)
        store.write_result(key, rows, manifest, {"cider": samples})


def table_of(folder: Path, lost: tuple[str, ...], sign: float = 1.0) -> StateTable:
    store = Store(folder)
    add(store, "viewer", ("frontal", "lateral"), lost, sign)
    add(store, "reader", MODALITIES, lost, sign)
    add(store, "template", (), lost, sign)
    (table,) = Leaderboard.of(store).states
    return table


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_additive_worth_is_given_back_in_both_directions_of_a_metric(tmp_path: Path, sign: float) -> None:
    rows = {row.method: row.contributions for row in table_of(tmp_path, ALL, sign).rows}
    assert rows["template"] is None
    reader, viewer = rows["reader"], rows["viewer"]
    for name in MODALITIES:
        assert reader.shapley[name].value == pytest.approx(WORTH[name])
        assert reader.shapley[name].covers(WORTH[name])
        assert reader.shapley[name].hi - reader.shapley[name].lo < 0.05  # paired: shared noise cancels
    assert reader.equity.value == pytest.approx(1 / 3)
    assert set(viewer.shapley) == {"frontal", "lateral"}
    assert viewer.equity.value == pytest.approx(2 / 3)
    assert viewer.equity.covers(viewer.equity.value)


def test_single_losses_are_enough_for_a_method_that_reads_two_modalities(tmp_path: Path) -> None:
    table = table_of(tmp_path, SINGLE)
    rows = {row.method: row.contributions for row in table.rows}
    assert rows["reader"] is None
    assert rows["viewer"].shapley["frontal"].value == pytest.approx(0.3)
    written = states.markdown([table])
    assert "| method | frontal | lateral | equity |" in written
    assert "answers alike for all studies" in written


def test_without_the_template_nothing_is_divided(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add(store, "viewer", ("frontal", "lateral"), SINGLE)
    (table,) = Leaderboard.of(store).states
    assert all(row.contributions is None for row in table.rows)
    assert "Shapley" not in states.markdown([table])


def test_equity_needs_a_modality_that_clearly_helps() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 200)
    values = {FULL: (0.52, 0.52 + noise), "frontal": (0.5, 0.5 - noise), "lateral": (0.5, 0.5 + noise)}
    unclear = contributions(values, (0.5, np.full(200, 0.5)), ["frontal", "lateral"], 1.0, 590)
    assert unclear.equity is None
    alone = contributions({FULL: (0.9, 0.9 + noise / 10)}, (0.5, np.full(200, 0.5)), ["frontal"], 1.0, 590)
    assert alone.shapley["frontal"].value == pytest.approx(0.4)
    assert alone.equity is None
