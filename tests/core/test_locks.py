"""A wait for a lock names its holder and may have an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core import locks
from harness.core.errors import HarnessError
from harness.core.signals import ENDING, Stopped, stopped_by_signals

pytestmark = pytest.mark.process

HOLDS = """
import sys, time
from pathlib import Path
from harness.core.locks import exclusive

folder = Path(sys.argv[1])
with exclusive(folder / "lock", folder / "holder.json"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def handlers() -> Iterator[None]:
    """The test process keeps its handlers."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_wait_names_its_holder_and_ends(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    heard: list[str] = []
    with (
        pytest.raises(HarnessError, match=f"held by process {holder.pid} on .* for more than 1 seconds"),
        locks.exclusive(tmp_path / "lock", tmp_path / "holder.json", heard.append, most_seconds=1.0),
    ):
        pass
    assert heard
    assert all(name.startswith(f"process {holder.pid} on ") for name in heard)
    holder.kill()
    holder.wait()
    with locks.exclusive(tmp_path / "lock", tmp_path / "holder.json", most_seconds=30.0):  # ended with it
        assert (tmp_path / "holder.json").exists()
    assert not (tmp_path / "holder.json").exists()


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_a_wait_for_a_lock(tmp_path: Path, holder: subprocess.Popen[str], number: int) -> None:
    def asked_to_end(name: str) -> None:
        os.kill(os.getpid(), number)

    with (
        pytest.raises(Stopped),
        stopped_by_signals(),
        locks.exclusive(tmp_path / "lock", tmp_path / "holder.json", asked_to_end),
    ):
        pytest.fail("the lock is another's")
    assert str(holder.pid) in (tmp_path / "holder.json").read_text(), "the holder keeps it"
    holder.kill()
    holder.wait()
