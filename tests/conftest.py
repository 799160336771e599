"""A toy world that exercises the real flow in milliseconds: 40 studies, three modalities, two methods."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core import registry
from harness.datasets.iu_phantom import IUPhantom
from tests.helpers import tiers, toys

ROOT = Path(__file__).parents[1]
pytest_plugins = ["tests.helpers.tiers", "tests.helpers.durations"]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[None]:
    """Tests neither read nor fill the user's cache. All processes of a session share drawn phantoms.

    Programs that tests start find the ``tests`` of this repository: some installed packages bring a folder of
    that name, and an interpreter with a safe path does not look into the working folder.
    """
    cache = tmp_path_factory.mktemp("cache")
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = tmp_path_factory.getbasetemp().parent / "iu-phantom"
        shared.mkdir(mode=0o700, exist_ok=True)
        (cache / "iu-phantom").symlink_to(shared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_WORKERS", "1")  # tests of more name their number
        patch.setenv("HARNESS_CACHE", str(cache))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split()]))
        if pytestconfig.option.markexpr == "fast" and "PYTEST_XDIST_WORKER" in os.environ:
            IUPhantom.open()  # drawn by several processes, which are no test's
            tiers.forget()
        yield


@pytest.fixture
def toy_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Registers the toys; returns a folder for the store and the log of work done."""
    toys.register(monkeypatch.setitem)
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "work.log"))
    registry._table.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    registry._table.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def _hangups_reach_tests() -> None:
    """Tests started by nohup or in the background ignore signals, and so would every program they start."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
