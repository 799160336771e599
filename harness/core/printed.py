"""What code of a plugin prints goes into a file for the user alone, never between results on a terminal."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import IO

from harness.core.files import clear_disk_errors, clear_place
from harness.core.progress import Progress

_OUT, _ERR = 1, 2


@contextmanager
def printed_into(path: Path) -> Iterator[Callable[[Progress], Progress]]:
    """Append what this process and its children print meanwhile to a file of mode 0600.

    A process that was started for work prints nothing itself, so all it prints goes there. In the process
    that shows progress, what is no Python code still reaches standard error. No file stays where nothing was
    printed.

    Yields:
        Takes a function of progress, and gives one that may print: it is called outside.
    """
    clear_place(path)
    if path.is_symlink():
        path.unlink()
    with clear_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        streams = sys.stdout, sys.stderr

        def outside(progress: Progress) -> Progress:
            def shown(share: float, status: str) -> None:
                with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
                    progress(share, status)

            return shown

        try:
            with _into(log):
                yield outside
        finally:
            with suppress(OSError):
                log.flush()
                if not os.fstat(descriptor).st_size:
                    path.unlink()


@contextmanager
def _into(log: IO[str]) -> Iterator[None]:
    """Standard output, and standard error as far as nothing else is shown there, lead to an open file."""
    numbers = (_OUT,) if multiprocessing.parent_process() is None else (_OUT, _ERR)
    with ExitStack() as ends:
        for number in numbers:
            with suppress(OSError):  # closed by the user
                before = os.dup(number)
                ends.callback(os.close, before)
                ends.callback(os.dup2, before, number)
                os.dup2(log.fileno(), number)
        with redirect_stdout(log), redirect_stderr(log):
            yield
