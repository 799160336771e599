"""Tiers of tests: ``fast``, ``process``, ``system`` and ``slow``, as pytest's markers.

A test has the tier of its folder: units are ``fast``; whole runs, and programs that start others, are of the
tier ``process``; whole commands, pages, notebooks and the wheel are of the tier ``system``. The marks
``process`` and ``slow`` on a test go before. In a run of the fast tier, a test that starts another Python is
an error: an interpreter with the libraries takes seconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

TIERS = ("fast", "process", "system", "slow")
TESTS = Path(__file__).parents[1]
FOLDERS = {
    **dict.fromkeys(("api", "audit", "bench", "cli", "distributed", "evaluation", "papers"), "process"),
    "system": "system",
}
"""Folder of tests -> the tier of its tests, where it is not ``fast``."""
_FORKS = {"os.fork", "os.forkpty", "os.posix_spawn"}
_started: list[str] = []
"""Names of the Pythons that were started since the present test began."""


def tier_of(item: pytest.Item) -> str:
    """The tier of a test, from its marks and its place."""
    for name in ("slow", "system", "process"):
        if item.get_closest_marker(name):
            return name
    inside = item.path.is_relative_to(TESTS)
    return FOLDERS.get(item.path.relative_to(TESTS).parts[0], "fast") if inside else "fast"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its tier, before ``-m`` chooses."""
    for item in items:
        item.add_marker(tier_of(item))


def pytest_configure() -> None:
    """Watch for started processes from now on."""
    sys.addaudithook(_watch)
    start = BaseProcess.start

    def noted(process: BaseProcess) -> None:  # a server's forks are no event of this interpreter
        _started.append("a process of multiprocessing")
        start(process)

    BaseProcess.start = noted  # type: ignore[assignment, method-assign]


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        name = os.path.basename(os.fsdecode(arguments[0] or arguments[1][0]))
        if name.startswith(("python", "harness", "pytest")):
            _started.append(name)
    elif event in _FORKS:
        _started.append(event)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Forget what the test before started."""
    forget()


def forget() -> None:
    """What was started up to here is not the present test's."""
    _started.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Where fast tests alone run, one that started a Python is an error."""
    yield
    if _started and item.config.option.markexpr == "fast":
        reason = f"a fast test started {', '.join(_started)}: mark it with pytest.mark.process"
        pytest.fail(reason, pytrace=False)
