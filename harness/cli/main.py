"""The entry point: what becomes of errors, signals and standard output.

The commands are imported after the signals are handled, so that Ctrl-C in the first second is quiet, too.
"""

from __future__ import annotations

import atexit
import errno
import io
import os
import resource
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any, NoReturn

from harness.core.children import (
    SAFE_PATH,
    adopt_orphans,
    end_children,
    end_fork_server,
    remove_own_temporary_files,
)
from harness.core.errors import HarnessError
from harness.core.failures import describe, no_silent_end, say
from harness.core.packages import packages_named
from harness.core.printed import keep_quiet, streams_opened
from harness.core.signals import Stopped, show_threads_on_quit, stopped_by_signals

_CONTINUES = frozenset({"run", "ablate", "downstream"})
"""Commands that keep what is finished and continue there."""
_KEPT = (
    ": what is finished is kept, training up to its last finished epoch; the same command continues from here"
)

_GRACE = 2.0
"""Seconds that a thread of a plugin has to end after the command."""

_FILES = 64
"""Files that a command may have open at least."""

_UNWRITTEN = {errno.EPIPE, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
"""Errors of a standard output that cannot be written; those of files come with a name, or as one line."""


def main() -> None:
    """Run a command: a user's mistake is one line on stderr and a non-zero exit, never a traceback.

    Nor is anything else that goes wrong: the text of an exception may quote a report, so a
    line has its type and place, and ``--debug`` prints the rest.
    """
    flags: dict[str, Any] = {}
    streams_opened()
    adopt_orphans()
    keep_quiet()
    atexit.register(end_children)  # after what other modules register later: a tracker may still send
    try:
        _run(flags)
    except SystemExit as end:
        _leave_threads(end.code)
        raise
    except BaseException as error:
        if flags.get("debug"):
            traceback.print_exception(error)
        say(
            f"error: {describe(error)}: a fault of the harness or of a plugin; "
            f"harness --debug {flags.get('command', '')} prints the traceback"
        )
        _leave_threads(1)
        sys.exit(1)


def _run(flags: dict[str, Any]) -> None:
    """Run a command, and exit.

    Args:
        flags: gets the name of the command, and ``debug``.
    """
    # Spinning OpenMP threads starve each other when anything else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault(SAFE_PATH, "1")  # of every process that a command starts
    try:
        with stopped_by_signals(_end_by), no_silent_end():
            show_threads_on_quit()
            _check_surroundings()
            from harness.cli.app import app

            with packages_named(lambda: f"harness {flags.get('command', '')}"):
                app(obj=flags)
    except HarnessError as error:
        if flags.get("debug"):
            traceback.print_exception(error)
        text = " ".join(str(error).split())
        say(f"error: {''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)}")
        sys.exit(error.exit_code)
    except Stopped as stopped:
        say(f"stopped by {stopped.name}{_KEPT if flags.get('command') in _CONTINUES else ''}")
        if stopped.received:
            _end_at_once(stopped.exit_code)
        sys.exit(stopped.exit_code)
    except SystemExit:
        if sys.stdout is not None:
            _end_output(None)
        raise
    except ImportError as error:
        library, _, reason = str(error).partition(": ")
        if reason.endswith(os.strerror(errno.EMFILE)):
            _end_for_handles()
        if not reason.startswith("failed to map segment"):
            raise
        say(f"error: {library} cannot be loaded: too little memory (raise the limit, ulimit -v)")
        sys.exit(HarnessError.exit_code)
    except OSError as error:
        if flags.get("debug"):
            traceback.print_exception(error)
        if error.errno == errno.ENOENT and "temporary directory" in str(error.strerror):
            say("error: no folder for temporary files can be written ($TMPDIR, /tmp, the working folder)")
            sys.exit(HarnessError.exit_code)
        if error.errno in (errno.EMFILE, errno.ENFILE):
            _end_for_handles()
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            say(f"error: {str(error.filename)[:100]}: {str(error.strerror).lower()}")
            sys.exit(HarnessError.exit_code)
        if error.filename is not None or error.errno not in _UNWRITTEN:
            raise
        _end_output(error)
        sys.exit(1)


def _enough_handles() -> bool:
    """Whether as many files may be open as every command needs; the soft limit is raised where it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if resource.RLIM_INFINITY != soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most >= _FILES


def _end_for_handles() -> NoReturn:
    say("error: too few files may be open at once (raise the limit, ulimit -n)")
    sys.exit(HarnessError.exit_code)


def _check_surroundings() -> None:
    """Standard output exists and takes every character; the working folder exists; files can be opened.

    Raises:
        HarnessError: something is not there.
    """
    if sys.stdout is None:
        raise HarnessError("standard output is closed", "leave it open, or add > FILE")
    if isinstance(sys.stdout, io.TextIOWrapper):
        if isinstance(sys.stdout.buffer, io.RawIOBase):  # PYTHONUNBUFFERED, under which Python cuts silently
            whole = io.BufferedWriter(sys.stdout.buffer)
            sys.stdout = io.TextIOWrapper(whole, sys.stdout.encoding, line_buffering=True)
        sys.stdout.reconfigure(errors="backslashreplace")
    if not _enough_handles():
        _end_for_handles()
    try:
        os.getcwd()
    except FileNotFoundError:
        raise HarnessError("the working folder was deleted", "change to another folder") from None


def _end_output(error: OSError | None) -> None:
    """Flush standard output; where it cannot be written, say so in one line and exit with code 1.

    A reader that has seen enough, as ``head``, is no error to speak of.

    Args:
        error: of writing to it, if there was one.
    """
    try:
        sys.stdout.flush()
    except OSError as failure:
        error = error or failure
    if error is None:
        return
    with suppress(OSError):  # the interpreter flushes once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno != errno.EPIPE:
        say(f"error: standard output cannot be written: {error.strerror}")
    sys.exit(1)


def _leave_threads(code: object) -> None:
    """End what code of a plugin has left, threads and processes: Python would wait for their end.

    What it does as Python ends is not shown.

    Args:
        code: of the exit.
    """
    atexit.register(_say_no_more)  # the last that is registered is called first
    processes = sys.modules.get("multiprocessing")
    for child in processes.active_children() if processes else ():
        child.kill()
    pools = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", {})
    others = [
        thread
        for thread in threading.enumerate()
        if not (thread.daemon or thread is threading.main_thread() or thread in pools)
    ]
    for thread in others:
        thread.join(_GRACE)
    if any(thread.is_alive() for thread in others):
        say("a thread that a plugin has started did not end; it is left")
        atexit._run_exitfuncs()
        _end_at_once(code if isinstance(code, int) else 0 if code is None else 1)


def _say_no_more() -> None:
    """Lead both streams nowhere: what code of a plugin prints or raises from here on may quote a report."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(nowhere, number)


def _end_by(number: int) -> None:
    """End the process by a signal that code of a plugin has caught."""
    say(f"stopped by {Stopped(number).name}: code of a plugin did not end")
    _end_at_once(Stopped(number).exit_code)


def _end_at_once(code: int) -> None:
    """End the process: all blocks were left, and Python would wait for threads and clear up for seconds."""
    end_fork_server()
    end_children()
    remove_own_temporary_files()
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    os._exit(code)
