"""Cells side by side: the same table as one after the other, and no process outlives its run."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from harness.core.config import ExecutionConfig
from harness.core.errors import HarnessError
from harness.distributed import processes
from tests.helpers import prepared


def start(folder: Path, store: str, workers: int, **environment: str) -> prepared.Program:
    command = ["-m", "tests.helpers.toys", str(folder / store), "echo,learner", str(workers)]
    given = {**os.environ, "TOY_LOG": str(folder / f"{store}.log"), "OMP_NUM_THREADS": "1", **environment}
    return prepared.start(command, env=given)


def running(process: int) -> bool:
    """Whether a process still does anything; one that ended may still be in the process table."""
    status = Path(f"/proc/{process}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def table(process: prepared.Program, code: int = 0) -> list[list[Any]]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return json.loads(out)


def test_two_at_a_time_print_the_table_of_one_after_the_other(tmp_path: Path) -> None:
    both, single = table(start(tmp_path, "both", 2)), table(start(tmp_path, "single", 1))
    for row, expected in zip(both, single, strict=True):
        assert row[:3] == expected[:3]
        # BLAS sums in an order that depends on where arrays lie in memory.
        assert [row[3], *row[4]] == pytest.approx([expected[3], *expected[4]], abs=1e-12)


def test_a_killed_process_is_a_failed_row_and_the_others_go_on(tmp_path: Path) -> None:
    rows = table(start(tmp_path, "store", 2, TOY_KILL="predict"), code=1)
    assert {row[0] for row in rows if row[3] is None} == {"echo"}
    assert {row[0] for row in rows if row[3] is not None} == {"learner", "learner+shuffled-image"}
    again = table(start(tmp_path, "store", 2))
    assert all(row[3] is not None for row in again)


def test_processes_end_with_a_killed_run(tmp_path: Path) -> None:
    process = start(tmp_path, "store", 2, TOY_SLOW="1")
    log = tmp_path / "store.log"
    deadline = time.monotonic() + 120
    while "slow" not in (log.read_text() if log.exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    workers = {int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("slow")}
    process.send_signal(signal.SIGKILL)
    process.communicate()
    while any(map(running, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_WORKERS", raising=False)
    chosen, free = ExecutionConfig(workers=3), ExecutionConfig()
    for cores, suits in ((1, 1), (2, 2), (8, 2), (16, 4)):
        monkeypatch.setattr(processes, "cores", lambda cores=cores: cores)
        assert processes.worker_count(free, "cpu", 9) == suits
    assert processes.worker_count(free, "cpu", 1) == 1
    assert processes.worker_count(free, "cuda:0", 9) == 1
    assert processes.worker_count(chosen, "cuda:0", 9) == 3
    monkeypatch.setenv("HARNESS_WORKERS", "5")
    assert processes.worker_count(free, "cpu", 9) == 5
    assert processes.worker_count(chosen, "cpu", 9) == 3
    monkeypatch.setenv("HARNESS_WORKERS", "many")
    with pytest.raises(HarnessError, match="HARNESS_WORKERS is 'many'"):
        processes.worker_count(free, "cpu", 9)
