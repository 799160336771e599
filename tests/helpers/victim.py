"""Runs to be killed: a process that has imported everything forks one for each.

``python -m tests.helpers.victim`` reads a line of JSON per run, an object with the fields of ``Order``, and
answers ``[exit code or minus the signal, file events, seconds, error]``. A moment is null, ``["event", n]``
(SIGKILL as the n-th file below the store is about to be opened, renamed, made or removed) or
``["second", s]``. Names of modules that a run needs follow the command.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401
import torch

from harness.core.config import RunSettings
from harness.core.errors import HarnessError
from harness.evaluation import ask, evaluate, run
from tests.helpers import toys

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.truncate"}
COUNT = 12
"""Bytes of the report that hold the number of events; an error's text follows."""
BATCH_SIZE = 7
"""A run asks about its studies in several batches."""


@dataclass(frozen=True)
class Order:
    """One run.

    Attributes:
        store: its results store.
        methods: their names.
        moment: when it is killed, or None.
        settings: of a run of registered methods; None is a run of the toys.
        cache: folder of the features that it keeps; None is that of the parent.
    """

    store: str
    methods: Sequence[str]
    moment: tuple[str, float] | None = None
    settings: Mapping[str, Any] | None = field(default=None)
    cache: str | None = None

    def succeeds(self) -> bool:
        """Work as it says."""
        if self.settings is None:
            return toys.run(Path(self.store), tuple(self.methods))[1]
        settings = RunSettings.of(store=Path(self.store), methods=tuple(self.methods), **self.settings)
        return run.run(settings, toys.Quiet())[1]


def count_events(store: str, fatal: float | None, report: int) -> None:
    """Count in ``report`` what happens to files below ``store``; die at the ``fatal`` one."""
    seen = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in EVENTS and isinstance(args[0], str | os.PathLike) and str(args[0]).startswith(store):
            seen += 1
            os.pwrite(report, b"%*d" % (COUNT, seen), 0)
            if seen == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def child(order: Order, fatal: float | None, report: int) -> int:
    """One run; its exit code."""
    torch.set_num_threads(1)
    if order.cache is not None:
        os.environ["HARNESS_CACHE"] = order.cache
    count_events(order.store, fatal, report)
    try:
        return int(not order.succeeds())
    except BaseException as error:
        if not isinstance(error, HarnessError):
            traceback.print_exc()
        os.pwrite(report, str(error).encode(), COUNT)
        return 3


def serve() -> None:
    """Answer runs until standard input ends."""
    ask.BATCH_SIZE = BATCH_SIZE
    for line in sys.stdin:
        order = Order(**json.loads(line))
        report = os.memfd_create("events")
        kind, value = order.moment or (None, None)
        started = time.monotonic()
        process = os.fork()
        if not process:
            os._exit(child(order, value if kind == "event" else None, report))
        if kind == "second":
            assert value is not None
            time.sleep(value)
            os.kill(process, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        events, error = os.pread(report, COUNT, 0), os.pread(report, 10_000, COUNT).decode()
        os.close(report)
        print(json.dumps([code, int(events or 0), time.monotonic() - started, error]), flush=True)


if __name__ == "__main__":
    assert evaluate  # a run imports it at its first row
    for name in sys.argv[1:]:
        import_module(name)
    serve()
