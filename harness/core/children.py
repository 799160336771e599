"""How interpreters start that work for this one: with its modules, and with no code of the working folder."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.core.signals import children_leave_to_parent

SAFE_PATH = "PYTHONSAFEPATH"
"""While it is set, ``python -m`` and ``python -c`` do not look for modules in the working folder first.

A ``random.py`` or ``torch.py`` there would be imported in place of the real module.
"""

_DEATH_SIGNAL, _SUBREAPER = 1, 36
"""Linux's PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER (man 2 prctl)."""
_TRACKER = b"resource_tracker"
"""In the command line of a process that clears up after this one has ended, and then ends by itself."""
_LEFT, _LOOK = 2.0, 0.02
"""Seconds in which processes that were killed go, and between two looks at them."""


def child_environment() -> dict[str, str]:
    """The environment of an interpreter that finds the modules which this one finds, and no others."""
    return {**os.environ, **_paths()}


@contextmanager
def interpreters_start() -> Iterator[None]:
    """Interpreters that start meanwhile have that environment, and leave signals to this one."""
    before = {name: os.environ.get(name) for name in _paths()}
    os.environ.update(_paths())
    try:
        with children_leave_to_parent():
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def end_fork_server() -> None:
    """End the server that forks processes: while it imports, it does not see that this process has ended."""
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    process = getattr(server, "_forkserver_pid", None)
    if process is not None:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def adopt_orphans() -> None:
    """Processes whose parent ends become children of this one, so that it can end them; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Have the system kill this process when the thread ends that has started it. Linux alone does so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)


def dying_with_parent() -> dict[str, Any]:
    """Arguments of ``subprocess.Popen`` for a program that takes long to see that its input was closed.

    The system kills it with the thread that starts it, so they are empty in all threads but the main one.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return {}
    prctl = ctypes.CDLL(None).prctl  # found before the fork, when other threads may hold the loader's lock
    return {"preexec_fn": lambda: prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)}


def children_of(process: int) -> list[int]:
    """Numbers of the processes that a process has started or adopted; empty where there is no /proc."""
    children = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            number, _, rest = entry.read_text().partition(" ")
            if int(rest.rpartition(")")[2].split()[1]) == process:
                children.append(int(number))
    return children


def end_children() -> None:
    """Kill all processes that this one has started or adopted: code of a plugin may have left some.

    They would outlive the command, and ignore the signals that this process ignores. What they have started
    comes to this process after them.
    """
    own, deadline = os.getpid(), time.monotonic() + _LEFT
    while time.monotonic() < deadline:
        left = [child for child in children_of(own) if not _clears_up(child)]
        if not left:
            return
        for child in left:
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)
            with suppress(OSError):
                os.waitpid(child, os.WNOHANG)
        time.sleep(_LOOK)


def _clears_up(process: int) -> bool:
    try:
        return _TRACKER in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


temporary_folders: set[str] = set()
"""Folders that a process of this one removes as it ends, unless it is killed."""


def remove_own_temporary_files() -> None:
    """Remove what would be removed if Python ended this process, and its children, in their own time."""
    for each in temporary_folders:
        shutil.rmtree(each, ignore_errors=True)
    process = sys.modules.get("multiprocessing.process")
    folder = getattr(process.current_process(), "_config", {}).get("tempdir") if process else None
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _paths() -> dict[str, str]:
    """This interpreter's own path; an empty entry of it stands for the working folder."""
    return {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), SAFE_PATH: "1"}
