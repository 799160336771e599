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

from harness.core import registry
from harness.core.content import file_digest
from harness.core.opened import State, state_of

ALTERED = "altered while it was used"
"""Stands for the digest of a file that was another one at the end than when it was opened."""

_SYSTEM = (
    *("/proc", "/dev", "/sys", "/etc", "/run", "/lib", "/lib64", "/bin", "/sbin"),
    *(f"/usr/{name}" for name in ("lib", "lib64", "share", "bin", "sbin", "include")),
)
_INSTALLED = ("site-packages", "dist-packages")
_HOME = str(Path(__file__).resolve().parents[1])
_LARGE = 1 << 30
_MANY = 2000
"""Bytes of a file, and files, up to which contents are compared; beyond, sizes and times are."""


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
        for path, state in opened.items()
        if os.path.isfile(path) and not _is_below(path, folders) and not _is_installed(path)
    }
    by_content = len(own) <= _MANY
    return {
        _place(path): _digest(path, by_content) if state_of(path) == state else ALTERED
        for path, state in sorted(own.items())
    }


def changed(record: Mapping[str, str]) -> list[str]:
    """Places whose files are no longer what a record says."""
    by_content = len(record) <= _MANY
    return [place for place, digest in record.items() if _digest(_path(place), by_content) != digest]


def _digest(path: str, by_content: bool) -> str:
    state = state_of(path)
    if state is None:
        return ""
    return file_digest(Path(path)) if by_content and state[0] < _LARGE else f"{state[0]} bytes of {state[1]}"


def _place(path: str) -> str:
    """A path from the folder on Python's path that it lies in: it is found again where that has moved."""
    folders = [os.path.realpath(each or os.getcwd()) for each in sys.path]
    around = max((each for each in folders if _is_below(path, (each,))), key=len, default="")
    return path[len(around) + 1 :] if around else path


def _path(place: str) -> str:
    if os.path.isabs(place):
        return place
    paths = [os.path.join(os.path.realpath(each or os.getcwd()), place) for each in sys.path]
    return next(filter(os.path.isfile, paths), place)


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path == each or path.startswith(each.rstrip("/") + "/") for each in folders)


def _is_installed(path: str) -> bool:
    """Whether a file is of the system, of Python, of the harness or of a package that registers nothing."""
    parts = Path(path).parts
    for name in _INSTALLED:
        if name in parts:
            return parts[parts.index(name) + 1].removesuffix(".py") not in registry.packages()
    return _is_below(path, (*_SYSTEM, _HOME, *_of_python()))


@cache
def _of_python() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    return tuple(os.path.realpath(sysconfig.get_path(name)) for name in names)


def _caches() -> Iterator[str]:
    """Folders that libraries fill by themselves."""
    yield os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    yield from (os.environ[name] for name in ("HF_HOME", "TORCH_HOME") if os.environ.get(name))
