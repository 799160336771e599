"""Runs of the toys to be killed: a process that has imported everything forks one for each.

``python -m tests.helpers.victim`` reads a line of JSON per run, ``[store, methods, moment]``, and answers
``[exit code or minus the signal, file events, seconds, error]``. A moment is null, ``["event", n]`` (SIGKILL
as the n-th file below the store is about to be opened, renamed, made or removed) or ``["second", s]``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401
import torch

from harness.core.errors import HarnessError
from harness.evaluation import ask, evaluate  # noqa: F401
from tests.helpers import toys

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.truncate"}
COUNT = 12
"""Bytes of the report that hold the number of events; an error's text follows."""


def count_events(store: str, fatal: int | None, report: int) -> None:
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


def child(store: str, methods: list[str], fatal: int | None, report: int) -> int:
    """One run; its exit code."""
    torch.set_num_threads(1)
    count_events(store, fatal, report)
    try:
        return int(not toys.run(Path(store), tuple(methods))[1])
    except BaseException as error:
        if not isinstance(error, HarnessError):
            traceback.print_exc()
        os.pwrite(report, str(error).encode(), COUNT)
        return 3


def serve() -> None:
    """Answer runs until standard input ends; a run asks about its studies in several batches."""
    ask.BATCH_SIZE = 7
    for line in sys.stdin:
        store, methods, moment = json.loads(line)
        report = os.memfd_create("events")
        kind, value = moment or (None, None)
        started = time.monotonic()
        process = os.fork()
        if not process:
            os._exit(child(store, methods, value if kind == "event" else None, report))
        if kind == "second":
            time.sleep(value)
            os.kill(process, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        events, error = os.pread(report, COUNT, 0), os.pread(report, 10_000, COUNT).decode()
        os.close(report)
        print(json.dumps([code, int(events or 0), time.monotonic() - started, error]), flush=True)


if __name__ == "__main__":
    serve()
