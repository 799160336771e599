"""What KEDR's and MicarVLMoE's parts do once preset tiny was trained on iu-phantom, which takes minutes."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from harness.datasets.opening import open_dataset
from harness.method.contract import FitRun
from methods.kedr.method import KEDR
from methods.micar_vlmoe.method import MicarVLMoE

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def _users_cache() -> Any:
    """Phantoms and features of the user's cache, if there are any: drawing them anew takes minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HARNESS_CACHE", raising=False)
        yield


def trained(method: type[Any], folder: Path, seed: int = 0, **options: Any) -> dict[str, Any]:
    """The entry of the history of the epoch whose weights stand."""
    dataset = open_dataset("iu-phantom", None, None)
    folder.mkdir(parents=True)
    made = method.create(dataset.info, **options)
    made.fit(dataset.studies("train"), dataset.studies("val"), FitRun(folder, "cpu", seed))
    history = json.loads((folder / "history.json").read_text())
    number = history["best_epoch"] if history["keep"] == "best" else -1
    entry: dict[str, Any] = history["history"][number]
    return entry


def strengths(entry: dict[str, Any]) -> dict[tuple[str, str], float]:
    return {
        (each["part"], each["quantity"]): (each["value"] - each["dead"]) / (each["alive"] - each["dead"])
        for each in entry["signs"]["probes"]
    }


@pytest.mark.timeout(1800)
def test_kedrs_priors_stay_apart_and_the_shared_branch_learns_them(tmp_path: Path) -> None:
    losses: dict[str | None, float] = {None: 0.0, "no-ked": 0.0}
    means: dict[tuple[str | None, str, str], float] = defaultdict(float)
    for seed in (0, 1, 2):
        for variant in losses:
            entry = trained(KEDR, tmp_path / f"{variant}-{seed}", seed, variant=variant)
            losses[variant] += entry["val"] / 3
            # A single seed may be below the mark: the distance to the prior is .22, .29 and .29 of the way.
            for probe, strength in strengths(entry).items():
                means[variant, *probe] += strength / 3
            if variant is None:
                values = {each["quantity"]: each["value"] for each in entry["signs"]["probes"]}
                assert values["mean cosine of two classes' priors"] == pytest.approx(0.677, abs=0.1)
                assert values["studies of one class whose nearest prior is its own, share"] >= 0.6
    assert not {probe: mean for probe, mean in means.items() if mean < 0.25}
    assert losses[None] <= losses["no-ked"]


@pytest.mark.timeout(1800)
def test_micars_decoder_reads_the_patches_and_its_experts_divide_the_words(tmp_path: Path) -> None:
    entry = trained(MicarVLMoE, tmp_path / "run")
    dead = {probe: strength for probe, strength in strengths(entry).items() if strength < 0.25}
    assert not dead
