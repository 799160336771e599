"""``harness bench gpu`` on a CPU: every step runs with tiny networks, and the time limit holds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.bench import gpu, suite
from harness.bench.rows import Row
from harness.core.errors import HarnessError
from tests.helpers.toys import Quiet


def test_when_the_time_is_over_each_step_says_so(tmp_path: Path) -> None:
    options = suite.Options(("gpu",), ("late_fusion",), store=tmp_path / "store", minutes=0.0)
    rows = suite.run(options, Quiet())
    assert len(rows) == 4
    assert {row.note for row in rows} == {"not begun: the time was over (raise --minutes)"}
    assert not (tmp_path / "store").exists()


def test_a_rehearsal_is_tiny_and_a_gpu_is_not(tmp_path: Path) -> None:
    ends = time.monotonic() + 60
    on_cpu, on_gpu = (
        gpu.Setting(("dia",), device, None, tmp_path, None, ends) for device in ("cpu", "cuda:0")
    )
    assert (on_cpu.preset("paper"), on_gpu.preset("paper")) == ("tiny", "paper")
    assert on_cpu.seconds(5.0) == 5.0
    assert 50 < on_cpu.seconds() <= 60
    with pytest.raises(HarnessError, match="time was over"):
        gpu.Setting(("dia",), "cpu", None, tmp_path, None, time.monotonic()).seconds()


@pytest.mark.slow
def test_all_steps_run(tmp_path: Path) -> None:
    options = suite.Options(("gpu",), ("late_fusion",), store=tmp_path / "store", limit=64)
    rows = {row.benchmark: row for row in suite.run(options, Quiet())}
    assert {row.state for row in rows.values()} <= {"ok", "no peer"}
    mixed = rows["late_fusion (tiny), training step in bf16-mixed, batch 8"]
    assert mixed.of == "float32"
    assert mixed.ratio is not None
    judge = next(row for name, row in rows.items() if name.startswith("judging reports"))
    assert judge.ours is not None
    assert judge.ours > 0
    training = rows["late_fusion (tiny), training on iu-phantom"]
    assert training.ours is not None
    assert training.ours > 0
    assert {row.suite for row in rows.values()} == {"gpu"}
    assert any("predict" in name for name in rows)
    again: list[Row] = [row for each in gpu._costs(tmp_path / "store", "tiny") for row in each]
    assert [row.benchmark for row in again] == [
        "late_fusion (tiny), training on iu-phantom",
        "late_fusion (tiny), prediction of a study",
    ]
