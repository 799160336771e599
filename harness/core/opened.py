"""Files that code of this process opens while something listens, with what they were at that moment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

State = tuple[int, int, int]
"""Size and both times of a file."""
Purpose = Literal["read", "write", "update"]
"""What a file is opened for; to update is to read and perhaps to write."""

Askers = frozenset[tuple[str, str]]
"""Name and file of modules."""

CODE = (".py", ".so", ".pyd")
"""How the names of modules end."""
_OURS, _READERS = "harness.", "harness.datasets."
_DEEP = 60
"""Calls that are looked at to see who opens a file."""


@dataclass(slots=True)
class Opened:
    """What was opened. What was written since, as caches and logs are, is left out, but no module.

    Attributes:
        states: path, of a compiled module that of its source -> what the file was. Links are followed; data
            that were reached over a link stand here under the path that was asked for, too, since the link
            may lead elsewhere one day.
        written: paths, links followed, that were opened to be written.
        updated: paths, links followed, that were opened to be read and perhaps written.
        askers: path of ``states`` -> names and files of the modules whose code was at work.
        began: when this began, in nanoseconds.
    """

    states: dict[str, State] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    updated: set[str] = field(default_factory=set)
    askers: dict[str, Askers] = field(default_factory=dict)
    began: int = field(default_factory=time.time_ns)

    def add(self, path: str, purpose: Purpose = "read", askers: Askers = frozenset()) -> None:
        """Note an opening; of several the first counts."""
        target = _source(os.path.realpath(path))
        if purpose == "write":
            self.written.add(target)
            return
        if purpose == "update":
            self.updated.add(target)
        asked = os.path.normpath(path)
        linked = asked != target and not target.endswith(CODE) and os.path.realpath(asked) == target
        for each in (target, asked) if linked and self._is_lasting(asked) else (target,):
            state = None if each in self.states else state_of(each)
            if state is not None and (each.endswith(CODE) or min(state[1:]) < self.began):
                self.states[each] = state
                self.askers[each] = askers

    def _is_lasting(self, path: str) -> bool:
        """Whether the links in a path were there before this began; others may be gone tomorrow."""
        above = (path, *map(str, Path(path).parents))
        return all(os.lstat(each).st_ctime_ns < self.began for each in above if os.path.islink(each))

    def was_written(self, path: str) -> bool:
        """Whether a file of ``states`` was written since, so far as this can be seen."""
        target = os.path.realpath(path)
        return target in self.written or (target in self.updated and state_of(path) != self.states[path])


opened_by: dict[str, Opened] = {}
"""Module of a plugin -> what it opened in this process."""
_listeners: list[Callable[[str, Purpose], None]] = []


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Absolute paths of the files that Python code of this process opens."""
    paths: list[str] = []
    with _listening(lambda path, purpose: paths.append(path)):
        yield paths


@contextmanager
def noting(module: str) -> Iterator[None]:
    """Note what the plugin of a module opens meanwhile, but not what readers of data sets open for it."""
    opened = opened_by.setdefault(module, Opened())

    def note(path: str, purpose: Purpose) -> None:
        askers = _askers()
        shown = path.endswith(CODE) and any(name == "linecache" for name, _ in askers or ())
        if askers is not None and not shown:  # a warning shows the line of the source that it is about
            opened.add(path, purpose, askers)

    with _listening(note):
        yield


@contextmanager
def unnoted() -> Iterator[None]:
    """What the harness itself reads meanwhile, to see what plugins read, is not theirs."""
    listeners = _listeners[:]
    _listeners.clear()
    try:
        yield
    finally:
        _listeners[:0] = listeners


@contextmanager
def _listening(listener: Callable[[str, Purpose], None]) -> Iterator[None]:
    _listen()
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@cache
def _listen() -> None:
    """An audit hook stays until the process ends: there is one, and it is idle while nothing listens."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if not _listeners or event not in ("open", "import", "sqlite3.connect"):
            return
        name = arguments[1] if event == "import" else arguments[0]
        if not isinstance(name, str | bytes | os.PathLike) or not name:
            return
        path = os.fsdecode(name)
        if event == "sqlite3.connect" and path.startswith("file:"):
            path = unquote(urlsplit(path).path)
        purpose: Purpose = _purpose(*arguments[1:3]) if event == "open" else "read"
        paths = [os.path.abspath(path)]
        if event == "open" and arguments[1] is None and not os.path.isabs(path):
            paths += [os.path.join(folder, path) for folder in _open_folders()]
        for each in paths:
            for listener in _listeners:
                listener(each, purpose)

    sys.addaudithook(heard)


def _purpose(mode: object, flags: object) -> Purpose:
    if isinstance(mode, str):
        if "+" in mode and "w" not in mode and "x" not in mode:
            return "update"
        return "write" if any(letter in mode for letter in "wax") else "read"
    if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
        return "read"
    return "write" if flags & (os.O_WRONLY | os.O_TRUNC) else "update"


def _open_folders() -> Iterator[str]:
    """Folders that this process has open: Python does not say below which one a name is looked up."""
    with suppress(OSError):
        for handle in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                folder = os.readlink(f"/proc/self/fd/{handle}")
                if os.path.isdir(folder):
                    yield folder


def _askers() -> Askers | None:
    """The modules whose code is at work, up to the harness that called it; None where it reads a data set."""
    frame, deep = sys._getframe(3), 0
    askers, called = set[tuple[str, str]](), False
    while frame is not None and deep < _DEEP:
        name = str(frame.f_globals.get("__name__"))
        if name.startswith(_READERS):
            return None
        if not name.startswith(_OURS):
            if not called:
                askers.add((name, frame.f_code.co_filename))
        elif askers:
            called = True
        frame, deep = frame.f_back, deep + 1  # type: ignore[assignment]
    return frozenset(askers)


def state_of(path: str) -> State | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _source(path: str) -> str:
    if path.endswith(".pyc") and os.path.basename(os.path.dirname(path)) == "__pycache__":
        try:
            return source_from_cache(path)
        except (ValueError, NotImplementedError):
            return path
    return path
