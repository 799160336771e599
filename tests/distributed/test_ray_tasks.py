"""Cells on a Ray cluster: the table of a run in one process, whatever happens to a node."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core import registry
from harness.core.config import ExecutionConfig, RunSettings
from harness.core.errors import HarnessError, UnavailableError
from harness.core.types import Inputs, Prediction, Task
from harness.distributed import ray_tasks
from harness.evaluation import run as executors
from harness.method.card import MethodCard
from harness.store.results import Measurement
from harness.store.tolerance import TOLERANCE
from tests.helpers import toys

NUMBERS = ("value", "ci95_lo", "ci95_hi")


class Slow(toys.Echo):
    """Echo that takes its time, and says in the log on which node it is."""

    card = MethodCard(
        name="slow",
        title="slow",
        paper="",
        licence="",
        tasks=frozenset({Task.REPORT}),
        reads=toys.Echo.card.reads,
        learned=False,
    )

    def predict(self, inputs: Inputs) -> list[Prediction]:
        import ray

        if ray.is_initialized():
            toys.log("slow", ray.get_runtime_context().get_node_id())
            time.sleep(0.5)
        return super().predict(inputs)


class Deadly(Slow):
    """Takes its worker along every time."""

    card = replace(Slow.card, name="deadly")

    def predict(self, inputs: Inputs) -> list[Prediction]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []


class Said(toys.Quiet):
    """A reporter that remembers what it heard."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: list[tuple[str, str]] = []
        self.updates = 0
        self.finished: list[str] = []

    def phase(self, label: str, phase: str) -> Callable[[float, str], None]:
        self.phases.append((label, phase))

        def update(fraction: float, status: str) -> None:
            self.updates += 1

        return update

    def done(self, label: str, summary: str) -> None:
        self.finished.append(label)


def config(store: Path, *methods: str, **rest: Any) -> RunSettings:
    return RunSettings.of(
        methods=methods,
        dataset="toy",
        missing=(0.4, 0.8),
        drop="any",
        mask_seeds=3,
        metrics=toys.FAST_METRICS,
        store=store,
        device="cpu",
        **rest,
    )


def same(rows: list[Measurement], expected: list[Measurement]) -> None:
    """Every number, to what the order of a sum of floats leaves open."""
    assert len(rows) == len(expected) > 0
    for row, other in zip(rows, expected, strict=True):
        assert (row.method, row.seed, row.rate, row.metric) == (
            other.method,
            other.seed,
            other.rate,
            other.metric,
        )
        assert (row.status, row.key, row.test_set) == (other.status, other.key, other.test_set)
        assert [row.value, *(row.ci95 or ())] == pytest.approx([other.value, *(other.ci95 or ())], abs=1e-12)


@pytest.fixture
def _toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    toys.register(monkeypatch.setitem)
    monkeypatch.setitem(registry.METHODS, "slow", "tests.distributed.test_ray_tasks:Slow")
    monkeypatch.setitem(registry.METHODS, "deadly", "tests.distributed.test_ray_tasks:Deadly")
    registry._table.cache_clear()
    yield
    monkeypatch.undo()
    registry._table.cache_clear()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of one processor each on this machine; workers inherit what is set here."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_LOG", str(tmp_path_factory.mktemp("ray") / "work.log"))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        started.doomed = started.add_node(num_cpus=1)
        try:
            yield started
        finally:
            started.shutdown()


@pytest.mark.usefixtures("_toys")
def test_two_nodes_print_the_table_of_one_process(cluster: Any, tmp_path: Path) -> None:
    import ray

    wanted = ("echo", "learner")
    reporter = Said()
    rows, succeeded = executors.run(
        config(tmp_path / "ray", *wanted, executor="ray", address=cluster.address), reporter
    )
    expected, _ = executors.run(config(tmp_path / "local", *wanted), toys.Quiet())
    assert succeeded
    same(rows, expected)
    labels = {row.method for row in expected}
    assert set(reporter.finished) == {label for label, _ in reporter.phases} == labels
    assert ("learner", "train") in reporter.phases
    assert reporter.updates > 0
    assert not ray.is_initialized()
    again, _ = executors.run(config(tmp_path / "ray", *wanted), toys.Quiet())  # what is stored is a local run
    same(again, expected)


@pytest.mark.usefixtures("_toys")
def test_several_tasks_predict_what_one_process_predicts(cluster: Any, tmp_path: Path) -> None:
    wanted = ("echo", "learner")
    reporter = Said()
    spread = config(tmp_path / "ray", *wanted, executor="ray", address=cluster.address, shards=3)
    rows, succeeded = executors.run(spread, reporter)
    expected, _ = executors.run(config(tmp_path / "local", *wanted), toys.Quiet())
    assert succeeded
    same(rows, expected)
    assert {f"learner {number}/3" for number in (1, 2, 3)} < set(reporter.finished)
    rows_of_cluster, alone = (
        {path.relative_to(tmp_path / each): path.read_bytes() for path in (tmp_path / each).rglob("*.jsonl")}
        for each in ("ray", "local")
    )
    assert rows_of_cluster == alone


@pytest.mark.slow
@pytest.mark.usefixtures("_toys")
def test_a_task_trains_with_several_processes(cluster: Any, tmp_path: Path) -> None:
    roomy = cluster.add_node(num_cpus=2)
    given = {"set": {"learner": {"dropout": 0.0}}}
    spread = config(tmp_path / "ray", "learner", executor="ray", address=cluster.address, devices=2, **given)
    try:
        rows, succeeded = executors.run(spread, toys.Quiet())
    finally:
        cluster.remove_node(roomy)
    assert succeeded
    expected, _ = executors.run(config(tmp_path / "local", "learner", **given), toys.Quiet())
    assert [row.value for row in rows] == pytest.approx([row.value for row in expected], abs=TOLERANCE)


def test_a_wait_for_what_no_node_has_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray_tasks, "_LOOK", 0.0)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 8.0}}])
    reporter = Said()
    shortage = ray_tasks._Shortage(reporter)
    for _ in range(2):
        shortage.report([("small", {"CPU": 1}), ("large", {"CPU": 1, "GPU": 2, "memory": 3 * 2**30})])
    assert reporter.phases == [
        ("large", "wait for a node with 1 CPU, 2 GPU, 3.0 GiB of memory: none has it,")
    ]


@pytest.mark.usefixtures("_toys")
def test_failures_and_user_errors_are_those_of_a_local_run(cluster: Any, tmp_path: Path) -> None:
    given = config(tmp_path / "ray", "echo", executor="ray", address=cluster.address)
    failing = given.replaced(set={"echo": {"fail": "fit"}})
    reporter = Said()
    rows, succeeded = executors.run(failing, reporter)
    assert not succeeded
    assert {row.status for row in rows} == {"failed"}
    with pytest.raises(HarnessError, match="unknown dataset 'toi'"):
        executors.run(given.replaced(dataset="toi"), toys.Quiet())
    with pytest.raises(HarnessError, match="--device cuda:1: Ray chooses"):
        executors.run(given.replaced(device="cuda:1"), toys.Quiet())


@pytest.mark.slow
@pytest.mark.usefixtures("_toys")
def test_what_dies_every_time_is_a_failed_row_and_the_others_go_on(cluster: Any, tmp_path: Path) -> None:
    reporter = Said()
    rows, succeeded = executors.run(
        config(tmp_path / "ray", "deadly", "echo", executor="ray", address=cluster.address), reporter
    )
    assert not succeeded
    assert "lost for good: WorkerCrashedError" in reporter.failures["deadly"]
    assert {row.method for row in rows if row.status == "failed"} == {"deadly"}
    assert {row.method for row in rows if row.status == "ok"} == {"echo"}


@pytest.mark.usefixtures("_toys")
@pytest.mark.parametrize("shards", [1, 2])
def test_a_node_that_is_lost_changes_nothing(cluster: Any, tmp_path: Path, shards: int) -> None:
    doomed = cluster.doomed if shards == 1 else cluster.add_node(num_cpus=1)
    log = Path(os.environ["TOY_LOG"])
    seeds = (0, 1)
    killed = threading.Event()

    def kill() -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if f"slow {doomed.node_id}" in (log.read_text() if log.exists() else ""):
                cluster.remove_node(doomed, allow_graceful=False)
                killed.set()
                return
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    reporter = Said()
    given = {"executor": "ray", "address": cluster.address, "shards": shards}
    rows, succeeded = executors.run(config(tmp_path / "ray", "slow", seeds=seeds, **given), reporter)
    thread.join()
    assert killed.is_set()
    assert succeeded
    titles = [f"slow (seed {seed})" for seed in seeds]
    assert sorted(label for label in reporter.finished if label in titles) == titles
    same(rows, executors.run(config(tmp_path / "local", "slow", seeds=seeds), toys.Quiet())[0])


@pytest.mark.usefixtures("_toys")
def test_no_module_of_the_working_folder_is_imported_on_a_node(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trace = tmp_path / "working", tmp_path / "imported"
    folder.mkdir()
    for name in ("harness", "methods", "numpy", "torch", "safetensors", "statistics", "lightning"):
        (folder / f"{name}.py").write_text(f"open({str(trace)!r}, 'a').write({name!r})")
    monkeypatch.chdir(folder)
    given = config(tmp_path / "ray", "echo", executor="ray", address=cluster.address)
    rows, succeeded = executors.run(given, toys.Quiet())
    assert not trace.exists(), trace.read_text()
    assert succeeded
    assert {row.status for row in rows} == {"ok"}


def harness(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def leaderboard(store: Path) -> list[dict[str, Any]]:
    """Every number of a store."""
    process = harness("leaderboard", "--store", str(store), "--format", "csv")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return [
        {name: float(text) if text and name in NUMBERS else text for name, text in row.items()}
        for row in csv.DictReader(io.StringIO(out))
    ]


@pytest.mark.slow
def test_the_embedded_benchmark_survives_the_loss_of_a_node(cluster: Any, tmp_path: Path) -> None:
    doomed = cluster.add_node(num_cpus=1)
    wanted = ("--methods", "template,retrieval,early_fusion", "--limit", "64", "--device", "cpu")
    given = ("run", *wanted, "--no-figures", "--store", str(tmp_path / "ray"))
    process = harness(
        *given, "--executor", "ray", "--address", cluster.address, "--workers", "2", "--shards", "2"
    )
    deadline = time.monotonic() + 240
    # Two nodes of one processor each, so that two cells at work are one on each.
    while len(list(tmp_path.glob("ray/cells/*/*/*/.holder.json"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    cluster.remove_node(doomed, allow_graceful=False)
    _, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    alone = harness("run", *wanted, "--no-figures", "--workers", "1", "--store", str(tmp_path / "local"))
    _, err = alone.communicate(timeout=400)
    assert alone.returncode == 0, err
    rows_of_cluster, expected = leaderboard(tmp_path / "ray"), leaderboard(tmp_path / "local")
    assert len(rows_of_cluster) == len(expected) > 100
    for row, other in zip(rows_of_cluster, expected, strict=True):
        assert row == pytest.approx(other, abs=1e-12, nan_ok=True)


@pytest.mark.slow
def test_sigterm_ends_the_run_and_the_cluster_that_it_started(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    wanted = ("--methods", "early_fusion", "--limit", "64", "--metrics", "bleu", "--device", "cpu")
    process = harness("run", *wanted, "--no-figures", "--store", str(tmp_path / "ray"), "--executor", "ray")
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("ray/cells/*/*/*/.holder.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert "stopped by SIGTERM" in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("_toys")
def test_tasks_get_whole_paths_and_store_what_a_local_run_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RunSettings] = []

    class Tasks:
        def __init__(self, execution: ExecutionConfig, given: RunSettings, *rest: object) -> None:
            seen.append(given)

        def work(self, jobs: list[tuple[str, int]]) -> dict[tuple[str, int], list[Measurement]]:
            return {job: [] for job in jobs}

    monkeypatch.setattr("harness.core.packages.find_spec", lambda name: name)
    monkeypatch.setattr(ray_tasks, "Tasks", Tasks)
    monkeypatch.chdir(tmp_path)
    executors.run(config(Path("store"), "echo", executor="ray", address="auto", workers=2), toys.Quiet())
    assert seen == [config(tmp_path / "store", "echo")]


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.core.packages.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install .*\[ray\]"):
        executors.run(RunSettings.of(executor="ray"), toys.Quiet())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "the run itself must be on a node"),
        ("head", "expected HOST:PORT or auto"),
        ("127.0.0.1:1", "nothing answers"),
        ("127.0.0.1:99999", "nothing answers"),
    ],
)
def test_an_address_without_a_cluster_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    monkeypatch.setattr("harness.core.packages.find_spec", lambda name: name)
    with pytest.raises(HarnessError, match=f"--address {address}: {message}"):
        executors.run(RunSettings.of(executor="ray", address=address), toys.Quiet())


def test_an_address_is_for_ray_alone() -> None:
    with pytest.raises(HarnessError, match="--executor ray"):
        executors.run(RunSettings.of(address="auto"), toys.Quiet())
