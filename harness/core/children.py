"""How interpreters start that work for this one: with its modules, and with no code of the working folder."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from harness.core.signals import children_leave_to_parent

SAFE_PATH = "PYTHONSAFEPATH"
"""While it is set, ``python -m`` and ``python -c`` do not look for modules in the working folder first.

A ``random.py`` or ``torch.py`` there would be imported in place of the real module.
"""


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


def remove_own_temporary_files() -> None:
    """Remove what ``multiprocessing`` would remove when Python ends this process in its own time."""
    process = sys.modules.get("multiprocessing.process")
    folder = getattr(process.current_process(), "_config", {}).get("tempdir") if process else None
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _paths() -> dict[str, str]:
    """This interpreter's own path; an empty entry of it stands for the working folder."""
    return {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), SAFE_PATH: "1"}
