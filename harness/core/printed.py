"""What code of a plugin prints goes into a file for the user alone, never between results on a terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import IO

from harness.core.failures import unseen_failures_described
from harness.core.files import clear_disk_errors, clear_place
from harness.core.progress import Progress

OUTPUT = "output.txt"
"""Name of such a file."""
_OUT, _ERR = 1, 2
_HOME = str(Path(__file__).resolve().parents[1])


@contextmanager
def printed_into(path: Path) -> Iterator[Callable[[Progress], Progress]]:
    """Append what this process and its children print meanwhile to a file of mode 0600.

    That includes what is no Python code. No file stays where nothing was printed.

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
        try:
            with _copies() as (out, err), _warnings_to(err), _into(log):

                def outside(progress: Progress) -> Progress:
                    def shown(share: float, status: str) -> None:
                        with redirect_stdout(out), redirect_stderr(err):
                            progress(share, status)

                    return shown

                yield outside
        finally:
            with suppress(OSError):
                log.flush()
                if not os.fstat(descriptor).st_size:
                    path.unlink()


@contextmanager
def printed_nowhere() -> Iterator[None]:
    """What this process and its children print meanwhile is dropped."""
    with (
        open(os.devnull, "w", encoding="utf-8", errors="backslashreplace") as log,
        _copies() as (_, err),
        _warnings_to(err),
        _into(log),
    ):
        yield


@contextmanager
def _copies() -> Iterator[list[IO[str]]]:
    """Standard output and error as they lead now, whatever becomes of them meanwhile."""
    with ExitStack() as ends:
        copies: list[IO[str]] = []
        for stream, number in ((sys.stdout, _OUT), (sys.stderr, _ERR)):
            with suppress(OSError, ValueError, AttributeError):  # closed, or no file: a notebook
                if stream.fileno() == number:
                    copy = os.fdopen(os.dup(number), "w", 1, stream.encoding, "backslashreplace")
                    stream = ends.enter_context(copy)
            copies.append(stream)
        yield copies


def streams_opened() -> None:
    """What the user closed (``2>&-``) leads nowhere: the next file that is opened would take its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def keep_quiet() -> None:
    """Until this process ends, its standard error gets no text of a plugin's error or log.

    A failure that nothing can handle is a line with type and place; of what no handler of the log takes, the
    harness's own warnings are shown.
    """
    unseen_failures_described()
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.addFilter(_is_own)
    logging.lastResort = handler


def _is_own(record: logging.LogRecord) -> bool:
    return record.pathname.startswith(_HOME)  # a plugin may take any name


@contextmanager
def _warnings_to(stream: IO[str]) -> Iterator[None]:
    """What the harness itself logs meanwhile, such as that a file was set aside, goes to a stream."""
    logger, handler = logging.getLogger("harness"), logging.StreamHandler(stream)
    handler.setLevel(logging.WARNING)
    handler.addFilter(_is_own)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def _into(log: IO[str]) -> Iterator[None]:
    """Standard output and standard error lead to an open file."""
    with ExitStack() as ends:
        for number in (_OUT, _ERR):
            with suppress(OSError):  # closed by the user
                before = os.dup(number)
                ends.callback(os.close, before)
                ends.callback(os.dup2, before, number)
                os.dup2(log.fileno(), number)
        with redirect_stdout(log), redirect_stderr(log):
            yield
