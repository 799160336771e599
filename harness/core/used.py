"""Whether the files that a plugin used stay what they were.

What a plugin uses need not stand in its source: a setting, a registry or a computed name may choose it. So
what it opened is recorded beside what came of it, by content.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

from harness.core import registry
from harness.core.content import file_digest
from harness.core.opened import State, state_of, unnoted

Value = TypeVar("Value")

ALTERED = "altered while it was used"
"""Stands for the digest of a file that was another one at the end than when it was opened."""

_SYSTEM = (
    *("/proc", "/dev", "/sys", "/etc", "/run", "/lib", "/lib64", "/bin", "/sbin", "/var/cache"),
    *(f"/usr/{name}" for name in ("lib", "lib64", "share", "bin", "sbin", "include")),
    *(f"/usr/local/{name}" for name in ("lib", "lib64", "share", "bin", "sbin", "include")),
    *(os.path.realpath(f"/usr/local/{name}") for name in ("cuda", "nvidia")),
)
_METADATA = (".dist-info", ".egg-info")
"""Folders in which installed packages describe themselves; Python reads them to list plugins."""
_INSTALLED = ("site-packages", "dist-packages")
_HOME = str(Path(__file__).resolve().parents[1])
_LARGE = 64 << 20
"""Bytes of a file up to which its content counts; beyond, its size and time do."""
_PATH = tuple(os.path.realpath(each or os.getcwd()) for each in sys.path)
"""Folders that modules come from, before a plugin adds others."""


def digests(opened: Mapping[str, State], left_out: Sequence[str | Path]) -> dict[str, str]:
    """Place -> digest of the user's own files among those that were opened.

    Not those of the system, of installed packages and of the harness.

    Args:
        opened: path -> what the file was.
        left_out: folders whose files do not count, such as those of the data.
    """
    folders = tuple(os.path.realpath(folder) for folder in (*left_out, *_caches()))
    own = {
        path: state
        for path, state in own_files(opened).items()
        if os.path.isfile(path) and not _is_below(os.path.realpath(path), folders)
    }
    return {
        _place(path): _digest(path) if state_of(path) == state else ALTERED
        for path, state in sorted(own.items())
    }


def own_files(opened: Mapping[str, Value]) -> dict[str, Value]:
    """Those of the user: thousands of files are opened, and few are."""
    registering = registry.packages()
    owners = frozenset(("", *registering))
    own = {path: state for path, state in opened.items() if _package_of(path) in owners}
    return {path: state for path, state in own.items() if _package_of(os.path.realpath(path)) in owners}


@unnoted()
def present(record: Mapping[str, str]) -> dict[str, str]:
    """The places of a record with the digests of what lies there now; empty where nothing does."""
    return {place: _digest(_path(place)) for place in record}


def _digest(path: str) -> str:
    state = state_of(path)
    if state is None:
        return ""
    return file_digest(Path(path)) if state[0] < _LARGE else f"{state[0]} bytes of {state[1]}"


def _place(path: str) -> str:
    """A path from the folder on Python's path that it lies in: it is found again where that has moved."""
    around = max((each for each in _PATH if _is_below(path, (each,)) and path != each), key=len, default="")
    return path[len(around) + 1 :] if around else path


def _path(place: str) -> str:
    paths = [place] if os.path.isabs(place) else [os.path.join(each, place) for each in _PATH]
    return next(filter(os.path.isfile, paths), place)


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path == each or path.startswith(each.rstrip("/") + "/") for each in folders)


@cache
def _package_of(path: str) -> str:
    """The installed package that a file is of; empty for a file of the user, a path for one of the system."""
    parts = Path(path).parts
    for name in () if _is_below(path, (_HOME,)) else _INSTALLED:
        if name in parts:
            within = parts[parts.index(name) + 1 :]
            return within[0].removesuffix(".py") if within else path  # the folder itself
    if os.path.basename(os.path.dirname(path)).endswith(_METADATA):
        return path
    return path if _is_below(path, (*_SYSTEM, _HOME, *_of_python())) else ""


@cache
def _of_python() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    return tuple(os.path.realpath(sysconfig.get_path(name)) for name in names)


def _caches() -> Iterator[str]:
    """Folders that libraries fill by themselves."""
    yield os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    yield from (os.environ[name] for name in ("HF_HOME", "TORCH_HOME") if os.environ.get(name))
