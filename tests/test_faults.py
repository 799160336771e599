"""Faults at any moment: kills, two runs at once, a full disk, schedulers, clocks. The store is the same after."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store_hash import contents

ROOT = Path(__file__).parent.parent
METHODS = ["echo", "learner"]
QUICK, ALL = range(8), range(50)
"""Seeds of the kills."""


class Victims:
    """A process that forks runs of the toys; it has imported everything, so that a run takes two seconds."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HARNESS_CACHE": str(folder / "cache")}
        environment.pop("TOY_LOG", None)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.victim"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.undisturbed = self.folder / "undisturbed"
        code, self.events, self.seconds = self.run(self.undisturbed)
        assert code == 0

    def run(self, store: Path, moment: tuple[str, float] | None = None) -> tuple[int, int, float]:
        """Exit code or minus the signal, file events below the store, seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([str(store), METHODS, moment]), file=self.process.stdin, flush=True)
        code, events, seconds = json.loads(self.process.stdout.readline())
        return code, events, seconds

    def moment(self, dice: random.Random) -> tuple[str, float]:
        """A moment of a run: a file event, which finds what lies between two steps, or a time."""
        if dice.random() < 0.5:
            return "event", dice.randint(1, self.events)
        return "second", dice.uniform(0.0, self.seconds)


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    found = Victims(tmp_path_factory.mktemp("victims"))
    yield found
    assert found.process.stdin is not None
    found.process.stdin.close()
    found.process.wait(timeout=60)


def killed_and_restarted(victims: Victims, store: Path, seed: int) -> None:
    """Kill a run and its restarts at moments that follow from the seed; what a last one leaves is the same."""
    dice = random.Random(seed)
    moments = [victims.moment(dice) for _ in range(dice.randint(1, 3))]
    codes = [victims.run(store, moment)[0] for moment in moments]
    assert set(codes) <= {-signal.SIGKILL, 0}, moments
    assert victims.run(store)[0] == 0, moments
    assert contents(store) == contents(victims.undisturbed), moments


@pytest.mark.parametrize("seed", QUICK)
def test_a_killed_run_continues_to_the_same_store(victims: Victims, tmp_path: Path, seed: int) -> None:
    killed_and_restarted(victims, tmp_path / "store", seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [seed for seed in ALL if seed not in QUICK])
def test_fifty_killed_runs_continue_to_the_same_store(victims: Victims, tmp_path: Path, seed: int) -> None:
    killed_and_restarted(victims, tmp_path / "store", seed)


@pytest.mark.slow
def test_a_run_killed_at_every_file_event_continues_to_the_same_store(
    victims: Victims, tmp_path: Path
) -> None:
    """One store, killed again and again a few steps further: nothing that a kill leaves is in the way."""
    store, step, codes = tmp_path / "store", 7, []
    while (code := victims.run(store, ("event", step))[0]) != 0:
        codes.append(code)
        step += 7
        assert len(codes) < 100
    assert set(codes) == {-signal.SIGKILL}
    assert contents(store) == contents(victims.undisturbed)
