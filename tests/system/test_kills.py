"""SIGKILL at random moments of runs of real methods: the next run ends with the store of an undisturbed one.

The toys' kills are in ``test_faults``. Here features of frozen networks are computed, too: each store has a
cache of its own, so that a killed run has some of them and computes the others in other batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core import registry
from harness.datasets.iu_phantom import IUPhantom
from tests.helpers.victims import Victims, victims_of

METHODS = (
    "late_fusion", "early_fusion", "kedr", "micar_vlmoe", "vdgen", "dia", "codi_xr", "r2gen_base"
)  # fmt: skip
SEEDS = range(7)
"""Of the kills of each method: 56 in all."""


@pytest.fixture(scope="module", params=METHODS)
def victims(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    IUPhantom.open()  # the phantoms are drawn once, for all stores
    method = str(request.param)
    settings = {
        "preset": "tiny",
        "limit": 24,
        "missing": [0.4],
        "mask_seeds": 2,
        "metrics": ["bleu", "diagnosis"],
        "set": {method: {"training.epochs": 3}},
    }
    modules = [*registry.method_modules([method], "auto"), "harness.datasets.iu_phantom"]
    with victims_of(tmp_path_factory.mktemp(method), [method], settings, modules) as victims:
        yield victims


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_runs_of_real_methods_continue_to_the_same_store(
    victims: Victims, tmp_path: Path, seed: int
) -> None:
    victims.killed_and_restarted(tmp_path / "store", seed)
