"""What is shown of an exception that code of others raised: its type and place, never its text.

The text of such an exception may quote a report. Tables, progress and verdicts leave the machine; the log of
a failure stays in the store, for the user alone.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from json import JSONDecodeError
from pathlib import Path
from typing import NoReturn

from harness.core.errors import HarnessError, PluginError
from harness.core.files import write_atomic

_LONGEST_NAME = 60
_MODULE = re.compile(r"[\w.-]{1,80}")
_NAMES = r"'\w{1,40}'(?:,? and '\w{1,40}'|, '\w{1,40}')*"
_ARGUMENTS = re.compile(
    r"[\w.<>]{1,80}\(\) (?:missing \d+ required (?:positional|keyword-only) arguments?: "
    rf"{_NAMES}|got an unexpected keyword argument {_NAMES})"
)
"""What Python says of a call with too few or with unknown arguments."""


def describe(error: BaseException, home: str = "") -> str:
    """One line about an exception.

    Args:
        error: any exception.
        home: a module of the package whose line is named. Without one, or without a line of that package in
            the traceback, the innermost line is named.

    Returns:
        The message of a ``HarnessError``, which is worded for users. Of any other exception its type and
        ``module:line``.
    """
    if isinstance(error, HarnessError):
        return " ".join(str(error).split())
    kind = _kind(error)
    if isinstance(error, ModuleNotFoundError) and str(error.name).replace(".", "").isidentifier():
        return f"{kind}: there is no module {error.name}"
    if isinstance(error, TypeError) and _ARGUMENTS.fullmatch(str(error)):
        kind = f"{kind}: {error}"  # Python's own text, which holds names of the code alone
    if isinstance(error, SyntaxError) and error.filename and os.path.isfile(error.filename):  # no text
        return f"{kind} in {Path(error.filename).name}:{error.lineno}"
    places = list(_places(error))
    package = home.partition(".")[0]
    own = [place for place in places if place.partition(".")[0].partition(":")[0] == package]
    place = (own or places or [""])[-1]
    return f"{kind} at {place}" if place else kind


def _kind(error: BaseException) -> str:
    """Name of an exception's type, which code of others may have chosen; of the system's errors which one."""
    name = type(error).__name__
    if not (name.isidentifier() and name.isascii() and len(name) <= _LONGEST_NAME):
        return "an exception without a proper name"
    return f"{name} ({os.strerror(error.errno)})" if type(error) is OSError and error.errno else name


def _places(error: BaseException) -> Iterator[str]:
    """``module:line`` of every line of the traceback, outermost first."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__", ""))  # code that was made of a text may have any
        yield f"{name if _MODULE.fullmatch(name) else '?'}:{line}"


def unread(error: Exception) -> str:
    """Why a file of the user could not be read as JSON, in a few words and without its content.

    ``repr`` of a decoding error shows the whole file, which may hold reports.
    """
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    if isinstance(error, JSONDecodeError):
        return f"{error.msg} in line {error.lineno}"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return type(error).__name__


@contextmanager
def failures_named(what: str, home: str) -> Iterator[None]:
    """Whatever code of a plugin raises becomes one line that names it; a ``HarnessError`` stays as it is.

    Args:
        what: begins the line, e.g. ``dataset mine cannot be opened``.
        home: as ``describe`` takes it.

    Raises:
        PluginError: an exception came out of the block; it is the cause.
    """
    try:
        yield
    except HarnessError:
        raise
    except BaseException as error:
        let_through(error)
        hint = "harness --debug COMMAND prints the traceback"
        raise PluginError(f"{what}: {describe(error, home)}", hint) from error


def let_through(error: BaseException) -> None:
    """Raise an exception again that is no failure of a plugin: an order to stop, or Ctrl-C in a notebook.

    Code of a plugin may raise anything else, ``KeyboardInterrupt`` included: where the harness handles
    signals, Ctrl-C raises none.
    """
    if isinstance(error, Exception):
        return
    ours = type(error).__module__.partition(".")[0] == "harness"
    handled = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    if ours or (isinstance(error, KeyboardInterrupt) and not handled):
        raise error


@contextmanager
def no_silent_end() -> Iterator[None]:
    """``os._exit`` raises ``SystemExit`` in the main thread of this process, though not in its forks.

    Code of a plugin that calls it would end a command at once, without a word and perhaps with code 0. So it
    fails as it does with ``sys.exit``: a line names it and others go on.
    """
    process, end = os.getpid(), os._exit

    def leave(status: int) -> NoReturn:
        if os.getpid() != process or threading.current_thread() is not threading.main_thread():
            end(status)
        raise SystemExit(status or 1)

    os._exit = leave
    try:
        yield
    finally:
        os._exit = end


def unseen_failures_described() -> None:
    """What fails where nothing can handle it, in a thread or as an object goes, is a line without its text.

    Python would print the traceback. It concerns this process until its end.
    """

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            say(f"a thread failed: {describe(args.exc_value)}")

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            say(f"an object failed as it went: {describe(args.exc_value)}")

    threading.excepthook = in_thread
    sys.unraisablehook = unraisable
    logging.raiseExceptions = False


def say(line: str) -> None:
    """Write a line to standard error; a terminal that was closed is no error."""
    with suppress(OSError, ValueError, AttributeError):
        print(line, file=sys.stderr, flush=True)


def keep_traceback(path: Path, error: BaseException) -> None:
    """Write the whole traceback to a file that only the user can read (mode 0600)."""
    text = "".join(traceback.format_exception(error)).encode()

    def write(stream: object) -> None:
        os.fchmod(stream.fileno(), 0o600)  # type: ignore[attr-defined]
        stream.write(text)  # type: ignore[attr-defined]

    write_atomic(path, write)
