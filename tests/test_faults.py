"""Faults at any moment: kills, two runs at once, a full disk, schedulers, clocks; the store ends the same."""

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

import pytest

from harness.results import Store
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
    """Kill a run and its restarts at moments that follow from the seed, then let one finish."""
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


CLI = "from tests import toys; toys.register(dict.__setitem__); from harness.cli import main; main()"


def start(store: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """``harness run`` on the toys, leader of its own process group."""
    command = [sys.executable, "-c", CLI, "run", "--dataset", "toy", "--metrics", "bleu", "--drop", "any"]
    command += ["--missing", "0.4", "--mask-seeds", "3", "--no-figures", "--store", str(store), *options]
    given = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HARNESS_CACHE": str(store.parent / "cache"),
        **environment,
    }
    return subprocess.Popen(
        command, cwd=ROOT, env=given, stderr=subprocess.PIPE, text=True, start_new_session=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], seconds: float = 300) -> tuple[int, str]:
    """Exit code and standard error on one line; whatever it started is gone, too."""
    _, said = process.communicate(timeout=seconds)
    return process.returncode, " ".join(said.split())


@pytest.mark.parametrize(
    ("number", "workers", "everyone"),
    [(signal.SIGTERM, 1, False), (signal.SIGTERM, 2, True), (signal.SIGINT, 1, True)],
)
def test_a_signal_ends_a_run_at_once_and_the_next_one_continues(
    tmp_path: Path, number: int, workers: int, everyone: bool
) -> None:
    store, log = tmp_path / "store", tmp_path / "work.log"
    options = ["--methods", "learner,template", "--set", "learner.training.epochs=40"]
    options += ["--workers", str(workers)]
    process = start(store, *options, TOY_LOG=str(log))
    deadline = time.monotonic() + 120
    while not list(store.rglob("history.json")):
        assert process.poll() is None, ended(process)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (os.killpg if everyone else os.kill)(process.pid, number)
    code, said = ended(process, seconds=30)
    assert code == 128 + number
    assert "learner[training.epochs=40]: stopped at train" in said
    assert f"stopped by {signal.Signals(number).name}: what is finished is kept" in said
    assert "the same command continues from here" in said
    assert not [row for row in Store(store).results() if row.status == "failed"]
    code, said = ended(start(store, *options, TOY_LOG=str(log)))
    assert code == 0, said
    (summary,) = store.rglob("history.json")
    assert len(json.loads(summary.read_text())["history"]) == 40
    # At most the epoch under way is done twice.
    assert 40 * 5 <= log.read_text().splitlines().count("step train") <= 41 * 5
