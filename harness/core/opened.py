"""Files that code of this process opens while something listens, with what they were at that moment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import source_from_cache
from typing import Any

State = tuple[int, int, int]
"""Size and both times of a file."""

CODE = (".py", ".so", ".pyd")
"""How the names of modules end."""
_READERS = "harness.datasets."
_DEEP = 60
"""Calls that are looked at to see who opens a file."""


@dataclass(slots=True)
class Opened:
    """What was opened. What was written since, as caches and logs are, is left out, but no module.

    Attributes:
        states: path, links followed, of a compiled module that of its source -> what the file was.
        written: paths that were opened to be written, too.
        began: when this began, in nanoseconds.
    """

    states: dict[str, State] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    began: int = field(default_factory=time.time_ns)

    def add(self, path: str, writes: bool = False) -> None:
        """Note an opening; of several the first counts."""
        path = _source(os.path.realpath(path))
        if writes:
            self.written.add(path)
            return
        state = None if path in self.states else state_of(path)
        if state is not None and (path.endswith(CODE) or min(state[1:]) < self.began):
            self.states[path] = state


NOTED: dict[str, Opened] = {}
"""Module of a plugin -> what it opened in this process."""
_LISTENERS: list[Callable[[str, bool], None]] = []


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Absolute paths of the files that Python code of this process opens."""
    paths: list[str] = []
    with _listening(lambda path, writes: paths.append(path)):
        yield paths


@contextmanager
def noting(module: str) -> Iterator[None]:
    """Note what the plugin of a module opens meanwhile, but not what readers of data sets open for it."""
    opened = NOTED.setdefault(module, Opened())

    def note(path: str, writes: bool) -> None:
        if not _by_reader():
            opened.add(path, writes)

    with _listening(note):
        yield


@contextmanager
def _listening(listener: Callable[[str, bool], None]) -> Iterator[None]:
    _listen()
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


@cache
def _listen() -> None:
    """An audit hook stays until the process ends: there is one, and it is idle while nothing listens."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if not _LISTENERS or event not in ("open", "import", "sqlite3.connect"):
            return
        name = arguments[1] if event == "import" else arguments[0]
        if isinstance(name, str | bytes | os.PathLike) and name:
            path = os.path.abspath(os.fsdecode(name))
            writes = event == "open" and _writes(*arguments[1:3])
            for listener in _LISTENERS:
                listener(path, writes)

    sys.addaudithook(heard)


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _by_reader() -> bool:
    frame, deep = sys._getframe(3), 0
    while frame is not None and deep < _DEEP:
        if str(frame.f_globals.get("__name__")).startswith(_READERS):
            return True
        frame, deep = frame.f_back, deep + 1  # type: ignore[assignment]
    return False


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
