"""Locks between processes: a wait names the process that holds the lock, and may have an end."""

from __future__ import annotations

import json
import os
import platform
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.core.errors import HarnessError
from harness.core.files import clear_disk_errors, set_aside, write_json

_POLL_SECONDS = 1.0


def file_lock(path: Path, poll_seconds: float = 0.05) -> FileLock:
    """The lock of a file that the user alone may open; whatever else is in its place is set aside.

    A lock holds nothing, so nothing is lost. A link is not followed: what it leads to is not the harness's.
    """
    clear_lock(path)
    return FileLock(path, mode=0o600, poll_interval=poll_seconds)


def clear_lock(path: Path) -> None:
    """Set aside a folder, a link, a pipe or a device in the place of a lock."""
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        set_aside(path, "no file")


def _silent(holder: str) -> None:
    """Say nothing."""


@contextmanager
def exclusive(
    lock: Path, holder: Path, waiting: Callable[[str], None] = _silent, most_seconds: float | None = None
) -> Iterator[None]:
    """Keep other processes out of the block; the lock ends with its process, however that ends.

    Args:
        lock: file that is locked; it stays.
        holder: file beside it that names the process while it holds the lock.
        waiting: called about once a second with the name of the process that holds it.
        most_seconds: so long a wait is an error; None waits for as long as it takes.

    Raises:
        HarnessError: the file system cannot lock files, or another process held the lock for too long.
        DiskError: nothing can be written there.
    """
    own = file_lock(lock)
    with clear_disk_errors(lock.parent):
        _acquire(own, holder, waiting, most_seconds)
    try:
        write_json(holder, {"process": os.getpid(), "machine": platform.node()})
        yield
    finally:
        holder.unlink(missing_ok=True)
        own.release()


def _acquire(
    lock: FileLock, holder: Path, waiting: Callable[[str], None], most_seconds: float | None
) -> None:
    start = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS)
        except Timeout:
            name = holder_name(holder)
            waiting(name)
            if most_seconds is not None and time.monotonic() - start > most_seconds:
                raise HarnessError(
                    f"{lock.lock_file}: held by {name} for more than {most_seconds:.0f} seconds",
                    "wait for that process, or end it; the lock ends with it",
                ) from None
        except NotImplementedError:
            folder = Path(lock.lock_file).parent
            raise HarnessError(
                f"{folder}: its file system cannot lock files", "choose another --store or HARNESS_CACHE"
            ) from None
        else:
            return


def holder_name(holder: Path) -> str:
    """The process that holds a lock, in words; its file may be gone, or not be written yet."""
    try:
        content = json.loads(holder.read_text())
        return f"process {content['process']} on {content['machine']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"
