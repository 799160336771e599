"""Shared memory under a name (``/dev/shm``): what a box leaves there would outlive it.

Libraries take the name away as soon as they have mapped the memory, so a name that stays is none of theirs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from harness.method.box.kernel import MAKE_FILE, READ_FILE, REMOVE_FILE, TRUNCATE, WRITE_FILE

PLACE = Path("/dev/shm")
RIGHTS = READ_FILE | WRITE_FILE | MAKE_FILE | REMOVE_FILE | TRUNCATE
"""Plain files alone, whose names cannot be listed."""


def names(place: Path = PLACE) -> frozenset[str]:
    """Names that are there now."""
    with suppress(OSError):
        return frozenset(os.listdir(place))
    return frozenset()


def sweep(before: Collection[str], place: Path = PLACE) -> list[str]:
    """Remove plain files that a box has left; those that another process has open stay.

    Args:
        before: names that were there when the box began.
        place: the folder.

    Returns:
        What was removed.
    """
    new = sorted(names(place) - frozenset(before))
    used = _used(place) if new else frozenset()
    removed = []
    for name in new:
        path = place / name
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_ino not in used:
                path.unlink()
                removed.append(name)
    return removed


def _used(place: Path) -> frozenset[int]:
    """Numbers of the folder's files that some process has open or mapped."""
    start, used = f"{place}{os.sep}", set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for line in (process / "maps").read_text().splitlines():
                if start in line:
                    used.add(int(line.split()[4]))
        with suppress(OSError):
            for handle in (process / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(handle).startswith(start):
                        used.add(handle.stat().st_ino)
    return frozenset(used)
