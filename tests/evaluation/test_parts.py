"""Test studies predicted in shards, by any process and however far: the store of one process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from harness.core import registry
from harness.core.config import RunSettings
from harness.evaluation.benchmark import Benchmark, open_benchmark
from harness.evaluation.evaluate import evaluate, predict_shard, prepare
from harness.evaluation.trial import Trial
from harness.store.predictions import Shard
from tests.helpers import toys
from tests.helpers.store_hash import contents

METHODS = ("echo", "learner")


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    toys.register(monkeypatch.setitem)
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "work.log"))
    registry._table.cache_clear()
    yield
    monkeypatch.undo()
    registry._table.cache_clear()


def benchmark(store: Path) -> Benchmark:
    return open_benchmark(
        RunSettings.of(
            methods=METHODS,
            dataset="toy",
            missing=(0.4,),
            drop="any",
            mask_seeds=3,
            metrics=("bleu",),
            store=store,
            device="cpu",
        )
    )


def share(benchmark: Benchmark, *shards: Shard, trained: bool = True) -> None:
    for entry in benchmark.entries:
        trial = Trial(benchmark, entry, 0)
        if trained:
            prepare(trial)
        for shard in shards:
            predict_shard(replace(trial, shard=shard))


def finish(benchmark: Benchmark) -> None:
    for entry in benchmark.entries:
        rows = evaluate(Trial(benchmark, entry, 0))
        assert {row.status for row in rows} == {"ok"}


def asked(log: Path) -> Counter[str]:
    """How often each study was predicted by echo."""
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return Counter(line.split()[1] for line in lines if line.startswith("predict"))


def part_files(store: Path) -> list[Path]:
    return sorted(store.glob("cells/*/*/*/predictions/part-*/*.json*"))


def test_parts_leave_the_store_of_one_process(tmp_path: Path) -> None:
    finish(benchmark(tmp_path / "whole"))
    alone = asked(tmp_path / "work.log")
    given = benchmark(tmp_path / "parts")
    share(given, *(Shard(number, 3) for number in range(3)))
    assert part_files(tmp_path / "parts")
    finish(given)
    assert asked(tmp_path / "work.log") == alone
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    (timing,) = (tmp_path / "parts").glob("cells/toy/echo/*/predictions/full.seconds.json")
    assert '"studies": 40' in timing.read_text()
    share(given, Shard(1, 3), Shard(0, 5))  # a task that comes late, or of another run
    assert not part_files(tmp_path / "parts")


def test_what_a_lost_task_left_is_completed(tmp_path: Path) -> None:
    finish(benchmark(tmp_path / "whole"))
    given = benchmark(tmp_path / "parts")
    share(given, Shard(0, 2))
    for path in part_files(tmp_path / "parts"):
        if path.suffix == ".jsonl":
            path.write_bytes(path.read_bytes()[:-40])  # as a kill leaves it
    share(given, Shard(2, 3))
    finish(given)
    found, expected = (
        {
            path.relative_to(tmp_path / name): sorted(path.read_text().splitlines())
            for path in (tmp_path / name).rglob("*.jsonl")
        }
        for name in ("parts", "whole")
    )
    assert found == expected, "all but the order of lines"
    results = [contents(tmp_path / name) for name in ("parts", "whole")]
    for name, digest in results[1].items():
        assert name.endswith(".jsonl") or results[0][name] == digest, name


def test_nothing_is_predicted_before_the_cell_is_trained(tmp_path: Path) -> None:
    share(benchmark(tmp_path / "store"), Shard(0, 2), trained=False)
    assert not part_files(tmp_path / "store")
    assert not asked(tmp_path / "work.log")


def test_a_run_waits_for_the_parts_that_another_predicts(tmp_path: Path) -> None:
    given = benchmark(tmp_path / "store")
    share(given, Shard(0, 2))
    busy = FileLock(part_files(tmp_path / "store")[0].parent / ".lock")
    with busy:
        run = threading.Thread(target=finish, args=(given,))
        run.start()
        run.join(1.0)
        assert run.is_alive()
    run.join(60.0)
    assert not run.is_alive()
    assert not part_files(tmp_path / "store")
