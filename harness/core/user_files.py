"""Files that users name: read up to a size and never from a device; what is no file is never replaced."""

from __future__ import annotations

import errno
import gzip
import os
import stat
from io import BytesIO
from pathlib import Path
from typing import IO

from harness.core.errors import HarnessError
from harness.core.files import clear_disk_errors, write_atomic

MOST_BYTES = 2**28
"""256 MiB: of a pipe, of unpacked data, and of a file of which the caller does not expect more."""
MOST_REPORT_BYTES = 2**30
"""1 GiB, of a file of reports: a million reports of a thousand characters."""


def read_user_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a file, or of a pipe of up to ``MOST_BYTES``.

    Raises:
        OSError: it cannot be read, is a device, or holds more than ``most`` bytes; ``strerror`` says which.
    """
    # A pipe that nothing writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as stream:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if (stat.S_ISCHR(kind) or stat.S_ISBLK(kind)) and os.path.realpath(path) != os.devnull:
            raise OSError(errno.EINVAL, "a device, no file", str(path))
        os.set_blocking(descriptor, True)
        if not stat.S_ISREG(kind):
            most = min(most, MOST_BYTES)  # a pipe may have no end
        content = stream.read(most + 1)
    if len(content) > most:
        raise too_large(path, most)
    return content


def gunzipped(path: Path, data: bytes, most: int = MOST_BYTES) -> bytes:
    """What gzip data hold.

    Raises:
        OSError: more than ``most`` bytes, or as ``gzip`` raises it.
        EOFError, zlib.error: the data are damaged.
    """
    with gzip.GzipFile(fileobj=BytesIO(data)) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise too_large(path, most)
    return content


def too_large(path: Path, most: int) -> OSError:
    """The error of a file above the limit."""
    return OSError(errno.EFBIG, f"more than {most >> 20:,} MiB", str(path))


def write_user_file(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write a file, whole or not at all.

    A regular file is replaced and keeps its mode; behind a link, the file that it leads to. A device or a
    pipe is written to, as a shell does.

    Args:
        mode: of the file, whatever it was before; None keeps it.

    Raises:
        HarnessError: a folder, or a pipe that no process reads.
        DiskError: nothing can be written.
    """
    target = Path(os.path.realpath(path))
    state = target.stat() if target.exists() else None
    if state is not None and stat.S_ISDIR(state.st_mode):
        raise HarnessError(f"{path} cannot be written: a folder is in its place", "remove it and run again")
    if state is not None and not stat.S_ISREG(state.st_mode):
        with clear_disk_errors(path), open(_opened(target), "wb") as stream:
            stream.write(data)
        return

    def fill(stream: IO[bytes]) -> None:
        kept = mode if state is None or mode is not None else stat.S_IMODE(state.st_mode)
        if kept is not None:
            os.fchmod(stream.fileno(), kept)
        stream.write(data)

    write_atomic(target, fill)


def _opened(target: Path) -> int:
    """A device or a pipe, opened for writing; a pipe that nothing reads would wait for ever."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise HarnessError(
            f"{target} cannot be written: no process reads it", "start the reader first"
        ) from None
    os.set_blocking(descriptor, True)
    return descriptor
