"""Faults at any moment: kills, two runs at once, a full disk, schedulers, clocks; the store ends the same."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.config import RunSettings
from harness.core.errors import DiskError, HarnessError
from harness.core.types import Inputs, Prediction, Targets
from harness.evaluation.benchmark import open_benchmark
from harness.evaluation.run import run_serially
from harness.evaluation.trial import Trial
from harness.store.cell import Cell
from harness.store.store import Store
from tests.helpers import prepared
from tests.helpers.store_hash import contents
from tests.helpers.toys import Echo, Learner, Quiet
from tests.helpers.victims import Victims, victims_of

ROOT = Path(__file__).parents[2]
METHODS = ["echo", "learner"]
QUICK, ALL = range(8), range(50)
"""Seeds of the kills."""


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    with victims_of(tmp_path_factory.mktemp("victims"), METHODS) as victims:
        yield victims


@pytest.mark.parametrize("seed", QUICK)
def test_a_killed_run_continues_to_the_same_store(victims: Victims, tmp_path: Path, seed: int) -> None:
    victims.killed_and_restarted(tmp_path / "store", seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [seed for seed in ALL if seed not in QUICK])
def test_fifty_killed_runs_continue_to_the_same_store(victims: Victims, tmp_path: Path, seed: int) -> None:
    victims.killed_and_restarted(tmp_path / "store", seed)


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


CLI = (
    "from tests.helpers import toys; toys.register(dict.__setitem__); "
    "from harness.cli.main import main; main()"
)


def start(store: Path, *options: str, program: str = CLI, **environment: str) -> prepared.Program:
    """``harness run`` on the toys, leader of its own process group."""
    command = ["-c", program, "run", "--dataset", "toy", "--metrics", "bleu", "--drop", "any"]
    command += ["--missing", "0.4", "--mask-seeds", "3", "--no-figures", "--store", str(store), *options]
    given = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HARNESS_CACHE": str(store.parent / "cache"),
        **environment,
    }
    return prepared.start(command, cwd=ROOT, env=given, new_session=True)


def ended(process: prepared.Program, seconds: float = 300) -> tuple[int, str]:
    """Exit code and standard error on one line; whatever it started is gone, too."""
    _, said = process.communicate(timeout=seconds)
    return process.returncode, " ".join(said.split())


@pytest.mark.parametrize(
    ("number", "workers", "everyone"),
    [
        (signal.SIGTERM, 2, True),
        pytest.param(signal.SIGHUP, 2, True, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 1, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 1, True, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_run_at_once_and_the_next_one_continues(
    tmp_path: Path, number: int, workers: int, everyone: bool
) -> None:
    store, log = tmp_path / "store", tmp_path / "work.log"
    options = ["--methods", "learner,echo", "--set", "learner.training.epochs=16"]
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
    assert "Traceback" not in said
    assert "learner[training.epochs=16]: stopped at train" in said
    assert f"stopped by {signal.Signals(number).name}: what is finished is kept" in said
    assert "the same command continues from here" in said
    assert not [row for row in Store(store).results() if row.status == "failed"]
    code, said = ended(start(store, *options, TOY_LOG=str(log)))
    assert code == 0, said
    (summary,) = store.rglob("history.json")
    assert len(json.loads(summary.read_text())["history"]) == 16
    # At most the epoch under way is done twice.
    assert 16 * 5 <= log.read_text().splitlines().count("step train") <= 17 * 5


STOPS = (
    "import os, resource; from harness.core.clock import Watch; begin = Watch.begin\n"
    "def stop(watch, phase, label=''):\n"
    "    begin(watch, phase, label)\n"
    "    if phase.startswith(os.environ.get('TOY_STOP', 'no phase')):\n"
    "        number, most = int(os.environ.get('TOY_SIGNAL', 0)), int(os.environ.get('TOY_MOST', 0))\n"
    "        if most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))\n"
    "        for _ in range(2 * bool(number)): os.killpg(0, number)\n"
    "Watch.begin = stop\n"
)
"""In a phase, a signal comes, or from then on no file can be larger than so many bytes."""


@pytest.mark.slow
def test_a_run_stopped_in_every_phase_goes_on_each_time(tmp_path: Path) -> None:
    """Twice and in the whole group; the statistics and the tables are those of one run in the end."""
    store, numbers = tmp_path / "store", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    phases = ["open data", "train", "predict full", "predict", "score", "between", "tables", "figures"]
    options = ["--methods", "learner,echo", "--workers", "1", "--figures"]
    for place, phase in enumerate(phases):
        number = numbers[place % 3]
        process = start(store, *options, program=STOPS + CLI, TOY_STOP=phase, TOY_SIGNAL=str(int(number)))
        code, said = ended(process)
        assert code == 128 + number, (phase, said)
        assert said.endswith(
            f"stopped by {signal.Signals(number).name}: what is finished is kept, training up to its last "
            "finished epoch; the same command continues from here"
        )
        assert "Traceback" not in said
    code, said = ended(start(store, *options))
    assert code == 0, said
    assert not [row for row in Store(store).results() if row.status != "ok"]
    assert list((store / "tables").rglob("*.svg")) or list((store / "tables").rglob("*.pdf"))


@pytest.mark.slow
def test_a_disk_that_is_full_from_any_phase_on_is_one_line(tmp_path: Path) -> None:
    """Checkpoints, predictions, statistics, results, tables and figures; nothing is left half-written."""
    store = tmp_path / "store"
    options = ["--methods", "learner,echo", "--workers", "1", "--figures"]
    for phase in ("train", "predict full", "score", "between", "tables", "figures"):
        process = start(store, *options, program=STOPS + CLI, TOY_STOP=phase, TOY_MOST="3000")
        code, said = ended(process)
        assert code == 2, (phase, said)
        assert re.search(r"error: cannot write \S+: file too large \(raise the limit", said), (phase, said)
        assert "Traceback" not in said
        assert not list(store.rglob("*.tmp")), phase
    code, said = ended(start(store, *options))
    assert code == 0, said
    assert not [row for row in Store(store).results() if row.status != "ok"]


def group_of(process: prepared.Program) -> list[int]:
    """The other processes of its group."""
    listed = subprocess.run(["ps", "-eo", "pid,pgid"], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in listed.splitlines()[1:]]
    return [int(pid) for pid, group in pairs if int(group) == process.pid != int(pid)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_group_while_its_processes_start_prints_no_traceback(
    tmp_path: Path, number: int
) -> None:
    """Ctrl-C reaches processes that are still importing; a second one comes while the first is handled."""
    process = start(tmp_path / "store", "--methods", "learner,echo", "--workers", "2")
    deadline = time.monotonic() + 120
    while len(group_of(process)) < 2:
        assert process.poll() is None, ended(process)
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    for _ in range(2):
        os.killpg(process.pid, number)
        time.sleep(0.05)
    code, said = ended(process, seconds=60)
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said
    assert f"stopped by {signal.Signals(number).name}" in said
    assert code == 128 + number


@pytest.mark.slow
def test_sigquit_to_the_group_shows_what_each_process_does_and_the_run_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "store"
    process = start(
        store, "--methods", "learner,echo", "--set", "learner.training.epochs=20", "--workers", "2"
    )
    deadline = time.monotonic() + 120
    while not list(store.rglob("history.json")):
        assert process.poll() is None, ended(process)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGQUIT)
    code, said = ended(process)
    assert code == 0, said
    assert said.count("most recent call first") >= 2
    assert "it goes on" in said
    assert "FAILED" not in said


def test_a_lock_whose_holder_was_killed_is_free(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from harness.store.cell import Cell\n"
        "with Cell(Path(sys.argv[1])).lock(): print(os.getpid(), flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == str(holder.pid)
    said: list[str] = []

    def waiting(who: str) -> None:
        said.append(who)
        holder.kill()
        holder.communicate()

    with Cell(tmp_path).lock(waiting):
        assert said == [f"process {holder.pid} on {platform.node()}"]
        assert json.loads((tmp_path / ".holder.json").read_text())["process"] == os.getpid()
    assert not (tmp_path / ".holder.json").exists()


def test_two_runs_on_one_store_lose_and_double_nothing(victims: Victims, tmp_path: Path) -> None:
    store, others = tmp_path / "store", [str(tmp_path / f"{name}.log") for name in "ab"]
    runs = [start_toys(store, log) for log in others]
    for process in runs:
        code, said = ended(process)
        assert code == 0, said
    assert contents(store) == contents(victims.undisturbed)
    done = [line for log in others for line in Path(log).read_text().splitlines()]
    assert done.count("fit echo") == 1
    assert done.count("step train") == 4 * 5
    # The learner and its control read one of three modalities: two of four states differ for them.
    assert done.count("score bleu") == 4 + 2 * 2


def start_toys(store: Path, log: str) -> prepared.Program:
    command = ["-m", "tests.helpers.toys", str(store), ",".join(METHODS)]
    given = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TOY_LOG": log,
        "HARNESS_CACHE": str(store.parent / "cache"),
    }
    return prepared.start(command, cwd=ROOT, env=given)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB, where the user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize(
    "free",
    [60, 272, 400, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 132, 248, 264, 280, 288, 296))],
)
def test_a_full_disk_is_said_and_the_next_run_continues(
    victims: Victims, small_disk: Path, free: int
) -> None:
    """Filled up in the middle of cells, of training, of results: KiB that are free when the run begins."""
    ballast, store = small_disk / "ballast", small_disk / "store"
    ballast.write_bytes(bytes((20 << 20) - (free << 10)))
    code, _, _, error = victims.run(store)
    assert code == 3
    assert error.startswith(f"cannot write {store}/")
    assert "no space left on the disk (free space" in error
    ballast.unlink()
    assert victims.run(store)[0] == 0
    assert contents(store) == contents(victims.undisturbed)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95])
def test_a_disk_that_fills_up_without_a_mount(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """The same where nothing can be mounted: flushing to the disk fails after a share of a run's writes."""
    settings, flush, done, most = toy_config(toy_world, "echo"), os.fsync, [0], [10**6]
    undisturbed = toy_config(toy_world / "undisturbed", "echo")

    def limited(file: int) -> None:
        done[0] += 1
        if done[0] > most[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(file)

    monkeypatch.setattr(os, "fsync", limited)
    run_serially(undisturbed, Quiet())
    most[0], done[0] = int(share * done[0]), 0
    with pytest.raises(DiskError, match=r"cannot write .*: no space left on the disk \(free space"):
        run_serially(settings, Quiet())
    assert not list(settings.config.store.rglob(".*.tmp")), "nothing half-written"
    most[0] = 10**6
    assert run_serially(settings, Quiet())[1]
    assert contents(settings.config.store) == contents(undisturbed.config.store)


def toy_config(folder: Path, *methods: str, **rest: Any) -> RunSettings:
    values = {"missing": (0.4,), "drop": "context", "metrics": ("bleu",), **rest}
    return RunSettings.of(methods=methods, dataset="toy", store=folder / "store", **values)


def test_a_loss_that_is_not_finite_ends_its_cell_alone(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, steps = Learner.losses, [0]

    def losses(self: Learner, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        steps[0] += self.network.training
        found = original(self, inputs, targets)
        return {"loss": found["loss"] * float("nan")} if steps[0] >= 13 else found

    monkeypatch.setattr(Learner, "losses", losses)
    reporter, settings = Quiet(), toy_config(toy_world, "learner", "echo")
    rows, succeeded = run_serially(settings, reporter)
    assert not succeeded
    assert {row.method: row.status for row in rows}["echo"] == "ok"
    (detail,) = {row.detail for row in rows if row.method == "learner"}
    assert detail.startswith("learner: loss is not finite at epoch 3, step 3")
    assert "the last good checkpoint is kept" in reporter.failures["learner"]
    (kept,) = settings.config.store.rglob("training/last.ckpt")
    assert torch.load(kept, weights_only=True)["epoch"] == 1
    monkeypatch.setattr(Learner, "losses", original)
    assert run_serially(settings, Quiet())[1], "the cell goes on from there"


def test_out_of_memory_is_said_and_stands_in_the_manifest(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, _ = run_serially(toy_config(toy_world, "echo"), Quiet())
    train, ask = Learner.losses, Echo.predict

    def losses(self: Learner, inputs: Inputs, targets: Targets) -> dict[str, torch.Tensor]:
        if len(inputs) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(self, inputs, targets)

    def predict(self: Echo, inputs: Inputs) -> list[Prediction]:
        if len(inputs) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ask(self, inputs)

    monkeypatch.setattr(Learner, "losses", losses)
    monkeypatch.setattr(Echo, "predict", predict)
    reporter = Listener()
    settings = toy_config(toy_world / "small", "echo", "learner")
    rows, succeeded = run_serially(settings, reporter)
    assert succeeded
    assert [(r.metric, r.rate, r.value) for r in rows if r.method == "echo"] == [
        (r.metric, r.rate, r.value) for r in undisturbed
    ]
    assert any(line.endswith("out of memory: 8 at a time") for line in reporter.said["echo", "predict full"])
    assert any(line.endswith("out of memory: 2 x 4 studies") for line in reporter.said["learner", "train"])
    costs = {each.manifest.method: each.manifest.cost for each in Store(settings.config.store).stored()}
    assert costs["echo"].prediction_batch_size == 8
    assert costs["learner"].batch_division == 2


class Listener(Quiet):
    """Remembers what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[tuple[str, str], list[str]] = {}

    def phase(self, label: str, phase: str) -> Callable[[float, str], None]:
        lines = self.said.setdefault((label, phase), [])
        return lambda fraction, status: lines.append(status)


def test_a_run_says_whom_it_waits_for(toy_world: Path) -> None:
    settings = toy_config(toy_world, "echo")
    benchmark = open_benchmark(settings)
    reporter = Listener()
    holding = Trial(benchmark, benchmark.entries[0], 0).cell.lock()
    with ThreadPoolExecutor(1) as pool:
        with holding:
            result = pool.submit(run_serially, settings, reporter)
            deadline = time.monotonic() + 60
            while not reporter.said:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert result.result()[1]
    who = f"process {os.getpid()} on {platform.node()}"
    assert next(iter(reporter.said)) == ("echo", f"wait for {who}, which works on it,")


@pytest.mark.parametrize("content", ['{"schema": 0}', '{"schema": 2}', "{}"])
def test_a_store_of_another_schema_is_refused(toy_world: Path, content: str) -> None:
    settings = toy_config(toy_world, "echo")
    run_serially(settings, Quiet())
    (result,) = (settings.config.store / "results").rglob("*.json")
    for path in (result, settings.config.store / "store.json"):
        path.write_text(content)
        with pytest.raises(
            HarnessError, match=r"of schema .*, but this version reads schema 1 \(use another"
        ):
            Store(settings.config.store).results()


def test_a_checkpoint_of_other_code_is_not_loaded(
    toy_world: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = toy_config(toy_world, "learner")
    run_serially(settings, Quiet())
    (first,) = settings.config.store.glob("cells/toy/learner/*")
    monkeypatch.setattr("harness.evaluation.trial.code_fingerprint", lambda method: "other code")
    work = toy_world / "work.log"
    work.unlink()
    assert run_serially(settings, Quiet())[1]
    assert work.read_text().splitlines().count("step train") == 4 * 5, "trained again"
    (second,) = set(settings.config.store.glob("cells/toy/learner/*")) - {first}
    shutil.rmtree(second)
    second.mkdir()
    shutil.copytree(first / "checkpoint", second / "checkpoint")
    work.unlink()
    assert run_serially(settings, Quiet())[1]
    assert f"{second / 'checkpoint'}: damaged, set aside as checkpoint.damaged" in caplog.text
    assert work.read_text().splitlines().count("step train") == 4 * 5, "trained again"


def test_clocks_may_jump(toy_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backwards by an hour at every look, by decades between two runs, and files from the future."""
    settings, now = toy_config(toy_world, "echo", "learner"), [4e9]

    def backwards() -> float:
        now[0] -= 3600
        return now[0]

    monkeypatch.setattr(time, "time", backwards)
    first, succeeded = run_serially(settings, Quiet())
    assert succeeded
    before = contents(settings.config.store)
    for path in settings.config.store.rglob("*"):
        os.utime(path, (5e9, 5e9))
    now[0] = 1e6
    work = toy_world / "work.log"
    work.unlink()
    second, _ = run_serially(settings, Quiet())
    assert second == first
    assert contents(settings.config.store) == before
    assert {line.split()[0] for line in work.read_text().splitlines()} == {"done"}, "nothing is done again"
