"""Files by what they hold: a setting that is a local path counts by the file's content, wherever it lies."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError

WITHHELD = "FILE"
"""Stands for a local path where results leave the machine, with the content's digest where it is known."""

_LOOKS_LOCAL = re.compile(r"^(/|\./|\.\./|~|[A-Za-z]:[\\/]|\\\\)")
_FILE_NAME = re.compile(
    r"^[\w.\-\\/ ]*\.(pth?|bin|ckpt|safetensors|np[yz]|csv|tsv|txt|jsonl?|ya?ml|zip)$", re.I
)

_MOST = 1_000_000
"""Files and folders that are looked at."""
_LONGEST = 4096
"""Characters of a path that the system takes."""


def is_local_path(value: object) -> bool:
    """Whether a setting's value names a file or folder of this machine.

    A name with a slash that no folder bears, as the hub's ``owner/model``, is none. A bare word is one where
    a file has this name.
    """
    if not isinstance(value, str) or not value or len(value) > _LONGEST:
        return False
    if _LOOKS_LOCAL.match(value) or _FILE_NAME.match(value):
        return True
    place = Path(value)
    return place.exists() if "/" in value or "\\" in value else place.is_file()


def content_digest(path: str) -> str:
    """``sha256:`` and twelve digits of a file's content, or of all files of a folder with their names.

    Where nothing lies there, the digits are those of the path's text.
    """
    place = Path(path).expanduser()
    files = [place] if place.is_file() else sorted(files_below(place))
    parts = [f"{each.relative_to(place).as_posix()}:{_digest(each)}" for each in files]
    if len(parts) == 1 and place.is_file():
        return f"sha256:{_digest(place)[:12]}"
    text = "\n".join(parts) or path
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def files_below(folder: Path, enters: Callable[[Path], bool] = lambda folder: True) -> Iterator[Path]:
    """Files in a folder and in those of its folders that ``enters`` accepts; links are followed.

    Raises:
        HarnessError: far too many, as where a link leads to a whole disk.
    """
    folders, seen, number = [folder], set(), 0
    while folders:
        inside = folders.pop()
        real = os.path.realpath(inside)
        if real in seen or not inside.is_dir():
            continue
        seen.add(real)
        for path in inside.iterdir():
            number += 1
            if number > _MOST:
                raise HarnessError(
                    f"{folder}: more than {_MOST:,} files lie below it", "does a link lead out?"
                )
            if path.is_file():
                yield path
            elif path.is_dir() and enters(path):
                folders.append(path)


def by_content(values: Any) -> Any:
    """Settings as JSON values in which a local path is replaced by the digest of what lies there."""
    if isinstance(values, Mapping):
        return {key: by_content(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [by_content(value) for value in values]
    return content_digest(values) if is_local_path(values) else values


def without_paths(values: Any, digests: Mapping[str, str]) -> Any:
    """Settings as JSON values in which a local path is replaced by ``FILE`` and its digest.

    Args:
        values: settings.
        digests: path -> digest, where it was recorded.
    """
    if isinstance(values, Mapping):
        return {key: without_paths(value, digests) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [without_paths(value, digests) for value in values]
    if isinstance(values, str) and values in digests:
        return f"{WITHHELD}:{digests[values]}"
    return WITHHELD if is_local_path(values) else values


def file_digest(path: Path) -> str:
    """SHA-256 of a file as hex, computed once per process while the file stays; empty where there is none."""
    try:
        return _digest(path)
    except OSError:
        return ""


def _digest(path: Path) -> str:
    state = path.stat()
    return _digest_of(str(path.resolve()), state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@cache
def _digest_of(path: str, *state: int) -> str:
    """SHA-256 of a file; its state is there so that a file that changes is read again."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
