"""What a method's parts are worth: paired differences over patients and seeds, from a store without runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.leaderboard.ablation import NOTHING, Ablation
from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render.ablation import rendered
from harness.statistics.bootstrap import interval
from harness.store.results import Measurement
from harness.store.store import Store
from tests.helpers.leaderboards import N, add, manifest_values, small_store


def add_variant(store: Store, variant: str, height: float, seed: int = 0, **more: Any) -> None:
    """One result of ``dia`` (``variant`` is empty) or of its variant."""
    label = f"dia:{variant}" if variant else "dia"
    card = manifest_values(label, seed, (0.0,))["card"]
    card |= {"variant": variant or None, "variant_text": f"without {variant}" if variant else ""}
    add(store, label, {"cider": height, "ece": 0.1}, seed=seed, rates=(0.0, 0.4), card=card, **more)


def ablation_of(store: Store) -> Ablation:
    return Ablation.of(store.stored())


def test_each_variant_is_compared_with_the_method_and_clear_differences_are_named(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "store")
    for seed in range(3):
        add_variant(store, "", 0.5 + 0.01 * seed, seed)
        add_variant(store, "no-part", 0.3 + 0.01 * seed, seed)
        add_variant(store, "no-other", 0.5 + 0.01 * seed, seed)
    ablation = ablation_of(store)
    assert [member.label for member in ablation.members] == ["dia", "dia:no-other", "dia:no-part"]
    assert ablation.metrics == ("cider", "ece")
    _, other, part = (member.cells["cider", NOTHING] for member in ablation.members)
    assert part.difference is not None
    assert part.difference.value == pytest.approx(-0.2)
    assert part.worse is True
    assert part.seed_sd == pytest.approx(0.01)
    assert other.worse is None
    page = rendered(ablation)
    assert "| dia:no-part | 3 | **-0.200 [" in page
    assert (
        "Worse than the full method: dia:no-part in cider, dia:no-part in cider context missing at rate 0.4."
        in page
    )
    assert "- dia:no-part: without no-part" in page
    row = next(r for r in json.loads(ablation.to_json())["rows"] if r["method"] == "dia:no-part")
    assert row["by_seed"] == pytest.approx({"0": 0.3, "1": 0.31, "2": 0.32})


def test_one_seed_has_the_paired_interval_over_patients_to_the_last_digit(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add_variant(store, "", 0.5)
    add_variant(store, "no-part", 0.48)
    full, part = (each.replicates()["cider"][0].astype(np.float64) for each in store.stored())
    cell = ablation_of(store).members[1].cells["cider", NOTHING]
    assert cell.difference is not None
    assert cell.difference.ci95 == interval(part - full)
    assert "one seed says nothing of others" in rendered(ablation_of(store))


def test_seeds_that_disagree_hide_what_one_seed_shows(tmp_path: Path) -> None:
    one, three = Store(tmp_path / "one"), Store(tmp_path / "three")
    for store, heights in ((one, (0.4,)), (three, (0.4, 0.55, 0.49))):
        for seed, height in enumerate(heights):
            add_variant(store, "", 0.5, seed)
            add_variant(store, "no-part", height, seed)
    assert ablation_of(one).members[1].cells["cider", NOTHING].worse is True
    assert ablation_of(three).members[1].cells["cider", NOTHING].worse is None


def test_a_metric_of_which_less_is_better_is_worse_when_it_rises(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add_variant(store, "", 0.5)
    label = "dia:no-part"
    card = {"variant": "no-part", "variant_text": "without part"}
    add(store, label, {"ece": 0.4}, rates=(0.0, 0.4), card=manifest_values(label, 0, ())["card"] | card)
    assert ablation_of(store).members[1].cells["ece", NOTHING].worse is True


def test_a_seed_that_failed_is_named_and_the_others_are_compared(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for seed in range(2):
        add_variant(store, "", 0.5, seed)
    add_variant(store, "no-part", 0.3, 0)
    good = next(each for each in store.stored() if each.rows[0].method == "dia:no-part")
    broken = [
        Measurement(
            **{name: getattr(row, name) for name in ("dataset", "method", "preset", "drop", "mechanism")},
            **{name: getattr(row, name) for name in ("metric", "n", "signature", "group")},
            seed=1,
            rate=0.0,
            value=None,
            ci95=None,
            status="failed",
            detail="out of memory",
        )
        for row in good.rows
    ]
    store.write_result(good.key.replace("-s0-", "-s1-"), broken, good.manifest)
    ablation = ablation_of(store)
    member = ablation.members[1]
    assert (member.seeds, dict(member.failures)) == ((0,), {1: "out of memory"})
    assert ablation.failed
    assert member.cells["cider", NOTHING].worse is True
    page = rendered(ablation)
    assert "| dia:no-part | 1 of 2 | **-0.200 [" in page
    assert "dia:no-part failed with seed 1: out of memory" in page


def test_parts_that_do_nothing_stand_beside_their_row(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    probe = {"part": "VAE", "quantity": "posterior KL, nats", "dead": 0.0, "alive": 3.0}
    alive = {"part": "alignment", "quantity": "margin", "value": 0.4, "dead": 0.0, "alive": 0.5}
    for seed, value in enumerate((0.005, 2.0, None)):
        signs = {"probes": [alive, probe | {"value": value}]}
        add_variant(store, "", 0.5, seed, signs=signs)
        add_variant(store, "no-part", 0.5, seed)
    ablation = ablation_of(store)
    (part,) = ablation.full.dead or ()
    assert (part.probe.part, part.seeds) == ("VAE", (0, 2))
    assert ablation.members[1].dead is None
    page = rendered(ablation)
    assert "| VAE |\n" in page
    assert "dia, dead with 2 of 3 seeds: VAE: posterior KL, nats 0.005 (dead 0, alive 3)" in page
    assert json.loads(ablation.to_json())["variants"][0]["dead"][0]["seeds"] == [0, 2]


def test_without_the_full_method_there_is_nothing_to_compare(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add_variant(store, "no-part", 0.3)
    with pytest.raises(HarnessError, match="full method once"):
        ablation_of(store)


def test_ranks_of_several_seeds_know_that_seeds_differ(tmp_path: Path) -> None:
    """Patients alone would tell the two apart: the means differ by five standard errors of theirs."""
    store = small_store(tmp_path)
    for seed, (high, low) in enumerate(((0.60, 0.55), (0.62, 0.40), (0.58, 0.62))):
        add(store, "high", {"cider": high}, seed=seed)
        add(store, "low", {"cider": low}, seed=seed)
    table = next(t for t in Leaderboard.of(store).tables if "cider" in t.metrics)
    rows = {row.method: row.full["cider"] for row in table.rows}
    assert rows["high"].value == pytest.approx(0.6)
    assert rows["low"].value == pytest.approx(0.523, abs=0.001)
    assert rows["high"].ranks is not None
    assert rows["low"].ranks is not None
    assert rows["high"].ranks[0] == rows["low"].ranks[0] == 1
    assert rows["low"].ci95 is not None
    assert rows["low"].ci95[1] - rows["low"].ci95[0] > 0.3
    one_seed = rows["first"]
    stored = next(each for each in store.stored() if each.rows[0].method == "first")
    assert one_seed.ci95 == next(row.ci95 for row in stored.rows if (row.metric, row.rate) == ("cider", 0.0))
    assert one_seed.n == N
